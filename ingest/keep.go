package ingest

import (
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Keeping is how a stream is recorded around events only: a fragment waits in
// memory until an event wants it or none can any more.
type Keeping struct {
	Before time.Duration // kept before an event
	After  time.Duration // kept after it
	// Late is how much later than what it saw an event may come; default 10 s.
	// Fragments wait Before + Late in memory.
	Late time.Duration
	// MaxBytes bounds what waits; the oldest gives way. Default is 1 MiB for each
	// second of Before + Late, 64 MiB at least.
	MaxBytes int
}

func (k Keeping) withDefaults() Keeping {
	if k.Late <= 0 {
		k.Late = 10 * time.Second
	}
	if k.MaxBytes <= 0 {
		k.MaxBytes = max(64<<20, int((k.Before+k.Late)/time.Second)<<20)
	}
	return k
}

// lastWait bounds how long the end of a session waits for events about its last
// seconds: who tears a camera down is the one to be seen.
const lastWait = 2 * time.Second

// maxSpans bounds what is remembered of events; the oldest gives way.
const maxSpans = 1000

// span is a stretch of producer time that is to be kept.
type span struct{ from, to time.Time }

// keeper decides which fragments of one stream are recorded. It outlives the
// sessions of the stream, as an event does.
type keeper struct {
	mu    sync.Mutex // guards the fields below
	k     Keeping
	spans []span // wanted; none touches another
	held  []*fragments.Fragment
	bytes int
}

// want keeps what overlaps the event and the time around it. It returns the
// held fragments that are to be committed, and those before them, which can no
// longer be: fragments are committed in order.
func (k *keeper) want(from, to time.Time) (commit, drop []*fragments.Fragment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := span{from.Add(-k.k.Before), to.Add(k.k.After)}
	k.spans = slices.DeleteFunc(k.spans, func(o span) bool {
		apart := o.to.Before(s.from) || s.to.Before(o.from)
		if !apart { // one span for both, so that a busy detector makes few
			s = span{earlier(s.from, o.from), later(s.to, o.to)}
		}
		return !apart
	})
	k.spans = append(k.spans, s)
	if len(k.spans) > maxSpans {
		k.spans = slices.Delete(k.spans, 0, 1)
	}
	return k.settle()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// offer takes the next fragment: it is to be committed, held, or, being more
// than fits, makes older ones give way.
func (k *keeper) offer(f *fragments.Fragment) (commit, drop []*fragments.Fragment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = append(k.held, f)
	k.bytes += f.Bytes()
	commit, drop = k.settle()
	newest := end(f)
	old := 0
	for old < len(k.held) && (k.bytes > k.k.MaxBytes || newest.Sub(end(k.held[old])) > k.k.Before+k.k.Late) {
		k.bytes -= k.held[old].Bytes()
		old++
	}
	drop = append(drop, k.held[:old]...)
	k.held = slices.Delete(k.held, 0, old)
	horizon := newest.Add(-k.k.Before - k.k.Late)
	k.spans = slices.DeleteFunc(k.spans, func(s span) bool { return s.to.Before(horizon) })
	return commit, drop
}

// settle takes out of what is held everything up to the last fragment that a
// span wants. What decoding needs before a wanted fragment is wanted too. The
// caller holds k.mu.
func (k *keeper) settle() (commit, drop []*fragments.Fragment) {
	last := -1
	wanted := make([]bool, len(k.held))
	for i, f := range k.held {
		if !k.wants(f) {
			continue
		}
		last = i
		for j := i; j >= 0 && !wanted[j]; j-- {
			wanted[j] = true
			if !k.held[j].Dependent {
				break
			}
		}
	}
	for i, f := range k.held[:last+1] {
		k.bytes -= f.Bytes()
		if wanted[i] {
			commit = append(commit, f)
		} else {
			drop = append(drop, f)
		}
	}
	k.held = slices.Delete(k.held, 0, last+1)
	return commit, drop
}

func (k *keeper) wants(f *fragments.Fragment) bool {
	return slices.ContainsFunc(k.spans, func(s span) bool {
		return end(f).After(s.from) && f.Producer.Time().Before(s.to)
	})
}

// holds reports whether fragments wait for an event.
func (k *keeper) holds() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.held) > 0
}

// giveUp empties the keeper at the end of a session.
func (k *keeper) giveUp() []*fragments.Fragment {
	k.mu.Lock()
	defer k.mu.Unlock()
	drop := k.held
	k.held, k.bytes = nil, 0
	return drop
}

func end(f *fragments.Fragment) time.Time { return f.Producer.Time().Add(f.Duration) }

// keeper returns the keeper of a stream as it is configured now, nil when
// everything is recorded. The caller holds s.mu.
func (s *Sessions) keeper(name fragments.StreamName) *keeper {
	if s.o.Keep == nil {
		return nil
	}
	how, ok := s.o.Keep(name)
	if !ok {
		delete(s.keepers, name)
		return nil
	}
	k := s.keepers[name]
	if k == nil {
		k = &keeper{}
		s.keepers[name] = k
	}
	k.mu.Lock()
	k.k = how.withDefaults()
	k.mu.Unlock()
	return k
}

// KeepAnew asks Options.Keep anew how a stream is recorded, and has its publisher
// recorded so from now on. What waits for an event when all is to be recorded is
// recorded.
func (s *Sessions) KeepAnew(name fragments.StreamName) {
	s.mu.Lock()
	ss, k := s.open[name], s.keeper(name)
	s.mu.Unlock()
	if ss != nil {
		ss.queue.keepBy(k)
	}
}

// Keep tells of an event: of a stream that is recorded around events only, what
// was or will be published from shortly before it until shortly after is
// recorded; see [Options]. A moment has from and to alike. Events come in about
// the order of what they saw: what lies before a fragment that is recorded
// already cannot be recorded any more. For other streams it does nothing.
func (s *Sessions) Keep(name fragments.StreamName, from, to time.Time) {
	s.mu.Lock()
	if ss := s.open[name]; ss != nil {
		s.mu.Unlock()
		ss.queue.want(from, to)
		return
	}
	defer s.mu.Unlock()
	if k := s.keeper(name); k != nil {
		k.want(from, to) // for the next session: nothing is held between two
	}
}

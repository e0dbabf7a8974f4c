package archive

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// stream is one stream of the catalog and what is known of it in memory.
type stream struct {
	a       *Archive
	name    fragments.StreamName
	created time.Time
	dir     string

	// slot holds one token, which is taken for as long as the stream's spool or
	// lease is worked on: by a commit, a seal, a change of lease, a deletion.
	// Whoever has it owns writing.
	slot    chan struct{}
	writing writing

	recordMu sync.Mutex // held for as long as the record is being changed; before mu
	record   catalogued

	mu       sync.RWMutex // guards everything below
	deleted  bool
	epoch    uint64 // of the lease that is held, 0 when none is
	next     uint64 // the counter reserved last
	reserved []reservation
	hours    []*openHour
	closed   []hourSummary
	// lastClosed is the latest closed hour that retention has dropped.
	lastClosed hour
	objects    map[fragments.Number]*object // of the open hours, by first number
	tracks     map[fragments.ConfigHash]*fragments.Track
	floor      fragments.Number
	first      *Entry // oldest kept
	last       *Entry // newest visible
	changed    chan struct{}
	settings   bool // stream.json says what the catalog says
	stats      streamCounters
}

// openHour is an hour of a stream whose entries are in memory. Entries that
// readers see are never moved: the slice is only appended to or cut at its
// front, so that a reader goes on with what it took.
type openHour struct {
	hour    hour
	entries []*Entry // visible, by number
	bounds           // of entries
	objects int      // that lie in the hour
	closing bool     // it takes no more objects
}

// reservation is a number that Begin gave out and that is not settled, or that
// waits for one before it.
type reservation struct {
	counter uint64
	state   reservationState
	entry   *Entry // durable
	hour    hour
	since   time.Time // when it became durable
}

type reservationState uint8

const (
	reserved   reservationState = iota
	committing                  // its bytes are being made durable
	durable
	given // up: aborted, expired, or failed for good
)

// object is a segment object of an open hour.
type object struct {
	id      *objectID
	entries []*Entry // durable, in the order of the file
	size    int64    // of the file, so far
	state   objectState
	opened  time.Time        // by the clock of the archive
	at      journal.Position // of its first frame
	path    string           // in the spool
}

type objectState uint8

const (
	spooling objectState = iota // the stream's current spool file
	sealed                      // complete but for the index box, perhaps; to be uploaded
	stored                      // in the bucket
)

func newStream(a *Archive, name fragments.StreamName, created time.Time) *stream {
	s := &stream{
		a: a, name: name, created: created, dir: streamDir(name, created),
		slot:       make(chan struct{}, 1),
		objects:    map[fragments.Number]*object{},
		tracks:     map[fragments.ConfigHash]*fragments.Track{},
		changed:    make(chan struct{}),
		lastClosed: minHour - 1,
	}
	s.slot <- struct{}{}
	return s
}

// takeSlot waits for the right to write; giveSlot gives it back.
func (s *stream) takeSlot(done <-chan struct{}) bool {
	select {
	case <-s.slot:
		return true
	case <-done:
		return false
	}
}

func (s *stream) giveSlot() { s.slot <- struct{}{} }

// openHourOf returns the open hour h, making it if need be. The caller holds mu.
func (s *stream) openHourOf(h hour) *openHour {
	i, ok := slices.BinarySearchFunc(s.hours, h, func(o *openHour, h hour) int { return int(o.hour - h) })
	if !ok {
		s.hours = slices.Insert(s.hours, i, &openHour{hour: h})
	}
	return s.hours[i]
}

// earliestHour is the first hour that new objects may lie in: hours never go
// back, even when the clock does, so that a closed hour stays closed. The
// caller holds mu.
func (s *stream) earliestHour() hour {
	h := s.lastClosed + 1
	if n := len(s.closed); n > 0 {
		h = max(h, s.closed[n-1].hour+1)
	}
	if n := len(s.hours); n > 0 {
		h = max(h, s.hours[n-1].hour)
		if s.hours[n-1].closing {
			h++
		}
	}
	return h
}

// reveal makes an entry visible. The caller holds mu.
func (s *stream) reveal(e *Entry, h hour) {
	if e.Number.Less(s.floor) {
		return
	}
	o := s.openHourOf(h)
	if n := len(o.entries); n > 0 && e.Number.Less(o.entries[n-1].Number) {
		i, _ := slices.BinarySearchFunc(o.entries, e, byNumber)
		o.entries = slices.Insert(slices.Clone(o.entries), i, e)
	} else {
		o.entries = append(o.entries, e)
	}
	o.add(e)
	if s.first == nil || e.Number.Less(s.first.Number) {
		s.first = e
	}
	if s.last == nil || s.last.Number.Less(e.Number) {
		s.last = e
	}
	s.announce()
}

// announce wakes those who wait for a change. The caller holds mu.
func (s *stream) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
	s.a.followers.tell(s.name)
}

// settle makes visible what no open number holds back any more. The caller
// holds mu.
func (s *stream) settle() {
	n := 0
	for n < len(s.reserved) && s.reserved[n].state >= durable {
		if r := &s.reserved[n]; r.state == durable {
			s.reveal(r.entry, r.hour)
		}
		n++
	}
	s.reserved = slices.Delete(s.reserved, 0, n)
}

// reservation finds an unsettled number, or nil. The caller holds mu.
func (s *stream) reservation(counter uint64) *reservation {
	for i := range s.reserved {
		if s.reserved[i].counter == counter {
			return &s.reserved[i]
		}
	}
	return nil
}

// expire gives up the open numbers that have held back a durable one for too
// long.
func (s *stream) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.reserved, func(r reservation) bool { return r.state == durable })
	if i < 0 || now.Sub(s.reserved[i].since) < s.a.opts.HoldTimeout {
		return
	}
	for j := range s.reserved[:i] {
		if r := &s.reserved[j]; r.state == reserved {
			r.state = given
			s.stats.expired++
			s.a.log.Warn("a fragment was open for too long and is given up, later ones become visible",
				"stream", s.name, "number", fragments.Number{Epoch: s.epoch, Counter: r.counter})
		}
	}
	s.settle()
}

// holdsBackIn reports whether there are entries of the hour that are durable and
// not yet visible, or may be about to. The caller holds mu.
func (s *stream) holdsBackIn(h hour) bool {
	return slices.ContainsFunc(s.reserved, func(r reservation) bool {
		return r.state == committing || r.state == durable && r.hour == h
	})
}

// totals are what is kept of the stream, and what is about to be swept of an
// hour of which a part is kept. The caller holds mu.
func (s *stream) totals() (count, bytes int64) {
	for i := range s.closed {
		if c := &s.closed[i]; !c.max.Less(s.floor) {
			count, bytes = count+c.count, bytes+c.bytes
		}
	}
	for _, h := range s.hours {
		count, bytes = count+h.count, bytes+h.bytes
	}
	return count, bytes
}

// spooled is how many bytes of the stream are not in the bucket. The caller
// holds mu.
func (s *stream) spooled() int64 {
	n := int64(0)
	for _, o := range s.objects {
		if o.state != stored {
			n += o.size
		}
	}
	return n
}

// info describes the stream.
func (s *stream) info() StreamInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	count, bytes := s.totals()
	return StreamInfo{
		Name: s.name, Created: s.created, Recording: s.epoch != 0,
		Fragments: count, Bytes: bytes, Spooled: s.spooled(),
		First: s.first, Last: s.last, Floor: s.floor,
	}
}

func (s *stream) wrap(n fragments.Number, err error) error {
	if n.IsZero() {
		return fmt.Errorf("stream %s: %w", s.name, err)
	}
	return fmt.Errorf("stream %s, fragment %s: %w", s.name, n, err)
}

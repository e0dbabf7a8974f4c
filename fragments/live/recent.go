package live

import (
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Bounds of what is kept of a stream in memory. A closed fragment is kept while
// it lies within three target durations of the live edge, which is for how long
// players may ask for its parts (RFC 8216bis, 6.2.2), and while it is not yet
// settled: neither durable nor given up. Beyond the bounds the oldest goes even
// so: a player that far behind finds a gap there until the archive has it, and
// the live edge is none the worse. What waits for the archive shares its bytes
// with the queue of the session.
const (
	maxRecentBytes = 96 << 20
	maxRecent      = 1024 // fragments
	// leastTarget is the least target duration of a live playlist.
	leastTarget = 2 * time.Second
	// linger is how long a stream is remembered that nobody publishes any more: its
	// last fragments may still be on their way to the archive.
	linger = 30 * time.Second
)

// Part is a part of a fragment as it is kept for those who watch.
type Part struct {
	Sequence    uint32
	DecodeTime  int64 // ticks since the creation of the stream
	Duration    int64 // ticks
	Samples     int
	Independent bool   // the first sample is a key frame
	Data        []byte // moof and mdat; shared, read-only
}

// Run is what a Fragment has of one track.
type Run struct {
	Track      *fragments.Track
	Config     fragments.ConfigHash // of Track
	DecodeTime int64                // of the first sample; ticks since the creation of the stream
	Duration   int64                // ticks
	Samples    int
	Bytes      int
	Parts      []Part
}

// Data returns all parts in one: what the archive keeps, but for the origin of
// its decode times. The bytes are the caller's.
func (r *Run) Data() []byte {
	b := make([]byte, 0, r.Bytes)
	for i := range r.Parts {
		b = append(b, r.Parts[i].Data...)
	}
	return b
}

// Fate says what has become of a fragment.
type Fate uint8

// The fates of a fragment.
const (
	Pending  Fate = iota // it is open, or on its way to the archive
	Archived             // it is durable, and visible in the archive
	Dropped              // it will never be in the archive
)

// Fragment is a fragment as far as it has been cut. It is read-only, and so are
// the bytes it refers to.
type Fragment struct {
	Number        fragments.Number
	Producer      fragments.ProducerTimestamp
	Server        fragments.ServerTimestamp
	Duration      time.Duration // of the leading track
	Dependent     bool
	Discontinuity bool // the cutter broke the time line, or the session began
	Open          bool // it still grows: more parts, and tracks, may come
	Fate          Fate
	Lead          int   // ID of the leading track
	Runs          []Run // video before audio; of an open one, those that have a part
}

// Run returns what f has of a track, nil when there is nothing.
func (f *Fragment) Run(track int) *Run {
	for i := range f.Runs {
		if f.Runs[i].Track.ID == track {
			return &f.Runs[i]
		}
	}
	return nil
}

func (f *Fragment) bytes() int {
	n := 0
	for i := range f.Runs {
		n += f.Runs[i].Bytes
	}
	return n
}

// State is what is kept of a stream at one moment. It is read-only.
type State struct {
	Created time.Time     // of the stream, which decode times count from; zero when nobody has told
	Live    bool          // somebody publishes the stream
	Closed  []*Fragment   // in order of number
	Open    *Fragment     // nil: none is open
	Changed chan struct{} // closed when there is more, or the publisher goes; never send or close
}

// Find returns the fragment n, nil when it is not kept.
func (s *State) Find(n fragments.Number) *Fragment {
	if s.Open != nil && s.Open.Number == n {
		return s.Open
	}
	i, ok := slices.BinarySearchFunc(s.Closed, n, func(f *Fragment, n fragments.Number) int { return f.Number.Compare(n) })
	if !ok {
		return nil
	}
	return s.Closed[i]
}

// Recent keeps the newest fragments of one stream, in parts, across its
// publishers.
type Recent struct {
	mu      sync.Mutex // guards the fields below
	created time.Time
	owner   *Publisher // nil: nobody publishes
	closed  []*Fragment
	bytes   int       // of closed
	open    *Fragment // its Runs belong to mu, those in states are copies
	begun   bool      // the owner has begun a fragment
	state   *State    // as it is now; nil: nobody has asked yet
	forget  *time.Timer
}

// Recent returns what is kept in memory of a stream that is being published, or
// was within the last half minute; nil when there is nothing.
func (h *Hub) Recent(name fragments.StreamName) *Recent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.recent[name]
}

// State returns what is kept now. Between changes it is the same one.
func (r *Recent) State() *State {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == nil {
		r.state = r.make(make(chan struct{}))
	}
	return r.state
}

func (r *Recent) make(changed chan struct{}) *State {
	s := &State{Created: r.created, Live: r.owner != nil, Closed: r.closed[:len(r.closed):len(r.closed)], Changed: changed}
	if r.open != nil {
		open := *r.open
		open.Runs = slices.Clone(open.Runs)
		s.Open = &open
	}
	return s
}

// change tells those who wait; the caller holds r.mu.
func (r *Recent) change() {
	if r.state != nil {
		close(r.state.Changed)
		r.state = nil
	}
}

// take makes p the owner.
func (r *Recent) take(p *Publisher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.forget != nil {
		r.forget.Stop()
		r.forget = nil
	}
	r.giveUp()
	r.owner, r.begun = p, false
	r.change()
}

// leave ends the ownership of p. What is kept is forgotten later.
func (r *Recent) leave(p *Publisher, forget func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner != p {
		return
	}
	r.giveUp()
	r.owner = nil
	r.change()
	r.forget = time.AfterFunc(linger, forget)
}

// giveUp closes a fragment that its publisher has left open; the caller holds
// r.mu.
func (r *Recent) giveUp() {
	if f := r.open; f != nil && len(f.Runs) > 0 {
		f.Fate = Dropped
		r.close(f)
	}
	r.open = nil
}

// close keeps f as a closed fragment; the caller holds r.mu.
func (r *Recent) close(f *Fragment) {
	done := *f
	done.Open = false
	r.open = nil
	if n := len(r.closed); n > 0 && !r.closed[n-1].Number.Less(done.Number) {
		return // the numbers of a stream rise
	}
	r.closed = append(r.closed, &done)
	r.bytes += done.bytes()
	r.prune()
}

// prune forgets what need not be kept; the caller holds r.mu.
func (r *Recent) prune() {
	longest := leastTarget
	for _, f := range r.closed {
		longest = max(longest, (f.Duration + time.Second - 1).Truncate(time.Second))
	}
	keep, edge := len(r.closed), time.Duration(0)
	for keep > 0 && edge < 4*longest { // three, and the one that is being left
		keep--
		edge += r.closed[keep].Duration
	}
	drop := 0
	for drop < len(r.closed)-1 {
		over := r.bytes > maxRecentBytes || len(r.closed)-drop > maxRecent
		if f := r.closed[drop]; !over && (drop >= keep || f.Fate == Pending) {
			break
		}
		r.bytes -= r.closed[drop].bytes()
		drop++
	}
	r.closed = r.closed[drop:] // states share the array; the front goes when it next grows
}

// Created tells when the stream was created, which the decode times of what is cut
// count from. What is kept of another stream, which had the name before, goes. It
// is called before the first Begin.
func (p *Publisher) Created(t time.Time) {
	r := p.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner != p || r.created.Equal(t) {
		return
	}
	if !r.created.IsZero() {
		r.closed, r.bytes, r.open = nil, 0, nil
	}
	r.created = t
	r.change()
}

// Begin implements fragments.Cutter: f is open, and has its number. Without one
// it cannot be named and is not shown.
func (p *Publisher) Begin(f *fragments.Fragment) {
	r := p.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner != p {
		return
	}
	r.giveUp()
	if !f.Number.IsZero() {
		r.open = &Fragment{Number: f.Number, Open: true, Discontinuity: f.Discontinuity || !r.begun, Lead: p.lead}
	}
	r.begun = !f.Number.IsZero()
	r.change()
}

// Part implements fragments.Cutter. A last part nobody sees until the fragment is
// closed, at once, nor is told of until the next one begins: the playlists would
// announce another part after it.
func (p *Publisher) Part(f *fragments.Fragment, part *fragments.Part) {
	r := p.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner != p || r.open == nil || r.open.Number != f.Number {
		return
	}
	if part.Last && r.state == nil {
		r.state = r.make(make(chan struct{}))
	}
	o := r.open
	// What the fragment is becomes certain with the first unit of its leading
	// track, which comes before any part of it.
	o.Producer, o.Server, o.Dependent = f.Producer, f.Server, f.Dependent
	run := o.Run(part.Track.ID)
	if run == nil {
		at := slices.IndexFunc(o.Runs, func(x Run) bool { return before(part.Track, x.Track) })
		if at < 0 {
			at = len(o.Runs)
		}
		o.Runs = slices.Insert(o.Runs, at, Run{Track: part.Track, Config: part.Track.Hash(), DecodeTime: part.DecodeTime})
		run = &o.Runs[at]
	}
	run.Parts = append(run.Parts, Part{
		Sequence: part.Sequence, DecodeTime: part.DecodeTime, Duration: part.Duration, Samples: len(part.Samples),
		Independent: part.Independent, Data: part.Data,
	})
	run.Duration = part.DecodeTime + part.Duration - run.DecodeTime
	run.Samples += len(part.Samples)
	run.Bytes += len(part.Data)
	if part.Track.ID == o.Lead || len(o.Runs) == 1 {
		o.Duration = span(run.Duration, part.Track.TimeScale)
	}
	if !part.Last {
		r.change()
	}
}

// End implements fragments.Cutter. Nobody is told: the next fragment begins, or
// the publisher goes, at once.
func (p *Publisher) End(f *fragments.Fragment) {
	r := p.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner != p || r.open == nil || r.open.Number != f.Number {
		return
	}
	r.open.Duration = f.Duration
	r.close(r.open)
	r.refresh()
}

// Settled tells that a fragment is durable and visible, or that it never will
// be. It may come after Close, from any goroutine.
func (p *Publisher) Settled(n fragments.Number, archived bool) {
	r := p.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := slices.BinarySearchFunc(r.closed, n, func(f *Fragment, n fragments.Number) int { return f.Number.Compare(n) })
	if !ok {
		if r.open != nil && r.open.Number == n && !archived {
			r.open.Fate = Dropped
		}
		return
	}
	f := *r.closed[i]
	if f.Fate = Dropped; archived {
		f.Fate = Archived
	}
	r.closed = slices.Clone(r.closed) // states share the old array
	r.closed[i] = &f
	r.prune()
	r.refresh()
}

// refresh replaces the state without waking anybody; the caller holds r.mu.
func (r *Recent) refresh() {
	if r.state != nil {
		r.state = r.make(r.state.Changed)
	}
}

// before reports whether a stands before b in a fragment.
func before(a, b *fragments.Track) bool {
	order := func(k fragments.Kind) int { return (int(k) + 2) % 3 } // video, audio, other
	if x, y := order(a.Kind()), order(b.Kind()); x != y {
		return x < y
	}
	return a.ID < b.ID
}

// leading returns the ID of the track that decides where fragments begin, as the
// Fragmenter finds it.
func leading(tracks []*fragments.Track) int {
	for _, k := range [...]fragments.Kind{fragments.KindVideo, fragments.KindAudio, fragments.KindOther} {
		for _, t := range tracks {
			if t.Kind() == k {
				return t.ID
			}
		}
	}
	return 0
}

func span(ticks int64, scale uint32) time.Duration {
	s := int64(max(scale, 1))
	return time.Duration(ticks/s)*time.Second + time.Duration(ticks%s)*time.Second/time.Duration(s)
}

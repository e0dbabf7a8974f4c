package depacketize

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// maxTracks bounds the tracks of one publisher.
const maxTracks = 16

// ErrTooMany refuses a track, or a stream of one, beyond the bound.
var ErrTooMany = errors.New("too many tracks")

// Session is where the access units of one publisher go; *[ingest.Session] is one.
// Its methods are called by one goroutine at a time.
type Session interface {
	Write(au *fragments.AccessUnit)
	Lost(n uint64)
	Jitter(track int, seconds float64)
	Close(reason error)
}

// Options configure a [Receiver]. All but Wary are required.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// Open opens the session, at the first access unit or by [Receiver.Start]. It
	// is called again when pictures appear where sound alone was, after the session
	// before is closed. It is called with the lock of the receiver held, and so
	// calls nothing of it.
	Open func(tracks []*fragments.Track) (Session, error)
	// MaxSkew is how far the clock of the publisher may be from ours without a
	// word in the log.
	MaxSkew time.Duration
	// Wary is that of [ingest.Clocks].
	Wary bool
}

// Receiver makes access units of the packets of one publisher and hands them to
// its session. Packets of several streams may come from several goroutines.
type Receiver struct {
	o    Options
	warn *Warnings

	mu      sync.Mutex // guards the fields below and those of the streams
	clocks  ingest.Clocks
	tracks  []*track
	session Session
	// sightless: the session was opened for sound alone.
	sightless bool
	created   time.Time
	last      time.Time // when the latest access unit was complete; zero: none yet
	err       error     // of Open; nothing is received after it
	closed    bool
	skewed    bool // a clock that is far off has been logged

	holding   bool
	held      []heldUnit
	heldBytes int
}

// track is what the session knows as one track.
type track struct {
	id      int
	streams int
	current *Stream // whose units are taken
	wanted  *Stream // whose units will be taken from its next key frame on

	written bool
	pts     int64 // of the latest unit, in the time line of the track
	capture fragments.ProducerTimestamp
	shift   int64 // from the time stamps of current to the time line
	debt    int64 // what the time line is ahead of the capture times
}

// New returns a receiver without tracks.
func New(o Options) *Receiver {
	return &Receiver{o: o, warn: NewWarnings(o.Log, o.Now), created: o.Now(), clocks: ingest.Clocks{Wary: o.Wary}}
}

// Add adds a track whose packets carry f, with one stream, which is selected.
// clock is the rate of the time stamps by the session description, 0 when that
// does not say.
func (r *Receiver) Add(f format.Format, clock int) (*Stream, error) {
	r.mu.Lock()
	id := len(r.tracks) + 1
	r.mu.Unlock()
	return r.AddTrack(id, f, clock)
}

// AddTrack adds a track as Add does, with an ID of its own, so that tracks which
// appear in any order have the IDs that they had the last time.
func (r *Receiver) AddTrack(id int, f format.Format, clock int) (*Stream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, taken := slices.BinarySearchFunc(r.tracks, id, func(t *track, id int) int { return t.id - id })
	t := &track{id: id, streams: 1}
	s, err := r.newStream(t, f, clock)
	switch {
	case err != nil:
		return nil, err
	case taken:
		return nil, fmt.Errorf("there is a track %d", id)
	case len(r.tracks) == maxTracks:
		return nil, ErrTooMany
	}
	t.current, t.wanted = s, s
	r.tracks = slices.Insert(r.tracks, at, t)
	return s, nil
}

func (r *Receiver) newStream(t *track, f format.Format, clock int) (*Stream, error) {
	dep, err := newDepacketizer(t.id, f, clock)
	if err != nil {
		return nil, err
	}
	return &Stream{r: r, track: t, dep: dep, clock: r.clocks.Track(int(dep.track().TimeScale))}, nil
}

// Tracks returns the tracks in their newest configuration.
func (r *Receiver) Tracks() []*fragments.Track {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.configurations()
}

func (r *Receiver) configurations() []*fragments.Track {
	t := make([]*fragments.Track, len(r.tracks))
	for i := range r.tracks {
		t[i] = r.tracks[i].current.dep.track()
	}
	return t
}

// Start opens the session before the first access unit.
func (r *Receiver) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.openLocked()
}

func (r *Receiver) openLocked() error {
	if r.session != nil || r.err != nil {
		return r.err
	}
	tracks := r.configurations()
	session, err := r.o.Open(tracks)
	if err != nil {
		r.err = err
		return err
	}
	r.session = session
	r.sightless = !slices.ContainsFunc(tracks, func(t *fragments.Track) bool { return t.Kind() == fragments.KindVideo })
	return nil
}

// pictures reports whether au is the first picture in a session that was opened
// for sound alone.
func (r *Receiver) pictures(au *fragments.AccessUnit) bool {
	return r.sightless && au.Track.Kind() == fragments.KindVideo
}

// reopen ends the session and lets another begin: the tracks of a session decide
// where its fragments are cut, and pictures decide before sound.
func (r *Receiver) reopen() {
	r.session.Close(nil)
	r.session = nil
}

// Close ends the session. No access unit is written after it; closing twice is
// fine.
func (r *Receiver) Close(reason error) {
	r.mu.Lock()
	session, done := r.session, r.closed
	r.closed, r.held = true, nil
	r.mu.Unlock()
	if done {
		return
	}
	r.warn.Flush()
	if session != nil {
		session.Close(reason)
	}
}

// Idle returns for how long no access unit has been complete.
func (r *Receiver) Idle() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.IsZero() {
		return r.o.Now().Sub(r.created)
	}
	return r.o.Now().Sub(r.last)
}

// Live reports whether there has been an access unit, and the error that keeps
// them from being taken.
func (r *Receiver) Live() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.last.IsZero(), r.err
}

// Unreadable counts a packet that could not even be parsed.
func (r *Receiver) Unreadable(err error) { r.warn.Add("packet not read", 1, err) }

// guard keeps a mistake of ours, or of the session, in this one stream.
func (r *Receiver) guard() {
	if p := recover(); p != nil {
		r.err = fmt.Errorf("receiver failed: %v", p)
		r.o.Log.Error("receiver failed", "panic", p, "stack", string(debug.Stack()))
	}
}

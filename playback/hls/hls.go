package hls

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback"
)

// Errors of playlists and segments, beside archive.ErrNoStream and
// archive.ErrNoFragment.
var (
	ErrNothing = errors.New("nothing is recorded there")
	ErrNotLive = errors.New("stream is not live")
	ErrOutside = errors.New("fragment is outside the range that was asked for")
	// ErrLate: what was asked for ahead of time has not come within the time that
	// may be waited for it (RFC 8216bis, 6.2.5.2).
	ErrLate = errors.New("the publisher sends nothing: what was waited for has not come")
)

// Archive is what HLS asks of the archive.
type Archive interface {
	playback.Index
	// Entry returns one fragment; the error is archive.ErrNoFragment.
	Entry(ctx context.Context, name fragments.StreamName, n fragments.Number) (*archive.Entry, error)
	// Track returns a configuration that some fragment of the stream has.
	Track(name fragments.StreamName, h fragments.ConfigHash) (*fragments.Track, error)
	// ReadRun returns the bytes of a run as stored; they are the caller's.
	ReadRun(ctx context.Context, name fragments.StreamName, e *archive.Entry, run int) ([]byte, error)
	// Changed returns a channel that is closed when the next fragment of the
	// stream becomes visible.
	Changed(name fragments.StreamName) <-chan struct{}
}

// Waker starts the publisher of a stream that is published only on demand. It
// is asked at every live playlist, so that it also knows who still watches.
type Waker interface {
	// Wake returns when the stream is live, at once when it is not on demand.
	Wake(ctx context.Context, name fragments.StreamName) error
}

// Options of a Packager. The zero value is good.
type Options struct {
	Window       time.Duration // of live playlists; default 10 min
	MaxWindow    time.Duration // that may be asked for; default 1 h
	MaxSegments  int           // in one playlist; default 100,000
	GapTolerance time.Duration // shorter holes in time are no discontinuity; default 200 ms
	StartTimeout time.Duration // how long a live playlist waits for the first fragment; default 10 s
	// EndGrace is how long after its end a range waits for the fragment that
	// covers it, while the stream is live; default 60 s.
	EndGrace time.Duration
	MaxRows  int // kept in the caches, about 120 bytes each; default 1,000,000

	// Hub has the newest fragments in memory, in parts: with it live playlists are
	// low-latency ones. Nil: they are of what the archive shows.
	Hub   *live.Hub
	Waker Waker                                // nil: no stream is on demand
	Live  func(name fragments.StreamName) bool // whether somebody publishes it now; nil: when it is being recorded
	Now   func() time.Time                     // default time.Now
	Log   *slog.Logger                         // default: nothing is logged
}

func (o *Options) setDefaults() {
	setDefault(&o.Window, 10*time.Minute)
	setDefault(&o.MaxWindow, max(time.Hour, o.Window))
	setDefault(&o.MaxSegments, 100_000)
	setDefault(&o.GapTolerance, 200*time.Millisecond)
	setDefault(&o.StartTimeout, 10*time.Second)
	setDefault(&o.EndGrace, time.Minute)
	setDefault(&o.MaxRows, 1_000_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// Validate reports the first option that cannot be used.
func (o Options) Validate() error {
	o.setDefaults()
	switch {
	case o.Window < time.Second:
		return fmt.Errorf("hls window %v: must be at least 1s", o.Window)
	case o.MaxWindow < o.Window:
		return fmt.Errorf("hls max_window %v: must be at least the window, %v", o.MaxWindow, o.Window)
	case o.MaxSegments < 10:
		return fmt.Errorf("hls max_segments %d: must be at least 10", o.MaxSegments)
	case o.GapTolerance < 0 || o.StartTimeout < 0 || o.EndGrace < 0 || o.MaxRows < 0:
		return errors.New("hls options must not be negative")
	}
	return nil
}

// Packager makes playlists and segments. Its methods may be called
// concurrently.
type Packager struct {
	src Archive
	o   Options

	mu    sync.Mutex // guards the fields below
	lines map[lineKey]*shared
	uses  int64     // counts, to find the timeline that has not been used for longest
	zips  sync.Pool // of *gzip.Writer
}

// New returns a Packager that reads src.
func New(src Archive, o Options) (*Packager, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.setDefaults()
	return &Packager{src: src, o: o, lines: map[lineKey]*shared{}}, nil
}

// Playlist returns the text of the playlist that r asks for; see [Packager.List].
func (p *Packager) Playlist(ctx context.Context, name fragments.StreamName, r Request) ([]byte, error) {
	l, err := p.List(ctx, name, r)
	if err != nil {
		return nil, err
	}
	return l.Text, nil
}

// List returns the multivariant or media playlist that r asks for. A live
// playlist of a stream that has just begun waits for its first fragment; one
// that is asked for ahead of time waits until it is there, or ErrLate. Those who
// ask for the same live playlist at the same time share it.
func (p *Packager) List(ctx context.Context, name fragments.StreamName, r Request) (*List, error) {
	if err := p.checkWindow(&r); err != nil {
		return nil, err
	}
	if r.Live {
		if err := p.wake(ctx, name); err != nil {
			return nil, err
		}
	} else if r.Kind == Multivariant {
		r.Join = p.joinFor(r.Range)
	}
	s, err := p.timeline(ctx, name, &r)
	if err == nil && r.Live && r.Kind == Media && !r.Ahead.Wait {
		s, err = p.freshen(ctx, name, s, &r)
	}
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if r.Live && r.Kind == Media {
		return p.liveList(name, s, &r)
	}
	write := p.media
	if r.Kind == Multivariant {
		write = p.multivariant
	}
	text, err := write(name, s, &r)
	if err != nil {
		return nil, err
	}
	return p.newList(text), nil
}

func (p *Packager) wake(ctx context.Context, name fragments.StreamName) error {
	if p.o.Waker == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.StartTimeout)
	defer cancel()
	if err := p.o.Waker.Wake(ctx, name); err != nil {
		return fmt.Errorf("%w and could not be started: %w", ErrNotLive, err)
	}
	return nil
}

// A playlist of up to a day has a row for each fragment. In longer ones
// fragments are joined into segments, so that any range of a month is one
// playlist that a player can seek in, and none outgrows what players bear.
const (
	joinBeyond = 25 * time.Hour
	joinedRows = 43_200
)

// joinFor returns how long the segments of a range are to be.
func (p *Packager) joinFor(r playback.Range) time.Duration {
	end := r.End
	if r.Open() {
		end = p.o.Now()
	}
	span := end.Sub(r.Start)
	if span <= joinBeyond {
		return 0
	}
	return min((span/joinedRows + time.Second - 1).Truncate(time.Second), maxJoin)
}

func (p *Packager) multivariant(name fragments.StreamName, s *shared, r *Request) (text []byte, err error) {
	// Of the open fragment it is not known yet which tracks it has.
	open := s.t.tentative != nil
	s.t.retract()
	if open {
		defer func() { err = cmp.Or(err, s.t.appendOpen(entryOf(s.state.Open))) }()
	}
	from, _ := s.view(p, r)
	if r.Live {
		from = s.t.offered(from)
	}
	v := s.t.choose(from, r.Live, r.Video)
	if r.Video != 0 && v.video == nil {
		return nil, &playback.ParamError{Name: "video", Value: fmt.Sprint(r.Video), Reason: "the stream has no such video track that can be played; leave it out for the first"}
	}
	if v.video == nil && len(v.audio) == 0 {
		return nil, &NotPlayableError{name, v.leftOut}
	}
	return v.append(nil, r, s.ended), nil
}

// liveTracks is in how many of the newest fragments a track must be found to be
// offered live: one that has gone for good would keep players waiting for it.
const liveTracks = 5

// offered returns from which row on tracks are looked for that are offered live.
func (t *timeline) offered(from int) int { return max(from, len(t.rows)-liveTracks) }

func (p *Packager) media(name fragments.StreamName, s *shared, r *Request) ([]byte, error) {
	l := s.t.line(r.Track)
	if l == nil {
		return nil, fmt.Errorf("stream %s, track %d: %w", name, r.Track, ErrNothing)
	}
	m := media{t: s.t, l: l, ended: s.ended, born: s.born, query: r.segmentQuery(), kept: s.kept}
	m.from, m.to = s.view(p, r)
	switch {
	case r.Live:
		if s.state != nil && s.state.Live {
			m.low = s.lowLatency(&m, r)
		}
		m.start = s.t.liveStart(m.from, m.to)
		if m.low != nil && l.part > 0 {
			m.start.offset = max(m.start.offset, -time.Duration(partHoldBack(m.low.longestPart(&m))))
		}
	case s.vod:
		m.typ = "VOD"
	default:
		m.typ = "EVENT"
	}
	if !r.Live {
		offset := r.Range.Start.Sub(time.Unix(0, s.t.rows[0].stamp))
		m.start = startAt{max(offset, 0), m.typ == "EVENT" || offset >= time.Millisecond}
	}
	return m.append(nil), nil
}

package image

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// Frame is one decoded frame. It is the receiver's own.
type Frame struct {
	Time          time.Time     // when it was filmed; goes back when the publisher's clock does
	Arrival       time.Time     // when it arrived here
	PTS           time.Duration // on the time line of the publisher, from an origin of its own
	Width, Height int
	Channels      int    // 1: luma; 3: red, green, blue
	Pix           []byte // Width*Height*Channels bytes, row by row, from 0 (black) to 255
}

// Order tells frames that are new from those that are seen once more, by a
// process that begins with the group of pictures that is in memory. It goes by
// time lines and arrivals, as the clock of a publisher may be set back. The zero
// value has seen nothing.
type Order struct {
	begun   bool
	pts     time.Duration // of the newest
	arrival time.Time     // the latest
}

// New reports whether f comes after all that were new before.
func (o *Order) New(f *Frame) bool {
	if o.begun && f.PTS <= o.pts && !f.Arrival.After(o.arrival) {
		return false
	}
	o.begun, o.pts = true, f.PTS
	if f.Arrival.After(o.arrival) { // frames may arrive in another order than they are shown
		o.arrival = f.Arrival
	}
	return true
}

// WatchOptions say what a watch sees.
type WatchOptions struct {
	Width, Height int // of the frames, up to MaxSize; the picture is stretched to it
	// FPS is how many frames a second are wanted, of those there are; 0: all. The
	// frames are those of the stream, none is made up or moved in time.
	FPS float64
	// KeysOnly decodes nothing but key frames, which costs a tenth or less.
	KeysOnly bool
	Color    bool // three channels instead of luma
	// Rough lets the decoder leave out frames that no other refers to. Where there
	// are such frames it costs a third less, and there may be fewer than FPS.
	Rough bool
	// Before are units of the stream that the Hub no longer has, in order, from a key
	// frame on: they are decoded before those that it has. Not for KeysOnly.
	Before []*fragments.AccessUnit
}

func (o *WatchOptions) validate() error {
	if o.Width < 1 || o.Width > MaxSize || o.Height < 1 || o.Height > MaxSize || o.FPS < 0 || o.FPS > 1000 {
		return fmt.Errorf("watch of %d x %d pixels, %v frames a second: want 1 to %d pixels, and 0 to 1000 frames", o.Width, o.Height, o.FPS, MaxSize)
	}
	return nil
}

func (o *WatchOptions) channels() int {
	if o.Color {
		return 3
	}
	return 1
}

// Watch decodes a live stream for as long as the loop over it lasts, by one
// process of its own. Frames come in the order in which they are shown; a loop that
// is slower than they come misses some, and always gets the newest. A process that dies is
// started again, ever later while it helps nothing. The last thing that is
// yielded is an error: live.ErrEnded when the stream has ended, live.ErrNotLive
// when there is none, a *NoDecoderError, a *DecodeError when nothing can be
// decoded, ErrClosed, or that of ctx.
func (m *Maker) Watch(ctx context.Context, name fragments.StreamName, o WatchOptions) iter.Seq2[*Frame, error] {
	return func(yield func(*Frame, error) bool) {
		if err := o.validate(); err != nil {
			yield(nil, err)
			return
		}
		if m.o.Hub == nil {
			yield(nil, fmt.Errorf("stream %s: %w", name, live.ErrNotLive))
			return
		}
		inner, leave, err := m.enter(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		inner, cancel := context.WithCancel(inner)
		w := &watch{m: m, name: name, o: o, frames: make(chan *Frame, 1)}
		m.count.watches.Add(1)
		defer m.count.watches.Add(-1)
		ended := make(chan error, 1)
		go func() { ended <- w.run(inner) }()
		done, err := w.deliver(ended, yield)
		cancel()
		switch {
		case !done:
			<-ended
		case err != nil:
			yield(nil, m.closing(err))
		}
	}
}

// deliver yields frames up to the end, of which err is the reason, unless the
// loop is left before it is done.
func (w *watch) deliver(ended chan error, yield func(*Frame, error) bool) (done bool, err error) {
	for {
		select {
		case f := <-w.frames:
			w.m.count.frames.Add(1)
			if !yield(f, nil) {
				return false, nil
			}
		case err := <-ended:
			select {
			case f := <-w.frames:
				w.m.count.frames.Add(1)
				if !yield(f, nil) {
					return true, nil
				}
			default:
			}
			return true, err
		}
	}
}

// watch is one loop over Watch.
type watch struct {
	m      *Maker
	name   fragments.StreamName
	o      WatchOptions
	frames chan *Frame // the newest
	order  Order       // of those that were handed on
	seen   bool        // the stream was live
}

// Pauses before a process is started again, and after how many that have given
// no frame there is no hope.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
	hopeless   = 5
)

// run runs processes, one after the other, until the stream or ctx ends.
func (w *watch) run(ctx context.Context) error {
	pause, barren := firstPause, 0
	for {
		s := &session{w: w, ctx: ctx}
		err := s.run()
		var none *NoDecoderError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &none), errors.Is(err, live.ErrEnded):
			return err
		case errors.Is(err, live.ErrNotLive):
			if w.seen {
				return fmt.Errorf("stream %s: %w", w.name, live.ErrEnded)
			}
			return err
		case errors.Is(err, errAnew):
			continue
		}
		if barren++; s.got.Load() > 0 {
			pause, barren = firstPause, 0
		}
		if barren >= hopeless {
			w.m.count.failed.Add(1)
			return &DecodeError{Stream: w.name, Codec: s.track.Codec, Reason: err.Error(), Err: err}
		}
		w.m.count.restarts.Add(1)
		w.m.o.Log.Warn("decoder of a live stream ended", "stream", w.name, "error", err, "again in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, maxPause)
	}
}

// hand hands a frame on, in place of one that nobody took.
func (w *watch) hand(f *Frame) {
	if !w.order.New(f) {
		return // a process that was started anew has seen it again
	}
	for {
		select {
		case w.frames <- f:
			return
		default:
		}
		select {
		case <-w.frames:
			w.m.count.dropped.Add(1)
		default:
		}
	}
}

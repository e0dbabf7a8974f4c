package image_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

// units returns the clock as a publisher delivers it.
func units(tb testing.TB, args string) (u []*fragments.AccessUnit) {
	tb.Helper()
	m := encode(tb, clock+args)
	dts := int64(0)
	for _, s := range m.Samples {
		pts := dts + int64(s.Offset)
		u = append(u, &fragments.AccessUnit{
			Track: m.Track, PTS: pts, DTS: dts, Key: s.Key, Payload: s.Payload,
			Capture: fragments.ProducerTime(created.Add(start + time.Duration(pts-int64(m.Samples[0].Offset))*time.Second/time.Duration(m.Track.TimeScale))),
		})
		dts += int64(s.Duration)
	}
	return u
}

// publish publishes units as "front", one every pause, until the test stops it
// by closing stop or they have gone out; then the stream ends.
func publish(hub *live.Hub, u []*fragments.AccessUnit, pause time.Duration) (done chan struct{}) {
	p := hub.Publish("front", []*fragments.Track{u[0].Track})
	done = make(chan struct{})
	go func() {
		defer close(done)
		defer p.Close()
		for _, au := range u {
			live := *au
			live.Arrival = fragments.ServerTime(time.Now())
			p.Write(&live)
			time.Sleep(pause)
		}
	}()
	return done
}

// shownBy reads the number of the frame of the clock.
func shownBy(f *image.Frame) int {
	digit := func(from, to int) int {
		sum, n := 0, 0
		for y := f.Height / 4; y < f.Height*3/4; y++ {
			for x := from; x < to; x++ {
				sum += int(f.Pix[(y*f.Width+x)*f.Channels])
				n++
			}
		}
		return digitOf(float64(sum)/float64(n), true)
	}
	return digit(f.Width/10, f.Width*4/10) + 10*digit(f.Width*6/10, f.Width*9/10)
}

func TestWatch(t *testing.T) {
	for _, c := range codings {
		for _, o := range []image.WatchOptions{{Width: 64, Height: 32}, {Width: 64, Height: 32, FPS: 5, Color: true}, {Width: 64, Height: 32, KeysOnly: true}} {
			name := c.name
			switch {
			case o.KeysOnly:
				name += " keys"
			case o.FPS > 0:
				name += " 5 a second"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				hub := live.New()
				m := newMaker(t, playbacktest.New(), image.Options{Hub: hub})
				done := publish(hub, units(t, c.args), 8*time.Millisecond)
				var seen []int
				var last error
				for f, err := range m.Watch(context.Background(), "front", o) {
					if err != nil {
						last = err
						continue
					}
					n := shownBy(f)
					if d := f.Time.Sub(at(float64(n))); d.Abs() > time.Millisecond {
						t.Errorf("frame %d is said to be of %v, want %v", n, f.Time, at(float64(n)))
					}
					if len(f.Pix) != f.Width*f.Height*f.Channels || (f.Channels == 3) != o.Color || f.Width != 64 {
						t.Errorf("%d bytes of %d x %d x %d", len(f.Pix), f.Width, f.Height, f.Channels)
					}
					if len(seen) > 0 && n <= seen[len(seen)-1] {
						t.Errorf("frame %d after %v", n, seen)
					}
					seen = append(seen, n)
				}
				if !errors.Is(last, live.ErrEnded) {
					t.Errorf("ended with %v", last)
				}
				<-done
				s := m.Stats()
				got := len(seen) + int(s.Dropped)
				want := frames
				switch {
				case o.KeysOnly:
					want = 3
				case o.FPS > 0:
					want = 20
				}
				if got != want || len(seen) == 0 || seen[0] != 0 {
					t.Errorf("%d frames, %d of them dropped, want %d: %v", got, s.Dropped, want, seen)
				}
			})
		}
	}
}

// TestWatchKeysAtOnce sees a key frame come out while nothing comes after it.
func TestWatchKeysAtOnce(t *testing.T) {
	for _, c := range codings {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hub := live.New()
			m := newMaker(t, playbacktest.New(), image.Options{Hub: hub})
			u := units(t, c.args)
			p := hub.Publish("front", []*fragments.Track{u[0].Track})
			defer p.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			p.Write(u[0])
			want := 0
			for f, err := range m.Watch(ctx, "front", image.WatchOptions{Width: 64, Height: 32, KeysOnly: true}) {
				if err != nil {
					t.Fatalf("waiting for frame %d: %v", want, err)
				}
				if n := shownBy(f); n != want {
					t.Fatalf("frame %d, want %d", n, want)
				}
				if want += c.keyEvery; want >= frames {
					return
				}
				p.Write(u[want])
			}
		})
	}
}

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

// TestWatchClock has the clock of the publisher set back by an hour: no frame is
// missing, and none comes twice.
func TestWatchClock(t *testing.T) {
	for _, c := range codings[:2] {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hub := live.New()
			m := newMaker(t, playbacktest.New(), image.Options{Hub: hub})
			u := units(t, c.args)
			for _, au := range u[50:] {
				au.Capture -= fragments.ProducerTimestamp(time.Hour)
			}
			done := publish(hub, u, 8*time.Millisecond)
			var seen []int
			for f, err := range m.Watch(context.Background(), "front", image.WatchOptions{Width: 64, Height: 32}) {
				if err != nil {
					continue
				}
				n := shownBy(f)
				if len(seen) > 0 && n <= seen[len(seen)-1] {
					t.Errorf("frame %d after %v", n, seen)
				}
				if f.Arrival.IsZero() || f.PTS%frameTime > time.Millisecond {
					t.Errorf("frame %d arrived %v, %v on its time line", n, f.Arrival, f.PTS)
				}
				seen = append(seen, n)
			}
			<-done
			if s := m.Stats(); len(seen)+int(s.Dropped) != frames {
				t.Errorf("%d frames, %d of them dropped: %v", len(seen)+int(s.Dropped), s.Dropped, seen)
			}
		})
	}
}

// TestWatchBefore begins with units that the hub has no longer.
func TestWatchBefore(t *testing.T) {
	u := units(t, plain)
	for _, tc := range []struct {
		name   string
		before []*fragments.AccessUnit
		frames int
	}{
		{"none", nil, 10},
		{"two groups", u[:90], 90},
		{"one group", u[40:90], 50},
		{"not from a key frame", u[20:90], 50},
		{"a hole", u[:60], 70},
		{"only what there is", u[80:90], 10},
		{"what comes later", u[81:90], 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			hub := live.New()
			m := newMaker(t, playbacktest.New(), image.Options{Hub: hub})
			p := hub.Publish("front", []*fragments.Track{u[0].Track})
			defer p.Close()
			for _, au := range u[:90] {
				p.Write(au)
			}
			n := 0
			for _, err := range m.Watch(context.Background(), "front", image.WatchOptions{Width: 64, Height: 32, Before: tc.before}) {
				if err == nil {
					n++
					p.Close() // it has begun
				}
			}
			if n += int(m.Stats().Dropped); n != tc.frames {
				t.Errorf("%d frames, want %d", n, tc.frames)
			}
		})
	}
}

// TestWatchRough leaves out what no frame refers to, where there is any.
func TestWatchRough(t *testing.T) {
	for _, c := range codings {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hub := live.New()
			m := newMaker(t, playbacktest.New(), image.Options{Hub: hub})
			done := publish(hub, units(t, c.args), 8*time.Millisecond)
			n, last := 0, -1
			for f, err := range m.Watch(context.Background(), "front", image.WatchOptions{Width: 64, Height: 32, Rough: true}) {
				if err != nil {
					continue
				}
				if shown := shownBy(f); shown <= last || f.Time.Sub(at(float64(shown))).Abs() > time.Millisecond {
					t.Errorf("frame %d after %d, said to be of %v", shown, last, f.Time)
				} else {
					last = shown
				}
				n++
			}
			<-done
			n += int(m.Stats().Dropped)
			t.Logf("%d of %d frames", n, frames)
			if n < frames/5 || c.name == "H264 B-frames" && n > frames*3/5 || c.name == "H264" && n != frames {
				t.Errorf("%d of %d frames", n, frames)
			}
		})
	}
}

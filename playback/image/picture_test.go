package image_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

const plain = "-c:v libx264 -preset veryfast -g 40 -bf 0 -sc_threshold 0"

func TestSizeFormatAndQuality(t *testing.T) {
	m := newMaker(t, record(t, plain), image.Options{})
	for _, c := range []struct {
		r             image.Request
		width, height int
	}{
		{image.Request{}, 128, 64},
		{image.Request{Width: 64}, 64, 32},
		{image.Request{Height: 16}, 32, 16},
		{image.Request{Width: 50, Height: 50}, 50, 50},
		{image.Request{Width: 31, Format: image.PNG}, 31, 16},
		{image.Request{Width: 256, Format: image.PNG}, 256, 128},
		{image.Request{Width: 4096}, 4096, 2048},
		{image.Request{Height: 4096}, 4096, 2048}, // no side is longer
	} {
		c.r.Time = at(40)
		p := picture(t, m, c.r)
		if p.Width != c.width || p.Height != c.height || p.Type != c.r.Format.Type() {
			t.Errorf("%+v: %d x %d, %s", c.r, p.Width, p.Height, p.Type)
		}
		if n := number(t, p); n != 40 {
			t.Errorf("%+v: frame %d", c.r, n)
		}
	}
	size := map[int]int{}
	colourful := newMaker(t, recordVideo(t, "-f lavfi -i testsrc2=size=320x180:rate=25:duration=1 "+plain), image.Options{})
	for _, q := range []int{1, 50, 100} {
		size[q] = len(picture(t, colourful, image.Request{Time: at(0), Quality: q}).Data)
	}
	if size[1] >= size[50] || size[50] >= size[100] {
		t.Errorf("bytes by quality: %v", size)
	}
	for _, r := range []image.Request{{Width: -1}, {Width: 4097}, {Height: 4097}, {Quality: 101}, {Quality: -1}} {
		var bad *playback.ParamError
		if _, err := m.Picture(context.Background(), "front", r); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// TestNothingThere asks beside what is recorded, and in a hole of it.
func TestNothingThere(t *testing.T) {
	a := record(t, plain) // 100 s to 104 s
	c := playbacktest.Cutter{Created: created, Start: 200 * time.Second, Number: fragments.Number{Epoch: 1}}
	for _, f := range c.Cut(t, encode(t, clock+plain)) {
		f.AddTo(a, "front")
	}
	a.Create("empty", created)
	m := newMaker(t, a, image.Options{})
	second := func(s float64) time.Time { return created.Add(time.Duration(s * 1e9)) }
	for _, c := range []struct {
		asked, nearest float64 // seconds
	}{{99.9, 100}, {0, 100}, {105, 103.999}, {140, 103.999}, {190, 200}, {204.6, 203.999}, {100_000, 203.999}} {
		for _, exact := range []bool{false, true} {
			_, err := m.Picture(context.Background(), "front", image.Request{Time: second(c.asked), Exact: exact})
			var none *image.NothingError
			if !errors.As(err, &none) || none.Nearest.Sub(second(c.nearest)).Abs() > time.Microsecond {
				t.Errorf("%v s: %v, want %v s to be the nearest", c.asked, err, c.nearest)
				continue
			}
			picture(t, m, image.Request{Time: none.Nearest, Exact: exact})
		}
	}
	// A frame is held for a moment: time stamps have small holes.
	if n := number(t, picture(t, m, image.Request{Time: second(104.3), Exact: true})); n != 99 {
		t.Errorf("frame %d is held, want 99", n)
	}
	if _, err := m.Picture(context.Background(), "nobody", image.Request{}); !errors.Is(err, archive.ErrNoStream) {
		t.Errorf("no stream: %v", err)
	}
	var none *image.NothingError
	if _, err := m.Picture(context.Background(), "empty", image.Request{}); !errors.As(err, &none) {
		t.Errorf("an empty stream: %v", err)
	}
}

func TestNewest(t *testing.T) {
	for _, c := range codings {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hub := live.New()
			a := playbacktest.New()
			m := newMaker(t, a, image.Options{Hub: hub})
			u := units(t, c.args)
			p := hub.Publish("front", []*fragments.Track{u[0].Track})
			newest := func(exact bool) *image.Picture {
				return picture(t, m, image.Request{Exact: exact})
			}
			go p.Write(u[0]) // the first key frame is waited for
			if n := number(t, newest(false)); n != 0 {
				t.Errorf("frame %d, want 0", n)
			}
			top := 0
			for i, au := range u[1:70] {
				p.Write(au)
				if n := int(au.Capture.Time().Sub(at(0))+time.Millisecond) / int(frameTime); n > top {
					top = n
				}
				if i == 20 || i == 55 {
					if n := number(t, newest(true)); n != top {
						t.Errorf("frame %d, want %d", n, top)
					}
				}
			}
			got := newest(false)
			if n := number(t, got); n != 40 || !got.Key || !got.Fragment.IsZero() || got.Time.Sub(at(40)).Abs() > time.Millisecond {
				t.Errorf("frame %d, %v, %v", n, got.Time, got.Fragment)
			}
			p.Close()
			if _, err := m.Picture(context.Background(), "front", image.Request{}); !errors.Is(err, archive.ErrNoStream) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// wakerFunc is an image.Waker.
type wakerFunc func(ctx context.Context, name fragments.StreamName) error

func (f wakerFunc) Wake(ctx context.Context, name fragments.StreamName) error { return f(ctx, name) }

// The newest picture of a camera on demand is one that it makes now, whatever is
// recorded of it; when it cannot be reached it is the last that is recorded.
func TestNewestWakes(t *testing.T) {
	hub, a := live.New(), record(t, plain)
	u := units(t, plain)
	a.Create("new", created)
	m := newMaker(t, a, image.Options{Hub: hub, Waker: wakerFunc(func(_ context.Context, name fragments.StreamName) error {
		if _, err := hub.Live(name); err == nil {
			return nil
		}
		p := hub.Publish(name, []*fragments.Track{u[0].Track})
		go func() {
			time.Sleep(20 * time.Millisecond) // its first key frame comes later
			p.Write(u[0])
		}()
		t.Cleanup(p.Close)
		return nil
	})})
	for range 2 { // the second is live
		if got := picture(t, m, image.Request{}); number(t, got) != 0 || !got.Fragment.IsZero() {
			t.Errorf("frame %d of fragment %v, want the live one", number(t, got), got.Fragment)
		}
	}
	if got := picture(t, m, image.Request{Time: at(50)}); got.Fragment.IsZero() {
		t.Error("a picture of the past is a live one")
	}
	m2 := newMaker(t, a, image.Options{Hub: live.New(), Waker: wakerFunc(func(context.Context, fragments.StreamName) error { return errors.New("camera: no route to host") })})
	if got := picture(t, m2, image.Request{}); got.Fragment.IsZero() {
		t.Error("a camera that cannot be reached: no recorded picture")
	}
	var asleep *image.AsleepError
	if _, err := m2.Picture(context.Background(), "new", image.Request{}); !errors.As(err, &asleep) || !strings.Contains(err.Error(), "no route to host") {
		t.Errorf("nothing is recorded: %v", err)
	}
}

func TestPicturesAreMadeOnce(t *testing.T) {
	a := record(t, plain)
	m := newMaker(t, a, image.Options{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if n := number(t, picture(t, m, image.Request{Time: at(50)})); n != 40 {
				t.Errorf("frame %d", n)
			}
		})
	}
	all.Wait()
	if s := m.Stats(); s.Pictures != 1 || s.Cached+s.Joined != 19 {
		t.Errorf("20 requests: %+v", s)
	}
	a.Delete("front", 2) // and with it the picture
	var none *image.NothingError
	if _, err := m.Picture(context.Background(), "front", image.Request{Time: at(50)}); !errors.As(err, &none) {
		t.Errorf("of a deleted fragment: %v", err)
	}
	small := newMaker(t, record(t, plain), image.Options{CacheBytes: 8000})
	for i := range 8 {
		picture(t, small, image.Request{Time: at(40), Quality: 80 + i})
	}
	if s := small.Stats(); s.CacheSize == 0 || s.CacheSize > 8000 {
		t.Errorf("a cache of 8000 bytes has %d", s.CacheSize)
	}
}

// TestOneBadFragment damages the second of three groups of pictures.
func TestOneBadFragment(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Start: start}
	for i, f := range c.Cut(t, encode(t, clock+plain)) {
		if i == 1 {
			run := &f.Entry.Runs[0]
			end := len(f.Data)
			for k := end - int(run.Size) + 300; k < end; k++ {
				f.Data[k] = 0xa5
			}
		}
		f.AddTo(a, "front")
	}
	m := newMaker(t, a, image.Options{})
	for _, exact := range []bool{true, false} {
		var bad *image.DecodeError
		if _, err := m.Picture(context.Background(), "front", image.Request{Time: at(45), Exact: exact}); !errors.As(err, &bad) || bad.Reason == "" {
			t.Errorf("of the damaged one: %v", err)
		}
		var got, failed int
		for p, err := range m.Pictures(context.Background(), "front", playback.Range{Start: at(-50), End: at(frames)}, 10*frameTime, image.Request{Exact: exact}) {
			var instant *image.InstantError
			switch {
			case errors.As(err, &instant):
				failed++
			case err != nil:
				t.Fatal(err)
			default:
				got++
				if n := number(t, p); n >= 40 && n < 80 {
					t.Errorf("a picture of frame %d, which is damaged", n)
				}
			}
		}
		if got != 6 || failed != 9 {
			t.Errorf("%d pictures, %d instants without one, want 6 and 9", got, failed)
		}
	}
}

func TestLoopsCanBeLeft(t *testing.T) {
	m := newMaker(t, record(t, plain), image.Options{})
	for _, err := range m.Pictures(context.Background(), "front", playback.Range{Start: at(0), End: at(frames)}, frameTime, image.Request{}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if n := m.Stats().Pictures; n > 16 {
		t.Errorf("%d pictures for one", n)
	}
	for p, err := range m.Moments(context.Background(), "front", playback.Range{Start: at(0), End: at(frames)}, 50*frameTime, image.Request{Exact: true}) {
		if err != nil || p.Data != nil || !p.Time.Equal(p.Asked) {
			t.Errorf("%+v, %v", p, err)
		}
	}
}

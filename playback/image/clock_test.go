package image_test

import (
	"bytes"
	"context"
	"fmt"
	stdimage "image"
	"image/color"
	_ "image/jpeg"
	_ "image/png"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

var created = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

// clock is video in which every frame shows its number: the left half is as
// bright as its units say, the right half as its tens.
const clock = "-f lavfi -i nullsrc=size=128x64:rate=25:duration=4,geq=lum='if(lt(X,W/2),30+20*mod(N,10),30+20*floor(N/10))':cb=128:cr=128,format=yuv420p "

const (
	frameTime = 40 * time.Millisecond
	frames    = 100
	start     = 100 * time.Second // of the video, since the creation
)

// codings are the codings of the clock. Key frames are every keyEvery frames.
var codings = []struct {
	name, args string
	keyEvery   int
}{
	{"H264", "-c:v libx264 -preset veryfast -g 40 -bf 0 -sc_threshold 0", 40},
	{"H264 B-frames", "-c:v libx264 -preset veryfast -g 40 -bf 3 -b_strategy 0 -sc_threshold 0", 40},
	{"H265", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=40:min-keyint=40:scenecut=0:bframes=3:open-gop=0 -tag:v hvc1", 40},
	{"VP9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 40", 40},
	{"AV1", "-c:v libsvtav1 -preset 12 -g 40", 40},
	{"VP8", "-c:v libvpx -deadline realtime -cpu-used 8 -g 40", 40},
}

var media = struct {
	sync.Mutex
	encoded map[string]playbacktest.Media
}{encoded: map[string]playbacktest.Media{}}

// encode encodes once for all tests.
func encode(tb testing.TB, args string) playbacktest.Media {
	tb.Helper()
	media.Lock()
	defer media.Unlock()
	m, ok := media.encoded[args]
	if !ok {
		m = playbacktest.Encode(tb, 1, args)
		media.encoded[args] = m
	}
	return m
}

// record is an archive with one stream, "front", that has the clock from start on.
func record(tb testing.TB, args string) *playbacktest.Archive {
	tb.Helper()
	return recordVideo(tb, clock+args)
}

func recordVideo(tb testing.TB, args string) *playbacktest.Archive {
	tb.Helper()
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Start: start, Lag: time.Hour}
	for _, f := range c.Cut(tb, encode(tb, args)) {
		f.AddTo(a, "front")
	}
	return a
}

func newMaker(tb testing.TB, a image.Archive, o image.Options) *image.Maker {
	tb.Helper()
	m, err := image.New(a, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

// at is the instant at which a frame appears; it may be in between.
func at(n float64) time.Time {
	return created.Add(start + time.Duration(math.Round(n*float64(frameTime))))
}

// number reads the number of the frame that a picture shows.
func number(tb testing.TB, p *image.Picture) int {
	tb.Helper()
	img, format, err := stdimage.Decode(bytes.NewReader(p.Data))
	if err != nil {
		tb.Fatal(err)
	}
	if "image/"+format != p.Type || img.Bounds().Dx() != p.Width || img.Bounds().Dy() != p.Height {
		tb.Errorf("a picture of %v in %s is said to be %d x %d in %s", img.Bounds(), format, p.Width, p.Height, p.Type)
	}
	digit := func(from, to float64) int {
		sum, n := 0.0, 0.0
		for y := p.Height / 4; y < p.Height*3/4; y++ {
			for x := int(from * float64(p.Width)); x < int(to*float64(p.Width)); x++ {
				sum += float64(color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y)
				n++
			}
		}
		return digitOf(sum/n, true)
	}
	return digit(0.1, 0.4) + 10*digit(0.6, 0.9)
}

// digitOf reads a digit off its brightness, which is of full range or as in
// the video.
func digitOf(mean float64, full bool) int {
	if full {
		mean = mean*219/255 + 16
	}
	return int(math.Round((mean - 30) / 20))
}

func picture(tb testing.TB, m *image.Maker, r image.Request) *image.Picture {
	tb.Helper()
	p, err := m.Picture(context.Background(), "front", r)
	if err != nil {
		tb.Fatalf("%+v: %v", r, err)
	}
	return p
}

// TestRightFrame asks for every frame, and for instants between frames.
func TestRightFrame(t *testing.T) {
	for _, c := range codings {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMaker(t, record(t, c.args), image.Options{})
			for _, exact := range []bool{true, false} {
				n := 0
				r := image.Request{Exact: exact, Format: image.PNG}
				for p, err := range m.Pictures(context.Background(), "front", playback.Range{Start: at(0.25), End: at(frames)}, frameTime, r) {
					if err != nil {
						t.Fatal(err)
					}
					want := n
					if !exact {
						want -= n % c.keyEvery
					}
					check(t, fmt.Sprintf("exact %v, frame %d", exact, n), p, want, c.keyEvery)
					if !p.Asked.Equal(at(float64(n) + 0.25)) {
						t.Errorf("asked for %v, want %v", p.Asked, at(float64(n)+0.25))
					}
					n++
				}
				if n != frames {
					t.Errorf("%d pictures, want %d", n, frames)
				}
			}
			for _, want := range []float64{0, 0.97, 39.97, 43, 99.9} {
				p := picture(t, m, image.Request{Time: at(want), Exact: true})
				check(t, fmt.Sprintf("alone, %v", want), p, int(want), c.keyEvery)
			}
			for _, want := range []int{0, 40, 43, 80} { // its time, cut to milliseconds
				p := picture(t, m, image.Request{Time: at(float64(want)).Add(-900 * time.Microsecond), Exact: true})
				check(t, fmt.Sprintf("cut, %v", want), p, want, c.keyEvery)
				p = picture(t, m, image.Request{Time: at(float64(want)).Add(-900 * time.Microsecond)})
				check(t, fmt.Sprintf("cut, key frame before %v", want), p, want-want%c.keyEvery, c.keyEvery)
			}
			p := picture(t, m, image.Request{Time: at(77).Add(time.Hour), Clock: fragments.ByServer})
			check(t, "by server time", p, 77-77%c.keyEvery, c.keyEvery)
		})
	}
}

func check(t *testing.T, what string, p *image.Picture, want, keyEvery int) {
	t.Helper()
	if got := number(t, p); got != want {
		t.Errorf("%s: a picture of frame %d, want %d", what, got, want)
	}
	if d := p.Time.Sub(at(float64(want))); d.Abs() > time.Millisecond {
		t.Errorf("%s: it is said to be of %v, want %v", what, p.Time, at(float64(want)))
	}
	if d := p.Server.Sub(p.Time); d != time.Hour {
		t.Errorf("%s: arrived %v after it was filmed, want an hour", what, d)
	}
	if p.Key != (want%keyEvery == 0) || p.Fragment.IsZero() {
		t.Errorf("%s: key %v, fragment %v", what, p.Key, p.Fragment)
	}
}

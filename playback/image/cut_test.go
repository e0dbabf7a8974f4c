package image_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

// cutter records what a Fragmenter cuts.
type cutter struct {
	archive *playbacktest.Archive
	n       uint64
	at      int64
}

func (c *cutter) Begin(f *fragments.Fragment) {
	c.n++
	f.Number = fragments.Number{Epoch: 1, Counter: c.n}
}

func (*cutter) Part(*fragments.Fragment, *fragments.Part) {}

func (c *cutter) End(f *fragments.Fragment) {
	e := &archive.Entry{
		Number: f.Number, Producer: f.Producer, Server: f.Server, Duration: f.Duration, Dependent: f.Dependent,
		Discontinuity: f.Discontinuity, Object: "one", Offset: c.at,
	}
	var data []byte
	var tracks []*fragments.Track
	for _, r := range f.Runs {
		run := archive.EntryRun{
			Track: r.Track.ID, Config: r.Track.Hash(), Kind: r.Track.Kind(), TimeScale: r.Track.TimeScale,
			DecodeTime: r.DecodeTime, Duration: r.Duration, Samples: r.Samples, Offset: c.at + int64(len(data)),
		}
		for _, p := range r.Parts {
			data = append(data, p.Data...)
		}
		run.Size = c.at + int64(len(data)) - run.Offset
		e.Runs = append(e.Runs, run)
		tracks = append(tracks, r.Track)
	}
	e.Size = int64(len(data))
	c.at += e.Size
	c.archive.Add("front", e, data, tracks...)
}

// recordLive records units as the server does.
func recordLive(u []*fragments.AccessUnit, o fragments.FragmenterOptions) *playbacktest.Archive {
	a := playbacktest.New()
	a.Create("front", created)
	o.Created, o.Encode = created, func(t *fragments.Track, sequence uint32, decodeTime int64, samples []fragments.Sample) []byte {
		return cmaf.AppendPart(nil, t, sequence, decodeTime, samples)
	}
	f := fragments.NewFragmenter([]*fragments.Track{u[0].Track}, o, &cutter{archive: a})
	for _, au := range u {
		arrived := *au
		arrived.Arrival = fragments.ServerTime(au.Capture.Time().Add(time.Hour))
		f.Push(&arrived)
	}
	f.Flush()
	return a
}

// TestAsRecorded asks for frames of what the server cuts: also where there is
// no key frame, and where frames that are shown before one are stored after it.
func TestAsRecorded(t *testing.T) {
	for _, c := range []struct {
		name, args string
		dependent  int
	}{
		{"no B-frames", "-c:v libx264 -preset veryfast -g 100 -bf 0 -sc_threshold 0", 100},
		{"B-frames", "-c:v libx264 -preset veryfast -g 100 -bf 3 -sc_threshold 0", 100},
		{"open groups", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=40:min-keyint=40:scenecut=0:bframes=3:open-gop=1 -tag:v hvc1", 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := units(t, c.args)
			a := recordLive(u, fragments.FragmenterOptions{MaxDuration: time.Second})
			m := newMaker(t, a, image.Options{})
			var keys []int
			for _, au := range u {
				if au.Key {
					keys = append(keys, int(au.Capture.Time().Sub(at(0))+time.Millisecond)/int(frameTime))
				}
			}
			n := -1
			span := playback.Range{Start: at(0.5), End: at(frames)}
			for p, err := range m.Pictures(context.Background(), "front", span, frameTime, image.Request{Exact: true, Width: 64}) {
				if n++; err != nil {
					t.Fatal(err)
				}
				if got := number(t, p); got != n || p.Time.Sub(at(float64(n))).Abs() > time.Millisecond {
					t.Errorf("exact %d: a picture of frame %d, said to be of frame %v", n, got, float64(p.Time.Sub(at(0)))/float64(frameTime))
				}
			}
			for _, n := range []int{38, 39, 79} { // alone: nothing was decoded before
				if p := picture(t, m, image.Request{Time: at(float64(n)), Exact: true}); number(t, p) != n {
					t.Errorf("%d alone: a picture of frame %d, said to be of %v", n, number(t, p), p.Time)
				}
			}
			for _, n := range []int{0, 24, 26, 41, 99} {
				want := 0
				for _, k := range keys {
					if k <= n {
						want = k
					}
				}
				p := picture(t, m, image.Request{Time: at(float64(n) + 0.5)})
				if got := number(t, p); got != want || !p.Key || p.Time.Sub(at(float64(want))).Abs() > time.Millisecond {
					t.Errorf("key frame before %d: a picture of frame %d, said to be of %v", n, got, p.Time)
				}
			}
			a.Delete("front", 1)
			if c.dependent == 100 { // it had the only key frame
				var bad *image.DecodeError
				if _, err := m.Picture(context.Background(), "front", image.Request{Time: at(60)}); !errors.As(err, &bad) {
					t.Error(fmt.Errorf("without a key frame: %w", err))
				}
			}
		})
	}
}

// TestSecondVideo has two tracks of video whose key frames are not together.
func TestSecondVideo(t *testing.T) {
	first := encode(t, clock+plain)
	second := playbacktest.Encode(t, 2, clock+"-c:v libx264 -preset veryfast -g 70 -bf 0 -sc_threshold 0")
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Start: start}
	for _, f := range c.Cut(t, first, second) {
		f.AddTo(a, "front")
	}
	m := newMaker(t, a, image.Options{})
	for _, n := range []int{0, 45, 85} {
		for video, every := range map[int]int{0: 40, 1: 40, 2: 70} {
			p := picture(t, m, image.Request{Time: at(float64(n)), Exact: true, Video: video})
			if got := number(t, p); got != n || p.Time.Sub(at(float64(n))).Abs() > time.Millisecond {
				t.Errorf("track %d, frame %d: frame %d, said to be of %v", video, n, got, p.Time)
			}
			p = picture(t, m, image.Request{Time: at(float64(n)), Video: video})
			if got := number(t, p); got != n-n%every || p.Time.Sub(at(float64(n-n%every))).Abs() > time.Millisecond {
				t.Errorf("track %d, key frame before %d: frame %d, said to be of %v", video, n, got, p.Time)
			}
		}
	}
	var none *image.NoVideoError
	if _, err := m.Picture(context.Background(), "front", image.Request{Time: at(40), Video: 3}); !errors.As(err, &none) || none.Video != 3 {
		t.Errorf("a track that is not there: %v", err)
	}
}

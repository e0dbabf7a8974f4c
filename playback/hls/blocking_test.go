package hls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	memory "github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

// publisher tells a script of a stream that is being published.
func publisher(t *testing.T, lines ...string) *script {
	t.Helper()
	s := newScript(t)
	for i, line := range append([]string{
		"stream front 2026-11-23T14:00:00Z", "track v 1 H264 640x360", "track a 2 AAC 48000 2", "publish",
	}, lines...) {
		s.command("script", i, line)
	}
	return s
}

// TestBlockingReload asks for a playlist, or a part, that is not there yet. Four
// fragments are: numbers 10 to 13; two parts of 14 are as well.
func TestBlockingReload(t *testing.T) {
	for _, c := range []struct {
		name, path string
		then       []string // a line each second
		waits      time.Duration
		want       error
	}{
		{"there", "live-1.m3u8?_HLS_msn=13", nil, 0, nil},
		{"long gone", "live-1.m3u8?_HLS_msn=2&_HLS_part=3", nil, 0, nil},
		{"a part that is there", "live-1.m3u8?_HLS_msn=14&_HLS_part=1", nil, 0, nil},
		{"the next part", "live-1.m3u8?_HLS_msn=14&_HLS_part=2", []string{"part -v", "part -a"}, 2 * time.Second, nil},
		{"the next part of the sound", "live-2.m3u8?_HLS_msn=14&_HLS_part=2", []string{"part -a", "part -v"}, 2 * time.Second, nil},
		{"the part after", "live-1.m3u8?_HLS_msn=14&_HLS_part=3", []string{"part", "part"}, 2 * time.Second, nil},
		{"the whole segment", "live-1.m3u8?_HLS_msn=14", []string{"part", "end", "begin"}, 3 * time.Second, nil},
		{"a part behind the last of its segment", "live-1.m3u8?_HLS_msn=13&_HLS_part=5", nil, 0, nil},
		{"a part that the open segment will not have", "live-1.m3u8?_HLS_msn=14&_HLS_part=5", []string{"end", "begin", "part"}, 3 * time.Second, nil},
		{"a part of the next segment", "live-1.m3u8?_HLS_msn=15&_HLS_part=0", []string{"end", "begin", "part"}, 3 * time.Second, nil},
		{"the sound is gone", "live-2.m3u8?_HLS_msn=14&_HLS_part=2", []string{"end", "begin", "part x=5 -a", "end", "begin"}, 5 * time.Second, nil},
		{"nothing comes", "live-1.m3u8?_HLS_msn=14&_HLS_part=2", nil, 6 * time.Second, hls.ErrLate},
		{"the publisher goes", "live-1.m3u8?_HLS_msn=15", []string{"part", "leave"}, 2 * time.Second, nil},
		{"too far", "live-1.m3u8?_HLS_msn=16", nil, 0, &playback.ParamError{}},
		{"too many parts", "live-1.m3u8?_HLS_msn=14&_HLS_part=17", nil, 0, &playback.ParamError{}},
		{"as many parts as may be asked for", "live-1.m3u8?_HLS_msn=14&_HLS_part=16", []string{"end", "begin", "part"}, 3 * time.Second, nil},

		{"a part", "mwtc1q80/1-1-5-p1.m4s", nil, 0, nil},
		{"the hinted part", "mwtc1q80/1-1-5-p2.m4s", []string{"part -v", "part -a"}, 2 * time.Second, nil},
		{"a hinted part that does not come", "mwtc1q80/1-1-5-p2.m4s", []string{"end", "begin"}, 2 * time.Second, archive.ErrNoFragment},
		{"a hint when nothing comes", "mwtc1q80/1-1-5-p2.m4s", nil, 10 * time.Second, hls.ErrLate},
		{"a part nobody spoke of", "mwtc1q80/1-1-5-p3.m4s", nil, 0, archive.ErrNoFragment},
		{"a part of a fragment nobody has", "mwtc1q80/1-1-9-p0.m4s", nil, 0, archive.ErrNoFragment},
		{"a part of a track nobody has", "mwtc1q80/7-1-3-p0.m4s", nil, 0, archive.ErrNoFragment},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := publisher(t, "live 4", "shown 3", "begin", "part x=2")
				var told sync.WaitGroup
				begin := time.Now()
				told.Go(func() {
					for i, line := range c.then {
						time.Sleep(time.Second)
						s.command("then", i, line)
					}
				})
				r, _ := ask(t, s.packager, "front", c.path)
				var err error
				if r.Kind == hls.Media {
					_, err = s.packager.List(t.Context(), "front", r)
				} else {
					_, err = s.packager.Content(t.Context(), "front", r)
				}
				waited := time.Since(begin)
				var param *playback.ParamError
				if _, wantsParam := c.want.(*playback.ParamError); wantsParam && errors.As(err, &param) {
					err, c.want = nil, nil
				}
				if !errors.Is(err, c.want) {
					// What is not media cannot be made to play, which does not matter here.
					var format *cmaf.FormatError
					if !errors.As(err, &format) || c.want != nil {
						t.Errorf("error %v, want %v", err, c.want)
					}
				}
				if waited != c.waits {
					t.Errorf("answered after %v, want %v", waited, c.waits)
				}
				told.Wait()
				s.live.pub.Close()
			})
		})
	}
}

// A viewer who goes away lets go at once.
func TestBlockedViewerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publisher(t, "live 4", "begin")
		for _, path := range []string{"live-1.m3u8?_HLS_msn=14&_HLS_part=0", "mwtc1q80/1-1-5-p0.m4s"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r, _ := ask(t, s.packager, "front", path)
			var err error
			if r.Kind == hls.Media {
				_, err = s.packager.List(ctx, "front", r)
			} else {
				_, err = s.packager.Content(ctx, "front", r)
			}
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", path, err)
			}
		}
		s.live.pub.Close()
	})
}

// All who wait for a playlist get the same one, written and compressed once.
func TestViewersShareAPlaylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publisher(t, "live 30", "begin", "part")
		lists := make([]*hls.List, 50)
		var all sync.WaitGroup
		for i := range lists {
			all.Go(func() {
				r, _ := ask(t, s.packager, "front", "live-1.m3u8?_HLS_msn=40&_HLS_part=1")
				var err error
				if lists[i], err = s.packager.List(t.Context(), "front", r); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		s.command("then", 0, "part")
		all.Wait()
		for _, l := range lists {
			if l != lists[0] {
				t.Fatal("a playlist was written twice")
			}
		}
		if zipped := lists[0].Gzip(); &zipped[0] != &lists[1].Gzip()[0] || len(zipped) >= len(lists[0].Text) {
			t.Error("a playlist was compressed twice")
		}
		s.live.pub.Close()
	})
}

// TestPartsAreTheSegment plays what ffmpeg encodes from memory and from the
// archive: a segment has the same bytes from both, and its parts are stretches
// of it.
func TestPartsAreTheSegment(t *testing.T) {
	const rate = "-f lavfi -i testsrc2=size=160x90:rate=25:duration=4 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -keyint_min 25 "
	phone := &fragments.Track{ID: 2, Codec: fragments.PCMA, TimeScale: 8000, SampleRate: 8000, Channels: 1}
	for _, c := range []struct {
		name  string
		media []playbacktest.Media
	}{
		{"no B-frames", []playbacktest.Media{playbacktest.Encode(t, 1, rate+"-bf 0")}},
		{"B-frames", []playbacktest.Media{playbacktest.Encode(t, 1, rate+"-bf 2")}},
		{"G.711", []playbacktest.Media{
			playbacktest.Encode(t, 1, rate+"-bf 0"),
			playbacktest.EncodeRaw(t, phone, "-f lavfi -i sine=frequency=440:sample_rate=8000:duration=4 -ar 8000 -ac 1"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := playbacktest.New()
			a.Create("front", created)
			hub := memory.New()
			both := newPackager(t, a, hls.Options{Hub: hub})
			alone := newPackager(t, a, hls.Options{})
			cut := &recorded{pub: hub.Publish("front", trackOf(c.media))}
			playCut(cut, created, c.media)
			sink := &slowSink{a: a}
			for _, f := range cut.closed {
				if err := sink.Commit(t.Context(), fragments.Lease{Stream: "front"}, f); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range cut.closed[1:] { // decode times of the first begin before the creation
				for _, run := range f.Runs {
					name := fmt.Sprintf("mwtc1q80/%d-%d-%d", run.Track.ID, f.Number.Epoch, f.Number.Counter)
					get := func(p *hls.Packager, path string) *hls.Content {
						r, _ := ask(t, p, "front", path)
						got, err := p.Content(t.Context(), "front", r)
						if err != nil {
							t.Fatalf("%s: %v", path, err)
						}
						return got
					}
					fromMemory, archived := get(both, name+".m4s"), get(alone, name+".m4s")
					if fromMemory.ETag != archived.ETag || fromMemory.Type != archived.Type || !bytes.Equal(fromMemory.Data, archived.Data) {
						t.Errorf("%s differs between memory and archive", name)
					}
					for _, p := range []*hls.Packager{both, alone} {
						var parts []byte
						for k := range run.Parts {
							parts = append(parts, get(p, fmt.Sprintf("%s-p%d.m4s", name, k)).Data...)
						}
						if !bytes.Equal(parts, archived.Data) {
							t.Errorf("the parts of %s are not the segment", name)
						}
					}
					first := get(both, name+"-p0.m4s")
					if again := get(both, name+"-p0.m4s"); !bytes.Equal(first.Data, again.Data) {
						t.Errorf("a part of %s changes", name)
					}
				}
			}
		})
	}
}

// recorded keeps what is cut, and shows it live.
type recorded struct {
	pub    *memory.Publisher
	number uint64
	closed []*fragments.Fragment
}

func (r *recorded) Begin(f *fragments.Fragment) {
	r.number++
	f.Number = fragments.Number{Epoch: 1, Counter: r.number}
	r.pub.Begin(f)
}

func (r *recorded) Part(f *fragments.Fragment, p *fragments.Part) { r.pub.Part(f, p) }

func (r *recorded) End(f *fragments.Fragment) {
	r.pub.End(f)
	r.closed = append(r.closed, f)
}

func trackOf(media []playbacktest.Media) (tracks []*fragments.Track) {
	for _, m := range media {
		tracks = append(tracks, m.Track)
	}
	return tracks
}

// playCut cuts media that begins ten seconds after the creation.
func playCut(to fragments.Cutter, created time.Time, media []playbacktest.Media) {
	cut := fragments.NewFragmenter(trackOf(media), fragments.FragmenterOptions{
		Created: created,
		Encode: func(t *fragments.Track, sequence uint32, decodeTime int64, samples []fragments.Sample) []byte {
			return cmaf.AppendPart(nil, t, sequence, decodeTime, samples)
		},
	}, to)
	var units []*fragments.AccessUnit
	for _, m := range media {
		at := int64(0)
		for _, x := range m.Samples {
			pts := at + int64(x.Offset)
			when := func(ticks int64) time.Time {
				return created.Add(10*time.Second + time.Duration(ticks*int64(time.Second)/int64(m.Track.TimeScale)))
			}
			units = append(units, &fragments.AccessUnit{
				Track: m.Track, PTS: pts, DTS: at, Duration: int64(x.Duration), Key: x.Key, Payload: x.Payload,
				Capture: fragments.ProducerTime(when(pts)), Arrival: fragments.ServerTime(when(at)), Source: fragments.FromReport,
			})
			at += int64(x.Duration)
		}
	}
	slices.SortStableFunc(units, func(a, b *fragments.AccessUnit) int { return int(a.Arrival - b.Arrival) })
	for _, u := range units {
		cut.Push(u)
	}
	cut.Flush()
}

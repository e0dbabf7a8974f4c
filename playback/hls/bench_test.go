package hls_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

// A day of 2 s fragments, video and audio.
const day = 43_200

// BenchmarkDayFirst makes the multivariant playlist of a day nobody has asked
// for before: the whole index of the day is read.
func BenchmarkDayFirst(b *testing.B) {
	a := playbacktest.New()
	a.Create("front", created)
	add(a, "front", 0, day)
	r := hls.Request{Kind: hls.Multivariant, Range: playback.Range{Start: created, End: created.Add(24 * time.Hour)}}
	b.ReportAllocs()
	for b.Loop() {
		p := newPackager(b, a, hls.Options{})
		if _, err := p.Playlist(context.Background(), "front", r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDay makes the media playlist of a day.
func BenchmarkDay(b *testing.B) {
	a := playbacktest.New()
	a.Create("front", created)
	add(a, "front", 0, day)
	p := newPackager(b, a, hls.Options{})
	r := hls.Request{Kind: hls.Media, Track: 1, Range: playback.Range{Start: created, End: created.Add(24 * time.Hour)}}
	b.ReportAllocs()
	for b.Loop() {
		list, err := p.Playlist(context.Background(), "front", r)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(list)))
	}
}

// BenchmarkLiveReload is what each viewer asks every two seconds: ten minutes,
// with a new fragment at the end.
func BenchmarkLiveReload(b *testing.B) {
	a := playbacktest.New()
	a.Create("front", created)
	add(a, "front", 0, 300)
	p := newPackager(b, a, hls.Options{MaxWindow: 10 * time.Minute})
	b.ReportAllocs()
	for i := 300; b.Loop(); i++ {
		b.StopTimer()
		add(a, "front", i, 1)
		a.Delete("front", 1)
		b.StartTimer()
		list, err := p.Playlist(context.Background(), "front", live(1))
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(list)))
	}
}

// liveStream is a stream of 600 archived fragments of a second that goes on live,
// part by part.
func liveStream(b *testing.B) (s *script, part func()) {
	b.Helper()
	s = newScript(b)
	for i, line := range []string{
		"stream front 2026-11-23T14:00:00Z", "track v 1 H264 640x360", "track a 2 AAC 48000 2", "publish", "live 600", "shown", "live 8", "shown", "begin",
	} {
		s.command("bench", i, line)
	}
	n := 0
	return s, func() {
		if n == 5 {
			s.end()
			s.liveCommand([]string{"shown"})
			s.begin(nil)
			n = 0
		}
		n++
		s.part(nil)
	}
}

// BenchmarkLiveEdge writes the playlist of ten minutes anew for each part, whole
// and as what players have not seen yet.
func BenchmarkLiveEdge(b *testing.B) {
	for _, c := range []struct{ name, query string }{{"whole", ""}, {"delta", "?_HLS_skip=YES"}} {
		b.Run(c.name, func(b *testing.B) {
			s, part := liveStream(b)
			r, _ := ask(b, s.packager, "front", "live-1.m3u8"+c.query)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				part()
				b.StartTimer()
				list, err := s.packager.List(b.Context(), "front", r)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(list.Text)))
			}
		})
	}
}

// BenchmarkRelease lets 500 viewers wait for a part, and measures from the part
// to the last of them having its playlist, compressed.
func BenchmarkRelease(b *testing.B) {
	const viewers = 500
	s, part := liveStream(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r, _ := ask(b, s.packager, "front", "live-1.m3u8?_HLS_skip=YES")
		list, err := s.packager.List(b.Context(), "front", r)
		if err != nil {
			b.Fatal(err)
		}
		e := parseEdge(b, list.Text)
		r, _ = ask(b, s.packager, "front", fmt.Sprintf("live-1.m3u8?_HLS_skip=YES&_HLS_msn=%d&_HLS_part=%d", e.msn, e.part+1))
		var ready, done sync.WaitGroup
		ready.Add(viewers)
		for range viewers {
			done.Go(func() {
				ready.Done()
				list, err := s.packager.List(b.Context(), "front", r)
				if err != nil {
					b.Error(err)
					return
				}
				list.Gzip()
			})
		}
		ready.Wait()
		time.Sleep(20 * time.Millisecond) // all of them wait by now
		b.StartTimer()
		part()
		done.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/viewers, "µs/viewer")
}

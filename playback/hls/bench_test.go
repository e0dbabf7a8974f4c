package hls_test

import (
	"context"
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

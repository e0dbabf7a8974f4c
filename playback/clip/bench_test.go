package clip_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

// hour is an hour of a camera, in an archive and as a range.
func hour(b *testing.B) *playbacktest.Archive {
	a := playbacktest.New()
	a.Create("front", created)
	v, s := encode(b, 1, picture+"2"), encode(b, 2, sound+"-c:a aac")
	c := playbacktest.Cutter{Created: created, Start: time.Second}
	for c.Start < time.Hour {
		record(a, c.Cut(b, v, s))
	}
	return a
}

// BenchmarkLayout lays out an hour, 25 frames of video and 47 of audio a second.
func BenchmarkLayout(b *testing.B) {
	a := hour(b)
	b.ReportAllocs()
	for b.Loop() {
		m, err := clip.New(a, clip.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.Clip(context.Background(), "front", span(1, 3600)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads the clip of an hour.
func BenchmarkRead(b *testing.B) {
	c := cut(b, hour(b), 1, 3600)
	b.SetBytes(c.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.Copy(io.Discard, c.Open(context.Background())); err != nil {
			b.Fatal(err)
		}
	}
}

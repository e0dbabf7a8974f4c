package clip_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

func TestLayoutIsMadeOnce(t *testing.T) {
	a := camera(t, 0)
	m, err := clip.New(a, clip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var tags sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c, err := m.Clip(context.Background(), "front", span(100, 106))
			if err != nil {
				t.Error(err)
				return
			}
			tags.Store(c.ETag(), true)
		})
	}
	all.Wait()
	opened, _ := a.Read()
	if opened > 10 {
		t.Errorf("8 who ask at once open %d ranges", opened)
	}
	n := 0
	tags.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d ETags for one clip", n)
	}
	if c, err := m.Clip(context.Background(), "front", span(100, 106.5)); err != nil {
		t.Error(err)
	} else if _, same := tags.Load(c.ETag()); same {
		t.Error("another clip has the same ETag")
	}
}

// A clip whose end is not recorded yet grows; one whose beginning retention
// takes shrinks.
func TestLayoutFollowsTheArchive(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	v := encode(t, 1, picture+"0")
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second}
	record(a, c.Cut(t, v))
	m, err := clip.New(a, clip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		c, err := m.Clip(context.Background(), "front", span(100, 112))
		if err != nil {
			t.Fatal(err)
		}
		return c.Size()
	}
	eight := size()
	record(a, c.Cut(t, v))
	twelve := size()
	if twelve <= eight {
		t.Errorf("%d bytes after %d, though more was recorded", twelve, eight)
	}
	a.Delete("front", 2)
	if n := size(); n >= twelve {
		t.Errorf("%d bytes after %d, though some was deleted", n, twelve)
	}
	a.Create("front", created.Add(time.Second)) // deleted and made anew
	if _, err := m.Clip(context.Background(), "front", span(100, 112)); !errors.Is(err, clip.ErrNothing) {
		t.Errorf("an empty stream: %v", err)
	}
}

func TestErrors(t *testing.T) {
	a := camera(t, 0)
	a.Create("odd", created)
	odd := &fragments.Track{ID: 1, Codec: fragments.Opaque, CodecID: "V_MPEG2", TimeScale: 1000}
	oc := playbacktest.Cutter{Created: created, Start: time.Second}
	for _, f := range oc.Cut(t, playbacktest.Media{Track: odd, Samples: []fragments.Sample{{Duration: 1000, Key: true, Payload: [][]byte{{1}}}}}) {
		f.AddTo(a, "odd")
	}
	small, err := clip.New(a, clip.Options{MaxSamples: 300})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name fragments.StreamName
		r    playback.Range
		want error
		says string
	}{
		{"nobody", span(100, 105), archive.ErrNoStream, "no such stream"},
		{"front", span(500, 505), clip.ErrNothing, "it has 2026-11-23T14:01:40Z to 2026-11-23T14:01:48Z"},
		{"front", playback.Range{Start: created}, nil, "end: missing"},
		{"front", span(100, 108), nil, "a clip may have 300 frames"},
		{"odd", span(0, 5), nil, "V_MPEG2 cannot stand in an MP4 file"},
	} {
		_, err := small.Clip(context.Background(), c.name, c.r)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %v: %v, want one that says %q", c.name, c.r, err, c.says)
		}
	}
	if _, err := clip.New(a, clip.Options{MaxSamples: -1}); err == nil {
		t.Error("negative option: no error")
	}
}

func TestDeletedWhileItIsRead(t *testing.T) {
	a := camera(t, 0)
	r := cut(t, a, 100, 108).Open(context.Background())
	if _, err := io.CopyN(io.Discard, r, 5000); err != nil {
		t.Fatal(err)
	}
	a.Delete("front", 4)
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, archive.ErrNoFragment) {
		t.Errorf("got %v, want ErrNoFragment", err)
	}
}

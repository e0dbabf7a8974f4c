package hls_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

// TestSegmentsOfARange asks for every fragment of ten one-second ones with the
// range of a right to view: what a playlist of that range names is given, and
// nothing else is, however near.
func TestSegmentsOfARange(t *testing.T) {
	v := playbacktest.Encode(t, 1, "-f lavfi -i testsrc2=size=160x90:rate=25:duration=10 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25")
	for _, c := range []struct {
		name      string
		dependent []int // cannot be decoded without the one before
		from, to  time.Duration
		want      string // indexes that are given
	}{
		{"in the middle", nil, 4200 * time.Millisecond, 6200 * time.Millisecond, "[4 5 6]"},
		{"on the bounds", nil, 4 * time.Second, 6 * time.Second, "[4 5]"},
		{"up to now", nil, 7500 * time.Millisecond, 0, "[7 8 9]"},
		{"behind a late key frame", []int{3, 4, 5}, 4200 * time.Millisecond, 5500 * time.Millisecond, "[2 3 4 5]"},
		{"before a dependent one", []int{5}, 4200 * time.Millisecond, 5500 * time.Millisecond, "[4 5]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := playbacktest.New()
			a.Create("front", created)
			cutter := playbacktest.Cutter{Created: created, Number: fragments.Number{Epoch: 1}}
			cut := cutter.Cut(t, v)
			if len(cut) != 10 {
				t.Fatalf("%d fragments", len(cut))
			}
			zero := cut[0].Entry.Producer.Time()
			for _, i := range c.dependent {
				cut[i].Entry.Dependent = true
			}
			for _, f := range cut {
				f.AddTo(a, "front")
			}
			r := playback.Range{Start: zero.Add(c.from)}
			if c.to > 0 {
				r.End = zero.Add(c.to)
			}
			p := newPackager(t, a, hls.Options{})
			ask := func(i, count int) error {
				_, err := p.Content(context.Background(), "front", hls.Request{
					Kind: hls.Segment, Born: created.UnixMilli(), Track: 1, Number: cut[i].Entry.Number, Count: count, Range: r,
				})
				if err != nil && !errors.Is(err, hls.ErrOutside) && !errors.Is(err, archive.ErrNoFragment) {
					t.Fatal(err)
				}
				return err
			}
			var got []int
			for i := range cut {
				if ask(i, 1) == nil {
					got = append(got, i)
				}
			}
			if fmt.Sprint(got) != c.want {
				t.Fatalf("given %v, want %s", got, c.want)
			}
			first, count := got[0], len(got)
			if err := ask(first, max(count, 1)); count > 1 && err != nil {
				t.Errorf("all of the range joined: %v", err)
			}
			if err := ask(first, count+1); err == nil {
				t.Error("a segment joined beyond the end is given")
			}
			if first > 0 {
				if err := ask(first-1, count+1); err == nil {
					t.Error("a segment joined from before the start is given")
				}
			}
		})
	}
}

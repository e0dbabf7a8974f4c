package playback_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

var origin = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

// record adds fragments of 2 s; 'i' is independent, 'd' dependent, '.' missing.
// They arrive an hour late.
func record(kinds string) *playbacktest.Archive {
	a := playbacktest.New()
	a.Create("front", origin)
	for i, k := range kinds {
		if k == '.' {
			continue
		}
		at := origin.Add(time.Duration(i) * 2 * time.Second)
		a.Add("front", &archive.Entry{
			Number: fragments.Number{Epoch: 1, Counter: uint64(i)}, Dependent: k == 'd', Duration: 2 * time.Second,
			Producer: fragments.ProducerTime(at), Server: fragments.ServerTime(at.Add(time.Hour)),
		}, nil)
	}
	return a
}

func TestSelectBeginsWhereDecodingCan(t *testing.T) {
	long := "i"
	for range 100 {
		long += "d"
	}
	for _, c := range []struct {
		name, kinds string
		start, end  float64 // seconds
		clock       fragments.Clock
		want        []uint64
	}{
		{"at a key frame", "iiii", 2, 6, fragments.ByProducer, []uint64{1, 2}},
		{"within a fragment", "iiii", 3, 5, fragments.ByProducer, []uint64{1, 2}},
		{"in a long group of pictures", "iidddi", 9, 11, fragments.ByProducer, []uint64{1, 2, 3, 4, 5}},
		{"by server time", "iidddi", 3609, 3611, fragments.ByServer, []uint64{1, 2, 3, 4, 5}},
		{"nothing before it", "dddi", 3, 7, fragments.ByProducer, []uint64{1, 2, 3}},
		{"a hole before it", "i.dd", 5, 8, fragments.ByProducer, []uint64{0, 2, 3}},
		{"independent where it begins, dependent later", "iidd", 2, 8, fragments.ByProducer, []uint64{1, 2, 3}},
		{"200 s after the key frame", long, 200, 201, fragments.ByProducer, count(0, 100)},
		{"open", "iiii", 5, 0, fragments.ByProducer, []uint64{2, 3}},
		{"nothing there", "iiii", 100, 110, fragments.ByProducer, nil},
	} {
		r := playback.Range{Clock: c.clock, Start: origin.Add(time.Duration(c.start * 1e9))}
		if c.end > 0 {
			r.End = origin.Add(time.Duration(c.end * 1e9))
		}
		var got []uint64
		for e, err := range playback.Select(context.Background(), record(c.kinds), "front", r) {
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got = append(got, e.Number.Counter)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func count(from, to uint64) (n []uint64) {
	for ; from <= to; from++ {
		n = append(n, from)
	}
	return n
}

// failing fails at the n-th walk over fragments.
type failing struct {
	*playbacktest.Archive
	n int
}

var errBroken = errors.New("broken")

func (f *failing) Fragments(ctx context.Context, name fragments.StreamName, s fragments.Selector) iter.Seq2[*archive.Entry, error] {
	if f.n--; f.n == 0 {
		return func(yield func(*archive.Entry, error) bool) { yield(nil, fmt.Errorf("index: %w", errBroken)) }
	}
	return f.Archive.Fragments(ctx, name, s)
}

func TestSelectPassesErrorsOn(t *testing.T) {
	for n := 1; n <= 2; n++ {
		f := &failing{record("iddd"), n}
		errs := 0
		for e, err := range playback.Select(context.Background(), f, "front", playback.Range{Start: origin.Add(3 * time.Second)}) {
			if !errors.Is(err, errBroken) || e != nil {
				t.Fatalf("walk %d: got %v, %v", n, e, err)
			}
			errs++
		}
		if errs != 1 {
			t.Errorf("walk %d: %d errors", n, errs)
		}
	}
}

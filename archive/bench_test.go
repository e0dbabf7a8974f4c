package archive

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/dir"
	"github.com/kineweir/kineweir/fragments"
)

// benchArchive opens an archive as it runs in earnest.
func benchArchive(b *testing.B) *Archive {
	b.Helper()
	store, err := dir.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	a, err := Open(context.Background(), Options{Dir: b.TempDir(), Bucket: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close(context.Background()) })
	return a
}

// BenchmarkCommit is one camera of 2 Mbit/s: fragments of 500 kB.
func BenchmarkCommit(b *testing.B) {
	a := benchArchive(b)
	w := a.Writer()
	l, err := w.Open(context.Background(), "cam")
	if err != nil {
		b.Fatal(err)
	}
	g := newSynthetic(l.Created, l.Created)
	g.frames, g.frameSize = 50, 10_000
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		n, err := w.Begin(l)
		if err != nil {
			b.Fatal(err)
		}
		f := g.next(n)
		f.Server = fragments.ServerTime(time.Now())
		b.SetBytes(int64(f.Bytes()))
		b.StartTimer()
		if err := w.Commit(context.Background(), l, f); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommitStreams is many cameras at once: as fast as they can (the most
// that the disk takes), and at the pace of cameras (what they wait). Fragments
// have 64 kB.
func BenchmarkCommitStreams(b *testing.B) {
	for _, streams := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("flood/streams=%d", streams), func(b *testing.B) { benchStreams(b, streams, 0) })
		b.Run(fmt.Sprintf("pace=2s/streams=%d", streams), func(b *testing.B) { benchStreams(b, streams, 2*time.Second) })
	}
}

func benchStreams(b *testing.B, streams int, pace time.Duration) {
	a := benchArchive(b)
	w := a.Writer()
	per := (b.N + streams - 1) / streams
	took := make([][]time.Duration, streams)
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	ready.Add(streams)
	for i := range streams {
		done.Go(func() {
			l, err := w.Open(context.Background(), fragments.StreamName(fmt.Sprintf("cam%d", i)))
			if err != nil {
				b.Error(err)
			}
			g := newSynthetic(l.Created, l.Created)
			g.frameSize = 6_400
			ready.Done()
			<-begin
			time.Sleep(pace * time.Duration(i) / time.Duration(streams))
			took[i] = benchStream(b, w, l, g, per, pace)
		})
	}
	ready.Wait()
	before, frames := a.Stats(), a.journal.Stats().Frames
	b.ResetTimer()
	close(begin)
	done.Wait()
	b.StopTimer()
	after := a.Stats()
	all := slices.Concat(took...)
	slices.Sort(all)
	n := float64(len(all))
	b.ReportMetric(n/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(all[len(all)/2])/1e6, "ms-p50")
	b.ReportMetric(float64(all[len(all)*99/100])/1e6, "ms-p99")
	b.ReportMetric(float64(after.Syncs-before.Syncs)/n, "filesyncs/commit")
	b.ReportMetric(float64(a.journal.Stats().Frames-frames)/n, "indexsyncs/commit")
}

func benchStream(b *testing.B, w *Writer, l fragments.Lease, g *synthetic, n int, pace time.Duration) []time.Duration {
	var took []time.Duration
	next := time.Now()
	for range n {
		num, err := w.Begin(l)
		if err != nil {
			b.Error(err)
			return took
		}
		f := g.next(num)
		f.Server = fragments.ServerTime(time.Now())
		start := time.Now()
		if err := w.Commit(context.Background(), l, f); err != nil {
			b.Error(err)
			return took
		}
		took = append(took, time.Since(start))
		next = next.Add(pace)
		time.Sleep(time.Until(next))
	}
	return took
}

// dayArchive has a stream with a day of closed hours, a fragment every 2 s.
func dayArchive(b *testing.B) (a *Archive, day time.Time) {
	b.Helper()
	p := newPlace(b)
	p.opts.Logger = nil
	a = p.open()
	s, err := a.ensureStream(context.Background(), "cam")
	if err != nil {
		b.Fatal(err)
	}
	day = s.created.Truncate(time.Hour).Add(24 * time.Hour)
	for h := range 24 {
		o := testObject(s.created, testVideo(), testAudio())
		o.first = fragments.Number{Epoch: 1, Counter: uint64(1 + 1800*h)}
		o.base = day.Add(time.Duration(h) * time.Hour).Sub(s.created)
		o.hour = hourOf(fragments.ServerTime(s.created.Add(o.base)))
		o.dir, o.key = s.dir, objectKey(s.dir, o.hour, o.first)
		entries := steady(o, 1800)
		data := encodeBlock(s.name, s.created, o.hour, []blockObject{{id: o, entries: entries}})
		if _, err := a.bucket.Put(context.Background(), blockKey(s.dir, o.hour), bytes.NewReader(data), int64(len(data)), bucket.PutOptions{}); err != nil {
			b.Fatal(err)
		}
		s.closed = append(s.closed, hourSummary{hour: o.hour, bounds: boundsOf(entries)})
	}
	return a, day
}

// BenchmarkFragments lists a day of a camera, and an hour and a minute of that
// day, with the blocks in memory and from the bucket.
func BenchmarkFragments(b *testing.B) {
	a, day := dayArchive(b)
	for _, c := range []struct {
		name string
		span time.Duration
		want int
	}{{"day", 24 * time.Hour, 43200}, {"hour", time.Hour, 1800}, {"minute", time.Minute, 31}} {
		for _, cold := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cold=%v", c.name, cold), func(b *testing.B) {
				a.cache = newBlockCache(64 << 20)
				b.ReportAllocs()
				for b.Loop() {
					if cold {
						a.cache = newBlockCache(64 << 20)
					}
					n, start := 0, day.Add(-150*time.Millisecond)
					if c.span < time.Hour {
						start = start.Add(90 * time.Minute)
					}
					for _, err := range a.Fragments(context.Background(), "cam", fragments.Selector{Start: start, End: start.Add(c.span)}) {
						if err != nil {
							b.Fatal(err)
						}
						n++
					}
					if n < c.want-1 || n > c.want+1 {
						b.Fatalf("%d fragments, want %d", n, c.want)
					}
				}
			})
		}
	}
}

package segment

import (
	"context"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/wal"
)

// items makes n records of 1 KiB over so many shards.
func benchItems(n, shards int) []Item {
	items := make([]Item, n)
	now := time.Now().UnixMilli()
	for i := range items {
		items[i] = Item{Key: Key{Stream: 1, Shard: uint32(i % shards)}, Arrived: now, Body: bodyOf(uint64(i), 1024)}
	}
	return items
}

// BenchmarkAppend is calls of 500 records of 1 KiB from 16 goroutines, those of a
// shard together, until they are durable and visible; an operation is a record.
func BenchmarkAppend(b *testing.B) {
	b.Run("sorted", func(b *testing.B) { benchAppend(b, sorted) })
	b.Run("in place", func(b *testing.B) { benchAppend(b, 0) })
}

func benchAppend(b *testing.B, kind int64) {
	const batch, writers = 500, 16
	r := newRig(b, 64<<20)
	r.kind = kind
	r.reopen(b)
	b.SetBytes(1024)
	b.ReportAllocs()
	var begun unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &begun); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	work := make(chan struct{}, writers)
	for range writers {
		all.Go(func() {
			items := benchItems(batch, 16)
			slices.SortStableFunc(items, func(a, b Item) int { return a.Key.compare(b.Key) })
			for range work {
				start := time.Now()
				if err := r.Append(items).Wait(context.Background()); err != nil {
					b.Error(err)
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
		})
	}
	for n := 0; n < b.N; n += batch {
		work <- struct{}{}
	}
	close(work)
	all.Wait()
	b.StopTimer()
	st := r.Stats()
	r.sealAll(b)
	st = r.Stats()
	b.ReportMetric(float64(st.Seals), "seals")
	lane := r.lane.Stats()
	b.ReportMetric(float64(lane.Written+st.Sealed)/float64(b.N)/1024, "written/byte")
	b.ReportMetric(float64(lane.SyncTime.Milliseconds())/float64(lane.Frames), "sync-ms")
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		b.ReportMetric(float64(used.Utime.Nano()+used.Stime.Nano()-begun.Utime.Nano()-begun.Stime.Nano())/float64(b.N)/1000, "cpu-us/op")
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkLane is the same straight into the lane: what Append is measured by.
func BenchmarkLane(b *testing.B) {
	const batch, writers = 500, 16
	lane, err := wal.Open(b.TempDir(), wal.Options{ReserveBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer lane.Close()
	b.SetBytes(1024)
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	work := make(chan struct{}, writers)
	for range writers {
		all.Go(func() {
			body := bodyOf(1, 1024)
			for range work {
				var f journal.Future
				for range batch {
					f = lane.Append(1, "123456789012", body)
				}
				f.Wait(context.Background())
			}
		})
	}
	for n := 0; n < b.N; n += batch {
		work <- struct{}{}
	}
	close(work)
	all.Wait()
	b.StopTimer()
}

// filled is a store with so many MiB of records of 1 KiB in one shard, all of
// them, but for the last unfinished table, sealed.
func filled(b *testing.B, mib, shards int, mem int64) *rig {
	b.Helper()
	r := newRig(b, mem)
	items := benchItems(1024, shards)
	for range mib {
		for i := range items {
			items[i].Arrived++
		}
		r.put(b, items...)
	}
	r.sealAll(b)
	return r
}

// BenchmarkRead reads a shard of 32 MiB from front to back, in steps of 10 MiB.
func BenchmarkRead(b *testing.B) {
	for _, test := range []struct {
		name string
		mem  int64
	}{{"memory", 1 << 30}, {"files", 8 << 20}} {
		b.Run(test.name, func(b *testing.B) {
			r := filled(b, 32, 1, test.mem)
			b.SetBytes(32 << 20)
			b.ReportAllocs()
			into := make([]Record, 0, 10_000)
			for b.Loop() {
				n, from := 0, journal.Position{}
				for {
					rs, next, err := r.Read(Key{Stream: 1}, from, 10_000, 10<<20, into[:0])
					if err != nil {
						b.Fatal(err)
					}
					if len(rs) == 0 {
						break
					}
					n, from = n+len(rs), next
				}
				if n != 32<<10 {
					b.Fatalf("read %d records", n)
				}
			}
		})
	}
}

// BenchmarkReadOne reads one record of a sealed file, as a slow consumer does.
func BenchmarkReadOne(b *testing.B) {
	r := filled(b, 32, 1, 8<<20)
	at, _ := r.SeekTime(Key{Stream: 1}, 0)
	b.ReportAllocs()
	for b.Loop() {
		if rs, _, err := r.Read(Key{Stream: 1}, at, 1, 1, nil); len(rs) != 1 || err != nil {
			b.Fatal(len(rs), err)
		}
	}
}

func BenchmarkSeekTime(b *testing.B) {
	r := filled(b, 32, 1, 8<<20)
	x, _, _ := r.shards.find(Key{Stream: 1}).at(journal.Position{}, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.SeekTime(Key{Stream: 1}, (x.firstArrived+x.lastArrived)/2); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen replays 64 MiB of lane.
func BenchmarkOpen(b *testing.B) {
	r := filled(b, 64, 16, 1<<30)
	b.SetBytes(64 << 20)
	b.ReportAllocs()
	r.close(b)
	for b.Loop() {
		b.StopTimer()
		lane, err := wal.Open(filepath.Join(r.dir, "records"), wal.Options{ReserveBytes: -1})
		if err != nil {
			b.Fatal(err)
		}
		meta, err := wal.OpenMeta(filepath.Join(r.dir, "streams"), wal.Options{ReserveBytes: -1})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		s, err := Open(context.Background(), Options{
			Lane: lane, Meta: meta, Dir: filepath.Join(r.dir, "segments"), MemBytes: 1 << 30, Keep: r.Keep,
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close(context.Background())
		lane.Close()
		meta.Close()
		b.StartTimer()
	}
}

// BenchmarkManyShards opens a store of 1,000 streams of 10 shards, all of which
// have records in each of four files, and says what that takes.
func BenchmarkManyShards(b *testing.B) {
	r := newRig(b, 32<<20)
	items := make([]Item, 10_000)
	for i := range items {
		items[i] = Item{Key: Key{Stream: uint64(i / 10), Shard: uint32(i % 10)}, Arrived: time.Now().UnixMilli(), Body: bodyOf(uint64(i), 256)}
	}
	for range 4 * 11 {
		r.put(b, items...)
	}
	r.sealAll(b)
	r.close(b)
	r.lane, r.meta, items = nil, nil, nil
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	r.open(b)
	perShard, files := (heap()-before-float64(r.Stats().MemBytes))/10_000, r.Stats().Files
	b.ReportAllocs()
	for b.Loop() {
		r.reopen(b)
	}
	b.ReportMetric(perShard, "B/shard")
	b.ReportMetric(float64(files), "files")
}

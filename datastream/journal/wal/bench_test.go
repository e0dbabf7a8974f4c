package wal

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

// share splits b.N operations among writers.
func share(b *testing.B, writers int, run func(next func() bool)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range writers {
		all.Go(func() { run(func() bool { return left.Add(-1) >= 0 }) })
	}
	all.Wait()
	b.StopTimer()
}

func reportLane(b *testing.B, before, after journal.Stats) {
	b.ReportMetric(float64(after.Entries-before.Entries)/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(after.Entries-before.Entries)/float64(after.Frames-before.Frames), "entries/sync")
}

// BenchmarkAppend: one operation is one durable entry of 1 KiB.
func BenchmarkAppend(b *testing.B) {
	for _, load := range []struct{ writers, batch int }{{1, 1}, {16, 1}, {256, 1}, {1, 500}, {16, 500}} {
		b.Run(fmt.Sprintf("writers=%d/batch=%d", load.writers, load.batch), func(b *testing.B) {
			dir := b.TempDir()
			l := mustOpen(b, dir, Options{})
			defer l.Close()
			data := make([]byte, 1024)
			b.SetBytes(1024)
			b.ReportAllocs()
			before := l.Stats()
			share(b, load.writers, func(next func() bool) {
				for more := true; more; {
					var last journal.Future
					n := 0
					for n < load.batch {
						if more = next(); !more {
							break
						}
						last = l.Append(1, "stream", data)
						n++
					}
					if n == 0 {
						return
					}
					if _, err := last.Wait(context.Background()); err != nil {
						b.Error(err)
						return
					}
				}
			})
			reportLane(b, before, l.Stats())
		})
	}
}

// BenchmarkFrames: one operation is one durable frame of one entry, in files
// that grow or in files written over, with a trim whenever a file is full.
func BenchmarkFrames(b *testing.B) {
	for _, size := range []int{1 << 20, 4 << 20} {
		for _, mode := range []struct {
			name   string
			spares int
		}{{"append", -1}, {"recycled", 2}} {
			b.Run(fmt.Sprintf("%dMiB/%s", size>>20, mode.name), func(b *testing.B) {
				l := mustOpen(b, b.TempDir(), Options{MaxFileBytes: 64 << 20, SpareFiles: mode.spares})
				defer l.Close()
				data := make([]byte, size-100)
				put := func() {
					if _, err := l.Append(1, "key", data).Wait(context.Background()); err != nil {
						b.Fatal(err)
					}
					if l.Stats().Files > 1 {
						if err := l.Trim(l.Stats().End); err != nil {
							b.Fatal(err)
						}
					}
				}
				for range 4 * (64 << 20) / size { // until spares are whole files
					put()
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					put()
				}
			})
		}
	}
}

// BenchmarkMetaPut: one operation is one durable compare-and-set.
func BenchmarkMetaPut(b *testing.B) {
	for _, writers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mustOpenMeta(b, b.TempDir(), Options{})
			defer s.Close()
			value := make([]byte, 200)
			b.ReportAllocs()
			var id atomic.Int64
			before := s.Stats()
			share(b, writers, func(next func() bool) {
				key := fmt.Sprintf("worker/%05d", id.Add(1))
				for rev := uint64(0); next(); {
					var err error
					if rev, err = s.Put(context.Background(), key, value, rev); err != nil {
						b.Error(err)
						return
					}
				}
			})
			reportLane(b, before, s.Stats())
		})
	}
}

// filledLane holds 256 MiB of entries of 1 KiB.
func filledLane(b *testing.B) string {
	dir := b.TempDir()
	l := mustOpen(b, dir, Options{})
	data := make([]byte, 1024)
	for range 256 << 10 {
		l.Append(1, "stream", data)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkReplay opens and reads 256 MiB, both of which check every byte, by
// turns with what they are measured against: the same files read in the same
// pieces, with checksums and nothing else. Of each it tells the best, and the
// processor time of all.
func BenchmarkReplay(b *testing.B) {
	dir := filledLane(b)
	best, spent := map[string]time.Duration{}, map[string]time.Duration{}
	measure := func(name string, run func()) {
		start, cpu := time.Now(), cpuTime(b)
		run()
		if took := time.Since(start); best[name] == 0 || took < best[name] {
			best[name] = took
		}
		spent[name] += cpuTime(b) - cpu
	}
	buf := make([]byte, windowSize)
	b.ReportAllocs()
	for b.Loop() {
		measure("raw", func() { rawReplay(b, dir, buf) })
		var l *Lane
		measure("open", func() { l = mustOpen(b, dir, Options{}) })
		measure("read", func() {
			n := 0
			for _, err := range l.Read(journal.Position{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 256<<10 {
				b.Fatalf("%d entries", n)
			}
		})
		l.Close()
	}
	for _, name := range []string{"raw", "open", "read"} {
		b.ReportMetric(256/best[name].Seconds(), name+"-MiB/s")
		if name != "raw" {
			b.ReportMetric(best["raw"].Seconds()/best[name].Seconds(), name+"/raw")
			b.ReportMetric(spent[name].Seconds()/spent["raw"].Seconds(), name+"-cpu/raw")
		}
	}
}

// cpuTime is what the process has taken of the processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func rawReplay(b *testing.B, dir string, buf []byte) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+fileSuffix))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		var crc uint32
		for {
			n, err := f.Read(buf)
			crc = crc32.Update(crc, castagnoli, buf[:n])
			if err != nil {
				break
			}
		}
		f.Close()
	}
}

// BenchmarkMetaOpen: a store of 100,000 keys of 200 bytes, from its snapshot.
func BenchmarkMetaOpen(b *testing.B) {
	dir := b.TempDir()
	s := mustOpenMeta(b, dir, Options{})
	value := make([]byte, 200)
	var all sync.WaitGroup
	for w := range 500 {
		all.Go(func() {
			for n := range 200 {
				if _, err := s.Put(context.Background(), fmt.Sprintf("%03d/%03d", w, n), value, 0); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	s.Close()
	b.ReportAllocs()
	for b.Loop() {
		s := mustOpenMeta(b, dir, Options{})
		if s.state.Load().tree.size != 100_000 {
			b.Fatal("keys are missing")
		}
		s.Close()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapInuse)/(1<<20), "MiB")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// result is one load in one round.
type result struct {
	records  int
	bytes    int64
	took     time.Duration
	cpu      time.Duration // of the process that does the work; 0 unknown
	p50, p99 time.Duration // of one call
}

func (r result) rate() float64      { return float64(r.records) / r.took.Seconds() }
func (r result) megabytes() float64 { return float64(r.bytes) / 1e6 / r.took.Seconds() }

func (r result) cpuText() string {
	if r.cpu == 0 || r.records == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(r.cpu.Microseconds())/float64(r.records))
}

// load is what one worker does again and again: it returns the records and bytes
// that are durable when it returns.
type load func(ctx context.Context, worker int) (records int, bytes int64, err error)

// measure runs a load with so many workers for the bench's span and keeps the
// result. cpu tells the processor time used so far by whoever does the work.
func (b *bench) measure(ctx context.Context, name string, workers int, cpu func() time.Duration, do load) error {
	ctx, cancel := context.WithTimeout(ctx, b.span+30*time.Second)
	defer cancel()
	var mu sync.Mutex
	var total result
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	profiled, err := b.profile(name)
	if err != nil {
		return err
	}
	before, begun := cpu(), time.Now()
	for w := range workers {
		wg.Go(func() {
			var mine result
			var times []time.Duration
			for time.Since(begun) < b.span {
				at := time.Now()
				n, size, err := do(ctx, w)
				if err != nil {
					mu.Lock()
					failed = fmt.Errorf("%s: %w", name, err)
					mu.Unlock()
					return
				}
				times = append(times, time.Since(at))
				mine.records += n
				mine.bytes += size
			}
			mu.Lock()
			defer mu.Unlock()
			total.records += mine.records
			total.bytes += mine.bytes
			all = append(all, times...)
		})
	}
	wg.Wait()
	total.took, total.cpu = time.Since(begun), cpu()-before
	if err := profiled(); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	slices.Sort(all)
	total.p50, total.p99 = all[len(all)/2], all[len(all)*99/100]
	b.keep(name, total)
	return nil
}

// profile begins the profile of a load and returns what ends it.
func (b *bench) profile(name string) (end func() error, err error) {
	if b.profiles == "" {
		return func() error { return nil }, nil
	}
	word := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" ,/:", r) {
			return '-'
		}
		return r
	}, name)
	f, err := os.Create(filepath.Join(b.profiles, fmt.Sprintf("%s.%d.pprof", word, len(b.found[name]))))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func (b *bench) keep(name string, r result) {
	if !slices.Contains(b.order, name) {
		b.order = append(b.order, name)
	}
	b.found[name] = append(b.found[name], r)
	fmt.Fprintf(os.Stderr, "%-44s %9.0f records/s %8.1f MB/s\n", name, r.rate(), r.megabytes())
}

// median is the round with the median rate.
func (b *bench) median(name string) result {
	rounds := slices.Clone(b.found[name])
	slices.SortFunc(rounds, func(x, y result) int { return int(x.megabytes()*1e3 - y.megabytes()*1e3) })
	return rounds[len(rounds)/2]
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

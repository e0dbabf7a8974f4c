package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
)

const (
	outages = 3
	writers = 4
	// answerLimit bounds every call while the server is down. It is generous: the store has its own limits,
	// and the machine may be busy.
	answerLimit = 15 * time.Second
)

// Outage kills the server of a store in the middle of work, time and again, and starts it again on the same
// port. While it is down every call must fail in bounded time, with an error that is not taken for an answer;
// once it is back, calls succeed again, and everything that was ever acknowledged is there, whole.
func Outage(t *testing.T, s *Server, b bucket.Bucket) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d outages", seed, outages)
	rng := rand.New(rand.NewPCG(seed, 0))

	work := &work{b: b, objects: map[string]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() { work.write(ctx, t, w) })
	}
	stop := func() { cancel(); wg.Wait() }
	defer stop()

	put(t, b, "read/me", Body(99, 12<<20), bucket.PutOptions{})
	for range outages {
		reader, err := b.Get(t.Context(), "read/me", 0, bucket.ToEnd)
		if err != nil {
			t.Fatal(err)
		}
		// Kill while things are being written.
		work.waitFor(t, work.acknowledged.Load()+3)
		time.Sleep(time.Duration(rng.Int64N(int64(100 * time.Millisecond))))
		s.Kill()
		if n, err := io.Copy(io.Discard, reader); err == nil && n < 12<<20 {
			t.Errorf("a reader ended without error after %d bytes", n)
		}
		reader.Close()
		whileDown(t, b)
		s.Restart()
	}
	work.waitFor(t, work.acknowledged.Load()+writers)
	stop()
	t.Logf("%d objects acknowledged, %d calls failed meanwhile", work.acknowledged.Load(), work.failed.Load())
	work.check(t)
}

// whileDown makes every call once, all at the same time.
func whileDown(t *testing.T, b bucket.Bucket) {
	t.Helper()
	ctx := t.Context()
	calls := map[string]func() error{
		"put": func() error {
			_, err := b.Put(ctx, "down", bytes.NewReader([]byte("x")), 1, bucket.PutOptions{IfAbsent: true})
			return err
		},
		"put in parts": func() error {
			_, err := b.Put(ctx, "down", bytes.NewReader(make([]byte, 20<<20)), 20<<20, bucket.PutOptions{IfAbsent: true})
			return err
		},
		"get":       func() error { _, err := get(ctx, b, "read/me", 0, bucket.ToEnd); return err },
		"get range": func() error { _, err := get(ctx, b, "read/me", 5, 10); return err },
		"head":      func() error { _, err := b.Head(ctx, "read/me"); return err },
		"list": func() error {
			for _, err := range b.List(ctx, "", "") {
				return err
			}
			return nil
		},
		"delete": func() error { return b.Delete(ctx, "read/me") },
	}
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			start := time.Now()
			err := call()
			if err == nil || errors.Is(err, bucket.ErrAbsent) || errors.Is(err, bucket.ErrExists) || errors.Is(err, bucket.ErrRefused) {
				t.Errorf("%s while the server is down: %v", name, err)
			}
			if d := time.Since(start); d > answerLimit {
				t.Errorf("%s while the server is down took %v", name, d)
			}
		})
	}
	wg.Wait()
}

// work is what the writers of Outage do and have been promised.
type work struct {
	b                    bucket.Bucket
	acknowledged, failed atomic.Int64

	mu      sync.Mutex
	objects map[string]uint64 // seed of the body, of what was acknowledged
}

// write stores object after object until ctx ends, each again and again until it is acknowledged.
func (w *work) write(ctx context.Context, t *testing.T, writer int) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("w%d/%04d", writer, i)
		seed := uint64(writer)<<16 | uint64(i)
		body := workBody(seed)
		for {
			start := time.Now()
			_, err := bucket.Ensure(ctx, w.b, key, bytes.NewReader(body), int64(len(body)), bucket.PutOptions{})
			if err == nil {
				w.mu.Lock()
				w.objects[key] = seed
				w.mu.Unlock()
				w.acknowledged.Add(1)
				break
			}
			if ctx.Err() != nil {
				return
			}
			w.failed.Add(1)
			if errors.Is(err, bucket.ErrCorrupt) || errors.Is(err, bucket.ErrRefused) || time.Since(start) > 2*answerLimit {
				t.Errorf("ensure %q took %v: %v", key, time.Since(start), err)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// workBody is small mostly, and now and then large enough to go in parts.
func workBody(seed uint64) []byte {
	size := 1 + int(seed*7919%300_000)
	if seed%8 == 3 {
		size += 9 << 20
	}
	return Body(seed, size)
}

func (w *work) waitFor(t *testing.T, n int64) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); w.acknowledged.Load() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d objects acknowledged after a minute, waiting for %d", w.acknowledged.Load(), n)
		}
	}
}

func (w *work) check(t *testing.T) {
	t.Helper()
	listed := keys(t, w.b, "w", "")
	for key, seed := range w.objects {
		if _, found := slices.BinarySearch(listed, key); !found {
			t.Errorf("%q was acknowledged and is not listed", key)
		}
		wantBody(t, w.b, key, workBody(seed))
	}
	// What was never acknowledged is there whole or not at all.
	for _, key := range listed {
		if _, known := w.objects[key]; known {
			continue
		}
		var writer, i uint64
		if _, err := fmt.Sscanf(key, "w%d/%d", &writer, &i); err != nil {
			t.Errorf("listed %q, which nobody put", key)
			continue
		}
		wantBody(t, w.b, key, workBody(writer<<16|i))
	}
}

package buckettest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
)

// testRace lets several writers want one key: one wins, its bytes are there, and the others are told.
func testRace(t *testing.T, b bucket.Bucket) {
	const writers, rounds = 8, 5
	for round := range rounds {
		key := "race/" + string(rune('a'+round))
		bodies := make([][]byte, writers)
		errs := make([]error, writers)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for w := range writers {
			bodies[w] = Body(uint64(100*round+w), 20_000+w)
			wg.Go(func() {
				<-start
				_, errs[w] = b.Put(t.Context(), key, bytes.NewReader(bodies[w]), int64(len(bodies[w])), bucket.PutOptions{IfAbsent: true})
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for w, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: writers %d and %d both won", round, winner, w)
			case err == nil:
				winner = w
			case !errors.Is(err, bucket.ErrExists):
				t.Errorf("round %d: writer %d: %v, want ErrExists", round, w, err)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		wantBody(t, b, key, bodies[winner])
	}
}

// testAtomic replaces an object over and over under the eyes of readers: each sees one of the bodies, whole.
func testAtomic(t *testing.T, b bucket.Bucket) {
	const size, replacements = 400_000, 12
	valid := map[[sha256.Size]byte]bool{}
	bodies := make([][]byte, replacements)
	for i := range bodies {
		bodies[i] = Body(uint64(i), size)
		valid[sha256.Sum256(bodies[i])] = true
	}
	put(t, b, "seen", bodies[0], bucket.PutOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var reads atomic.Int64
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				p, err := get(t.Context(), b, "seen", 0, bucket.ToEnd)
				// Old bytes that are gone may be an error, never a mixture.
				if err == nil && !valid[sha256.Sum256(p)] {
					t.Errorf("a reader saw %d bytes that nobody put", len(p))
				}
				if errors.Is(err, bucket.ErrAbsent) {
					t.Errorf("a reader found nothing during a replacement")
				}
				if err == nil {
					reads.Add(1)
				}
			}
		})
	}
	for _, body := range bodies {
		put(t, b, "seen", body, bucket.PutOptions{})
	}
	cancel()
	wg.Wait()
	if reads.Load() == 0 {
		t.Error("no read succeeded")
	}
}

func testShortBody(t *testing.T, b bucket.Bucket) {
	for _, c := range []struct{ have, said int64 }{{0, 1}, {999, 1000}, {70_000, 200_000}, {6 << 20, 40 << 20}} {
		body := bytes.NewReader(Body(4, int(c.have)))
		if _, err := b.Put(t.Context(), "short", body, c.said, bucket.PutOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("body of %d bytes said to be %d: %v, want io.ErrUnexpectedEOF", c.have, c.said, err)
		}
		wantAbsent(t, b, "short")
	}
	if _, err := b.Put(t.Context(), "short", bytes.NewReader(nil), -1, bucket.PutOptions{}); err == nil {
		t.Error("a negative size was taken")
	}
	put(t, b, "short", []byte("old"), bucket.PutOptions{})
	if _, err := b.Put(t.Context(), "short", bytes.NewReader(nil), 10, bucket.PutOptions{}); err == nil {
		t.Error("a short body replaced the object")
	}
	wantBody(t, b, "short", []byte("old"))
	// A body longer than said is cut there: the caller says how much.
	if _, err := b.Put(t.Context(), "short", bytes.NewReader(Body(4, 5000)), 1000, bucket.PutOptions{}); err != nil {
		t.Error(err)
	}
	wantBody(t, b, "short", Body(4, 1000))
}

// failingBody fails from a place on.
type failingBody struct {
	io.ReaderAt
	from int64
	err  error
}

func (f failingBody) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.from {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, at)
}

func testFailingBody(t *testing.T, b bucket.Bucket) {
	broken := errors.New("disk on fire")
	for _, size := range []int{1, 100_000, 40 << 20} {
		body := failingBody{bytes.NewReader(Body(5, size)), int64(size) - 1, broken}
		start := time.Now()
		if _, err := b.Put(t.Context(), "failing", body, int64(size), bucket.PutOptions{IfAbsent: true}); !errors.Is(err, broken) {
			t.Errorf("%d bytes: %v, want the error of the body", size, err)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%d bytes: a body that fails was tried for %v", size, d)
		}
		wantAbsent(t, b, "failing")
	}
	wantKeys(t, b, "", "", nil)
}

// guardedBody notices being read after its Put returned, when its memory may be in use for something else.
type guardedBody struct {
	io.ReaderAt
	gone, late atomic.Bool
}

func (g *guardedBody) ReadAt(p []byte, at int64) (int, error) {
	if g.gone.Load() {
		g.late.Store(true)
	}
	return g.ReaderAt.ReadAt(p, at)
}

func testBodyLetGo(t *testing.T, b bucket.Bucket) {
	data := Body(6, 3<<20)
	for i := range 4 {
		g := &guardedBody{ReaderAt: bytes.NewReader(data)}
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 1 {
			cancel()
		}
		_, err := b.Put(ctx, "let/go", g, int64(len(data)), bucket.PutOptions{IfAbsent: i == 2})
		g.gone.Store(true)
		if wanted := i == 0; (err == nil) != wanted {
			t.Errorf("put %d: %v", i, err)
		}
		time.Sleep(20 * time.Millisecond)
		if g.late.Load() {
			t.Errorf("put %d: the body was read after Put had returned", i)
		}
		cancel()
	}
}

func testLarge(t *testing.T, b bucket.Bucket) {
	const size = 40<<20 + 12_345
	body := Body(7, size)
	opts := bucket.PutOptions{IfAbsent: true, ContentType: "video/mp4"}
	put(t, b, "large/1.mp4", body, opts)
	wantBody(t, b, "large/1.mp4", body)
	const mib = 1 << 20
	for _, at := range []int64{5 * mib, 8 * mib, 16 * mib, 32 * mib, 40 * mib} { // where parts may meet
		have, err := get(t.Context(), b, "large/1.mp4", at-7, 14)
		if err != nil || !bytes.Equal(have, body[at-7:at+7]) {
			t.Errorf("range across %d: %v", at, err)
		}
	}
	if h, err := b.Head(t.Context(), "large/1.mp4"); err != nil || h.Size != size {
		t.Errorf("head %+v, %v", h, err)
	}
	if _, err := b.Put(t.Context(), "large/1.mp4", bytes.NewReader(body), size, opts); !errors.Is(err, bucket.ErrExists) {
		t.Errorf("put again: %v, want ErrExists", err)
	}
	if _, err := bucket.Ensure(t.Context(), b, "large/1.mp4", bytes.NewReader(body), size, opts); err != nil {
		t.Errorf("ensure: %v", err)
	}
	body[size-1] ^= 1
	if _, err := bucket.Ensure(t.Context(), b, "large/1.mp4", bytes.NewReader(body), size, opts); !errors.Is(err, bucket.ErrCorrupt) {
		t.Errorf("ensure of other bytes: %v, want ErrCorrupt", err)
	}
	put(t, b, "large/1.mp4", body, bucket.PutOptions{})
	wantBody(t, b, "large/1.mp4", body)
	wantKeys(t, b, "", "", []string{"large/1.mp4"})
}

func testCancelled(t *testing.T, b bucket.Bucket) {
	put(t, b, "x", []byte("x"), bucket.PutOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, perr := b.Put(ctx, "y", bytes.NewReader([]byte("y")), 1, bucket.PutOptions{})
	_, gerr := get(ctx, b, "x", 0, bucket.ToEnd)
	_, herr := b.Head(ctx, "x")
	var lerr error
	for _, err := range b.List(ctx, "", "") {
		lerr = err
	}
	for name, err := range map[string]error{"put": perr, "get": gerr, "head": herr, "list": lerr, "delete": b.Delete(ctx, "x")} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	wantBody(t, b, "x", []byte("x"))
	wantAbsent(t, b, "y")
}

// cancellingBody cancels once it has been read up to a place, after which it takes its time.
type cancellingBody struct {
	io.ReaderAt
	at     int64
	cancel context.CancelFunc
}

func (c cancellingBody) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) >= c.at {
		c.cancel()
		time.Sleep(10 * time.Millisecond)
	}
	return c.ReaderAt.ReadAt(p, at)
}

func testCancelledMidway(t *testing.T, b bucket.Bucket) {
	const size = 40 << 20
	data := Body(8, size)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	_, err := b.Put(ctx, "midway", cancellingBody{bytes.NewReader(data), size / 2, cancel}, size, bucket.PutOptions{IfAbsent: true})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v, want context.Canceled", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("a cancelled put took %v", d)
	}
	wantAbsent(t, b, "midway")
	wantKeys(t, b, "", "", nil)

	put(t, b, "midway", data[:20<<20], bucket.PutOptions{IfAbsent: true})
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	r, err := b.Get(ctx, "midway", 0, bucket.ToEnd)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Fatal(err)
	}
	cancel()
	n, err := io.Copy(io.Discard, struct{ io.Reader }{r})
	if err == nil {
		t.Errorf("a cancelled reader gave the remaining %d bytes", n)
	}
}

package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
	"github.com/kineweir/kineweir/archive/bucket/dir"
)

// sham answers every call after a while with an error, or with nothing much.
type sham struct {
	after time.Duration
	err   error
	body  io.Reader
}

func (s *sham) Put(context.Context, string, io.ReaderAt, int64, bucket.PutOptions) (bucket.Object, error) {
	time.Sleep(s.after)
	return bucket.Object{}, s.err
}

func (s *sham) Get(context.Context, string, int64, int64) (io.ReadCloser, error) {
	time.Sleep(s.after)
	if s.err != nil {
		return nil, s.err
	}
	return io.NopCloser(s.body), nil
}

func (s *sham) Head(context.Context, string) (bucket.Object, error) {
	time.Sleep(s.after)
	return bucket.Object{}, s.err
}

func (s *sham) List(context.Context, string, string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		for range 3 {
			time.Sleep(s.after)
			if !yield(bucket.Object{}, s.err) || s.err != nil {
				return
			}
		}
	}
}

func (s *sham) Delete(context.Context, string) error {
	time.Sleep(s.after)
	return s.err
}

func callAll(t *testing.T, b bucket.Bucket) {
	t.Helper()
	b.Put(t.Context(), "k", strings.NewReader("12345"), 5, bucket.PutOptions{})
	if r, err := b.Get(t.Context(), "k", 0, bucket.ToEnd); err == nil {
		io.Copy(io.Discard, r)
		r.Close()
	}
	b.Head(t.Context(), "k")
	for range b.List(t.Context(), "", "") {
		time.Sleep(time.Hour) // the caller's own time
	}
	b.Delete(t.Context(), "k")
}

func TestMeasureErrors(t *testing.T) {
	for _, c := range []struct {
		err   error
		fails uint64
	}{
		{nil, 0},
		{errors.New("broken"), 1},
		{bucket.ErrRefused, 1},
		{context.DeadlineExceeded, 1},
		{bucket.ErrAbsent, 0},
		{bucket.ErrExists, 0},
		{errors.Join(bucket.ErrAbsent), 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := bucket.Measure(&sham{after: 50 * time.Millisecond, err: c.err, body: strings.NewReader("abc")})
			callAll(t, m)
			s := m.Stats()
			for op := bucket.OpPut; op <= bucket.OpDelete; op++ {
				if s[op].Count != 1 || s[op].Errors != c.fails {
					t.Errorf("%v: %v counted as %+v, want %d errors", c.err, op, s[op], c.fails)
				}
				busy, slot := 50*time.Millisecond, 3 // up to 100 ms
				if op == bucket.OpList && c.err == nil {
					busy, slot = 150*time.Millisecond, 4
				}
				if s[op].Busy != busy || s[op].Latency[slot] != 1 {
					t.Errorf("%v: %v took %v, %v, want %v in slot %d", c.err, op, s[op].Busy, s[op].Latency, busy, slot)
				}
			}
			if c.err == nil && (s[bucket.OpPut].Bytes != 5 || s[bucket.OpGet].Bytes != 3) || c.err != nil && s[bucket.OpPut].Bytes != 0 {
				t.Errorf("%v: %d bytes put, %d got", c.err, s[bucket.OpPut].Bytes, s[bucket.OpGet].Bytes)
			}
		})
	}
}

func TestMeasureLatency(t *testing.T) {
	for i, d := range bucket.LatencyBounds() {
		synctest.Test(t, func(t *testing.T) {
			for slot, after := range map[int]time.Duration{i: d, i + 1: d + 1} {
				m := bucket.Measure(&sham{after: after})
				m.Head(t.Context(), "k")
				if s := m.Stats()[bucket.OpHead]; s.Latency[slot] != 1 || s.Busy != after {
					t.Errorf("%v counted as %+v, want slot %d", after, s, slot)
				}
			}
		})
	}
}

// brokenReader gives some bytes and fails then, again and again.
type brokenReader struct{ left int }

func (r *brokenReader) Read(p []byte) (int, error) {
	n := min(len(p), r.left)
	r.left -= n
	if n == 0 {
		return 0, errors.New("broken")
	}
	return n, nil
}

// closedWriter fails as a viewer does who went away.
type closedWriter struct{}

func (closedWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestMeasureReaders(t *testing.T) {
	m := bucket.Measure(&sham{body: &brokenReader{left: 1000}})
	r, err := m.Get(t.Context(), "k", 0, bucket.ToEnd)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := io.ReadAll(r); err == nil {
			t.Error("a broken reader ended well")
		}
	}
	if s := m.Stats()[bucket.OpGet]; s.Bytes != 1000 || s.Errors != 1 {
		t.Errorf("a broken reader counted as %+v, want 1000 bytes and one error", s)
	}

	m = bucket.Measure(&sham{body: strings.NewReader("abc")})
	r, err = m.Get(t.Context(), "k", 0, bucket.ToEnd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(closedWriter{}, r); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("copy: %v", err)
	}
	if s := m.Stats()[bucket.OpGet]; s.Errors != 0 {
		t.Errorf("a receiver that went away counted as an error of the store: %+v", s)
	}
}

func TestMeasureAdopter(t *testing.T) {
	if _, ok := bucket.AdopterOf(bucket.Measure(&sham{})); ok {
		t.Error("a bucket that cannot adopt, measured, says it can")
	}
	store, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := bucket.Measure(bucket.Measure(store))
	a, ok := bucket.AdopterOf(m)
	if !ok {
		t.Fatal("the adopter is lost")
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Adopt(t.Context(), path, "k"); err != nil {
		t.Fatal(err)
	}
	if err := a.Adopt(t.Context(), path, "other"); err == nil {
		t.Error("a file that is gone was adopted")
	}
	if s := m.Stats()[bucket.OpAdopt]; s.Count != 2 || s.Errors != 1 {
		t.Errorf("counted as %+v", s)
	}
}

// faulty flips a bit of what it is read, or says another size.
type faulty struct {
	bucket.Bucket
	flip int64 // -1: none
	size int64
	sum  string
}

func (f faulty) Head(ctx context.Context, key string) (bucket.Object, error) {
	o, err := f.Bucket.Head(ctx, key)
	o.Size += f.size
	o.Checksum = f.sum
	return o, err
}

func (f faulty) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := f.Bucket.Get(ctx, key, offset, length)
	if err != nil || f.flip < 0 {
		return r, err
	}
	defer r.Close()
	p, err := io.ReadAll(r)
	p[f.flip] ^= 1
	return io.NopCloser(bytes.NewReader(p)), err
}

func TestSame(t *testing.T) {
	store, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const size = 100_000
	body := buckettest.Body(1, size)
	sum, err := bucket.Checksum(bytes.NewReader(body), size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "k", bytes.NewReader(body), size, bucket.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		b    faulty
		what string // of the CorruptError; "": the same
	}{
		{"same, by bytes", faulty{flip: -1}, ""},
		{"same, by checksum", faulty{flip: 0, sum: sum}, ""},
		{"first byte", faulty{flip: 0}, "byte 0"},
		{"middle byte", faulty{flip: 65_537}, "byte 65537"},
		{"last byte", faulty{flip: size - 1}, "byte 99999"},
		{"size", faulty{flip: -1, size: 1}, "size"},
		{"checksum", faulty{flip: -1, sum: "crc32c:00000000"}, "checksum"},
	} {
		c.b.Bucket = store
		_, err := bucket.Same(t.Context(), c.b, "k", bytes.NewReader(body), size)
		var corrupt *bucket.CorruptError
		if c.what == "" && err != nil || c.what != "" && (!errors.As(err, &corrupt) || corrupt.What != c.what) {
			t.Errorf("%s: %v, want a difference in %q", c.name, err, c.what)
		}
	}
	if _, err := bucket.Same(t.Context(), store, "absent", bytes.NewReader(body), size); !errors.Is(err, bucket.ErrAbsent) {
		t.Errorf("absent: %v", err)
	}
	if _, err := bucket.Same(t.Context(), store, "k", bytes.NewReader(body[:10]), size); !errors.Is(err, io.EOF) || errors.Is(err, bucket.ErrCorrupt) {
		t.Errorf("short body: %v", err)
	}
}

func BenchmarkMeasuredHead(b *testing.B) {
	m := bucket.Measure(&sham{})
	b.ReportAllocs()
	for b.Loop() {
		m.Head(b.Context(), "k")
	}
}

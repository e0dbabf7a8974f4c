package archive

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
)

// flaky is a bucket that can be slow or away, and that takes no file over, as a
// remote one.
type flaky struct {
	bucket.Bucket
	mu    sync.Mutex
	away  bool
	after int // so many operations succeed, then it is away; 0: all do
	slow  time.Duration
	lies  bool // stores, and then answers that it failed
	ops   int
}

func (f *flaky) answer(ctx context.Context) error {
	f.mu.Lock()
	away, slow := f.away || f.after > 0 && f.ops >= f.after, f.slow
	f.ops++
	f.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if away {
		return errAway
	}
	return nil
}

func (f *flaky) set(away bool, slow time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away, f.slow = away, slow
}

func (f *flaky) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

func (f *flaky) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o bucket.PutOptions) (bucket.Object, error) {
	if err := f.answer(ctx); err != nil {
		return bucket.Object{}, err
	}
	obj, err := f.Bucket.Put(ctx, key, body, size, o)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lies && err == nil {
		f.lies = false
		return bucket.Object{}, errAway
	}
	return obj, err
}

func (f *flaky) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := f.answer(ctx); err != nil {
		return nil, err
	}
	return f.Bucket.Get(ctx, key, offset, length)
}

func (f *flaky) Head(ctx context.Context, key string) (bucket.Object, error) {
	if err := f.answer(ctx); err != nil {
		return bucket.Object{}, err
	}
	return f.Bucket.Head(ctx, key)
}

func (f *flaky) Delete(ctx context.Context, key string) error {
	if err := f.answer(ctx); err != nil {
		return err
	}
	return f.Bucket.Delete(ctx, key)
}

func (f *flaky) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		if err := f.answer(ctx); err != nil {
			yield(bucket.Object{}, err)
			return
		}
		for o, err := range f.Bucket.List(ctx, prefix, after) {
			if !yield(o, err) {
				return
			}
		}
	}
}

// Adopter hides that of the bucket within.
func (f *flaky) Adopter() (bucket.Adopter, bool) { return nil, false }

// TestBucketAway: recording and reading go on from the spool while the bucket is
// away, also over a restart, and all is brought there when it comes back.
func TestBucketAway(t *testing.T) {
	p := newPlace(t)
	b := &flaky{Bucket: p.opts.Bucket, away: true}
	p.opts.Bucket = b
	a := p.open()
	for range 3 {
		r := p.record(a, "cam")
		r.add(2)
		r.close()
	}
	all := listed(t, a, "cam")
	checkReadable(t, a, "cam", all)
	p.clock.Add(3 * time.Hour)
	a.chore(context.Background()) // cannot close the hour
	p.close(a)                    // tries, and does not hang
	a = p.open()
	if got := listed(t, a, "cam"); len(got) != 6 {
		t.Fatalf("%d fragments after a restart without the bucket", len(got))
	}
	checkReadable(t, a, "cam", all)
	p.record(a, "cam").add(1)
	if st := a.Stats(); st.Waiting != 3 || st.SpoolBytes == 0 {
		t.Fatalf("waiting %d objects, %d bytes", st.Waiting, st.SpoolBytes)
	}
	b.set(false, time.Millisecond)
	settled(t, a)
	checkReadable(t, a, "cam", all)
	if n := len(objectKeys(t, a)); n != 3 {
		t.Fatalf("%d objects in the bucket", n)
	}
	p.close(a)
	report, err := Verify(context.Background(), b, nil)
	if err != nil || len(report.Problems) > 0 || report.Fragments != 7 {
		t.Fatalf("verify: %v, %+v", err, report)
	}
}

// TestBucketSlow: commits do not wait for the bucket.
func TestBucketSlow(t *testing.T) {
	p := newPlace(t)
	b := &flaky{Bucket: p.opts.Bucket, slow: time.Hour}
	p.opts.Bucket, p.opts.SealBytes = b, 1
	a := p.open()
	r := p.record(a, "cam")
	start := time.Now()
	r.add(20)
	if took := time.Since(start); took > 5*time.Second {
		t.Fatalf("20 commits took %s", took)
	}
	checkReadable(t, a, "cam", listed(t, a, "cam"))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestBucketAnswerLost: an upload that succeeded and was thought to have failed
// is done once.
func TestBucketAnswerLost(t *testing.T) {
	p := newPlace(t)
	b := &flaky{Bucket: p.opts.Bucket}
	p.opts.Bucket = b
	a := p.open()
	r := p.record(a, "cam")
	r.add(2)
	s, _ := a.stream("cam")
	if err := a.writeSettings(context.Background(), s, false); err != nil {
		t.Fatal(err)
	}
	b.lies = true
	r.close()
	settled(t, a)
	if st := a.Stats(); st.UploadErrors != 1 || st.Uploads != 1 || st.SpoolBytes != 0 {
		t.Fatalf("%+v", st)
	}
	checkReadable(t, a, "cam", listed(t, a, "cam"))
}

// TestRetriesAreRare: while the bucket is away it is asked once per pause, not
// once per object.
func TestRetriesAreRare(t *testing.T) {
	p := newPlace(t)
	b := &flaky{Bucket: p.opts.Bucket, away: true}
	p.opts.Bucket, p.opts.SealBytes = b, 1
	p.opts.RetryMin, p.opts.RetryMax = 20*time.Millisecond, 20*time.Millisecond
	a := p.open()
	r := p.record(a, "cam")
	r.add(50)
	before, start := b.count(), time.Now()
	time.Sleep(200 * time.Millisecond)
	asked, most := b.count()-before, int(time.Since(start)/(20*time.Millisecond))+5
	if asked < 2 || asked > most {
		t.Fatalf("asked %d times, want up to %d", asked, most)
	}
}

// TestSpoolFull: new numbers are refused, what was reserved and acknowledged is
// kept, and recording goes on once there is room.
func TestSpoolFull(t *testing.T) {
	p := newPlace(t)
	b := &flaky{Bucket: p.opts.Bucket, away: true}
	p.opts.Bucket, p.opts.SealBytes, p.opts.MaxSpoolBytes = b, 1, 30_000
	a := p.open()
	r := p.record(a, "cam")
	open := r.begin()
	for range 100 {
		n, err := r.w.Begin(r.l)
		if errors.Is(err, ErrSpoolFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		r.commit(n)
	}
	if st := a.Stats(); st.SpoolBytes < 30_000 || st.SpoolBytes > 40_000 || st.Streams[0].Refused != 1 {
		t.Fatalf("%+v", st)
	}
	r.commit(open)
	all := listed(t, a, "cam")
	checkReadable(t, a, "cam", all)
	b.set(false, 0)
	settled(t, a)
	r.add(1)
	checkReadable(t, a, "cam", all)
}

// TestForeignObject: an object of other content under the key is never replaced,
// and does not keep others from the bucket.
func TestForeignObject(t *testing.T) {
	p := newPlace(t)
	b := &flaky{Bucket: p.opts.Bucket}
	p.opts.Bucket = b
	a := p.open()
	r := p.record(a, "cam")
	r.add(1)
	e := listed(t, a, "cam")[0]
	if _, err := b.Put(context.Background(), e.Object, zeros{}, 5, bucket.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	r.close()
	r = p.record(a, "cam")
	r.add(1)
	r.close()
	deadline := time.Now().Add(5 * time.Second)
	for a.uploads.waiting() != 1 || len(objectKeys(t, a)) != 2 {
		if time.Now().After(deadline) {
			t.Fatalf("waiting are %d, in the bucket %v", a.uploads.waiting(), objectKeys(t, a))
		}
		time.Sleep(time.Millisecond)
	}
	checkReadable(t, a, "cam", listed(t, a, "cam"))
	if o, err := b.Head(context.Background(), e.Object); err != nil || o.Size != 5 {
		t.Fatalf("%+v, %v", o, err)
	}
}

type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }

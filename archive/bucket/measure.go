package bucket

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"time"
)

// Op is a kind of operation counted by Measured.
type Op int

// The operations, in the order of Stats.
const (
	OpPut Op = iota
	OpGet
	OpHead
	OpList
	OpDelete
	OpAdopt
	opCount
)

// Ops is the number of kinds of operation.
const Ops = int(opCount)

// String is the operation's name in lower case, as metrics label it.
func (o Op) String() string {
	return [opCount]string{"put", "get", "head", "list", "delete", "adopt"}[o]
}

// LatencyBounds are the upper bounds of the latency counters of OpStats; the last counter is for what was slower.
func LatencyBounds() [8]time.Duration {
	return [8]time.Duration{
		time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond,
		500 * time.Millisecond, 2500 * time.Millisecond, 10 * time.Second, time.Minute,
	}
}

// OpStats counts one kind of operation since the Measured was made. Every number only grows.
type OpStats struct {
	// Count is how many ended. For Get that is when the object was opened, for List when the walk ended.
	Count uint64
	// Errors is how many failed. ErrAbsent and ErrExists are answers, not failures, and a walk or reader its
	// caller gave up early did not fail; but a context that ended is a failure, for a hung store shows that way.
	Errors uint64
	// Bytes is how many bytes of bodies were stored (Put) or read (Get).
	Bytes uint64
	// Busy is the sum of the durations; Latency their distribution by LatencyBounds (not cumulative).
	Busy    time.Duration
	Latency [9]uint64
}

// Stats is what a Measured has counted, by Op.
type Stats [Ops]OpStats

// Measured counts operations, errors, bytes and latency of the bucket it wraps, and is otherwise that bucket.
type Measured struct {
	inner Bucket
	ops   [opCount]counters
}

type counters struct {
	count, errors, bytes atomic.Uint64
	busy                 atomic.Int64
	latency              [9]atomic.Uint64
}

// Measure wraps b. The counting costs a few atomic additions per operation and never blocks.
func Measure(b Bucket) *Measured { return &Measured{inner: b} }

// Stats reads the counters. Those of one operation may be an operation apart from each other.
func (m *Measured) Stats() Stats {
	var s Stats
	for i := range m.ops {
		c := &m.ops[i]
		s[i] = OpStats{
			Count: c.count.Load(), Errors: c.errors.Load(), Bytes: c.bytes.Load(),
			Busy: time.Duration(c.busy.Load()),
		}
		for j := range c.latency {
			s[i].Latency[j] = c.latency[j].Load()
		}
	}
	return s
}

func (m *Measured) done(op Op, start time.Time, err error) {
	d := time.Since(start)
	c := &m.ops[op]
	slot := 0
	for bounds := LatencyBounds(); slot < len(bounds) && d > bounds[slot]; {
		slot++
	}
	c.latency[slot].Add(1)
	c.busy.Add(int64(d))
	if failed(err) {
		c.errors.Add(1)
	}
	c.count.Add(1)
}

func failed(err error) bool {
	return err != nil && !errors.Is(err, ErrAbsent) && !errors.Is(err, ErrExists)
}

// Put implements Bucket.
func (m *Measured) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts PutOptions) (Object, error) {
	start := time.Now()
	o, err := m.inner.Put(ctx, key, body, size, opts)
	if err == nil {
		m.ops[OpPut].bytes.Add(uint64(size))
	}
	m.done(OpPut, start, err)
	return o, err
}

// Get implements Bucket.
func (m *Measured) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	start := time.Now()
	r, err := m.inner.Get(ctx, key, offset, length)
	m.done(OpGet, start, err)
	if err != nil {
		return nil, err
	}
	return &measuredReader{ReadCloser: r, c: &m.ops[OpGet]}, nil
}

// Head implements Bucket.
func (m *Measured) Head(ctx context.Context, key string) (Object, error) {
	start := time.Now()
	o, err := m.inner.Head(ctx, key)
	m.done(OpHead, start, err)
	return o, err
}

// List implements Bucket.
func (m *Measured) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		start := time.Now()
		var failure error
		defer func() { m.done(OpList, start, failure) }()
		for o, err := range m.inner.List(ctx, prefix, after) {
			failure = err
			given := time.Now()
			if !yield(o, err) {
				start = start.Add(time.Since(given))
				return
			}
			start = start.Add(time.Since(given)) // the caller's time is not the store's
		}
	}
}

// Delete implements Bucket.
func (m *Measured) Delete(ctx context.Context, key string) error {
	start := time.Now()
	err := m.inner.Delete(ctx, key)
	m.done(OpDelete, start, err)
	return err
}

// Adopter gives the wrapped bucket's Adopter, counted, if it has one. AdopterOf calls it.
func (m *Measured) Adopter() (Adopter, bool) {
	a, ok := AdopterOf(m.inner)
	if !ok {
		return nil, false
	}
	return &measuredAdopter{m: m, inner: a}, true
}

type measuredAdopter struct {
	m     *Measured
	inner Adopter
}

func (a *measuredAdopter) Adopt(ctx context.Context, path, key string) error {
	start := time.Now()
	err := a.inner.Adopt(ctx, path, key)
	a.m.done(OpAdopt, start, err)
	return err
}

// measuredReader counts bytes and the first failure. It passes WriteTo on, so that a file still reaches a
// socket without passing through the process.
type measuredReader struct {
	io.ReadCloser
	c      *counters
	failed bool
}

func (r *measuredReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.note(int64(n), err)
	return n, err
}

// WriteTo counts no errors where the store writes by itself: its own could not be told from the receiver's.
func (r *measuredReader) WriteTo(w io.Writer) (int64, error) {
	if wt, ok := r.ReadCloser.(io.WriterTo); ok {
		n, err := wt.WriteTo(w)
		r.note(n, nil)
		return n, err
	}
	return io.Copy(w, struct{ io.Reader }{r})
}

func (r *measuredReader) note(n int64, err error) {
	r.c.bytes.Add(uint64(n))
	if err != nil && err != io.EOF && !r.failed {
		r.failed = true
		r.c.errors.Add(1)
	}
}

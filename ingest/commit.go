package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// commitQueue stands between the cutter of one session and the Sink: it takes
// numbers when fragments open and hands them over, in order, from a goroutine
// of its own. It is bounded in bytes; what does not fit is dropped, counted
// and leaves a marked discontinuity, and so does what no event wants where only
// events are recorded.
type commitQueue struct {
	sink  Sink
	lease fragments.Lease
	max   int
	log   *slog.Logger
	ctx   context.Context // of the commits, ended by close
	stop  context.CancelFunc
	done  chan struct{}
	wake  chan struct{} // holds a token when there is something to do

	mu        sync.Mutex // guards the fields below
	keep      *keeper    // nil: everything is recorded
	fragments []*fragments.Fragment
	bytes     int
	closing   bool
	hole      bool // the next fragment to be queued does not continue the one queued last
	broken    bool // the next fragment to be committed does not continue the one committed last
	warned    bool // a loss has been logged since the last commit
	committed int64
	passed    int64 // not wanted by any event
	dropped   int64
	lastErr   error
}

func newCommitQueue(sink Sink, lease fragments.Lease, maxBytes int, keep *keeper, log *slog.Logger) *commitQueue {
	q := &commitQueue{sink: sink, lease: lease, max: maxBytes, keep: keep, log: log, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	q.hole = true // a session does not continue the time line of the one before
	q.ctx, q.stop = context.WithCancel(context.Background())
	go q.run()
	return q
}

// Begin implements fragments.Cutter.
func (q *commitQueue) Begin(f *fragments.Fragment) {
	n, err := q.sink.Begin(q.lease)
	if err != nil {
		q.failed("reserve its number", err, &q.hole)
		return // f keeps the zero number and is dropped at End
	}
	f.Number = n
}

// Part implements fragments.Cutter.
func (q *commitQueue) Part(*fragments.Fragment, *fragments.Part) {}

// End implements fragments.Cutter.
func (q *commitQueue) End(f *fragments.Fragment) {
	if f.Number.IsZero() {
		return
	}
	q.mu.Lock()
	commit, pass := []*fragments.Fragment{f}, []*fragments.Fragment(nil)
	if q.keep != nil {
		commit, pass = q.keep.offer(f)
	}
	full := q.take(commit, pass)
	q.mu.Unlock()
	q.settle(full, pass)
}

// want tells of an event; see Sessions.Keep.
func (q *commitQueue) want(from, to time.Time) {
	q.mu.Lock()
	if q.keep == nil {
		q.mu.Unlock()
		return
	}
	commit, pass := q.keep.want(from, to)
	full := q.take(commit, pass)
	q.mu.Unlock()
	q.settle(full, pass)
}

// keepBy has another keeper decide from now on; nil: everything is recorded.
func (q *commitQueue) keepBy(k *keeper) {
	q.mu.Lock()
	if q.keep == k || q.closing {
		q.mu.Unlock()
		return
	}
	var full []*fragments.Fragment
	if q.keep != nil {
		full = q.take(q.keep.giveUp(), nil)
	}
	q.keep = k
	q.mu.Unlock()
	q.settle(full, nil)
}

// take queues fragments, those that do not fit excepted, which it returns. The
// caller holds q.mu. Those passed over lie before the others.
func (q *commitQueue) take(commit, pass []*fragments.Fragment) (full []*fragments.Fragment) {
	if len(pass) > 0 {
		q.passed += int64(len(pass))
		q.hole = true
	}
	for _, f := range commit {
		size := f.Bytes()
		if q.bytes > 0 && q.bytes+size > q.max {
			full = append(full, f)
			q.hole = true
			continue
		}
		f = q.mark(f, q.hole)
		q.hole = false
		q.fragments = append(q.fragments, f)
		q.bytes += size
	}
	return full
}

// mark returns f, marked as a discontinuity if it is one. A fragment that has
// been shown live is never changed.
func (q *commitQueue) mark(f *fragments.Fragment, broken bool) *fragments.Fragment {
	if !broken || f.Discontinuity {
		return f
	}
	c := *f
	c.Discontinuity = true
	return &c
}

// settle gives back the numbers of what is not committed, and wakes run.
func (q *commitQueue) settle(full, pass []*fragments.Fragment) {
	for _, f := range pass {
		q.sink.Abort(q.lease, f.Number)
	}
	for _, f := range full {
		q.sink.Abort(q.lease, f.Number)
		q.failed("queue it", errQueueFull, &q.hole)
	}
	q.signal()
}

func (q *commitQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// failed counts a fragment that will not be stored and sets the mark of its
// place. Only the first of a row is logged.
func (q *commitQueue) failed(what string, err error, mark *bool) {
	q.mu.Lock()
	q.dropped++
	q.lastErr = err
	first := !q.warned
	q.warned, *mark = true, true
	q.mu.Unlock()
	if first {
		q.log.Error("fragment lost: cannot "+what, "error", err)
	}
}

// holds reports whether fragments wait for an event.
func (q *commitQueue) holds() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.keep != nil && q.keep.holds()
}

func (q *commitQueue) run() {
	defer close(q.done)
	for {
		q.mu.Lock()
		var f *fragments.Fragment
		if len(q.fragments) > 0 {
			f = q.fragments[0]
		}
		closing, broken := q.closing, q.broken
		q.mu.Unlock()
		if f == nil {
			if closing {
				return
			}
			<-q.wake
			continue
		}
		f = q.mark(f, broken)
		err := q.sink.Commit(q.ctx, q.lease, f)
		q.mu.Lock()
		q.fragments[0] = nil
		q.fragments = q.fragments[1:]
		q.bytes -= f.Bytes()
		if err == nil {
			q.committed++
			if q.warned {
				q.log.Info("recording again", "dropped", q.dropped)
			}
			q.warned, q.broken = false, false
		}
		q.mu.Unlock()
		if err != nil {
			q.sink.Abort(q.lease, f.Number) // or it would hold back those behind it
			q.failed("commit it", err, &q.broken)
		}
	}
}

// close waits until everything queued is committed, or until ctx ends. Before
// that it waits for events about what is held, for as long as wait says.
func (q *commitQueue) close(ctx context.Context, wait time.Duration) {
	if q.holds() && wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	q.mu.Lock()
	q.closing = true
	var pass []*fragments.Fragment
	if q.keep != nil {
		pass = q.keep.giveUp()
		q.take(nil, pass)
	}
	q.mu.Unlock()
	q.settle(nil, pass)
	select {
	case <-q.done:
	case <-ctx.Done():
		q.stop() // the commit under way returns, those behind it fail
		<-q.done
	}
	q.stop()
}

package ingest

import (
	"context"
	"log/slog"
	"sync"

	"github.com/kineweir/kineweir/fragments"
)

// commitQueue stands between the cutter of one session and the Sink: it takes
// numbers when fragments open and hands them over, in order, from a goroutine
// of its own. It is bounded in bytes; what does not fit is dropped, counted
// and leaves a marked discontinuity.
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
	fragments []*fragments.Fragment
	bytes     int
	closing   bool
	hole      bool // the next fragment to be queued does not continue the one queued last
	broken    bool // the next fragment to be committed does not continue the one committed last
	warned    bool // a loss has been logged since the last commit
	committed int64
	dropped   int64
	lastErr   error
}

func newCommitQueue(sink Sink, lease fragments.Lease, maxBytes int, log *slog.Logger) *commitQueue {
	q := &commitQueue{sink: sink, lease: lease, max: maxBytes, log: log, done: make(chan struct{}), wake: make(chan struct{}, 1)}
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
	size := f.Bytes()
	q.mu.Lock()
	full := q.bytes > 0 && q.bytes+size > q.max
	if !full {
		f.Discontinuity = f.Discontinuity || q.hole
		q.hole = false
		q.fragments = append(q.fragments, f)
		q.bytes += size
	}
	q.mu.Unlock()
	if full {
		q.sink.Abort(q.lease, f.Number)
		q.failed("queue it", errQueueFull, &q.hole)
		return
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
		f.Discontinuity = f.Discontinuity || broken
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

// close waits until everything queued is committed, or until ctx ends.
func (q *commitQueue) close(ctx context.Context) {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.signal()
	select {
	case <-q.done:
	case <-ctx.Done():
		q.stop() // the commit under way returns, those behind it fail
		<-q.done
	}
	q.stop()
}

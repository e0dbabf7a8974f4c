package feed

import (
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// queue holds the streams that may have something to be fed, each once, and
// gives each to one worker at a time. It is bounded by the number of streams.
type queue struct {
	mu      sync.Mutex
	ready   sync.Cond // one more stream waits, or the queue is closed
	waiting []fragments.StreamName
	streams map[fragments.StreamName]*queued
	busy    int
	closing bool // what waits is still given out, delayed streams are not
	closed  bool
}

// queued is a stream that waits, is being served, or both.
type queued struct {
	waiting, busy bool
	delay         *time.Timer // it waits, but not yet
	failures      int         // in a row
	since         time.Time   // when the oldest thing to be fed ended; zero: nothing is known to wait
}

func newQueue() *queue {
	q := &queue{streams: map[fragments.StreamName]*queued{}}
	q.ready.L = &q.mu
	return q
}

// add says that the stream may have something to be fed.
func (q *queue) add(name fragments.StreamName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	s := q.streams[name]
	if s == nil {
		s = &queued{}
		q.streams[name] = s
	}
	if s.since.IsZero() {
		s.since = time.Now()
	}
	if !s.waiting {
		s.waiting = true
		q.push(name, s)
	}
}

// push lets a waiting stream be taken unless it is busy or delayed; done does it
// then. The caller holds mu.
func (q *queue) push(name fragments.StreamName, s *queued) {
	if s.busy || s.delay != nil {
		return
	}
	q.waiting = append(q.waiting, name)
	q.ready.Signal()
}

// take waits for a stream to serve. It reports false when there is none and the
// queue is closing.
func (q *queue) take() (fragments.StreamName, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 || q.closed {
		if q.closed || q.closing && q.busy == 0 {
			return "", false
		}
		q.ready.Wait()
	}
	name := q.waiting[0]
	q.waiting = q.waiting[1:]
	s := q.streams[name]
	s.waiting, s.busy = false, true
	q.busy++
	return name, true
}

// done gives a stream back: to be served again if more is set, after a while if
// it failed.
func (q *queue) done(name fragments.StreamName, more bool, failed bool, pause func(failures int) time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.streams[name]
	s.busy = false
	q.busy--
	switch {
	case failed:
		s.failures++
		s.waiting = true
		if !q.closing {
			s.delay = time.AfterFunc(pause(s.failures), func() { q.again(name) })
		}
	case more || s.waiting:
		s.failures, s.waiting = 0, true
		q.push(name, s)
	default:
		delete(q.streams, name)
	}
	if q.closing {
		q.ready.Broadcast()
	}
}

// again ends a delay.
func (q *queue) again(name fragments.StreamName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.streams[name]; s != nil && s.delay != nil {
		s.delay = nil
		q.push(name, s)
	}
}

// oldest notes what a worker is about to feed.
func (q *queue) oldest(name fragments.StreamName, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.streams[name].since = at
}

// lag is how long the longest has been waiting.
func (q *queue) lag(now time.Time) (lag time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.streams {
		lag = max(lag, now.Sub(s.since))
	}
	return lag
}

// drain has workers end once nothing waits that has not failed.
func (q *queue) drain() { q.end(func() { q.closing = true }) }

// close has workers end at once.
func (q *queue) close() { q.end(func() { q.closed = true }) }

func (q *queue) end(how func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	how()
	for _, s := range q.streams {
		if s.delay != nil {
			s.delay.Stop()
		}
	}
	q.ready.Broadcast()
}

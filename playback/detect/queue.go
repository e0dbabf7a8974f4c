package detect

import (
	"context"
	"sync"
	"time"
)

// Bounds of what waits to be put into the data stream.
const (
	maxUntold = 256 // records of one detector; the oldest gives way, as a later one of its event says more
	// putTimeout bounds one try to put a record.
	putTimeout = 5 * time.Second
	// lastPuts bounds the wait for the last records when a detector is closed.
	lastPuts = 5 * time.Second
)

// teller puts the records of one detector into the data stream, in order and
// beside the looking: a disk that takes its time costs no pictures, and one that is
// full no event that still fits into the queue.
type teller struct {
	w    *watcher
	wake chan struct{} // holds a token when there may be something to put
	bye  chan struct{} // closed by close
	all  sync.WaitGroup
	end  context.CancelFunc

	mu      sync.Mutex // guards the fields below
	untold  [][]byte
	closing bool
}

func newTeller(w *watcher) *teller {
	ctx, end := context.WithCancel(context.Background())
	t := &teller{w: w, wake: make(chan struct{}, 1), bye: make(chan struct{}), end: end}
	t.all.Go(func() { t.run(ctx) })
	return t
}

// add queues records. It never waits.
func (t *teller) add(records [][]byte) {
	if len(records) == 0 {
		return
	}
	t.mu.Lock()
	t.untold = append(t.untold, records...)
	over := max(0, len(t.untold)-maxUntold)
	t.untold = t.untold[over:]
	t.mu.Unlock()
	if over > 0 {
		t.w.count(func(s *Status) { s.Lost += int64(over) })
	}
	t.poke()
}

func (t *teller) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// next returns the oldest record, nil when there is none; done says that there
// will be none.
func (t *teller) next() (record []byte, done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.untold) == 0 {
		return nil, t.closing
	}
	record = t.untold[0]
	t.untold = t.untold[1:]
	return record, false
}

func (t *teller) run(ctx context.Context) {
	for {
		record, done := t.next()
		switch {
		case record != nil:
			t.insist(ctx, record)
		case done:
			return
		default:
			<-t.wake
		}
	}
}

// insist puts a record, again and again until it is taken. When the detector is
// closed it tries once.
func (t *teller) insist(ctx context.Context, record []byte) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := t.put(ctx, record)
		t.w.count(func(s *Status) { s.Err = err })
		if err == nil {
			t.w.count(func(s *Status) { s.Events++ })
			return
		}
		t.w.d.o.Log.Warn("event is not told", "stream", string(t.w.name), "detector", t.w.kind, "error", err)
		select {
		case <-time.After(pause):
		case <-t.bye:
			t.w.count(func(s *Status) { s.Lost++ })
			return
		}
	}
}

func (t *teller) put(ctx context.Context, record []byte) error {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	d := t.w.d
	return d.o.Records.Put(ctx, d.o.Stream, string(t.w.name), record)
}

// close puts what is left, for as long as lastPuts, and ends.
func (t *teller) close() {
	t.mu.Lock()
	t.closing = true
	t.mu.Unlock()
	close(t.bye)
	t.poke()
	late := time.AfterFunc(lastPuts, t.end)
	t.all.Wait()
	late.Stop()
	t.end()
}

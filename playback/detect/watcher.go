package detect

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// States of a detector; see Status.
const (
	stateWaiting = "waiting"
	stateIdle    = "idle"
	stateLooking = "looking"
	stateError   = "error"
)

// Pauses before a detector that failed is tried again.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
	// steady is how long one must have worked for the pauses to begin anew.
	steady = time.Minute
)

// putTimeout bounds how long a record may take to be put: the pictures do not
// wait longer. What cannot be put is told again with the next of the event.
const putTimeout = 5 * time.Second

// watcher is one detector on one camera.
type watcher struct {
	d    *Detectors
	name fragments.StreamName
	kind string

	mu    sync.Mutex // guards the fields below
	state string
	err   error
	stats Status // only the counters
}

// run has the camera looked at whenever it is live, until ctx ends.
func (w *watcher) run(ctx context.Context, look func(ctx context.Context, w *watcher) error) {
	log := w.d.o.Log.With("stream", string(w.name), "detector", w.kind)
	pause := minPause
	for ctx.Err() == nil {
		w.set(stateWaiting, nil)
		if _, err := w.d.o.Hub.Wait(ctx, w.name); err != nil {
			return
		}
		begun := time.Now()
		err := look(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if err == nil || errors.Is(err, live.ErrEnded) || errors.Is(err, live.ErrNotLive) {
			pause = minPause
			continue
		}
		if time.Since(begun) > steady {
			pause = minPause
		}
		w.set(stateError, err)
		log.Warn("detector does not work, will try again", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

func (w *watcher) set(state string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state, w.err = state, err
}

func (w *watcher) count(f func(s *Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.stats)
}

func (w *watcher) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Camera, s.Kind, s.State, s.Err = w.name, w.kind, w.state, w.err
	return s
}

// tell puts records into the data stream. It goes on when the detector is being
// closed, as the last of them tell the ends of events.
func (w *watcher) tell(ctx context.Context, records [][]byte) {
	for _, r := range records {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout)
		err := w.d.o.Records.Put(ctx, w.d.o.Stream, string(w.name), r)
		cancel()
		if err != nil {
			w.d.o.Log.Warn("event is not told", "stream", string(w.name), "detector", w.kind, "error", err)
			continue
		}
		w.count(func(s *Status) { s.Events++ })
	}
}

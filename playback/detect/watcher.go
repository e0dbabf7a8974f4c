package detect

import (
	"context"
	"errors"
	"log/slog"
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

// watcher is one detector on one camera.
type watcher struct {
	d    *Detectors
	name fragments.StreamName
	kind string
	out  *teller

	mu    sync.Mutex // guards the fields below
	state string
	err   error
	stats Status // only the counters, and why events cannot be told
}

// run has the camera looked at whenever it is live, until ctx ends.
func (w *watcher) run(ctx context.Context, look func(ctx context.Context, w *watcher) error) {
	w.out = newTeller(w)
	defer w.out.close()
	log := w.d.o.Log.With("stream", string(w.name), "detector", w.kind)
	pause, said := minPause, ""
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
			pause, said = minPause, ""
			continue
		}
		if time.Since(begun) > steady {
			pause = minPause
		}
		w.set(stateError, err)
		w.count(func(s *Status) { s.Restarts++ })
		level := slog.LevelDebug // the same again
		if text := err.Error(); text != said {
			level, said = slog.LevelWarn, text
		}
		log.Log(ctx, level, "detector does not work, will try again", "error", err, "pause", pause)
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
	s.Camera, s.Kind, s.State = w.name, w.kind, w.state
	if w.err != nil {
		s.Err = w.err
	}
	return s
}

// tell has records put into the data stream. It never waits.
func (w *watcher) tell(records [][]byte) { w.out.add(records) }

// fragmentOf returns the number of the fragment that a picture is in, zero when
// nobody knows. Those of the last seconds are in memory. It is sure when what was
// cut so far tells; before that a picture may be ahead of the cutter, and in the
// next fragment.
func (w *watcher) fragmentOf(at, arrival time.Time) (number fragments.Number, sure bool) {
	recent := w.d.o.Hub.Recent(w.name)
	if recent == nil {
		return fragments.Number{}, false
	}
	return covering(recent.State(), at, arrival)
}

// covering returns the number of the fragment that covers an instant of producer
// time, zero when none does that is kept. What began after the picture had arrived
// does not have it, whatever its times: the clock was set back.
func covering(s *live.State, at, arrival time.Time) (number fragments.Number, sure bool) {
	has := func(f *live.Fragment) bool {
		return !at.Before(f.Producer.Time()) && (arrival.IsZero() || arrival.Add(coverSlack).After(f.Server.Time()))
	}
	open := s.Open
	if open != nil && len(open.Runs) > 0 && has(open) {
		return open.Number, at.Before(open.Producer.Time().Add(open.Duration))
	}
	for i := len(s.Closed) - 1; i >= 0; i-- {
		f := s.Closed[i]
		end := f.Producer.Time().Add(f.Duration)
		switch {
		case !has(f):
		case at.Before(end):
			return f.Number, true
		case i == len(s.Closed)-1 && open != nil && len(open.Runs) == 0 && at.Before(end.Add(openSlack)):
			return open.Number, false // nothing is known of it yet
		case at.Before(end.Add(coverSlack)):
			return f.Number, i < len(s.Closed)-1
		default:
			return fragments.Number{}, false
		}
	}
	return fragments.Number{}, false
}

const (
	// coverSlack is how far the times of frames may stray from the sum of their
	// durations.
	coverSlack = 20 * time.Millisecond
	// openSlack is how long a fragment may be open before its first part is cut.
	openSlack = 2 * time.Second
)

package peer_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/peer"
)

// recorder keeps what sessions are given.
type recorder struct {
	mu       sync.Mutex
	sessions []*recorded
	refuse   error
	changed  chan struct{} // closed at every change
}

type recorded struct {
	rec    *recorder
	kicked func(error)

	// guarded by rec.mu
	name   fragments.StreamName
	tracks []*fragments.Track
	units  []*fragments.AccessUnit
	lost   uint64
	askKey func()
	closed bool
	reason error
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

var errTakenOver = errors.New("taken over")

func (r *recorder) publish(name fragments.StreamName, tracks []*fragments.Track, _ ingest.Source, kicked func(error)) (peer.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return nil, r.refuse
	}
	for _, old := range r.sessions {
		if old.name == name && !old.closed {
			go old.kicked(errTakenOver)
		}
	}
	s := &recorded{rec: r, name: name, tracks: tracks, kicked: kicked}
	r.sessions = append(r.sessions, s)
	r.signal()
	return s, nil
}

func (r *recorder) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (s *recorded) Write(au *fragments.AccessUnit) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	if s.closed {
		panic("write after close")
	}
	s.units = append(s.units, au)
	s.rec.signal()
}

func (s *recorded) Lost(n uint64) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	s.lost += n
}

func (s *recorded) Jitter(int, float64) {}

func (s *recorded) OnKeyRequest(f func()) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	s.askKey = f
}

func (s *recorded) Close(reason error) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	s.closed, s.reason = true, reason
	s.rec.signal()
}

// wait waits until ok, which is called under the mutex of r, is true.
func (r *recorder) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		done, changed := ok(), r.changed
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func (r *recorder) session(t *testing.T, n int) *recorded {
	t.Helper()
	r.wait(t, "a session", func() bool { return len(r.sessions) > n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[n]
}

// waitVideo waits for n units of video and returns all there are.
func (s *recorded) waitVideo(t *testing.T, n int) []*fragments.AccessUnit {
	t.Helper()
	s.rec.wait(t, "video", func() bool { return len(ofKind(s.units, fragments.KindVideo)) >= n })
	return ofKind(s.all(), fragments.KindVideo)
}

func (s *recorded) all() []*fragments.AccessUnit {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	return slices.Clone(s.units)
}

func (s *recorded) waitClosed(t *testing.T) error {
	t.Helper()
	s.rec.wait(t, "the end of the session", func() bool { return s.closed })
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	return s.reason
}

func ofKind(units []*fragments.AccessUnit, kind fragments.Kind) (out []*fragments.AccessUnit) {
	for _, u := range units {
		if u.Track.Kind() == kind {
			out = append(out, u)
		}
	}
	return out
}

// logTo sends a log to the test, which shows it when it fails.
func logTo(t *testing.T) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.done = true
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct {
	t    *testing.T
	mu   sync.Mutex
	done bool
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.done {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

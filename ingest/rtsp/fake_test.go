package rtsp

import (
	"encoding/hex"
	"flag"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
)

// TestMain runs more tests at once than there are processors: they wait for
// clocks and sockets.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// recorder is a sink of sessions that keeps what it is given. With a hub it shows
// the streams live as well.
type recorder struct {
	hub *live.Hub

	mu       sync.Mutex
	sessions []*recorded
	changed  chan struct{} // closed at every change
}

// recorded is one session of a recorder.
type recorded struct {
	rec    *recorder
	name   fragments.StreamName
	src    ingest.Source
	kicked func(error)
	pub    *live.Publisher

	// guarded by rec.mu
	tracks []*fragments.Track
	units  []*fragments.AccessUnit
	lost   uint64
	jitter map[int]float64
	closed bool
	reason error
}

func newRecorder() *recorder {
	return &recorder{hub: live.New(), changed: make(chan struct{})}
}

// Publish is a PublishFunc: the newest publisher wins.
func (r *recorder) Publish(name fragments.StreamName, tracks []*fragments.Track, src ingest.Source, kicked func(error)) (Session, error) {
	s := &recorded{rec: r, name: name, src: src, kicked: kicked, tracks: tracks, jitter: map[int]float64{}}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, old := range r.sessions {
		if old.name == name && !old.closed {
			go old.kicked(errTakenOver)
		}
	}
	s.pub = r.hub.Publish(name, tracks)
	r.sessions = append(r.sessions, s)
	r.signal()
	return s, nil
}

var errTakenOver = &takenOverError{}

type takenOverError struct{}

func (*takenOverError) Error() string { return "another publisher has taken the stream over" }

func (r *recorder) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (s *recorded) Write(au *fragments.AccessUnit) {
	s.rec.mu.Lock()
	if s.closed {
		s.rec.mu.Unlock()
		panic("write after close")
	}
	s.units = append(s.units, au)
	s.rec.signal()
	s.rec.mu.Unlock()
	s.pub.Write(au)
}

func (s *recorded) Lost(n uint64) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	s.lost += n
}

func (s *recorded) Jitter(track int, seconds float64) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	s.jitter[track] = seconds
}

func (s *recorded) Close(reason error) {
	s.rec.mu.Lock()
	s.closed, s.reason = true, reason
	s.rec.signal()
	s.rec.mu.Unlock()
	s.pub.Close()
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

// session returns the n-th session, once it is there.
func (r *recorder) session(t *testing.T, n int) *recorded {
	t.Helper()
	r.wait(t, "a session", func() bool { return len(r.sessions) > n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[n]
}

// waitUnits waits for n access units and returns all there are.
func (s *recorded) waitUnits(t *testing.T, n int) []*fragments.AccessUnit {
	t.Helper()
	s.rec.wait(t, "access units", func() bool { return len(s.units) >= n })
	return s.all()
}

func (s *recorded) all() []*fragments.AccessUnit {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	return slices.Clone(s.units)
}

// waitClosed waits for the end and returns its reason.
func (s *recorded) waitClosed(t *testing.T) error {
	t.Helper()
	s.rec.wait(t, "the end of the session", func() bool { return s.closed })
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	return s.reason
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
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

func sourceOf(protocol string) ingest.Source { return ingest.Source{Protocol: protocol} }

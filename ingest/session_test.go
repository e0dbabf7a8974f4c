package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

var video = &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000}

// memorySink keeps what is committed; gate, when set, holds commits up.
type memorySink struct {
	mu        sync.Mutex
	epoch     uint64
	counter   uint64
	current   map[fragments.StreamName]uint64
	committed []fragments.Fragment
	aborted   []fragments.Number
	open      int
	gate      chan struct{}
	fail      error
}

func (m *memorySink) Open(_ context.Context, name fragments.StreamName) (fragments.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	m.open++
	if m.current == nil {
		m.current = map[fragments.StreamName]uint64{}
	}
	m.current[name] = m.epoch
	return fragments.Lease{Stream: name, Epoch: m.epoch, Created: time.Now().Add(-time.Hour)}, nil
}

func (m *memorySink) Begin(l fragments.Lease) (fragments.Number, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counter++
	return fragments.Number{Epoch: l.Epoch, Counter: m.counter}, nil
}

func (m *memorySink) Commit(ctx context.Context, l fragments.Lease, f *fragments.Fragment) error {
	m.mu.Lock()
	gate, fail := m.gate, m.fail
	m.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		return fail
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current[l.Stream] != l.Epoch {
		return errors.New("lease has ended")
	}
	m.committed = append(m.committed, *f)
	return nil
}

func (m *memorySink) Abort(_ fragments.Lease, n fragments.Number) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.aborted = append(m.aborted, n)
}

func (m *memorySink) Close(context.Context, fragments.Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open--
	return nil
}

func newSessions(sink Sink, change func(*Options)) *Sessions {
	o := Options{
		Hub: live.New(), Sink: sink, Logger: slog.New(slog.DiscardHandler),
		Cut: fragments.FragmenterOptions{Encode: func(_ *fragments.Track, _ uint32, _ int64, s []fragments.Sample) []byte {
			return make([]byte, 100*len(s))
		}},
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

// feed writes n frames of 25 fps, a key frame each second.
func feed(s *Session, from, n int) {
	for i := from; i < from+n; i++ {
		now := time.Now()
		s.Write(&fragments.AccessUnit{
			Track: video, PTS: int64(i) * 3600, DTS: fragments.NoDTS, Key: i%25 == 0, Payload: [][]byte{make([]byte, 100)},
			Capture: fragments.ProducerTime(now), Arrival: fragments.ServerTime(now),
		})
		time.Sleep(40 * time.Millisecond)
	}
}

func TestSessionCommitsAndFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{}
		all := newSessions(sink, nil)
		s, err := all.Publish("a", []*fragments.Track{video}, Source{Protocol: "test"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		feed(s, 0, 260)
		s.Lost(3)
		s.Jitter(1, 0.004)
		if st := s.Stats(); st.FPS < 24.5 || st.FPS > 25.5 || st.BitRate < 19500 || st.BitRate > 20500 || st.LostPackets != 3 || st.Jitter != 0.004 {
			t.Errorf("figures: %+v", st)
		}
		s.Close(nil)
		s.Close(nil)
		if len(sink.committed) != 11 || sink.open != 0 || len(all.List()) != 0 {
			t.Errorf("%d fragments, %d leases, %d sessions", len(sink.committed), sink.open, len(all.List()))
		}
		if _, err := all.o.Hub.Live("a"); !errors.Is(err, live.ErrNotLive) {
			t.Errorf("still live: %v", err)
		}
	})
}

func TestSecondPublisher(t *testing.T) {
	for _, tc := range []struct {
		name   string
		refuse bool
	}{{"newest wins", false}, {"first stays", true}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &memorySink{}
				all := newSessions(sink, func(o *Options) { o.RefuseSecond = tc.refuse })
				var reason error
				var first *Session
				first, err := all.Publish("a", []*fragments.Track{video}, Source{}, func(err error) {
					reason = err
					first.Close(err) // as a protocol's tear-down does
				})
				if err != nil {
					t.Fatal(err)
				}
				feed(first, 0, 30)
				second, err := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
				if tc.refuse {
					if !errors.Is(err, ErrBusy) || reason != nil {
						t.Fatalf("second: %v, first kicked: %v", err, reason)
					}
					first.Close(nil)
					return
				}
				if err != nil || !errors.Is(reason, ErrReplaced) {
					t.Fatalf("second: %v, first kicked: %v", err, reason)
				}
				if n := len(sink.committed); n != 2 {
					t.Errorf("%d fragments of the first publisher, want 2", n)
				}
				feed(first, 30, 5) // too late: ignored
				feed(second, 0, 30)
				second.Close(nil)
				if n := len(sink.committed); n != 4 {
					t.Errorf("%d fragments, want 4", n)
				}
			})
		})
	}
}

func TestLimitAndLastError(t *testing.T) {
	all := newSessions(&memorySink{}, func(o *Options) { o.MaxSessions = 1 })
	a, err := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Publish("b", nil, Source{}, nil); !errors.Is(err, ErrTooMany) {
		t.Errorf("second stream: %v", err)
	}
	a.Close(errors.New("garbage"))
	if got := all.LastError("a"); got != "garbage" {
		t.Errorf("last error %q", got)
	}
	a, _ = all.Publish("a", []*fragments.Track{video}, Source{}, nil)
	a.Close(nil)
	if got := all.LastError("a"); got != "" {
		t.Errorf("last error %q after a good end", got)
	}
}

func TestManyPublishersOfOneStream(t *testing.T) {
	sink := &memorySink{}
	all := newSessions(sink, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			s, err := all.Publish("a", []*fragments.Track{video}, Source{}, func(error) {})
			if err != nil {
				t.Error(err)
				return
			}
			s.Write(&fragments.AccessUnit{Track: video, DTS: fragments.NoDTS, Key: true, Payload: [][]byte{{1}}})
		})
	}
	wg.Wait()
	if n := len(all.List()); n != 1 {
		t.Errorf("%d sessions of one stream", n)
	}
	all.Close()
	if _, err := all.Publish("b", nil, Source{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	// A publisher may have been replaced before it wrote; the last one was not.
	if n := len(sink.committed); sink.open != 0 || n < 1 || n > 20 {
		t.Errorf("%d leases open, %d fragments", sink.open, len(sink.committed))
	}
}

// A disk that stands still costs fragments beyond the bound, never the live
// stream, and the hole is marked.
func TestSlowSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{gate: make(chan struct{})}
		all := newSessions(sink, func(o *Options) { o.MaxQueued = 6000 }) // two fragments of 2,500 bytes
		s, err := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := all.o.Hub.Subscribe("a", live.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		feed(s, 0, 150)
		if st := s.Stats(); st.Dropped != 3 || st.QueuedBytes > 6000 || !errors.Is(st.Err, errQueueFull) {
			t.Errorf("with the disk standing still: %+v", st)
		}
		close(sink.gate)
		synctest.Wait()
		feed(s, 150, 50)
		s.Close(nil)
		n := 0
		for {
			if _, err := sub.Next(context.Background()); err != nil {
				break
			}
			n++
		}
		if n != 200 {
			t.Errorf("live viewer got %d of 200 units", n)
		}
		if len(sink.aborted) != 3 {
			t.Errorf("aborted %v", sink.aborted)
		}
		marked := 0
		for _, f := range sink.committed {
			if f.Discontinuity {
				marked++
			}
		}
		if marked == 0 {
			t.Error("the hole is not marked")
		}
	})
}

func TestFailingSinkAndCloseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{fail: errors.New("disk on fire")}
		all := newSessions(sink, nil)
		s, _ := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
		feed(s, 0, 60)
		if st := s.Stats(); st.Dropped != 2 || st.Err == nil || st.Units != 60 {
			t.Errorf("failing sink: %+v", st)
		}
		if len(sink.aborted) != 2 {
			t.Errorf("%d numbers given up, want those of the 2 lost fragments", len(sink.aborted))
		}
		sink.mu.Lock()
		sink.fail, sink.gate = nil, make(chan struct{})
		sink.mu.Unlock()
		start := time.Now()
		s.Close(nil)
		if d := time.Since(start); d > 11*time.Second {
			t.Errorf("close took %v", d)
		}
	})
}

package detect

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/image"
)

// studio is a camera whose pictures are drawn when they are asked for: those of
// the second stage every 200 ms of film, those of key frames every second.
type studio struct {
	mu      sync.Mutex
	now     time.Time
	scene   *scene
	watches []image.WatchOptions
	step    chan struct{} // a token for each picture
}

func (s *studio) Watch(ctx context.Context, _ fragments.StreamName, o image.WatchOptions) iter.Seq2[*image.Frame, error] {
	s.mu.Lock()
	s.watches = append(s.watches, o)
	s.mu.Unlock()
	return func(yield func(*image.Frame, error) bool) {
		for {
			select {
			case <-s.step:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
			s.mu.Lock()
			s.now = s.now.Add(time.Duration(float64(time.Second) / o.FPS))
			f := &image.Frame{Time: s.now, PTS: s.now.Sub(noon), Width: o.Width, Height: o.Height, Channels: 1, Pix: s.scene.draw()}
			if o.Color {
				f.Channels, f.Pix = 3, make([]byte, 3*o.Width*o.Height)
			}
			s.mu.Unlock()
			if !yield(f, nil) {
				return
			}
		}
	}
}

// keys reports whether the latest watch is of key frames alone.
func (s *studio) keys() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watches) > 0 && s.watches[len(s.watches)-1].KeysOnly
}

// shoot publishes n seconds of frames of a size, with a key frame every group
// seconds.
func shoot(p *live.Publisher, track *fragments.Track, from, n, group int, size func(i int) int) {
	for i := range 25 * n {
		at := second(float64(from) + float64(i)/25)
		key := (25*from+i)%(25*group) == 0
		bytes := size(i)
		if key {
			bytes = 20_000
		}
		p.Write(&fragments.AccessUnit{Track: track, Key: key, PTS: int64(25*from+i) * 3600, Payload: [][]byte{make([]byte, bytes)}, Capture: fragments.ProducerTime(at)})
	}
}

// TestStages sees the two stages give way to each other: sizes or a picture of a
// key frame wake the second one, which goes on where the first sees too little.
func TestStages(t *testing.T) {
	for _, tc := range []struct {
		name  string
		group int // seconds between key frames
		size  func(i int) int
		idles bool
		wake  func(s *studio, p *live.Publisher, track *fragments.Track)
	}{
		{"small frames, a surge", 10, func(i int) int { return 60 + i%3 }, true, func(_ *studio, p *live.Publisher, track *fragments.Track) {
			shoot(p, track, 60, 2, 10, func(int) int { return 300 })
		}},
		{"noise, a key frame shows it", 1, func(i int) int { return 2000 + i*7919%3000 }, true, func(s *studio, _ *live.Publisher, _ *fragments.Track) {
			s.mu.Lock()
			s.scene.boxes = []thing{wanderer(0, 0.1)}
			s.mu.Unlock()
		}},
		{"noise, and key frames are rare", 10, func(i int) int { return 2000 + i*7919%3000 }, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			track := &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000}
			hub, n := live.New(), &notes{}
			p := hub.Publish("cam", []*fragments.Track{track})
			defer p.Close()
			s := &studio{now: noon, scene: newScene(3), step: make(chan struct{})}
			d, err := New(Options{Hub: hub, Pictures: s, Records: n, Stream: "detections"})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			shoot(p, track, 0, 1, tc.group, tc.size)
			if err := d.Set("cam", Settings{Motion: &Motion{}}); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "it is looking", func() bool { return d.List()[0].State == stateLooking })
			shoot(p, track, 1, 59, tc.group, tc.size)
			idle := func() bool { return d.List()[0].State == stateIdle && s.keys() }
			// Pictures that the one who looks takes when it likes: it must have learned
			// what there is by then.
			for range 200 {
				if tc.idles && idle() {
					break
				}
				select {
				case s.step <- struct{}{}:
				case <-time.After(50 * time.Millisecond):
				}
			}
			waitFor(t, "the right stage is at work", func() bool { return idle() == tc.idles })
			if tc.wake == nil {
				return
			}
			tc.wake(s, p, track)
			waitFor(t, "it is woken", func() bool {
				select {
				case s.step <- struct{}{}:
				case <-time.After(10 * time.Millisecond):
				}
				return d.List()[0].Wakes == 1
			})
			if len(n.list()) != 0 {
				t.Error("a false event")
			}
		})
	}
}

// A detector that is switched off tells the end of what is under way.
func TestMotionIsToldAtTheEnd(t *testing.T) {
	hub, n := live.New(), &notes{}
	defer hub.Publish("cam", nil).Close()
	s := &studio{now: noon, scene: newScene(3), step: make(chan struct{})}
	d, err := New(Options{Hub: hub, Pictures: s, Records: n, Stream: "detections"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Set("cam", Settings{Motion: &Motion{}}); err != nil {
		t.Fatal(err)
	}
	for i := range 14 {
		s.mu.Lock()
		if i >= 8 {
			s.scene.boxes = []thing{wanderer(i, 0.1)}
		}
		s.mu.Unlock()
		s.step <- struct{}{}
		waitFor(t, "it has been looked at", func() bool { return d.List()[0].Pictures == int64(i+1) })
	}
	if err := d.Set("cam", Settings{}); err != nil {
		t.Fatal(err)
	}
	list := told(t, n.list())
	if len(list) != 2 || !list[1].Time.Equal(second(1.8)) || !list[1].End.Equal(second(2.8)) {
		t.Errorf("told %+v", list)
	}
}

// Records that cannot be put do not hold the looking up; there is an end to what
// waits, and to the waiting.
func TestTellerIsBounded(t *testing.T) {
	stuck := &stuckRecords{begun: make(chan struct{}, 1000)}
	d := &Detectors{o: Options{Records: stuck, Stream: "detections", Log: slog.New(slog.DiscardHandler)}}
	w := &watcher{d: d, name: "cam"}
	w.out = newTeller(w)
	w.tell([][]byte{{0}})
	<-stuck.begun
	for i := range maxUntold + 10 {
		w.tell([][]byte{{byte(i)}})
	}
	if st := w.status(); st.Lost != 10 || st.Events != 0 {
		t.Errorf("%+v", st)
	}
	stuck.mu.Lock()
	stuck.free = true
	stuck.mu.Unlock()
	close(stuck.begun)
	w.out.end() // as when lastPuts is over
	w.out.close()
	if st := w.status(); st.Lost+st.Events != maxUntold+11 {
		t.Errorf("%+v", st)
	}
}

// What a data stream cannot take now it is given later, in order; until then the
// status says why. A detector that is closed does not wait for it.
func TestTellerInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notes{fail: errors.New("the disk is full")}
		d := &Detectors{o: Options{Records: n, Stream: "detections", Log: slog.New(slog.DiscardHandler)}}
		w := &watcher{d: d, name: "cam"}
		w.out = newTeller(w)
		for i := range 3 {
			w.tell([][]byte{{byte(i)}})
		}
		time.Sleep(time.Minute)
		if st := w.status(); st.Events != 0 || st.Lost != 0 || st.Err == nil {
			t.Errorf("while it is full: %+v", st)
		}
		n.setFail(nil)
		time.Sleep(maxPause)
		if st := w.status(); st.Events != 3 || st.Lost != 0 || st.Err != nil || !slices.EqualFunc(n.list(), []byte{0, 1, 2}, func(b []byte, want byte) bool { return b[0] == want }) {
			t.Errorf("when there is room: %+v, %v", st, n.list())
		}
		n.setFail(errors.New("full again"))
		w.tell([][]byte{{3}, {4}})
		synctest.Wait()
		begun := time.Now()
		w.out.close()
		if st := w.status(); st.Lost != 2 || time.Since(begun) > time.Second {
			t.Errorf("closed in %v: %+v", time.Since(begun), st)
		}
	})
}

// stuckRecords takes nothing until it is free.
type stuckRecords struct {
	begun chan struct{}
	mu    sync.Mutex
	free  bool
}

func (s *stuckRecords) Put(ctx context.Context, _, _ string, _ []byte) error {
	s.mu.Lock()
	free := s.free
	s.mu.Unlock()
	if free {
		return errors.New("too late")
	}
	s.begun <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func TestCovering(t *testing.T) {
	number := func(n uint64) fragments.Number { return fragments.Number{Epoch: 1, Counter: n} }
	part := func(n uint64, from, length float64) *live.Fragment {
		return &live.Fragment{Number: number(n), Producer: fragments.ProducerTime(second(from)), Duration: time.Duration(length * float64(time.Second)), Runs: make([]live.Run, 1)}
	}
	closed := []*live.Fragment{part(1, 0, 2), part(2, 2, 2), part(4, 7, 2)}
	open := part(5, 9, 0.5)
	unknown := &live.Fragment{Number: number(5)}    // no part has been cut
	late := func(f *live.Fragment) *live.Fragment { // it began when the clock had been set back
		f.Server = fragments.ServerTime(second(10))
		return f
	}
	for _, tc := range []struct {
		name    string
		s       live.State
		at      float64
		arrival float64 // zero: not told
		want    uint64
		sure    bool
	}{
		{"in the first", live.State{Closed: closed, Open: open}, 0.5, 0, 1, true},
		{"at a border", live.State{Closed: closed, Open: open}, 2, 0, 2, true},
		{"in a gap", live.State{Closed: closed, Open: open}, 5, 0, 0, false},
		{"just behind", live.State{Closed: closed, Open: open}, 4.01, 0, 2, true},
		{"just behind the last, nothing follows yet", live.State{Closed: closed}, 9.01, 0, 4, false},
		{"before all", live.State{Closed: closed, Open: open}, -1, 0, 0, false},
		{"in the open one", live.State{Closed: closed, Open: open}, 9.2, 0, 5, true},
		{"in the open one, ahead of the cutter", live.State{Closed: closed, Open: open}, 9.8, 0, 5, false},
		{"in the open one, of which nothing is known", live.State{Closed: closed, Open: unknown}, 9.1, 0, 5, false},
		{"long after", live.State{Closed: closed}, 20, 0, 0, false},
		{"nothing is kept", live.State{}, 0, 0, 0, false},
		{"before a clock was set back", live.State{Closed: closed, Open: late(part(5, 3, 0.5))}, 3.2, 9, 2, true},
		{"after it", live.State{Closed: closed, Open: late(part(5, 3, 0.5))}, 3.2, 10.2, 5, true},
	} {
		var arrival time.Time
		if tc.arrival != 0 {
			arrival = second(tc.arrival)
		}
		got, sure := covering(&tc.s, second(tc.at), arrival)
		if tc.want == 0 && !got.IsZero() || tc.want > 0 && got != number(tc.want) || sure != tc.sure {
			t.Errorf("%s: %v, sure %v, want %d, %v", tc.name, got, sure, tc.want, tc.sure)
		}
	}
	if !slices.IsSortedFunc(closed, func(a, b *live.Fragment) int { return a.Number.Compare(b.Number) }) {
		t.Error("the table is out of order")
	}
}

// TestChurn switches detectors on, off and to something else while a camera comes
// and goes and the data stream refuses records at times. In the end nothing is
// left, and every record is a good one.
func TestChurn(t *testing.T) {
	const seed, rounds = 11, 150
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("%d rounds, seed %d", rounds, seed)
	hub, n := live.New(), &notes{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeAnswer(w, true) }))
	defer srv.Close()
	s := &studio{now: noon, scene: newScene(3), step: make(chan struct{})}
	d, err := New(Options{Hub: hub, Pictures: s, Records: n, Stream: "detections"})
	if err != nil {
		t.Fatal(err)
	}
	track := &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000}
	p := hub.Publish("cam", []*fragments.Track{track})
	for i := range rounds {
		set := Settings{}
		if rnd.IntN(3) > 0 {
			set.Motion = &Motion{Sensitivity: 1 + rnd.IntN(100)}
		}
		if rnd.IntN(3) == 0 {
			set.External = &External{URL: srv.URL, Width: 16, Height: 16, Sure: 1}
		}
		if err := d.Set("cam", set); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.scene.boxes = []thing{wanderer(i, 0.1)}
		s.mu.Unlock()
		switch rnd.IntN(8) {
		case 0:
			p.Close()
			p = hub.Publish("cam", []*fragments.Track{track})
		case 1:
			n.setFail(errors.New("the disk is full"))
		case 2:
			n.setFail(nil)
		default:
			shoot(p, track, i, 1, 1+rnd.IntN(3), func(int) int { return rnd.IntN(4000) })
		}
		for range rnd.IntN(4) {
			select {
			case s.step <- struct{}{}:
			case <-time.After(5 * time.Millisecond): // nobody looks
			}
		}
		if got := len(d.List()); got != len(slices.DeleteFunc([]bool{set.Motion != nil, set.External != nil}, func(on bool) bool { return !on })) {
			t.Fatalf("round %d: %d detectors for %+v", i, got, set)
		}
	}
	n.setFail(nil)
	if err := d.Set("cam", Settings{External: &External{URL: srv.URL, Width: 16, Height: 16, Sure: 1}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it works after all that", func() bool {
		select {
		case s.step <- struct{}{}:
		case <-time.After(10 * time.Millisecond):
		}
		return d.List()[0].Events > 0
	})
	p.Close()
	d.Close()
	if len(d.List()) != 0 {
		t.Error("a detector is left")
	}
	told(t, n.list())
}

package ingest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// keeping is what the streams of these tests are recorded by.
var keeping = Keeping{Before: 3 * time.Second, After: 2 * time.Second, Late: 5 * time.Second}

// eventSessions records the stream "a" around events only.
func eventSessions(sink Sink, k Keeping) *Sessions {
	return newSessions(sink, func(o *Options) {
		o.Keep = func(name fragments.StreamName) (Keeping, bool) { return k, name == "a" }
	})
}

// seconds returns in which seconds after start the committed fragments began.
func seconds(sink *memorySink, start time.Time) (list []int) {
	for i := range sink.committed {
		list = append(list, int(sink.committed[i].Producer.Time().Sub(start).Round(time.Second)/time.Second))
	}
	return list
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// event is told at a time and says what was seen from when to when, all in
// seconds after the first frame. A fragment is a second long.
type event struct{ at, from, to float64 }

func TestKeep(t *testing.T) {
	for _, tc := range []struct {
		name   string
		events []event
		want   []int // seconds that are recorded
	}{
		{"no event", nil, nil},
		{"a moment", []event{{10.5, 10.5, 10.5}}, []int{7, 8, 9, 10, 11, 12}},
		{"a span", []event{{12.9, 10.5, 12.5}}, []int{7, 8, 9, 10, 11, 12, 13, 14}},
		{"told late", []event{{14.5, 10.5, 10.5}}, []int{7, 8, 9, 10, 11, 12}},
		{"told too late", []event{{19.9, 10.5, 10.5}}, []int{10, 11, 12}},
		{"two that overlap", []event{{10.5, 10.5, 10.5}, {13.5, 13.5, 13.5}}, []int{7, 8, 9, 10, 11, 12, 13, 14, 15}},
		{"two apart", []event{{6.5, 6.5, 6.5}, {15.5, 15.5, 15.5}}, []int{3, 4, 5, 6, 7, 8, 12, 13, 14, 15, 16, 17}},
		{"before the stream", []event{{0.5, -60, -60}}, nil},
		{"foretold", []event{{3.5, 13.5, 13.5}}, []int{10, 11, 12, 13, 14, 15}},
		{"an earlier one comes after", []event{{12.5, 12.5, 12.5}, {12.7, 6.5, 6.5}}, []int{9, 10, 11, 12, 13, 14}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &memorySink{}
				all := eventSessions(sink, keeping)
				start := time.Now()
				s, err := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				sec := func(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
				for _, e := range tc.events {
					time.AfterFunc(sec(e.at), func() { all.Keep("a", start.Add(sec(e.from)), start.Add(sec(e.to))) })
				}
				feed(s, 0, 25*25)
				s.Close(nil)
				if got := seconds(sink, start); !equal(got, tc.want) {
					t.Errorf("recorded seconds %v, want %v", got, tc.want)
				}
				last := -2
				for i, at := range seconds(sink, start) {
					if f := sink.committed[i]; f.Discontinuity != (at != last+1) {
						t.Errorf("second %d: discontinuity %v after second %d", at, f.Discontinuity, last)
					}
					last = at
				}
				st := s.Stats()
				if all := len(sink.committed) + len(sink.aborted); all != 25 || int(st.Passed) != len(sink.aborted) || st.Dropped != 0 {
					t.Errorf("%d of 25 numbers settled, figures %+v", all, st)
				}
			})
		})
	}
}

func TestKeepAtTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name   string
		reason error
		want   int
	}{{"publisher gone", nil, 3}, {"server stops", ErrClosed, 0}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &memorySink{}
				all := eventSessions(sink, keeping)
				s, _ := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
				feed(s, 0, 250)
				gone := time.Now()
				time.AfterFunc(time.Second, func() { all.Keep("a", gone, gone) })
				s.Close(tc.reason)
				if len(sink.committed) != tc.want {
					t.Errorf("%d fragments recorded, want %d", len(sink.committed), tc.want)
				}
				time.Sleep(2 * time.Second)
			})
		})
	}
}

// An event between two sessions is remembered for the second one.
func TestKeepAcrossSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{}
		all := eventSessions(sink, keeping)
		all.Keep("a", time.Now(), time.Now().Add(2*time.Second))
		time.Sleep(time.Second)
		s, _ := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
		feed(s, 0, 250)
		s.Close(nil)
		if len(sink.committed) != 3 {
			t.Errorf("%d fragments recorded, want 3: until 2 s after the event", len(sink.committed))
		}
	})
}

// What is configured while a stream is published counts at once.
func TestKeepAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, on := &memorySink{}, true
		all := newSessions(sink, func(o *Options) {
			o.Keep = func(fragments.StreamName) (Keeping, bool) { return keeping, on }
		})
		start := time.Now()
		all.KeepAnew("a") // nobody publishes
		s, _ := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
		feed(s, 0, 12*25)
		on = false
		all.KeepAnew("a") // seconds 2 to 10 wait and are recorded
		feed(s, 12*25, 5*25)
		on = true
		all.KeepAnew("a")
		feed(s, 17*25, 10*25)
		s.Close(nil)
		if got := seconds(sink, start); !equal(got, []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}) {
			t.Errorf("recorded seconds %v", got)
		}
	})
}

func TestKeepBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{}
		k := keeping
		k.MaxBytes = 8000 // a fragment has 5 parts of 500 bytes
		all := eventSessions(sink, k)
		s, _ := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
		feed(s, 0, 250)
		now := time.Now()
		all.Keep("a", now, now)
		s.Close(nil)
		if len(sink.committed) != 3 {
			t.Errorf("%d fragments recorded, want the 3 that fit", len(sink.committed))
		}
		if n := s.Stats().QueuedBytes; n != 0 {
			t.Errorf("%d bytes queued at the end", n)
		}
	})
}

func TestKeepStartsWhereDecodingCan(t *testing.T) {
	k := &keeper{k: Keeping{Before: time.Second}.withDefaults()}
	start := time.Now()
	for i := range 6 {
		k.offer(&fragments.Fragment{
			Number: fragments.Number{Counter: uint64(i + 1)}, Dependent: i%3 != 0, Duration: time.Second,
			Producer: fragments.ProducerTime(start.Add(time.Duration(i) * time.Second)),
		})
	}
	at := start.Add(5500 * time.Millisecond)
	commit, drop := k.want(at, at)
	if len(drop) != 3 || len(commit) != 3 || commit[0].Dependent {
		t.Errorf("%d dropped, %d recorded", len(drop), len(commit))
	}
}

// Events and fragments race with each other and with the end.
func TestKeepRaces(t *testing.T) {
	sink := &memorySink{}
	all := eventSessions(sink, Keeping{Before: time.Second, After: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			now := time.Now()
			all.Keep("a", now, now)
			all.Keep("b", now, now)
			time.Sleep(time.Millisecond)
		}
	}()
	recorded := func() bool {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		return len(sink.committed) > 0
	}
	// Three sessions may be over before an event comes.
	for n, end := 0, time.Now().Add(10*time.Second); n < 3 || !recorded() && time.Now().Before(end); n++ {
		s, err := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			now := time.Now()
			s.Write(&fragments.AccessUnit{
				Track: video, PTS: int64(i) * 3600, DTS: fragments.NoDTS, Key: i%25 == 0, Payload: [][]byte{make([]byte, 100)},
				Capture: fragments.ProducerTime(now.Add(time.Duration(i) * 40 * time.Millisecond)), Arrival: fragments.ServerTime(now),
			})
		}
		s.Close(ErrReplaced)
	}
	cancel()
	<-done
	if !recorded() {
		t.Error("nothing recorded")
	}
}

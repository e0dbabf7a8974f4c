package live

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// begin opens a fragment; part cuts a part of 200 ms of it; end closes it.
func begin(p *Publisher, n int) *fragments.Fragment {
	f := &fragments.Fragment{Number: fragments.Number{Epoch: 1, Counter: uint64(n)}}
	p.Begin(f)
	return f
}

func part(p *Publisher, f *fragments.Fragment, t *fragments.Track, i, bytes int) {
	p.Part(f, &fragments.Part{
		Track: t, Sequence: uint32(i), DecodeTime: int64(i) * int64(t.TimeScale) / 5, Duration: int64(t.TimeScale) / 5,
		Samples: make([]fragments.Sample, 5), Data: make([]byte, bytes),
	})
}

func end(p *Publisher, f *fragments.Fragment, length time.Duration) {
	f.Duration = length
	p.End(f)
}

func whole(p *Publisher, n, bytes int) {
	f := begin(p, n)
	part(p, f, video, n*5, bytes)
	end(p, f, time.Second)
}

func TestRecentGrowsByParts(t *testing.T) {
	h := New()
	if h.Recent("a") != nil {
		t.Fatal("something of a stream nobody published")
	}
	p := h.Publish("a", []*fragments.Track{audio, video})
	r := h.Recent("a")
	first := r.State()
	if !first.Live || first.Open != nil || len(first.Closed) != 0 || r.State() != first {
		t.Fatalf("%+v", first)
	}
	f := begin(p, 1)
	select {
	case <-first.Changed:
	default:
		t.Error("nobody was told of a fragment that began")
	}
	part(p, f, audio, 0, 10)
	one := r.State()
	part(p, f, video, 0, 100)
	part(p, f, video, 1, 200)
	two := r.State()
	if len(one.Open.Runs) != 1 || one.Open.Runs[0].Track != audio || len(one.Open.Runs[0].Parts) != 1 {
		t.Errorf("a state has changed: %+v", one.Open)
	}
	run := two.Open.Run(video.ID)
	if len(two.Open.Runs) != 2 || two.Open.Runs[0].Track != video || len(run.Parts) != 2 || run.Bytes != 300 || run.Samples != 10 ||
		run.Duration != 36000 || two.Open.Duration != 400*time.Millisecond || two.Open.Lead != video.ID || !two.Open.Discontinuity {
		t.Errorf("%+v", two.Open)
	}
	if data := run.Data(); len(data) != 300 {
		t.Errorf("%d bytes", len(data))
	}
	end(p, f, 410*time.Millisecond)
	g := begin(p, 2)
	last := r.State()
	if len(last.Closed) != 1 || last.Closed[0].Open || last.Closed[0].Duration != 410*time.Millisecond || last.Open.Discontinuity ||
		last.Find(f.Number) != last.Closed[0] || last.Find(g.Number) != last.Open || last.Find(fragments.Number{Epoch: 9}) != nil {
		t.Errorf("%+v", last)
	}
}

// What is kept: three target durations, and what is not settled, within bounds.
func TestRecentIsBounded(t *testing.T) {
	for _, c := range []struct {
		name         string
		fragments    int
		bytes        int
		settle       func(p *Publisher, n int)
		least, most  int
		firstPending bool
	}{
		{"archived", 100, 1000, func(p *Publisher, n int) { p.Settled(number(n), true) }, 7, 9, false},
		{"dropped", 100, 1000, func(p *Publisher, n int) { p.Settled(number(n), false) }, 7, 9, false},
		{"pending", 100, 1000, func(*Publisher, int) {}, 100, 100, true},
		{"pending for long", 2000, 10, func(*Publisher, int) {}, maxRecent, maxRecent, true},
		{"pending and large", 100, 8 << 20, func(*Publisher, int) {}, 12, 12, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := New()
			p := h.Publish("a", []*fragments.Track{video})
			for n := 1; n <= c.fragments; n++ {
				whole(p, n, c.bytes)
				c.settle(p, n)
			}
			s := h.Recent("a").State()
			if n := len(s.Closed); n < c.least || n > c.most || s.Closed[n-1].Number != number(c.fragments) {
				t.Errorf("%d fragments are kept, want %d to %d", n, c.least, c.most)
			}
			if pending := s.Closed[0].Fate == Pending; pending != c.firstPending {
				t.Errorf("the first is %v", s.Closed[0].Fate)
			}
		})
	}
}

func number(n int) fragments.Number { return fragments.Number{Epoch: 1, Counter: uint64(n)} }

func TestSettledKeepsStates(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video})
	whole(p, 1, 10)
	whole(p, 2, 10)
	r := h.Recent("a")
	before := r.State()
	p.Settled(number(1), true)
	p.Settled(number(2), false)
	p.Settled(number(7), true)
	after := r.State()
	if before.Closed[0].Fate != Pending || after.Closed[0].Fate != Archived || after.Closed[1].Fate != Dropped {
		t.Errorf("before %v, after %v, %v", before.Closed[0].Fate, after.Closed[0].Fate, after.Closed[1].Fate)
	}
	select {
	case <-before.Changed:
		t.Error("who waits for parts was woken for nothing")
	default:
	}
	if before.Changed != after.Changed {
		t.Error("who waits would never be told")
	}
}

// The fragments of a session outlive it for a while, and go on in the next one.
func TestRecentOutlivesThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New()
		p := h.Publish("a", []*fragments.Track{video})
		whole(p, 1, 10)
		f := begin(p, 2)
		part(p, f, video, 10, 10)
		live := h.Recent("a").State()
		p.Close()
		<-live.Changed
		left := h.Recent("a").State()
		if left.Live || left.Open != nil || len(left.Closed) != 2 || left.Closed[1].Fate != Dropped {
			t.Errorf("%+v", left)
		}
		p.Settled(number(1), true) // the queue is still at work
		if s := h.Recent("a").State(); s.Closed[0].Fate != Archived {
			t.Error("a late commit is not noted")
		}
		begin(p, 3)
		part(p, f, video, 1, 10)
		end(p, f, time.Second)
		if s := h.Recent("a").State(); s.Open != nil || len(s.Closed) != 2 {
			t.Error("who has left still publishes")
		}
		time.Sleep(linger - time.Second)
		second := h.Publish("a", []*fragments.Track{video})
		time.Sleep(linger)
		synctest.Wait()
		if s := h.Recent("a").State(); len(s.Closed) != 2 || !s.Live {
			t.Error("what was kept is gone, though somebody publishes")
		}
		second.Close()
		time.Sleep(linger + time.Second)
		synctest.Wait()
		if h.Recent("a") != nil {
			t.Error("what nobody needs is kept")
		}
	})
}

// A fragment that could not be numbered is not shown, and breaks the time line.
func TestUnnumberedFragment(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video})
	whole(p, 1, 10)
	f := &fragments.Fragment{}
	p.Begin(f)
	part(p, f, video, 5, 10)
	end(p, f, time.Second)
	whole(p, 2, 10)
	s := h.Recent("a").State()
	if len(s.Closed) != 2 || !s.Closed[1].Discontinuity {
		t.Errorf("%+v", s.Closed)
	}
}

func TestManyWaitForParts(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video})
	r := h.Recent("a")
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for seen := 0; seen < 200; {
				s := r.State()
				n := len(s.Closed)
				if n > 0 {
					seen = int(s.Closed[n-1].Number.Counter)
				}
				if seen < 200 {
					<-s.Changed
				}
			}
		})
	}
	for n := 1; n <= 200; n++ {
		whole(p, n, 100)
		p.Settled(number(n), n%2 == 0)
	}
	p.Close()
	all.Wait()
}

// BenchmarkPart cuts parts that nobody, or somebody, waits for.
func BenchmarkPart(b *testing.B) {
	for _, waiters := range []int{0, 500} {
		b.Run(fmt.Sprintf("waiters=%d", waiters), func(b *testing.B) {
			h := New()
			p := h.Publish("a", []*fragments.Track{video})
			r := h.Recent("a")
			for range waiters {
				go func() {
					for s := r.State(); s.Live; s = r.State() {
						<-s.Changed
					}
				}()
			}
			data := &fragments.Part{Track: video, Duration: 18000, Samples: make([]fragments.Sample, 5), Data: make([]byte, 1000)}
			b.ReportAllocs()
			var f *fragments.Fragment
			for i := 0; b.Loop(); i++ {
				if i%5 == 0 {
					if f != nil {
						end(p, f, time.Second)
						p.Settled(f.Number, true)
					}
					f = begin(p, i+1)
				}
				p.Part(f, data)
			}
			p.Close()
		})
	}
}

// What had the name before is not taken for the beginning of the stream.
func TestAnotherStreamOfTheName(t *testing.T) {
	h := New()
	first, second := time.Unix(1000, 0), time.Unix(2000, 0)
	for i, c := range []struct {
		created time.Time
		want    int
	}{{first, 1}, {first, 2}, {second, 1}} {
		p := h.Publish("a", []*fragments.Track{video})
		p.Created(c.created)
		whole(p, i+1, 10)
		if s := h.Recent("a").State(); len(s.Closed) != c.want || !s.Created.Equal(c.created) {
			t.Errorf("%d: %d fragments, created %v", i, len(s.Closed), s.Created)
		}
		p.Close()
	}
}

// Who is woken by the last part of a fragment finds the next one open: otherwise it
// would wait for a part that never comes.
func TestLastPartComesWithTheNextFragment(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video})
	f := begin(p, 1)
	part(p, f, video, 0, 10)
	s := h.Recent("a").State()
	told := func() bool {
		select {
		case <-s.Changed:
			return true
		default:
			return false
		}
	}
	p.Part(f, &fragments.Part{Track: video, Sequence: 2, DecodeTime: 18000, Duration: 18000, Data: make([]byte, 10), Last: true})
	if told() || len(h.Recent("a").State().Open.Runs[0].Parts) != 1 {
		t.Error("the last part was told before the end")
	}
	end(p, f, time.Second)
	if now := h.Recent("a").State(); told() || now.Open != nil || len(now.Closed[0].Runs[0].Parts) != 2 {
		t.Errorf("after the end: told %v, %+v", told(), now)
	}
	begin(p, 2)
	if now := h.Recent("a").State(); !told() || now.Open == nil {
		t.Errorf("after the next began: told %v, %+v", told(), now)
	}
}

// Who asks first while a fragment is being closed sees it as it was before its last
// parts: another part would be announced behind them.
func TestNobodySeesAFragmentEnd(t *testing.T) {
	p := New().Publish("a", []*fragments.Track{video, audio})
	r := p.recent
	f := begin(p, 1)
	part(p, f, video, 0, 10)
	part(p, f, audio, 0, 10)
	last := func(track *fragments.Track) {
		p.Part(f, &fragments.Part{Track: track, Sequence: 1, DecodeTime: int64(track.TimeScale) / 5, Duration: 1000, Data: make([]byte, 10), Last: true})
		if s := r.State(); s.Open == nil || len(s.Open.Run(video.ID).Parts) != 1 || len(s.Open.Run(audio.ID).Parts) != 1 || s.Open.Run(track.ID).Bytes != 10 {
			t.Errorf("after a last part of track %d: %+v", track.ID, s.Open)
		}
	}
	last(video)
	last(audio)
	end(p, f, time.Second)
	if s := r.State(); s.Open != nil || len(s.Closed) != 1 || len(s.Closed[0].Run(audio.ID).Parts) != 2 {
		t.Errorf("after the end: %+v", s)
	}
}

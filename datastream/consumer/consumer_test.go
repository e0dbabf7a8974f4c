package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

func random() *rand.Rand { return rand.New(rand.NewPCG(7, 7)) }

// TestAlone: one worker handles everything once, and another one later goes on
// where it was.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases, rng := newStream(t, 3), NewMemory(), random()
		s.put(rng, 100)
		for range 3 {
			a := s.start("one", leases, nil)
			time.Sleep(2 * time.Second)
			s.put(rng, 100)
			time.Sleep(2 * time.Second)
			a.stop()
			if s.left() != 0 || s.doubles != 0 {
				t.Errorf("%d left, %d doubles", s.left(), s.doubles)
			}
			if n := owners(t, leases); n[""] != 3 {
				t.Errorf("after the end: %v", n)
			}
		}
		if s.handled != 400 {
			t.Errorf("%d handled", s.handled)
		}
	})
}

// TestShared: workers that come and go share the shards evenly within a few
// renewals, nothing is handled twice, and a shard is with one worker at a time.
func TestShared(t *testing.T) {
	for _, c := range []struct{ workers, shards, renewals int }{
		{1, 4, 1},
		{2, 4, 3},
		{3, 8, 6},
		{4, 16, 8},
		{8, 32, 9},
		{5, 3, 4},
		{2, 100, 26},
	} {
		t.Run(fmt.Sprintf("%d workers %d shards", c.workers, c.shards), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, leases, rng := newStream(t, c.shards), NewMemory(), random()
				var actors []*actor
				for i := range c.workers {
					actors = append(actors, s.start(fmt.Sprint("w", i), leases, func(a *actor, _ *Options) {
						a.takes = func() time.Duration { return time.Millisecond }
					}))
					if i == 0 {
						time.Sleep(500 * time.Millisecond) // so that it has everything
					}
				}
				even := func(workers int) func() bool {
					return func() bool {
						n := owners(t, leases)
						most, least := 0, c.shards
						for _, k := range n {
							most, least = max(most, k), min(least, k)
						}
						asked := false
						for _, l := range leasesOf(t, leases) {
							asked = asked || l.Wanted != ""
						}
						return !asked && n[""] == 0 && len(n) == min(workers, c.shards) && most-least <= 1
					}
				}
				took := renewalsUntil(t, s, rng, 40, even(c.workers))
				if took > c.renewals {
					t.Errorf("even after %d renewals, want %d: %v", took, c.renewals, owners(t, leases))
				}
				then := maps.Clone(leasesOf(t, leases))
				renewalsUntil(t, s, rng, 5, func() bool { return false })
				for key, l := range leasesOf(t, leases) {
					if l.Owner != then[key].Owner {
						t.Errorf("%s was moved although all was even", key)
					}
				}
				if c.workers > 1 {
					actors[0].stop()
					if back := renewalsUntil(t, s, rng, 40, even(c.workers-1)); back > c.renewals {
						t.Errorf("even again after %d renewals", back)
					}
				}
				time.Sleep(20 * time.Second)
				if s.left() != 0 || s.doubles != 0 {
					t.Errorf("%d left, %d doubles", s.left(), s.doubles)
				}
				t.Logf("even after %d renewals, %d records", took, s.handled)
			})
		})
	}
}

// renewalsUntil lets time pass, with records coming in, until something holds.
func renewalsUntil(t *testing.T, s *stream, rng *rand.Rand, most int, holds func() bool) int {
	t.Helper()
	for n := range most {
		if holds() {
			return n
		}
		for range 10 {
			s.put(rng, 5)
			time.Sleep(time.Second / 3)
		}
	}
	return most
}

// TestCrash: what a dead worker had is read by another one after the failover
// time and not before, from its last checkpoint.
func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases, rng := newStream(t, 4), NewMemory(), random()
		a := s.start("a", leases, nil)
		time.Sleep(time.Second)
		b := s.start("b", leases, nil)
		time.Sleep(20 * time.Second)
		if n := owners(t, leases); n["a"] != 2 || n["b"] != 2 {
			t.Fatalf("owners: %v", n)
		}
		s.put(rng, 200)
		time.Sleep(1100 * time.Millisecond)
		a.kill()
		s.put(rng, 200)
		time.Sleep(9 * time.Second)
		if n := owners(t, leases); n["a"] != 2 || s.left() == 0 {
			t.Errorf("taken too soon: %v, %d left", n, s.left())
		}
		time.Sleep(8 * time.Second)
		if n := owners(t, leases); n["b"] != 4 || s.left() != 0 {
			t.Errorf("not taken: %v, %d left", n, s.left())
		}
		b.stop()
		t.Logf("%d doubles", s.doubles)
		if s.doubles > 2*s.page {
			t.Errorf("%d doubles, of two shards with %d records in a batch", s.doubles, s.page)
		}
	})
}

// TestCutOff: a worker that cannot reach its store stops before another begins,
// and what it still thinks to have is not written any more.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases, rng := newStream(t, 1), NewMemory(), random()
		var stale *Batch
		a := s.start("a", leases, func(a *actor, o *Options) {
			a.takes = func() time.Duration {
				if a.cut.Load() {
					return time.Hour
				}
				return 0
			}
			handle := o.Handle
			o.Handle = func(ctx context.Context, b Batch) error {
				s.mu.Lock()
				stale = &b
				s.mu.Unlock()
				return handle(ctx, b)
			}
		})
		s.put(rng, 25)
		time.Sleep(2 * time.Second)
		a.cut.Store(true)
		s.put(rng, 25)
		b := s.start("b", leases, nil) // the judge sees if both handle the shard
		time.Sleep(7 * time.Second)
		if a.lost.Load() != 0 || s.left() != 25 {
			t.Errorf("ended early: %d left", s.left())
		}
		time.Sleep(13 * time.Second)
		if a.lost.Load() != 1 || s.left() != 0 || s.doubles != 0 {
			t.Errorf("%d batches told, %d left, %d doubles", a.lost.Load(), s.left(), s.doubles)
		}
		a.cut.Store(false)
		before := leasesOf(t, leases)
		s.mu.Lock()
		late := stale
		s.mu.Unlock()
		if err := late.Checkpoint(t.Context(), late.Records[0]); !errors.Is(err, ErrLost) {
			t.Errorf("late checkpoint: %v", err)
		}
		if after := leasesOf(t, leases); after["shardId-000000000000"].Checkpoint.Sequence != before["shardId-000000000000"].Checkpoint.Sequence {
			t.Error("the checkpoint went back")
		}
		// It is a worker like any other again.
		b.stop()
		s.put(rng, 25)
		time.Sleep(5 * time.Second)
		a.stop()
		if s.left() != 0 || s.shards["shardId-000000000000"].by != "a" {
			t.Errorf("%d left", s.left())
		}
	})
}

// TestHandOver: the old worker ends its batch before the new one begins; when
// that takes too long its batch is told, and done by the new one.
func TestHandOver(t *testing.T) {
	for _, c := range []struct {
		name      string
		record    time.Duration // takes so long
		after     time.Duration
		doubles   int
		told      int32
		handledBy string
	}{
		{"quick", time.Millisecond, 15 * time.Second, 0, 0, "b"},
		{"ends its batch", 2 * time.Second, 25 * time.Second, 0, 0, "b"},
		{"too slow", 7 * time.Second, 60 * time.Second, -1, 1, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, leases, rng := newStream(t, 2), NewMemory(), random()
				a := s.start("a", leases, func(a *actor, _ *Options) { a.takes = func() time.Duration { return c.record } })
				time.Sleep(500 * time.Millisecond)
				s.put(rng, 18)
				time.Sleep(time.Second)
				b := s.start("b", leases, nil)
				time.Sleep(c.after)
				if n := owners(t, leases); n["a"] != 1 || n["b"] != 1 {
					t.Errorf("owners: %v", n)
				}
				if a.lost.Load() != c.told || c.doubles >= 0 && s.doubles != c.doubles {
					t.Errorf("%d batches told, %d doubles", a.lost.Load(), s.doubles)
				}
				time.Sleep(2 * time.Minute)
				if s.left() != 0 {
					t.Errorf("%d left", s.left())
				}
				a.stop()
				b.stop()
			})
		})
	}
}

// TestReshard: shards are split and merged while they are read.
func TestReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases, rng := newStream(t, 2), NewMemory(), random()
		for _, name := range []string{"a", "b", "c"} {
			s.start(name, leases, nil)
		}
		for range 30 {
			s.put(rng, 40)
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
			if rng.IntN(2) == 0 {
				s.split(rng.Int())
			} else {
				s.merge(rng.Int())
			}
		}
		s.put(rng, 40)
		time.Sleep(time.Minute)
		if s.left() != 0 || s.doubles != 0 {
			t.Errorf("%d left, %d doubles", s.left(), s.doubles)
		}
		ended := 0
		for _, l := range leasesOf(t, leases) {
			if l.Checkpoint.From == ShardEnd {
				ended++
			}
		}
		// Old shards expire: so do their leases.
		s.mu.Lock()
		for _, sh := range s.shards {
			sh.gone = sh.closed
		}
		open := len(s.open())
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if n := len(leasesOf(t, leases)); n != open {
			t.Errorf("%d leases for %d shards", n, open)
		}
		s.put(rng, 40)
		time.Sleep(5 * time.Second)
		if s.left() != 0 || s.doubles != 0 {
			t.Errorf("%d left, %d doubles", s.left(), s.doubles)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		t.Logf("%d shards, %d read to their ends", len(s.shards), ended)
	})
}

// TestStart: where the application begins, which is settled once.
func TestStart(t *testing.T) {
	for _, c := range []struct {
		from  datastream.From
		first int // record that is handled first
	}{
		{"", 0},
		{datastream.TrimHorizon, 0},
		{datastream.AtTimestamp, 10},
		{datastream.Latest, 20},
	} {
		t.Run(string(c.from), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, leases, rng := newStream(t, 1), NewMemory(), random()
				s.page = 100
				at := time.Now().Add(5 * time.Second)
				for range 2 {
					s.put(rng, 10)
					time.Sleep(10 * time.Second)
				}
				with := func(from datastream.From) func(*actor, *Options) {
					return func(_ *actor, o *Options) { o.Start = datastream.Start{From: from, Time: at} }
				}
				s.shards["shardId-000000000000"].done = c.first // nothing before is to come
				a := s.start("a", leases, with(c.from))
				time.Sleep(500 * time.Millisecond)
				a.kill() // before it read what comes
				s.put(rng, 10)
				s.start("b", leases, with(datastream.TrimHorizon))
				time.Sleep(15 * time.Second)
				if s.left() != 0 || s.doubles != 0 {
					t.Errorf("%d left, %d doubles", s.left(), s.doubles)
				}
			})
		})
	}
}

// TestFailures: a Handle that fails gets its batch again, a source and a store
// that fail are asked again, iterators expire, and still all is handled.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases, rng := newStream(t, 2), NewMemory(), random()
		s.expireAt = 5
		var failed atomic.Int32
		var mu sync.Mutex // of rng
		s.start("a", leases, func(a *actor, o *Options) {
			a.flaky = func() error {
				mu.Lock()
				defer mu.Unlock()
				if rng.IntN(4) == 0 {
					return errFlaky
				}
				return nil
			}
			handle := o.Handle
			o.Handle = func(ctx context.Context, b Batch) error {
				if failed.Add(1)%3 == 0 {
					return errFlaky
				}
				return handle(ctx, b)
			}
		})
		for range 20 {
			s.put(random(), 20)
			time.Sleep(2 * time.Second)
		}
		for range 100 {
			if time.Sleep(10 * time.Second); s.left() == 0 {
				break
			}
		}
		if s.left() != 0 || s.doubles != 0 || failed.Load() < 30 {
			t.Errorf("%d left, %d doubles, %d calls", s.left(), s.doubles, failed.Load())
		}
	})
}

// TestShardExpires: a shard that is gone before it was read is at its end, but
// a stream that is gone is waited for.
func TestShardExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases, rng := newStream(t, 1), NewMemory(), random()
		a := s.start("a", leases, nil)
		time.Sleep(time.Second)
		a.stop()
		s.put(rng, 10)
		s.split(0)
		s.put(rng, 10)
		parent := s.shards["shardId-000000000000"]
		parent.gone, parent.done = true, len(parent.records)
		b := s.start("b", leases, func(_ *actor, o *Options) {
			handle := o.Handle
			o.Handle = func(ctx context.Context, b Batch) error {
				if b.End && len(b.Records) == 0 && b.Shard == parent.ID {
					parent.ended = true
					return nil
				}
				return handle(ctx, b)
			}
		})
		time.Sleep(10 * time.Second)
		b.stop()
		if s.left() != 0 || !parent.ended {
			t.Errorf("%d left", s.left())
		}
	})
}

// TestMiddle: a checkpoint in the middle of an aggregated record is gone on
// from there.
func TestMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases := newStream(t, 1), NewMemory()
		var users []testUser
		for i := range 6 {
			users = append(users, testUser{key: 0, hash: -1, data: fmt.Sprint(i)})
		}
		s.putData("k", aggregateOf([]string{"k"}, nil, users))
		s.putData("k", []byte("plain"))
		var got []string
		worker := func(name string, stopAt string) *actor {
			return s.start(name, leases, func(a *actor, _ *Options) {
				a.handles = func(ctx context.Context, b Batch) error {
					for _, r := range b.Records {
						s.mu.Lock()
						got = append(got, string(r.Data))
						s.mu.Unlock()
						if string(r.Data) == stopAt {
							if err := b.Checkpoint(ctx, r); err != nil {
								t.Error(err)
							}
							a.dead.Store(true)
							<-ctx.Done()
							return ctx.Err()
						}
					}
					return nil
				}
			})
		}
		worker("a", "2")
		time.Sleep(time.Second)
		worker("b", "4")
		time.Sleep(30 * time.Second)
		worker("c", "")
		time.Sleep(30 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if want := []string{"0", "1", "2", "3", "4", "5", "plain"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestOptions(t *testing.T) {
	good := Options{
		App: "app", Source: newStream(t, 1), Leases: NewMemory(),
		Handle: func(context.Context, Batch) error { return nil },
	}
	if _, err := good.withDefaults(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Options){
		"no app":       func(o *Options) { o.App = "" },
		"bad app":      func(o *Options) { o.App = "a/b" },
		"dots":         func(o *Options) { o.App = ".." },
		"bad worker":   func(o *Options) { o.Worker = "a b" },
		"no source":    func(o *Options) { o.Source = nil },
		"no leases":    func(o *Options) { o.Leases = nil },
		"no handle":    func(o *Options) { o.Handle = nil },
		"failover":     func(o *Options) { o.Failover = time.Millisecond },
		"limit":        func(o *Options) { o.Limit = 10001 },
		"start":        func(o *Options) { o.Start.From = datastream.AfterSequence },
		"no limit":     func(o *Options) { o.Limit = -1 },
		"no hand-over": func(o *Options) { o.HandOver = -1 },
	} {
		o := good
		change(&o)
		if err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestFree: a lease is free when nobody has it, or when it stood still for the
// whole failover time on the clock of who looks.
func TestFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leases := NewMemory()
		w := &worker{id: "me", o: Options{App: "app", Leases: leases, Failover: 10 * time.Second}}
		other := &worker{o: w.o}
		look := func() bool {
			t.Helper()
			entries, _, err := w.list(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return w.free(entries["s"])
		}
		write := func(change func(*Lease)) {
			t.Helper()
			entries, _, err := other.list(t.Context())
			e := entries["s"]
			e.Key = "s"
			change(&e.Lease)
			if _, err2 := other.put(t.Context(), e); err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
		}
		write(func(*Lease) {})
		if !look() {
			t.Error("nobody's is not free")
		}
		for _, change := range []func(*Lease){
			func(l *Lease) { l.Owner = "other" },
			func(l *Lease) { l.Counter++ },
			func(l *Lease) { l.Term++ },
			func(l *Lease) { l.Owner = "third" },
		} {
			write(change)
			if look() {
				t.Error("free at once")
			}
			time.Sleep(5 * time.Second)
			write(func(l *Lease) { l.Wanted += "x" }) // not by the owner
			time.Sleep(5*time.Second - time.Nanosecond)
			if look() {
				t.Error("free too soon")
			}
			time.Sleep(time.Nanosecond)
			if !look() {
				t.Error("not free in time")
			}
		}
	})
}

// TestHandleThatStays: a Handle that goes on after it was told to end keeps its
// own worker from beginning the shard anew beside it.
func TestHandleThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases, rng := newStream(t, 1), NewMemory(), random()
		calls := 0
		a := s.start("a", leases, func(a *actor, _ *Options) {
			a.handles = func(ctx context.Context, b Batch) error {
				s.mu.Lock()
				calls++
				first := calls == 1
				s.mu.Unlock()
				if first {
					time.Sleep(time.Minute)
					return ctx.Err()
				}
				for _, r := range b.Records {
					s.judge("a", b, r)
				}
				return nil
			}
		})
		s.put(rng, 10)
		time.Sleep(2 * time.Second)
		a.cut.Store(true)
		time.Sleep(15 * time.Second)
		// Another worker had it, and gave it back.
		l := leasesOf(t, leases)["shardId-000000000000"]
		l.Owner, l.Term = "", l.Term+2
		item, _ := leases.Get(t.Context(), "app", "shardId-000000000000")
		other := &worker{o: Options{App: "app", Leases: leases}}
		if _, err := other.put(t.Context(), entry{item, l}); err != nil {
			t.Fatal(err)
		}
		a.cut.Store(false)
		time.Sleep(30 * time.Second)
		if s.left() != 10 {
			t.Error("handled beside the first call")
		}
		time.Sleep(30 * time.Second)
		if s.left() != 0 {
			t.Errorf("%d left", s.left())
		}
	})
}

// TestAskAndStop: what a worker asked for is not handed to it when it is no
// more.
func TestAskAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, leases, rng := newStream(t, 2), NewMemory(), random()
		s.start("a", leases, func(a *actor, _ *Options) { a.takes = func() time.Duration { return 2 * time.Second } })
		s.put(rng, 20)
		time.Sleep(time.Second)
		b := s.start("b", leases, nil)
		time.Sleep(time.Second)
		asked := func() (n int) {
			for _, l := range leasesOf(t, leases) {
				if l.Wanted != "" {
					n++
				}
			}
			return n
		}
		if asked() != 1 {
			t.Fatalf("%d leases asked for", asked())
		}
		b.stop()
		if asked() != 0 {
			t.Errorf("%d leases still asked for", asked())
		}
		time.Sleep(time.Minute)
		if n := owners(t, leases); n["a"] != 2 || s.left() != 0 || s.doubles != 0 {
			t.Errorf("owners: %v, %d left", n, s.left())
		}
	})
}

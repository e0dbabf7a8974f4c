package feed

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Every add is followed by a turn of its stream, and no stream has two at once.
func TestQueueMissesNothing(t *testing.T) {
	const streams, adds, workers = 4, 2000, 6
	q := newQueue()
	var todo, busy [streams]atomic.Int64
	index := func(n fragments.StreamName) int { return int(n[3] - '0') }
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				n, ok := q.take()
				if !ok {
					return
				}
				i := index(n)
				if busy[i].Add(1) != 1 {
					t.Errorf("%s is served twice at once", n)
				}
				got := todo[i].Swap(0)
				busy[i].Add(-1)
				failed := got%7 == 3
				if failed {
					todo[i].Add(got)
				}
				q.done(n, got%5 == 1, failed, func(int) time.Duration { return time.Microsecond })
			}
		})
	}
	for i := range adds {
		n := name(i % streams)
		todo[index(n)].Add(1)
		q.add(n)
		if rand.IntN(50) == 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
	for i := range todo {
		for deadline := time.Now().Add(5 * time.Second); todo[i].Load() != 0; {
			if time.Now().After(deadline) {
				t.Fatalf("stream %d has %d left", i, todo[i].Load())
			}
			todo[i].Add(1) // or one that fails for its number would fail for ever
			q.add(name(i))
			time.Sleep(time.Millisecond)
		}
	}
	q.drain()
	all.Wait()
}

func TestQueueLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		if q.lag(time.Now()) != 0 {
			t.Error("lags with nothing to do")
		}
		q.add("a")
		time.Sleep(3 * time.Second)
		q.add("b")
		if lag := q.lag(time.Now()); lag != 3*time.Second {
			t.Errorf("lag %v", lag)
		}
		n, _ := q.take()
		q.oldest(n, time.Now().Add(-time.Minute))
		if lag := q.lag(time.Now()); n != "a" || lag != time.Minute {
			t.Errorf("%s: lag %v", n, lag)
		}
		q.done(n, false, true, func(int) time.Duration { return time.Second })
		if n, _ := q.take(); n != "b" {
			t.Errorf("%s, want b: a has failed", n)
		}
		q.done("b", false, false, nil)
		time.Sleep(2 * time.Second)
		if n, _ := q.take(); n != "a" {
			t.Errorf("%s, want a again", n)
		}
		q.done("a", false, false, nil)
		if lag := q.lag(time.Now()); lag != 0 || len(q.streams) != 0 {
			t.Errorf("lag %v, %d streams in the end", lag, len(q.streams))
		}
		q.drain()
	})
}

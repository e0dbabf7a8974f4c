package consumer

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestModel lets random things happen to a stream and its workers. Whatever
// does: no record is handled before the one ahead of it or before the end of a
// parent, all are handled at last, a shard is with one worker at a time, and
// none is handled twice unless a worker was killed or cut off.
func TestModel(t *testing.T) {
	const rounds = 60
	seed := uint64(time.Now().UnixNano())
	doubles, handled, shards, crashes := 0, 0, 0, 0
	for round := range rounds {
		t.Run(fmt.Sprint("seed ", seed+uint64(round)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(t, seed+uint64(round), round%2 == 0)
				for range 60 {
					m.act()
					time.Sleep(time.Duration(m.rng.IntN(3000)) * time.Millisecond)
				}
				m.finish()
				doubles, handled, shards, crashes = doubles+m.s.doubles, handled+m.s.handled, shards+len(m.s.shards), crashes+m.crashes
			})
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("%d rounds from seed %d: %d shards, %d records, %d workers lost, %d doubles", rounds, seed, shards, handled, crashes, doubles)
}

// model is a stream, its workers, and what happens to them.
type model struct {
	s       *stream
	leases  *Memory
	rng     *rand.Rand
	mu      sync.Mutex // of dice
	dice    *rand.Rand // of workers
	actors  []*actor
	made    int
	crashy  bool // workers are killed and cut off
	crashes int
}

func newModel(t *testing.T, seed uint64, crashy bool) *model {
	m := &model{leases: NewMemory(), rng: rand.New(rand.NewPCG(seed, 1)), dice: rand.New(rand.NewPCG(seed, 2)), crashy: crashy}
	m.s = newStream(t, 1+m.rng.IntN(4))
	m.s.expireAt = 50
	m.join()
	return m
}

func (m *model) roll(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dice.IntN(n)
}

func (m *model) join() {
	m.made++
	flaky := m.rng.IntN(3) == 0
	m.actors = append(m.actors, m.s.start(fmt.Sprint("w", m.made), m.leases, func(a *actor, _ *Options) {
		a.takes = func() time.Duration { return time.Duration(m.roll(100)) * time.Millisecond }
		if flaky && m.crashy { // a store that fails may cost a worker its lease
			a.flaky = func() error {
				if m.roll(20) == 0 {
					return errFlaky
				}
				return nil
			}
		}
	}))
}

// leave removes a worker from those that are there.
func (m *model) leave() *actor {
	i := m.rng.IntN(len(m.actors))
	a := m.actors[i]
	m.actors = append(m.actors[:i], m.actors[i+1:]...)
	return a
}

func (m *model) act() {
	switch n := m.rng.IntN(100); {
	case n < 50:
		m.s.put(m.rng, m.rng.IntN(40))
	case n < 60 && len(m.s.open()) < 12:
		m.s.split(m.rng.Int())
	case n < 70:
		m.s.merge(m.rng.Int())
	case n < 78 && len(m.actors) < 6:
		m.join()
	case n < 86 && len(m.actors) > 1:
		m.leave().stop()
	case n < 92 && m.crashy && len(m.actors) > 1:
		m.leave().kill()
		m.crashes++
	case n < 96 && m.crashy:
		a := m.actors[m.rng.IntN(len(m.actors))]
		a.cut.Store(true)
		time.Sleep(time.Duration(m.rng.IntN(25)) * time.Second)
		a.cut.Store(false)
		m.crashes++
	}
}

// finish waits until all is handled and looks at what is left behind.
func (m *model) finish() {
	for range 60 {
		if time.Sleep(10 * time.Second); m.s.left() == 0 {
			break
		}
	}
	time.Sleep(30 * time.Second)
	for _, a := range m.actors {
		a.stop()
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	leases := leasesOf(m.s.t, m.leases)
	for id, sh := range m.s.shards {
		if sh.done < len(sh.records) || sh.closed && !sh.ended {
			m.s.t.Errorf("%s: %d of %d handled, end %v: %+v", id, sh.done, len(sh.records), sh.ended, leases[id])
		}
		if l, ok := leases[id]; !ok || l.Owner != "" && !m.crashy || (l.Checkpoint.From == ShardEnd) != sh.closed {
			m.s.t.Errorf("%s: left behind %+v", id, l)
		}
	}
	if m.s.doubles > 0 && !m.crashy {
		m.s.t.Errorf("%d doubles without a crash", m.s.doubles)
	}
}

package wal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/journaltest"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// grantedLease is a lease that has been acknowledged, and that nobody is about
// to change.
type grantedLease struct {
	holder string
	until  time.Time
	handle journal.Lease
}

// seen is what a watcher knows.
type seen struct {
	revision uint64
	items    map[string]uint64 // revisions by key
}

// leaseHistory is a store with leases and a watcher, through random steps,
// crashes and kills.
type leaseHistory struct {
	t      *testing.T
	seed   uint64
	clock  *journaltest.Clock
	clones *atomic.Int64

	mu    sync.Mutex
	rng   *rand.Rand
	sure  map[string]grantedLease
	epoch uint64 // the greatest that was acknowledged
	seen  seen
}

func (h *leaseHistory) options(fsys vfs.FS) Options {
	o := crashStoreOptions(fsys)
	o.Clock = h.clock
	return o
}

// maybe looks, at a call, at what a crash or a kill there would leave.
func (h *leaseHistory) maybe(fsys *vfs.Crash, call vfs.Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.t.Failed() || h.rng.IntN(4) > 0 {
		return
	}
	copied := fsys.AfterKill()
	if h.rng.IntN(4) > 0 {
		copied = fsys.AfterCrash(h.rng)
	}
	if err := h.look(copied); err != nil {
		h.t.Errorf("after %s %s: %v (seed %d)", call.Op, call.Name, err, h.seed)
	}
}

// look opens what is left, wants the leases in it, and lets the watcher come
// back.
func (h *leaseHistory) look(fsys vfs.FS) error {
	h.clones.Add(1)
	s, err := OpenMeta("/store", h.options(fsys))
	if err != nil {
		return err
	}
	defer s.Close()
	back := seen{h.seen.revision, maps.Clone(h.seen.items)}
	if now := s.state.Load().revision; now < back.revision {
		return fmt.Errorf("revision %d was shown, the store is at %d", back.revision, now)
	}
	if err := errors.Join(back.catchUp(s), back.differs(s)); err != nil {
		return err
	}
	now := h.clock.Now()
	for key, l := range h.sure {
		_, err := s.Grant(h.t.Context(), key, "a stranger", time.Hour)
		if held := now.Before(l.until); held != errors.Is(err, journal.ErrHeld) {
			return fmt.Errorf("lease %s of %s, held: %v: a stranger gets %w", key, l.holder, held, err)
		}
		if !now.Before(l.until) {
			continue
		}
		again, err := s.Grant(h.t.Context(), key, l.holder, time.Hour)
		if err != nil || again.Epoch() <= h.epoch {
			return fmt.Errorf("lease %s for %s again: %v, epoch after %d: %w", key, l.holder, again, h.epoch, err)
		}
	}
	return nil
}

// catchUp takes one update, after which the watcher knows what the store holds.
func (v *seen) catchUp(s *Store) error {
	for u, err := range s.Watch(context.Background(), "", v.revision) {
		if err != nil {
			return err
		}
		if u.Whole {
			v.items = map[string]uint64{}
		}
		for _, it := range u.Items {
			v.items[it.Key] = it.Revision
		}
		for _, key := range u.Deleted {
			delete(v.items, key)
		}
		v.revision = u.Revision
		break
	}
	return nil
}

// differs compares the watcher's knowledge with the store.
func (v *seen) differs(s *Store) error {
	want := map[string]uint64{}
	for it := range s.List("") {
		want[it.Key] = it.Revision
	}
	if !maps.Equal(v.items, want) {
		return fmt.Errorf("a watcher knows %v, the store holds %v", v.items, want)
	}
	return nil
}

// step does one thing; what it changes is not sure meanwhile.
func (h *leaseHistory) step(s *Store) error {
	h.mu.Lock()
	op, key, holder, by := h.rng.IntN(8), fmt.Sprint("k", h.rng.IntN(3)), fmt.Sprint("h", h.rng.IntN(2)), time.Duration(h.rng.IntN(40))
	l := h.sure[key]
	if op < 6 {
		delete(h.sure, key)
	}
	h.mu.Unlock()
	var err error
	until := h.clock.Now().Add(time.Second)
	switch {
	case op < 4:
		l.handle, err = s.Grant(h.t.Context(), key, holder, time.Second)
		if l.holder != holder && errors.Is(err, journal.ErrHeld) {
			return h.settle(s, key, l, nil)
		}
		l.holder, l.until = holder, until
	case op < 5 && l.handle != nil:
		err = l.handle.Renew(h.t.Context())
		l.until = until
	case op < 6 && l.handle != nil:
		err = l.handle.Release(h.t.Context())
		l = grantedLease{}
	case op >= 6:
		h.clock.Advance(by * 10 * time.Millisecond)
		return nil
	}
	if errors.Is(err, journal.ErrLost) { // its time was over, by the clock alone
		l, err = grantedLease{}, nil
	}
	return h.settle(s, key, l, err)
}

// settle says what is known after a step.
func (h *leaseHistory) settle(s *Store, key string, l grantedLease, err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.holder != "" && err == nil {
		h.sure[key] = l
	}
	if l.handle != nil {
		h.epoch = max(h.epoch, l.handle.Epoch())
	}
	return errors.Join(err, h.seen.catchUp(s))
}

// TestCrashLeases: a lease that was granted is there after any crash or kill and
// keeps others out for as long as it should; no epoch comes twice; and what a
// watcher was shown stays, so that it can go on from there.
func TestCrashLeases(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	clones := &atomic.Int64{}
	start, round := time.Now(), uint64(0)
	for ; time.Since(start) < crashBudget && !t.Failed(); round++ {
		h := &leaseHistory{
			t: t, seed: seed + round, clock: journaltest.NewClock(), rng: rand.New(rand.NewPCG(seed+round, 0)),
			clones: clones, sure: map[string]grantedLease{},
		}
		fsys := vfs.NewCrash()
		for range 3 {
			s, err := OpenMeta("/store", h.options(fsys))
			if err != nil {
				t.Fatalf("%v (seed %d)", err, h.seed)
			}
			fsys.Set(func(c vfs.Call) { h.maybe(fsys, c) })
			for range 25 {
				if err := h.step(s); err != nil {
					t.Fatalf("%v (seed %d)", err, h.seed)
				}
			}
			fsys.Set(nil)
			h.mu.Lock() // the hook may still run, for the lane or a snapshot
			next := fsys.AfterCrash(h.rng)
			h.mu.Unlock()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := h.look(next.AfterKill()); err != nil {
				t.Fatalf("%v (seed %d)", err, h.seed)
			}
			fsys = next
			for key, l := range h.sure {
				l.handle = nil // of a store that is no more
				h.sure[key] = l
			}
		}
	}
	t.Logf("%d histories from seed %d: %d copies opened", round, seed, clones.Load())
}

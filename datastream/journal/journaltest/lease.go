package journaltest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

func grant(t *testing.T, m journal.Meta, key, holder string, ttl time.Duration) journal.Lease {
	t.Helper()
	l, err := m.Grant(t.Context(), key, holder, ttl)
	if err != nil {
		t.Fatalf("lease %q for %q: %v", key, holder, err)
	}
	return l
}

func isLost(l journal.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// heldBy wants the key of a lease to say who holds it.
func heldBy(t *testing.T, m journal.Meta, key, holder string, epoch uint64, until time.Time) {
	t.Helper()
	v, rev, err := m.Get(journal.LeasePrefix + key)
	if err != nil {
		t.Errorf("lease %q: %v", key, err)
		return
	}
	h, err := journal.ParseHolding(journal.Item{Key: key, Value: v, Revision: rev})
	if err != nil || h.Holder != holder || h.Epoch != epoch || !h.Until.Equal(until) {
		t.Errorf("lease %q says %+v (%v), want %q at %d until %v", key, h, err, holder, epoch, until)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func testLease(t *testing.T, impl Meta) {
	clock := NewClock()
	m := impl.OpenAt(t, t.TempDir(), clock)
	defer closeMeta(t, m)
	first := grant(t, m, "lane/1", "a", 10*time.Second)
	heldBy(t, m, "lane/1", "a", first.Epoch(), clock.Now().Add(10*time.Second))
	_, err := m.Grant(t.Context(), "lane/1", "b", time.Second)
	wantError(t, "another's", err, journal.ErrHeld)
	if err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("%v does not name the holder", err)
	}
	other := grant(t, m, "lane/2", "b", time.Second)
	if other.Epoch() <= first.Epoch() {
		t.Errorf("epoch %d after %d", other.Epoch(), first.Epoch())
	}
	clock.Advance(9 * time.Second)
	if err := first.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	heldBy(t, m, "lane/1", "a", first.Epoch(), clock.Now().Add(10*time.Second))
	again := grant(t, m, "lane/1", "a", 10*time.Second)
	if again.Epoch() <= other.Epoch() || !isLost(first) || isLost(again) {
		t.Errorf("taken over by itself: epoch %d after %d; told: %v, %v", again.Epoch(), first.Epoch(), isLost(first), isLost(again))
	}
	wantError(t, "renewing what was taken over", first.Renew(t.Context()), journal.ErrLost)
	wantError(t, "releasing what was taken over", first.Release(t.Context()), journal.ErrLost)
	if err := again.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	absent(t, m, journal.LeasePrefix+"lane/1")
	if !isLost(again) {
		t.Error("the end of a released lease is not told")
	}
	wantError(t, "releasing twice", again.Release(t.Context()), journal.ErrLost)
	if last := grant(t, m, "lane/1", "b", time.Second); last.Epoch() <= again.Epoch() {
		t.Errorf("epoch %d after %d", last.Epoch(), again.Epoch())
	}
}

// testLeaseExpires: time ends a lease to the moment, its holder and watchers are
// told, and a holder that comes too late hears so even if nobody else came.
func testLeaseExpires(t *testing.T, impl Meta) {
	clock := NewClock()
	m := impl.OpenAt(t, t.TempDir(), clock)
	defer closeMeta(t, m)
	l := grant(t, m, "k", "a", time.Second)
	clock.Advance(600 * time.Millisecond)
	if err := l.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock.Advance(999 * time.Millisecond)
	if isLost(l) {
		t.Error("it ends a moment too soon")
	}
	_, err := m.Grant(t.Context(), "k", "b", time.Second)
	wantError(t, "a moment before the end", err, journal.ErrHeld)
	clock.Advance(time.Millisecond)
	if !isLost(l) {
		t.Error("the holder is not told")
	}
	wantError(t, "renewing too late", l.Renew(t.Context()), journal.ErrLost)
	waitFor(t, func() error {
		if _, _, err := m.Get(journal.LeasePrefix + "k"); !errors.Is(err, journal.ErrAbsent) {
			return fmt.Errorf("the key of a lease that is over: %v, want it absent", err)
		}
		return nil
	})
	if next := grant(t, m, "k", "b", time.Second); next.Epoch() <= l.Epoch() {
		t.Errorf("epoch %d after %d", next.Epoch(), l.Epoch())
	}
	wantError(t, "renewing what another has", l.Renew(t.Context()), journal.ErrLost)
}

// testLeaseReopen: what is left of a lease is left when the store is opened again.
func testLeaseReopen(t *testing.T, impl Meta) {
	for _, test := range []struct {
		name       string
		away, left time.Duration
	}{
		{"in time", 3 * time.Second, 7 * time.Second},
		{"too late", 11 * time.Second, 0},
		{"the clock was set back", -time.Hour, 10 * time.Second},
	} {
		clock, dir := NewClock(), t.TempDir()
		m := impl.OpenAt(t, dir, clock)
		l := grant(t, m, "k", "a", 10*time.Second)
		closeMeta(t, m)
		if !isLost(l) {
			t.Errorf("%s: the holder is not told that the store closed", test.name)
		}
		if err := l.Renew(t.Context()); err == nil {
			t.Errorf("%s: renewed in a closed store", test.name)
		}
		clock.Advance(test.away)
		m = impl.OpenAt(t, dir, clock)
		if test.left > 0 {
			clock.Advance(test.left - time.Millisecond)
			_, err := m.Grant(t.Context(), "k", "b", time.Second)
			wantError(t, test.name, err, journal.ErrHeld)
			clock.Advance(time.Millisecond)
		}
		if next := grant(t, m, "k", "b", time.Second); next.Epoch() <= l.Epoch() {
			t.Errorf("%s: epoch %d after %d", test.name, next.Epoch(), l.Epoch())
		}
		closeMeta(t, m)
	}
	clock, dir := NewClock(), t.TempDir()
	m := impl.OpenAt(t, dir, clock)
	l := grant(t, m, "k", "a", time.Hour)
	closeMeta(t, m)
	m = impl.OpenAt(t, dir, clock)
	defer closeMeta(t, m)
	if next := grant(t, m, "k", "a", time.Hour); next.Epoch() <= l.Epoch() {
		t.Errorf("started anew: epoch %d after %d", next.Epoch(), l.Epoch())
	}
}

// testLeaseRace: many who want one lease, on time that runs; at any moment one at
// most has it and was not told that it lost it, and epochs only grow.
func testLeaseRace(t *testing.T, impl Meta) {
	clock := NewClock()
	m := impl.OpenAt(t, t.TempDir(), clock)
	defer closeMeta(t, m)
	var mu sync.Mutex
	var epochs []uint64
	holders := map[journal.Lease]bool{}
	contend := func(who int) {
		rng := rand.New(rand.NewPCG(uint64(who), uint64(time.Now().UnixNano())))
		for range 15 {
			l, err := m.Grant(t.Context(), "k", fmt.Sprint(who), 50*time.Millisecond)
			if errors.Is(err, journal.ErrHeld) || errors.Is(err, journal.ErrLost) {
				clock.Advance(time.Duration(rng.IntN(20)) * time.Millisecond)
				continue
			}
			if err != nil {
				t.Errorf("holder %d: %v", who, err)
				return
			}
			mu.Lock()
			for other := range holders {
				if !isLost(other) && !isLost(l) {
					t.Errorf("epochs %d and %d are held at once", other.Epoch(), l.Epoch())
				}
			}
			holders[l] = true
			epochs = append(epochs, l.Epoch())
			mu.Unlock()
			if rng.IntN(2) == 0 {
				if err := l.Renew(t.Context()); err != nil && !errors.Is(err, journal.ErrLost) {
					t.Errorf("holder %d: %v", who, err)
				}
			}
			if rng.IntN(3) == 0 {
				l.Release(t.Context())
			}
		}
	}
	var all sync.WaitGroup
	for who := range 6 {
		all.Go(func() { contend(who) })
	}
	all.Wait()
	seen := map[uint64]bool{}
	for _, e := range epochs {
		if seen[e] {
			t.Errorf("epoch %d was granted twice", e)
		}
		seen[e] = true
	}
	if len(epochs) < 2 {
		t.Errorf("%d grants: the test misses the races", len(epochs))
	}
}

// modelLease is what a lease should be.
type modelLease struct {
	holder string
	handle journal.Lease
	until  time.Time
}

// leaseModel is leases by the words of their contract.
type leaseModel struct {
	clock *Clock
	now   map[string]*modelLease
	ever  []journal.Lease
	epoch uint64
	ttl   time.Duration
}

func (m *leaseModel) live(key string) *modelLease {
	if l := m.now[key]; l != nil && m.clock.Now().Before(l.until) {
		return l
	}
	return nil
}

func (m *leaseModel) of(handle journal.Lease) (string, *modelLease) {
	for key := range m.now {
		if l := m.live(key); l != nil && l.handle == handle {
			return key, l
		}
	}
	return "", nil
}

// testLeaseHistory plays random histories, with reopenings, against the model.
func testLeaseHistory(t *testing.T, impl Meta) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	model := &leaseModel{clock: NewClock(), now: map[string]*modelLease{}, ttl: 100 * time.Millisecond}
	m := impl.OpenAt(t, dir, model.clock)
	for step := 0; step < 300 && !t.Failed(); step++ {
		switch rng.IntN(10) {
		case 0, 1, 2, 3:
			model.grant(t, m, fmt.Sprint("key", rng.IntN(2)), fmt.Sprint("holder", rng.IntN(3)))
		case 4, 5:
			model.renew(t, rng)
		case 6:
			model.release(t, rng)
		case 7, 8:
			model.clock.Advance(time.Duration(rng.IntN(80)) * time.Millisecond)
		default:
			if rng.IntN(6) == 0 {
				closeMeta(t, m)
				for _, l := range model.now {
					l.handle = nil
				}
				m = impl.OpenAt(t, dir, model.clock)
			}
		}
		for _, h := range model.ever {
			if _, l := model.of(h); isLost(h) != (l == nil) {
				t.Fatalf("step %d: epoch %d told: %v, held: %v (seed %d)", step, h.Epoch(), isLost(h), l != nil, seed)
			}
		}
	}
	closeMeta(t, m)
}

func (m *leaseModel) grant(t *testing.T, store journal.Meta, key, holder string) {
	t.Helper()
	h, err := store.Grant(t.Context(), key, holder, m.ttl)
	if l := m.live(key); l != nil && l.holder != holder {
		wantError(t, "grant", err, journal.ErrHeld)
		return
	}
	if err != nil || h.Epoch() <= m.epoch {
		t.Fatalf("grant: %v, %v, after epoch %d", h, err, m.epoch)
	}
	m.epoch = h.Epoch()
	m.ever = append(m.ever, h)
	m.now[key] = &modelLease{holder, h, m.clock.Now().Add(m.ttl)}
	heldBy(t, store, key, holder, h.Epoch(), m.now[key].until)
}

// any is a lease that is or was held.
func (m *leaseModel) any(rng *rand.Rand) journal.Lease {
	if len(m.ever) == 0 {
		return nil
	}
	return m.ever[max(0, len(m.ever)-1-rng.IntN(4))]
}

func (m *leaseModel) renew(t *testing.T, rng *rand.Rand) {
	h := m.any(rng)
	if h == nil {
		return
	}
	err := h.Renew(t.Context())
	if _, l := m.of(h); l != nil && err == nil {
		l.until = m.clock.Now().Add(m.ttl)
	} else {
		wantError(t, "renew", err, journal.ErrLost)
	}
}

func (m *leaseModel) release(t *testing.T, rng *rand.Rand) {
	h := m.any(rng)
	if h == nil {
		return
	}
	err := h.Release(t.Context())
	if key, l := m.of(h); l != nil && err == nil {
		delete(m.now, key)
	} else {
		wantError(t, "release", err, journal.ErrLost)
	}
}

// testLeaseMeddled: an operator's way to take a lease from its holder.
func testLeaseMeddled(t *testing.T, impl Meta) {
	m := impl.OpenAt(t, t.TempDir(), NewClock())
	defer closeMeta(t, m)
	full := journal.LeasePrefix + "k"
	for name, meddle := range map[string]func() error{
		"deleted": func() error { return m.Delete(t.Context(), full, mustRevision(t, m, full)) },
		"overwritten": func() error {
			_, err := m.Put(t.Context(), full, []byte("nobody"), mustRevision(t, m, full))
			return err
		},
	} {
		l := grant(t, m, "k", name, time.Hour)
		if err := meddle(); err != nil {
			t.Fatal(err)
		}
		if !isLost(l) {
			t.Errorf("%s: the holder is not told", name)
		}
		wantError(t, name, l.Renew(t.Context()), journal.ErrLost)
		next := grant(t, m, "k", "another", time.Hour)
		if next.Epoch() <= l.Epoch() {
			t.Errorf("%s: epoch %d after %d", name, next.Epoch(), l.Epoch())
		}
		if err := next.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func testLeaseBounds(t *testing.T, impl Meta) {
	dir := t.TempDir()
	m := impl.Open(t, dir)
	for _, ttl := range []time.Duration{0, -1, journal.MinLeaseTTL - 1, journal.MaxLeaseTTL + 1} {
		if _, err := m.Grant(t.Context(), "k", "a", ttl); err == nil {
			t.Errorf("a lease of %v was granted", ttl)
		}
	}
	_, err := m.Grant(t.Context(), strings.Repeat("k", journal.MaxKey), "a", time.Second)
	wantError(t, "long key", err, journal.ErrTooLarge)
	_, err = m.Grant(t.Context(), "k", strings.Repeat("a", journal.MaxHolder+1), time.Second)
	wantError(t, "long name", err, journal.ErrTooLarge)
	l := grant(t, m, "", "", journal.MaxLeaseTTL)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Renew(ended); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	closeMeta(t, m)
	_, err = m.Grant(t.Context(), "k", "a", time.Second)
	wantError(t, "of a closed store", err, journal.ErrClosed)

	m = impl.OpenFull(t, dir)
	defer closeMeta(t, m)
	_, err = m.Grant(t.Context(), "k", "a", time.Second)
	wantError(t, "on a full device", err, journal.ErrFull)
}

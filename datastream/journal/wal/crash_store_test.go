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
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// content is what a store holds: values by key.
type content map[string]string

// issued is a transaction the store took, and what the store holds after it if
// it takes it and all before it.
type issued struct {
	change *change
	acked  bool // known from an earlier life
	after  content
}

// storeHistory is one store through random changes, closes, kills and crashes.
type storeHistory struct {
	t    *testing.T
	seed uint64

	mu   sync.Mutex
	rng  *rand.Rand
	txns []issued

	clones *atomic.Int64
	fsys   *vfs.Crash
	store  *Store
}

func crashStoreOptions(fsys vfs.FS) Options {
	return Options{FS: fsys, MaxFileBytes: 2 << 10, SnapshotBytes: 3 << 10, ReserveBytes: -1}
}

func (h *storeHistory) intN(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.IntN(n)
}

func (h *storeHistory) newRNG() *rand.Rand {
	h.mu.Lock()
	defer h.mu.Unlock()
	return rand.New(rand.NewPCG(h.rng.Uint64(), h.rng.Uint64()))
}

// acked is how many of the transactions, from the first on, are acknowledged.
func (h *storeHistory) acked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := len(h.txns) - 1; n >= 0; n-- {
		if x := &h.txns[n]; x.acked || (x.change != nil && isClosed(x.change.done) && x.change.err == nil) {
			return n + 1
		}
	}
	return 0
}

// maybe checks, at a call, what a crash or a kill there would leave of at least
// acked transactions.
func (h *storeHistory) maybe(fsys *vfs.Crash, call vfs.Call, acked, depth int) {
	if h.t.Failed() || h.intN([]int{3, 12}[depth]) > 0 {
		return
	}
	rng := h.newRNG()
	what, copied := "crash", (*vfs.Crash)(nil)
	if rng.IntN(4) == 0 {
		what, copied = "kill", fsys.AfterKill()
	} else {
		copied = fsys.AfterCrash(rng)
	}
	if _, err := h.reopen(copied, acked, depth); err != nil {
		h.t.Errorf("%s at %s %s, depth %d: %v (seed %d)", what, call.Op, call.Name, depth, err, h.seed)
	}
}

// reopen opens a copy, wants the first acked transactions in it, and of the
// others a beginning. It returns how many are there.
func (h *storeHistory) reopen(copied *vfs.Crash, acked, depth int) (int, error) {
	h.clones.Add(1)
	if depth < 1 {
		copied.Set(func(c vfs.Call) { h.maybe(copied, c, acked, depth+1) })
	}
	s, err := OpenMeta("/store", crashStoreOptions(copied))
	if err != nil {
		return 0, err
	}
	copied.Set(nil)
	n, err := h.compare(s, acked)
	if err == nil && depth < 2 { // what can be read is durable: a crash must not take it
		if _, err := h.reopen(copied.AfterCrash(h.newRNG()), n, 2); err != nil {
			return n, errors.Join(fmt.Errorf("after the opening and another crash: %w", err), s.Close())
		}
	}
	return n, errors.Join(err, s.Close())
}

// compare finds how many transactions the store holds, at least acked.
func (h *storeHistory) compare(s *Store, acked int) (int, error) {
	got := content{}
	for it := range s.List("") {
		got[it.Key] = string(it.Value)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := acked; n <= len(h.txns); n++ {
		want := content{}
		if n > 0 {
			want = h.txns[n-1].after
		}
		if maps.Equal(got, want) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("it holds %v, which is not what the first %d to %d transactions make", got, acked, len(h.txns))
}

// live opens the store on what the life before left.
func (h *storeHistory) live(fsys *vfs.Crash, acked int) error {
	h.fsys = fsys
	fsys.Set(func(c vfs.Call) { h.maybe(fsys, c, h.acked(), 0) })
	s, err := OpenMeta("/store", crashStoreOptions(fsys))
	if err != nil {
		return err
	}
	h.store = s
	n, err := h.compare(s, acked)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.txns = h.txns[:n]
	for i := range h.txns {
		h.txns[i].acked = true
	}
	return err
}

// step issues transactions on different keys, without waiting in between.
func (h *storeHistory) step() {
	rng := h.newRNG()
	keys := rng.Perm(8)
	var last *change
	for len(keys) > 0 && !h.t.Failed() {
		n := min(1+rng.IntN(3), len(keys))
		var changes []journal.Change
		h.mu.Lock()
		number := len(h.txns)
		after := content{}
		if number > 0 {
			after = maps.Clone(h.txns[number-1].after)
		}
		for _, k := range keys[:n] {
			c := journal.Change{Key: fmt.Sprint("key", k)}
			if _, rev, err := h.store.Get(c.Key); err == nil {
				c.Expect = rev
				c.Delete = rng.IntN(4) == 0
			}
			delete(after, c.Key)
			if !c.Delete {
				c.Value = fmt.Appendf(nil, "%d %0*d", number, rng.IntN(200), 0)
				after[c.Key] = string(c.Value)
			}
			changes = append(changes, c)
		}
		h.txns = append(h.txns, issued{after: after}) // counts from before it can be found
		h.mu.Unlock()
		keys = keys[n:]
		c, err := h.store.begin(context.Background(), changes)
		if err != nil {
			h.t.Errorf("transaction: %v (seed %d)", err, h.seed)
			return
		}
		h.mu.Lock()
		h.txns[number].change = c
		h.mu.Unlock()
		if last = c; rng.IntN(3) == 0 {
			break
		}
	}
	if last == nil {
		return
	}
	<-last.done // the next ones go by the revisions of these
}

// end ends a life and returns what the next finds, and how many transactions it
// has to find.
func (h *storeHistory) end() (*vfs.Crash, int, error) {
	next, how := h.fsys, h.intN(3)
	var closed error
	if how == 0 {
		closed = h.store.Close()
	}
	acked := h.acked()
	switch how {
	case 1:
		next = h.fsys.AfterKill()
	case 2:
		next = h.fsys.AfterCrash(h.newRNG())
	}
	h.fsys.Set(nil)
	h.store.Close()
	return next, acked, closed
}

// TestCrashStore: as TestCrashLane, for a store with its snapshots and trims:
// what comes back is what some beginning of the transactions makes, with all
// that were acknowledged in it.
func TestCrashStore(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	clones := &atomic.Int64{}
	lives, txns, snapshots := 0, 0, 0
	start, round := time.Now(), uint64(0)
	for ; time.Since(start) < crashBudget && !t.Failed(); round++ {
		h := &storeHistory{t: t, seed: seed + round, rng: rand.New(rand.NewPCG(seed+round, 0)), clones: clones}
		fsys, acked := vfs.NewCrash(), 0
		for range 6 {
			err := h.live(fsys, acked)
			if err != nil {
				t.Fatalf("life: %v (seed %d)", err, h.seed)
			}
			for range h.intN(20) {
				h.step()
			}
			if fsys, acked, err = h.end(); err != nil {
				t.Errorf("close: %v (seed %d)", err, h.seed)
			}
			snapshots += len(h.store.snap.kept)
			lives++
		}
		txns += len(h.txns)
	}
	if snapshots == 0 {
		t.Error("no store took a snapshot: the test misses them")
	}
	t.Logf("%d histories from seed %d: %d lives, %d transactions, %d snapshots, %d copies opened",
		round, seed, lives, txns, snapshots, clones.Load())
}

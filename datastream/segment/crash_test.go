package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
)

// The test here loses the power, or the process, at every call that a store, its
// lane and its Meta make of their file system. crashBudget is how long it goes on,
// and crashRounds how many histories there are at least.
const (
	crashBudget = 2 * time.Second
	crashRounds = 6
)

// crashHistory is one store through random appends, deletions of streams, drops,
// kills and crashes, and the crashes that might have been at each call.
type crashHistory struct {
	t     *testing.T
	seed  uint64
	kinds []int64 // to open stores with
	start int64   // the arrival of record 0

	keeper
	mu      sync.Mutex
	rng     *rand.Rand
	keys    []Key                    // of the records, by their numbers
	acked   map[int]journal.Position // of those acknowledged
	deleted map[uint64]bool          // streams

	copies, seals, placed, dropped int
}

// crashStore is a store and what it stands on.
type crashStore struct {
	*Store
	lane *wal.Lane
	meta *wal.Store
}

func (s *crashStore) close() error {
	return errors.Join(s.Close(context.Background()), s.lane.Close(), s.meta.Close())
}

func (h *crashHistory) intN(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.IntN(n)
}

// body tells its number.
func crashBody(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 3))
	return append(fmt.Appendf(nil, "%d ", n), make([]byte, rng.IntN(1<<rng.IntN(12)))...)
}

// known is what was known at some moment.
type known struct {
	acked   map[int]journal.Position
	deleted map[uint64]bool
	keys    []Key
	start   int64
}

func (h *crashHistory) known() known {
	h.mu.Lock()
	defer h.mu.Unlock()
	return known{maps.Clone(h.acked), maps.Clone(h.deleted), slices.Clip(h.keys), h.start}
}

func (h *crashHistory) open(fsys vfs.FS) (s *crashStore, err error) {
	s = new(crashStore)
	if s.lane, err = wal.Open("/records", wal.Options{FS: fsys, MaxFileBytes: 16 << 10, FrameBytes: 8 << 10, ReserveBytes: -1}); err != nil {
		return nil, err
	}
	if s.meta, err = wal.OpenMeta("/streams", wal.Options{FS: fsys, ReserveBytes: -1}); err != nil {
		return nil, errors.Join(err, s.lane.Close())
	}
	s.Store, err = Open(context.Background(), Options{
		Lane: s.lane, Meta: s.meta, FS: fsys, Dir: "/segments", MemBytes: 8 << 10, Keep: h.Keep, ScrubEvery: -1,
		leastStretch: h.kinds[h.intN(len(h.kinds))],
	})
	if err != nil {
		return nil, errors.Join(err, s.lane.Close(), s.meta.Close())
	}
	return s, nil
}

// judge reads all of a store: it has what was acknowledged before, where that
// was said to be, once and in order, and nothing that was not appended after.
func judge(s *Store, before known, now func() known) error {
	at := make(map[int]journal.Position)
	shards := make(map[Key]bool)
	after := now()
	for _, k := range after.keys {
		shards[k] = true
	}
	for k := range shards {
		last := -1
		records, _, err := s.Read(k, journal.Position{}, 1<<30, 1<<40, nil)
		if err != nil {
			return err
		}
		for _, rec := range records {
			var n int
			if _, err := fmt.Sscan(string(rec.Body[:min(len(rec.Body), 20)]), &n); err != nil || n <= last || n >= len(after.keys) || after.keys[n] != k {
				return fmt.Errorf("%v: record %q at %v after record %d", k, rec.Body[:min(len(rec.Body), 20)], rec.Position, last)
			}
			if !bytes.Equal(rec.Body, crashBody(n)) || rec.Arrived != before.start+int64(n) {
				return fmt.Errorf("%v: record %d at %v is not as it was appended", k, n, rec.Position)
			}
			at[n], last = rec.Position, n
		}
	}
	after = now() // streams may have been deleted meanwhile
	for n, want := range before.acked {
		if after.deleted[after.keys[n].Stream] {
			continue
		}
		if got, ok := at[n]; !ok || got != want {
			return fmt.Errorf("record %d of %v, acknowledged at %v, is there: %v, at %v", n, after.keys[n], want, ok, got)
		}
	}
	if st := s.Stats(); st.Gaps > 0 || st.Damaged > 0 || st.Lost > 0 {
		return fmt.Errorf("damage was met: %+v", st)
	}
	return nil
}

// copy is the file system after a crash, or sometimes a kill.
func (h *crashHistory) copy(fsys *vfs.Crash) (*vfs.Crash, string) {
	h.mu.Lock()
	rng := rand.New(rand.NewPCG(h.rng.Uint64(), h.rng.Uint64()))
	h.mu.Unlock()
	if rng.IntN(4) > 0 {
		return fsys.AfterCrash(rng), "crash"
	}
	return fsys.AfterKill(), "kill"
}

// hook checks now and then what a crash or a kill at a call would leave of what is
// known there.
func (h *crashHistory) hook(fsys *vfs.Crash, oneIn, depth int, known func() known) func(vfs.Call) {
	return func(call vfs.Call) {
		if h.t.Failed() || h.intN(oneIn) > 0 {
			return
		}
		before := known()
		copied, what := h.copy(fsys)
		if err := h.check(copied, before, depth); err != nil {
			h.t.Errorf("%s at %s %s, depth %d: %v (seed %d)", what, call.Op, call.Name, depth, err, h.seed)
		}
	}
}

// check opens a copy and judges it, also after another crash, of the opening or
// behind it.
func (h *crashHistory) check(copied *vfs.Crash, before known, depth int) error {
	h.mu.Lock()
	h.copies++
	h.mu.Unlock()
	if depth < 2 {
		copied.Set(h.hook(copied, 40, depth+1, func() known { return before }))
	}
	s, err := h.open(copied)
	if err != nil {
		return err
	}
	err = judge(s.Store, before, h.known)
	if err == nil {
		err = s.Scrub(context.Background())
	}
	if err == nil && depth < 2 {
		again, what := h.copy(copied)
		if err = h.check(again, before, 2); err != nil {
			err = fmt.Errorf("after the opening and a %s: %w", what, err)
		}
	}
	copied.Set(nil)
	return errors.Join(err, s.close())
}

// append appends records of one call, some grouped by shard, and waits.
func (h *crashHistory) append(s *Store) {
	n := 1 + h.intN(12)
	items := make([]Item, n)
	grouped := h.intN(3) > 0
	h.mu.Lock()
	first := len(h.keys)
	for i := range items {
		k := Key{Stream: uint64(1+h.rng.IntN(3)) + 10*uint64(len(h.deleted)), Shard: uint32(h.rng.IntN(3))}
		if grouped && i > 0 && h.rng.IntN(5) > 0 {
			k = h.keys[first+i-1]
		}
		h.keys = append(h.keys, k)
		items[i] = Item{Key: k, Arrived: h.start + int64(first+i), Body: crashBody(first + i)}
	}
	h.mu.Unlock()
	p := s.Append(items)
	if err := p.Wait(context.Background()); err != nil {
		h.t.Errorf("append: %v (seed %d)", err, h.seed)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range items {
		h.acked[first+i] = p.Position(i)
	}
}

// drop deletes the streams that there are, or only looks for what is left of
// others.
func (h *crashHistory) drop(s *Store) {
	h.mu.Lock()
	if h.rng.IntN(2) == 0 {
		for _, k := range h.keys {
			h.deleted[k.Stream] = true
			h.set(k.Stream, -1)
		}
	}
	h.mu.Unlock()
	if err := s.Drop(context.Background()); err != nil {
		h.t.Errorf("drop: %v (seed %d)", err, h.seed)
	}
}

func (h *crashHistory) run(lives int) {
	fsys := vfs.NewCrash()
	for range lives {
		fsys.Set(h.hook(fsys, 12, 0, h.known))
		s, err := h.open(fsys)
		if err != nil {
			h.t.Errorf("open: %v (seed %d)", err, h.seed)
			return
		}
		for range h.intN(40) {
			if h.intN(12) == 0 {
				h.drop(s.Store)
			} else {
				h.append(s.Store)
			}
		}
		st := s.Stats()
		h.seals, h.placed, h.dropped = h.seals+int(st.Seals), h.placed+int(st.InPlace), h.dropped+int(st.Dropped)
		old := fsys
		closed := error(nil)
		switch h.intN(3) {
		case 0:
			closed = s.close()
		default:
			fsys, _ = h.copy(fsys)
			old.Set(nil)
			s.close()
		}
		if closed != nil {
			h.t.Errorf("close: %v (seed %d)", closed, h.seed)
		}
	}
}

// TestCrash: whatever call a crash or a kill meets, in life and at opening, with
// tables sorted, sealed in place, or some of both, every acknowledged record is
// there, once, where it was acknowledged, and nothing passes for damage.
func TestCrash(t *testing.T) {
	for _, test := range []struct {
		name  string
		kinds []int64
	}{{"sorted", []int64{sorted}}, {"in place", []int64{inPlace}}, {"mixed", []int64{sorted, inPlace, 1 << 10}}} {
		t.Run(test.name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			var sum crashHistory
			rounds := uint64(0)
			for start := time.Now(); (time.Since(start) < crashBudget || rounds < crashRounds) && !t.Failed(); rounds++ {
				h := &crashHistory{
					t: t, seed: seed + rounds, rng: rand.New(rand.NewPCG(seed+rounds, 0)), kinds: test.kinds, start: time.Now().UnixMilli(),
					acked: map[int]journal.Position{}, deleted: map[uint64]bool{},
				}
				h.run(4)
				sum.copies, sum.seals, sum.placed, sum.dropped = sum.copies+h.copies, sum.seals+h.seals, sum.placed+h.placed, sum.dropped+h.dropped
			}
			t.Logf("%d histories from seed %d: %d copies opened, %d tables sealed, %d of them in place, %d files dropped",
				rounds, seed, sum.copies, sum.seals, sum.placed, sum.dropped)
			if sum.seals == 0 || sum.dropped == 0 || (sum.placed > 0) != (test.name != "sorted") {
				t.Error("the test misses what it is for")
			}
		})
	}
}

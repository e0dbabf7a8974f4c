package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
)

// keeper is a Keep that tests change.
type keeper struct {
	mu   sync.Mutex
	keep map[uint64]time.Duration // others: a year; negative: deleted
}

func (k *keeper) Keep(stream uint64) (time.Duration, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, ok := k.keep[stream]
	if !ok {
		return 365 * 24 * time.Hour, true
	}
	return d, d >= 0
}

func (k *keeper) set(stream uint64, d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keep == nil {
		k.keep = make(map[uint64]time.Duration)
	}
	k.keep[stream] = d
}

// rig is a store with its lane and Meta, on a directory that outlives it.
type rig struct {
	*Store
	keeper
	dir  string
	fs   vfs.FS
	mem  int64
	kind int64 // Options.leastStretch: sorted, inPlace or a size between; 0 for the usual
	log  *slog.Logger
	lane *wal.Lane
	meta *wal.Store
}

// Kinds of rigs.
const (
	sorted  = 1 << 40 // nothing is sealed in place
	inPlace = 1       // all is that can be
)

// eachKind runs a test with rigs that sort and such that seal in place.
func eachKind(t *testing.T, test func(t *testing.T, kind int64)) {
	t.Run("sorted", func(t *testing.T) { test(t, sorted) })
	t.Run("in place", func(t *testing.T) { test(t, inPlace) })
}

func newRig(t testing.TB, mem int64) *rig {
	r := &rig{dir: t.TempDir(), fs: vfs.OS{}, mem: mem}
	r.open(t)
	t.Cleanup(func() { r.close(t) })
	return r
}

func (r *rig) open(t testing.TB) {
	t.Helper()
	if err := r.tryOpen(); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) tryOpen() (err error) {
	o := wal.Options{ReserveBytes: -1, MaxFileBytes: 256 << 10, FS: r.fs}
	if r.mem > 1<<20 {
		o.MaxFileBytes = 0
	}
	if r.lane, err = wal.Open(filepath.Join(r.dir, "records"), o); err != nil {
		return err
	}
	if r.meta, err = wal.OpenMeta(filepath.Join(r.dir, "streams"), wal.Options{ReserveBytes: -1}); err != nil {
		return errors.Join(err, r.lane.Close())
	}
	r.Store, err = Open(context.Background(), Options{
		Lane: r.lane, Meta: r.meta, FS: r.fs, Dir: filepath.Join(r.dir, "segments"), MemBytes: r.mem, Keep: r.Keep, Logger: r.log,
		leastStretch: r.kind,
	})
	if err != nil {
		return errors.Join(err, r.lane.Close(), r.meta.Close())
	}
	return nil
}

func (r *rig) close(t testing.TB) {
	t.Helper()
	if r.Store == nil {
		return
	}
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
	r.lane.Close()
	if err := r.meta.Close(); err != nil {
		t.Error(err)
	}
	r.Store = nil
}

func (r *rig) reopen(t testing.TB) {
	t.Helper()
	r.close(t)
	r.open(t)
}

// put appends and waits.
func (r *rig) put(t testing.TB, items ...Item) []journal.Position {
	t.Helper()
	p := r.Append(items)
	if err := p.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	positions := make([]journal.Position, len(items))
	for i := range items {
		positions[i] = p.Position(i)
	}
	return positions
}

// sealAll waits until all full tables are sealed.
func (r *rig) sealAll(t testing.TB) {
	t.Helper()
	for range 10_000 {
		if st := r.Stats(); st.Waiting == 0 && st.MemBytes < r.mem {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("sealing does not end")
}

// readAll reads a shard from its beginning in steps.
func (r *rig) readAll(t testing.TB, k Key, max, maxBytes int) []Record {
	t.Helper()
	var all []Record
	var from journal.Position
	for {
		rs, next, err := r.Read(k, from, max, maxBytes, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(rs) == 0 {
			return all
		}
		all = append(all, rs...)
		from = next
	}
}

func bodyOf(seed uint64, size int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%016x", seed), size/16+1)[:size]
}

func sameRecords(t testing.TB, what string, got, want []Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d records, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if got[i].Position != want[i].Position || got[i].Arrived != want[i].Arrived || !bytes.Equal(got[i].Body, want[i].Body) {
			t.Errorf("%s: record %d is %v arrived %d, %d bytes; want %v, %d, %d bytes", what, i,
				got[i].Position, got[i].Arrived, len(got[i].Body), want[i].Position, want[i].Arrived, len(want[i].Body))
			return
		}
	}
}

// history is a random history against a model.
type history struct {
	*rig
	rng   *rand.Rand
	model map[Key][]Record
	now   int64
}

func (h *history) append(t *testing.T) {
	items := make([]Item, 1+h.rng.IntN(30))
	for i := range items {
		k := Key{Stream: uint64(1 + h.rng.IntN(4)), Shard: uint32(h.rng.IntN(3))}
		h.now += int64(h.rng.IntN(5)) - 1 // goes back now and then
		items[i] = Item{Key: k, Arrived: h.now, Body: bodyOf(h.rng.Uint64(), h.rng.IntN(1<<h.rng.IntN(14)))}
	}
	positions := h.put(t, items...)
	for i, it := range items {
		list := h.model[it.Key]
		if n := len(list); n > 0 {
			it.Arrived = max(it.Arrived, list[n-1].Arrived)
			if !list[n-1].Position.Less(positions[i]) {
				t.Errorf("position %v after %v", positions[i], list[n-1].Position)
			}
		}
		h.model[it.Key] = append(list, Record{Position: positions[i], Arrived: it.Arrived, Body: it.Body})
	}
}

func (h *history) check(t *testing.T) {
	for k, want := range h.model {
		sameRecords(t, fmt.Sprint(k), h.readAll(t, k, 1+h.rng.IntN(200), h.rng.IntN(100_000)), want)
		first, end, arrived := h.Bounds(k)
		last := want[len(want)-1]
		if first != want[0].Position || end != last.Position.Next() || arrived != last.Arrived {
			t.Errorf("%v: bounds %v %v %d, want %v %v %d", k, first, end, arrived, want[0].Position, last.Position.Next(), last.Arrived)
		}
		for range 5 {
			i := h.rng.IntN(len(want))
			rs, next, err := h.Read(k, want[i].Position, 3, 1<<30, nil)
			if err != nil {
				t.Fatal(err)
			}
			sameRecords(t, "from the middle", rs, want[i:min(i+3, len(want))])
			if next != rs[len(rs)-1].Position.Next() {
				t.Errorf("next is %v", next)
			}
			at := want[i].Arrived + int64(h.rng.IntN(5)) - 2
			expect := last.Position.Next()
			for _, r := range want {
				if r.Arrived >= at {
					expect = r.Position
					break
				}
			}
			if p, err := h.SeekTime(k, at); p != expect || err != nil {
				t.Errorf("%v: seek %d gave %v, %v, want %v", k, at, p, err, expect)
			}
		}
	}
}

// anyKind is a kind of rig by chance.
func anyKind(rng *rand.Rand) int64 { return []int64{sorted, inPlace, 2 << 10}[rng.IntN(3)] }

// TestHistory: whatever is sealed, reopened and read, the store holds what was
// appended, in order, once.
func TestHistory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	const rounds, steps = 6, 60
	seals, placed, reopens := uint64(0), uint64(0), 0
	count := func(h *history) {
		seals += h.Stats().Seals
		placed += h.Stats().InPlace
	}
	for round := range rounds {
		h := &history{rig: newRig(t, int64(20_000+rng.IntN(300_000))), rng: rng, model: map[Key][]Record{}, now: time.Now().UnixMilli()}
		h.kind = []int64{sorted, inPlace}[round%2]
		h.reopen(t)
		for range steps {
			switch rng.IntN(12) {
			case 0:
				count(h)
				reopens++
				if round > 1 {
					h.kind = anyKind(rng)
				}
				h.reopen(t)
			case 1:
				h.check(t)
			case 2:
				if err := h.Drop(t.Context()); err != nil {
					t.Error(err)
				}
			default:
				h.append(t)
			}
		}
		h.check(t)
		if err := h.Scrub(t.Context()); err != nil {
			t.Error(err)
		}
		count(h)
		h.close(t)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d histories of %d steps, seed %d: %d tables sealed, %d of them in place, %d reopenings", rounds, steps, seed, seals, placed, reopens)
	if seals == placed || placed == 0 || reopens == 0 {
		t.Error("nothing was sealed or reopened")
	}
}

// segmentFiles lists what lies in the folder of sealed files.
func (r *rig) segmentFiles(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(r.dir, "segments"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

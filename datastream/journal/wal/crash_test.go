package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// The tests here lose the power, or the process, at every call that a lane and
// a store make of their file system. crashBudget is how long each goes on.
const crashBudget = 1500 * time.Millisecond

// crashRounds is how many histories of a lane there are at least, however slow
// the machine: every other one has frames written directly.
const crashRounds = 4

// fate is what became of an entry.
type fate struct {
	at      journal.Position // where, once acknowledged
	settled bool
	err     error
}

// laneHistory is one lane through random appends, trims, closes, kills and
// crashes, and the crashes that might have been at each call.
type laneHistory struct {
	t    *testing.T
	seed uint64

	mu      sync.Mutex
	rng     *rand.Rand
	past    []fate           // of the entries of earlier lives, and of those known
	futures []journal.Future // of the entries behind them
	trimmed journal.Position // entries before it may be gone

	direct bool          // large frames are written directly, and to a page's end
	count  *atomic.Int64 // of them
	clones *atomic.Int64 // that were opened and checked
	reused *atomic.Int64 // files of spares in them
	fsys   *vfs.Crash
	faults *vfs.Faults
	lane   *Lane
}

func crashOptions(fsys vfs.FS) Options {
	return Options{FS: fsys, MaxFileBytes: 4 << 10, FrameBytes: 2 << 10, ReserveBytes: -1}
}

// options are crashOptions, or those of a lane of larger frames, some of which
// are written directly.
func (h *laneHistory) options(fsys vfs.FS) Options {
	if !h.direct {
		return crashOptions(fsys)
	}
	fsys = directFS{fsys, func(b []byte, offset int64) {
		h.count.Add(1)
		if !vfs.Aligned(b) || (int64(len(b))|offset)%vfs.DirectAlign != 0 {
			h.t.Errorf("%d bytes at %d are written directly from %p", len(b), offset, b)
		}
	}}
	return Options{FS: fsys, MaxFileBytes: 24 << 10, FrameBytes: 8 << 10, DirectBytes: 1 << 10, ReserveBytes: -1}
}

// crashPayload tells its number. Some are long, and some of these alike, as
// bytes of a file's former life may then be taken for those of the new one.
func crashPayload(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 7))
	b := fmt.Appendf(nil, "%d ", n)
	if rng.IntN(3) == 0 {
		b = append(b, make([]byte, rng.IntN(1500))...)
	}
	return b
}

func (h *laneHistory) intN(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.IntN(n)
}

func (h *laneHistory) newRNG() *rand.Rand {
	h.mu.Lock()
	defer h.mu.Unlock()
	return rand.New(rand.NewPCG(h.rng.Uint64(), h.rng.Uint64()))
}

// fates is what is known of every entry now.
func (h *laneHistory) fates() ([]fate, journal.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := append([]fate{}, h.past...)
	for _, f := range h.futures {
		var known fate
		if isDone(f) {
			known.settled = true
			known.at, known.err = f.Outcome()
		}
		all = append(all, known)
	}
	return all, h.trimmed
}

// readBack reads all of a lane and wants its entries to be those appended.
func readBack(l *Lane, after []fate) (map[int]journal.Position, error) {
	got := map[int]journal.Position{}
	last := -1
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(e.Key)
		if err != nil || n <= last || n >= len(after) {
			return nil, fmt.Errorf("entry %q at %v after entry %d", e.Key, e.Position, last)
		}
		if !bytes.Equal(e.Payload, crashPayload(n)) {
			return nil, fmt.Errorf("entry %d at %v is not what was appended", n, e.Position)
		}
		got[n], last = e.Position, n
	}
	return got, nil
}

// judge compares what a lane holds with what was known just before and just
// after it was copied: all that was acknowledged before and not trimmed after,
// nothing that was refused by then, and of the rest a beginning.
func judge(got map[int]journal.Position, k known) error {
	before, after, trimmed := k.before, k.after, k.trimmed
	lost := -1 // the first unsettled entry that is not there
	for n := range after {
		at, there := got[n]
		switch {
		case n < len(before) && before[n].settled && before[n].err == nil:
			if there && at != before[n].at {
				return fmt.Errorf("entry %d is at %v, was acknowledged at %v", n, at, before[n].at)
			}
			if !there && !before[n].at.Less(trimmed) {
				return fmt.Errorf("entry %d, acknowledged at %v, is lost", n, before[n].at)
			}
			if lost >= 0 {
				return fmt.Errorf("entry %d was acknowledged, and %d before it is lost", n, lost)
			}
		case after[n].err != nil:
			if there && n < len(before) && before[n].err != nil {
				return fmt.Errorf("entry %d is at %v, though it was refused: %v", n, at, before[n].err)
			}
		case !there && lost < 0:
			lost = n
		case there && lost >= 0:
			return fmt.Errorf("entry %d is at %v, but %d before it is lost", n, at, lost)
		}
	}
	return nil
}

// known is what was known of the entries just before and just after a copy.
type known struct {
	before, after []fate
	trimmed       journal.Position
}

// atCall checks, at a call, what a crash or a kill there would leave.
func (h *laneHistory) atCall(call vfs.Call) {
	if h.t.Failed() || h.intN(2) > 0 {
		return
	}
	var k known
	k.before, _ = h.fates()
	copied, what := h.copy(h.fsys)
	k.after, k.trimmed = h.fates()
	h.check(copied, what, call, k, 0)
}

// copy is the file system after a crash, or sometimes a kill.
func (h *laneHistory) copy(fsys *vfs.Crash) (*vfs.Crash, string) {
	if rng := h.newRNG(); rng.IntN(4) > 0 {
		return fsys.AfterCrash(rng), "crash"
	}
	return fsys.AfterKill(), "kill"
}

func (h *laneHistory) check(copied *vfs.Crash, what string, call vfs.Call, k known, depth int) {
	if err := h.reopen(copied, k, depth); err != nil {
		h.t.Errorf("%s at %s %s, depth %d: %v (seed %d)", what, call.Op, call.Name, depth, err, h.seed)
	}
}

// reopen opens the lane on a copy, judges it, and wants what it can read to be
// durable from then on: a crash now must not take it. The opening itself may
// meet another crash, and the one after that.
func (h *laneHistory) reopen(copied *vfs.Crash, k known, depth int) error {
	h.clones.Add(1)
	if depth < 2 {
		copied.Set(func(c vfs.Call) {
			if !h.t.Failed() && h.intN(10*(depth+1)) == 0 {
				again, what := h.copy(copied)
				h.check(again, what, c, k, depth+1)
			}
		})
	}
	l, err := Open("/lane", h.options(copied))
	if err != nil {
		return err
	}
	copied.Set(nil)
	h.reused.Add(reusedFiles(l))
	got, err := readBack(l, k.after)
	if err == nil {
		err = judge(got, k)
	}
	if err == nil && depth < 2 {
		if err := h.reopen(copied.AfterCrash(h.newRNG()), certain(got, len(k.after)), 2); err != nil {
			return errors.Join(fmt.Errorf("after the opening and another crash: %w", err), l.Close())
		}
	}
	return errors.Join(err, l.Close())
}

func reusedFiles(l *Lane) (n int64) {
	for _, f := range l.files {
		if f.reused {
			n++
		}
	}
	return n
}

// certain is what is known of n entries once they were read.
func certain(got map[int]journal.Position, n int) known {
	all := make([]fate, n)
	for i := range all {
		all[i] = fate{settled: true, err: errors.New("was not there")}
		if at, ok := got[i]; ok {
			all[i] = fate{settled: true, at: at}
		}
	}
	return known{before: all, after: all}
}

// live opens the lane and settles what the life before left open.
func (h *laneHistory) live(fsys *vfs.Crash) error {
	h.fsys, h.faults = fsys, vfs.NewFaults(fsys)
	fsys.Set(h.atCall)
	l, err := Open("/lane", h.options(h.faults))
	if err != nil {
		return err
	}
	h.lane = l
	all, trimmed := h.fates()
	got, err := readBack(l, all)
	if err == nil {
		err = judge(got, known{all, all, trimmed})
	}
	for n := range all {
		if at, ok := got[n]; ok {
			all[n] = fate{at: at, settled: true}
		} else if !all[n].settled {
			all[n] = fate{settled: true, err: errors.New("did not outlive its process")}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past, h.futures = all, nil
	return err
}

// step does something to the lane.
func (h *laneHistory) step() {
	switch h.intN(10) {
	case 0:
		all, _ := h.fates()
		if len(all) == 0 {
			return
		}
		known := all[h.intN(len(all))]
		if !known.settled || known.err != nil {
			return
		}
		h.mu.Lock()
		if h.trimmed.Less(known.at) {
			h.trimmed = known.at
		}
		h.mu.Unlock()
		if err := h.lane.Trim(known.at); err != nil {
			h.t.Errorf("trim: %v (seed %d)", err, h.seed)
		}
	case 1:
		rng := h.newRNG()
		var left atomic.Int32
		left.Store(1 + rng.Int32N(3))
		part := rng.Float64()
		h.faults.Set(func(c vfs.Call) vfs.Fault {
			if c.Op == vfs.OpWrite && left.Add(-1) >= 0 {
				return vfs.Fault{Err: syscall.ENOSPC, Wrote: int(part * float64(c.N))}
			}
			return vfs.Fault{}
		})
		h.append(2)
		h.faults.Set(nil)
	default:
		h.append(1 + h.intN(4))
	}
}

// append appends a few entries and, mostly, waits.
func (h *laneHistory) append(n int) {
	var last journal.Future
	for range n {
		h.mu.Lock()
		number := len(h.past) + len(h.futures)
		h.futures = append(h.futures, journal.Future{}) // counts from before it can be found
		h.mu.Unlock()
		last = h.appendOne(number)
		h.mu.Lock()
		h.futures[len(h.futures)-1] = last
		h.mu.Unlock()
	}
	if h.intN(5) > 0 {
		last.Wait(context.Background())
	}
}

func (h *laneHistory) appendOne(number int) journal.Future {
	key, payload := strconv.Itoa(number), crashPayload(number)
	if !h.direct || h.intN(5) == 0 {
		return h.lane.Append(1, key, payload)
	}
	half := len(payload) / 2
	one := []journal.Shared{{Key: key, Head: payload[:half], Body: payload[half:]}}
	h.lane.AppendShared(1, one)
	return one[0].Future
}

// end ends a life in one of three ways and returns what the next one finds.
func (h *laneHistory) end() (*vfs.Crash, error) {
	next, old := h.fsys, h.lane
	how := h.intN(3)
	var closed error
	if how == 0 {
		closed = old.Close()
	}
	before, _ := h.fates()
	switch how {
	case 1:
		next = h.fsys.AfterKill()
	case 2:
		next = h.fsys.AfterCrash(h.newRNG())
	}
	after, _ := h.fates()
	h.fsys.Set(nil)
	// What this life, which has left the stage, goes on to acknowledge was not
	// heard by anyone.
	for n := range before {
		if !before[n].settled && after[n].err != nil {
			before[n] = after[n]
		}
	}
	old.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past, h.futures = before, nil
	return next, closed
}

// TestCrashLane: whatever call of a lane a crash or a kill meets, in life and
// at opening, every acknowledged entry is there at its place, what is not
// acknowledged is a beginning, and nothing passes for damage.
func TestCrashLane(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	clones, reused, direct := &atomic.Int64{}, &atomic.Int64{}, &atomic.Int64{}
	lives, entries := 0, 0
	start := time.Now()
	round := uint64(0)
	for ; (time.Since(start) < crashBudget || round < crashRounds) && !t.Failed(); round++ {
		h := &laneHistory{t: t, seed: seed + round, rng: rand.New(rand.NewPCG(seed+round, 0)), clones: clones, reused: reused, direct: round%2 == 1, count: direct}
		lives += h.run()
		entries += len(h.past)
	}
	if reused.Load() == 0 || direct.Load() == 0 {
		t.Error("no file was made of a spare, or no frame written directly: the test misses them")
	}
	t.Logf("%d histories from seed %d: %d lives, %d entries, %d copies opened with %d reused files, %d direct writes",
		round, seed, lives, entries, clones.Load(), reused.Load(), direct.Load())
}

func (h *laneHistory) run() (lives int) {
	fsys := vfs.NewCrash()
	for lives = range 6 {
		if err := h.live(fsys); err != nil {
			h.t.Errorf("life %d: %v (seed %d)", lives, err, h.seed)
			return lives
		}
		for range h.intN(40) {
			h.step()
		}
		next, err := h.end()
		if err != nil {
			h.t.Errorf("life %d: close: %v (seed %d)", lives, err, h.seed)
		}
		fsys = next
	}
	return lives + 1
}

package wal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// keptImage is a lane whose second file was kept and trimmed off, one made of a
// spare if asked for, and the name and the first frame of that file.
func keptImage(t *testing.T, reused bool) (im image, name string, piece uint64) {
	t.Helper()
	dir := t.TempDir()
	var l *Lane
	n := 0
	if reused {
		l, n = reusedLane(t, dir, reuseOptions())
	} else {
		l = mustOpen(t, dir, reuseOptions())
	}
	for ; len(l.files) < 4; n++ {
		appendOK(t, l, n)
	}
	f := l.files[1]
	if f.reused != reused {
		t.Fatalf("%s is reused: %v", f.name, f.reused)
	}
	if err := errors.Join(l.Keep(f.first), l.Trim(l.Stats().End), l.Close()); err != nil {
		t.Fatal(err)
	}
	return takeImage(t, dir), filepath.Base(keptName(dir, f.first)), f.first
}

// entriesOf are the positions of a piece's entries, and in how many places it is
// damaged.
func entriesOf(t *testing.T, l *Lane, piece uint64) (at []journal.Position, damaged int) {
	t.Helper()
	p, err := l.OpenPiece(piece)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for e, err := range p.Entries() {
		var damage *journal.CorruptError
		switch {
		case err == nil:
			at = append(at, e.Position)
		case errors.As(err, &damage) && damage.File == p.Name():
			damaged++
		default:
			t.Fatal(err)
		}
	}
	return at, damaged
}

// TestDamagedPiece: whatever is damaged in a kept file, the lane opens, and the
// entries of all other frames are found: of those before, if the damage is where a
// frame says how long it is.
func TestDamagedPiece(t *testing.T) {
	for _, reused := range []bool{false, true} {
		t.Run(fmt.Sprintf("reused %v", reused), func(t *testing.T) {
			im, name, piece := keptImage(t, reused)
			if reused { // what may be left of a former life
				im[name] = append(im[name], "something else"...)
			}
			dir := t.TempDir()
			im.restore(t, dir)
			l := mustOpen(t, dir, reuseOptions())
			defer l.Close()
			whole, damaged := entriesOf(t, l, piece)
			if len(whole) < 3 || (damaged > 0) != reused {
				t.Fatalf("%d entries, damaged in %d places", len(whole), damaged)
			}
			frames := framesIn(t, im[name])
			check := func(what string, data []byte, lost func(f frameAt) bool) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o640); err != nil {
					t.Fatal(err)
				}
				got, damaged := entriesOf(t, l, piece)
				want := slices.DeleteFunc(slices.Clone(whole), func(p journal.Position) bool {
					return lost(frames[slices.IndexFunc(frames, func(f frameAt) bool { return f.number == p.Frame })])
				})
				if !slices.Equal(got, want) {
					t.Fatalf("%s: found %v, want %v", what, got, want)
				}
				if len(want) < len(whole) && damaged == 0 && len(data) == len(im[name]) {
					t.Fatalf("%s: not told", what)
				}
			}
			last := frames[len(frames)-1]
			for at := range last.off + int(last.size()) {
				bad := bytes.Clone(im[name])
				bad[at] ^= 1 << (at % 8)
				check(fmt.Sprint("byte ", at), bad, func(f frameAt) bool {
					behind := slices.ContainsFunc(frames, func(o frameAt) bool { return o.off < f.off && at >= o.off+8 && at < o.off+12 })
					return behind || at >= f.off && at < f.off+int(f.size())
				})
			}
			for _, cut := range []int{0, 30, fileHeaderSize, frames[2].off, frames[2].off + 10} {
				check(fmt.Sprint("cut at ", cut), im[name][:cut], func(f frameAt) bool { return f.off+int(f.size()) > cut })
			}
			other := bytes.Clone(im[name])
			copy(other, (&fileHeader{salt: frames[0].salt, first: piece + 1}).encode())
			check("another file's header", other, func(frameAt) bool { return true })
		})
	}
}

// framesIn finds the frames of a file, without what lies behind them.
func framesIn(t *testing.T, b []byte) []frameAt {
	t.Helper()
	if fh, err := parseFileHeader(b); err == nil && fh.reused {
		return livingFrames(t, b)
	}
	return framesOf(t, b)
}

// TestKeptCanNotMove: a file that can not be kept stays in the lane, is read as
// ever, and is kept by the next trim; one that can not be let go is still there.
func TestKeptCanNotMove(t *testing.T) {
	fsys := vfs.NewFaults(vfs.OS{})
	opts := reuseOptions()
	opts.FS, opts.SpareFiles = fsys, -1
	l := mustOpen(t, t.TempDir(), opts)
	defer l.Close()
	n := 0
	for ; l.Stats().Files < 4; n++ {
		appendOK(t, l, n)
	}
	piece := l.files[0].first
	if err := l.Keep(piece); err != nil {
		t.Fatal(err)
	}
	failing := errors.New("not now")
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpRename || c.Op == vfs.OpRemove {
			return vfs.Fault{Err: failing}
		}
		return vfs.Fault{}
	})
	if err := l.Trim(l.Stats().End); !errors.Is(err, failing) || l.Stats().Err != nil {
		t.Errorf("trim: %v, the lane %v", err, l.Stats().Err)
	}
	if first, end := numbers(t, l); first != 0 || end != n {
		t.Errorf("entries %d to %d, want 0 to %d", first, end, n)
	}
	fsys.Set(nil)
	if err := l.Trim(l.Stats().End); err != nil || l.Stats().Kept == 0 || l.Stats().Files != 1 {
		t.Errorf("trim: %v, %+v", err, l.Stats())
	}
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpRemove {
			return vfs.Fault{Err: failing}
		}
		return vfs.Fault{}
	})
	if err := l.Release(piece); !errors.Is(err, failing) || l.Stats().Kept == 0 {
		t.Errorf("release: %v, %d bytes kept", err, l.Stats().Kept)
	}
	if at, _ := entriesOf(t, l, piece); len(at) == 0 {
		t.Error("nothing is in the kept file")
	}
	fsys.Set(nil)
	if err := l.Release(piece); err != nil || l.Stats().Kept != 0 {
		t.Errorf("release: %v, %d bytes kept", err, l.Stats().Kept)
	}
}

// TestReleasedIsSpare: what is released is written over if a spare is wanted, and
// nobody waits for its room.
func TestReleasedIsSpare(t *testing.T) {
	fsys := &roomyFS{FS: vfs.OS{}}
	fsys.free.Store(1 << 40)
	opts := reuseOptions()
	opts.FS, opts.SpareFiles, opts.ReserveBytes = fsys, 1, 1<<20
	dir := t.TempDir()
	l := mustOpen(t, dir, opts)
	defer l.Close()
	for n := 0; l.Stats().Files < 5; n++ {
		appendOK(t, l, n)
	}
	pieces := l.Pieces()[:4]
	for _, p := range pieces {
		if err := l.Keep(p.First); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Trim(l.Stats().End); err != nil {
		t.Fatal(err)
	}
	for i, spares := range []int{1, 1, 1} {
		if err := l.Release(pieces[i].First); err != nil {
			t.Fatal(err)
		}
		if got := namesIn(t, dir, spareSuffix); len(got) != spares {
			t.Errorf("%d released, and %v are spare", i+1, got)
		}
	}
	if !l.giveBack() {
		t.Fatal("no spare")
	}
	fsys.free.Store(100)
	if err := l.Release(pieces[3].First); err != nil {
		t.Fatal(err)
	}
	if got := slices.Concat(namesIn(t, dir, spareSuffix), namesIn(t, dir, keptSuffix)); len(got) != 0 {
		t.Errorf("%v hold room that others wait for", got)
	}
}

// TestKeptWithoutLane: kept files alone are what is left of a lane.
func TestKeptWithoutLane(t *testing.T) {
	im, name, _ := keptImage(t, false)
	if err := wantCorrupt(t, t.TempDir(), image{name: im[name]}, reuseOptions()); !strings.Contains(err.Reason, "missing") {
		t.Error(err)
	}
}

// keepHistory is a lane through random appends, promises to keep, trims, releases,
// kills and crashes.
type keepHistory struct {
	t    *testing.T
	seed uint64
	fsys *vfs.Crash
	lane *Lane
	next int

	mu      sync.Mutex
	rng     *rand.Rand
	pieces  map[uint64]int // entries of those that are to be there
	checked int
}

// kept is what is to be there now.
func (h *keepHistory) kept() map[uint64]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.pieces)
}

func (h *keepHistory) intN(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.IntN(n)
}

func (h *keepHistory) crashed(fsys *vfs.Crash) *vfs.Crash {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rng.IntN(4) == 0 {
		return fsys.AfterKill()
	}
	return fsys.AfterCrash(h.rng)
}

// check opens a copy and wants all that was kept before and after it was made
// to be there as it was, also after a crash of the opening.
func (h *keepHistory) check(copied *vfs.Crash, before map[uint64]int, depth int) {
	after := h.kept()
	l, err := Open("/lane", crashOptions(copied))
	if err != nil {
		h.t.Errorf("open: %v (seed %d)", err, h.seed)
		return
	}
	for piece, n := range before {
		if _, still := after[piece]; !still {
			continue
		}
		if at, _ := entriesOf(h.t, l, piece); len(at) < n {
			h.t.Errorf("piece %d has %d entries, had %d (seed %d)", piece, len(at), n, h.seed)
		}
		h.mu.Lock()
		h.checked++
		h.mu.Unlock()
	}
	if depth > 0 {
		h.check(h.crashed(copied), before, depth-1)
	}
	l.Close()
}

func (h *keepHistory) must(err error) {
	if err != nil {
		h.t.Errorf("%v (seed %d)", err, h.seed)
	}
}

func (h *keepHistory) step() {
	switch h.intN(8) {
	case 0:
		list := h.lane.Pieces()
		p := list[h.intN(len(list))]
		h.must(h.lane.Keep(p.First))
		at, _ := entriesOf(h.t, h.lane, p.First)
		h.mu.Lock()
		h.pieces[p.First] = len(at)
		h.mu.Unlock()
	case 1:
		for _, p := range h.lane.Pieces() {
			if h.intN(3) > 0 {
				continue
			}
			h.mu.Lock()
			delete(h.pieces, p.First)
			h.mu.Unlock()
			h.must(h.lane.Release(p.First))
			break
		}
	case 2:
		h.must(h.lane.Trim(journal.Position{Frame: 1 + uint64(h.intN(int(h.lane.Stats().End.Frame)+1))}))
	default:
		f := h.lane.Append(1, "key", crashPayload(h.next))
		h.next++
		if _, err := f.Wait(h.t.Context()); err != nil {
			h.must(err)
		}
	}
}

func (h *keepHistory) run(lives int) {
	h.fsys, h.pieces = vfs.NewCrash(), map[uint64]int{}
	for range lives {
		var err error
		if h.lane, err = Open("/lane", crashOptions(h.fsys)); err != nil {
			h.t.Fatalf("%v (seed %d)", err, h.seed)
		}
		for piece := range h.kept() {
			h.must(h.lane.Keep(piece))
		}
		fsys := h.fsys
		fsys.Set(func(vfs.Call) {
			if !h.t.Failed() && h.intN(4) == 0 {
				before := h.kept()
				h.check(h.crashed(fsys), before, 1)
			}
		})
		for range h.intN(80) {
			h.step()
		}
		fsys.Set(nil)
		switch h.intN(3) {
		case 0:
			h.must(h.lane.Close())
		default:
			h.fsys = h.crashed(fsys)
			h.lane.Close()
		}
	}
}

// TestCrashKeep: whatever call a crash or a kill meets, what was kept is there,
// in the lane or out of it, and as it was.
func TestCrashKeep(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rounds, checked, entries := uint64(0), 0, 0
	for start := time.Now(); (time.Since(start) < crashBudget/2 || rounds < crashRounds) && !t.Failed(); rounds++ {
		h := &keepHistory{t: t, seed: seed + rounds, rng: rand.New(rand.NewPCG(seed+rounds, 0))}
		h.run(4)
		checked += h.checked
		entries += h.next
	}
	t.Logf("%d histories from seed %d: %d entries, %d times a kept piece was looked for", rounds, seed, entries, checked)
	if checked < 100 {
		t.Error("the test misses what is kept")
	}
}

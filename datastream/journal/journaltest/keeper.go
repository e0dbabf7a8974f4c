package journaltest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
)

// RunKeeper runs the suite of a Journal that is a Keeper.
func RunKeeper(t *testing.T, impl Journal) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Journal)
	}{
		{"what is located is what was appended", testLocate},
		{"what is kept outlives trims and openings", testKeep},
		{"what is not kept goes", testNotKept},
		{"what is released is gone for good", testRelease},
		{"a piece tells its entries", testPieceEntries},
		{"a closed journal keeps nothing", testKeeperClosed},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, impl) })
	}
}

// keeper is a lane with what was appended to it.
type keeper struct {
	journal.Journal
	journal.Keeper
	impl Journal
	dir  string
	all  []journal.Entry
}

func newKeeper(t *testing.T, impl Journal) *keeper {
	k := &keeper{impl: impl, dir: t.TempDir()}
	k.open(t)
	return k
}

func (k *keeper) open(t *testing.T) {
	t.Helper()
	k.Journal = k.impl.Open(t, k.dir)
	var ok bool
	if k.Keeper, ok = k.Journal.(journal.Keeper); !ok {
		t.Fatalf("%T is no Keeper", k.Journal)
	}
}

func (k *keeper) reopen(t *testing.T) {
	t.Helper()
	closeJournal(t, k.Journal)
	k.open(t)
}

// fill appends until there are so many pieces, with small entries and large,
// alone in their frame and together.
func (k *keeper) fill(t *testing.T, pieces int) {
	t.Helper()
	for have := len(k.Pieces()); len(k.Pieces()) < have+pieces; {
		n := len(k.all)
		more := make([]journal.Entry, 1+n%5)
		futures := make([]journal.Future, len(more))
		for i := range more {
			more[i] = journal.Entry{Kind: journal.Kind(n % 3), Key: fmt.Sprint("key", n%7), Payload: payload(n, i, 1+n%11*400)}
			futures[i] = k.Append(more[i].Kind, more[i].Key, more[i].Payload)
		}
		for i := range more {
			more[i].Position = wait(t, futures[i])
		}
		k.all = append(k.all, more...)
	}
}

// places finds where entries lie.
func (k *keeper) places(t *testing.T) map[journal.Position]journal.Place {
	t.Helper()
	places := map[journal.Position]journal.Place{}
	var at journal.Place
	for _, e := range k.all {
		if e.Index == 0 {
			var ok bool
			if at, ok = k.Locate(e.Frame); !ok {
				t.Fatalf("frame %d is not found", e.Frame)
			}
		}
		places[e.Position] = at
		at.Offset += int64(journal.EntrySize(len(e.Key), len(e.Payload)))
	}
	return places
}

// reads wants the entries of a piece to be where they lay.
func (k *keeper) reads(t *testing.T, piece uint64, places map[journal.Position]journal.Place) (n int) {
	t.Helper()
	p, err := k.OpenPiece(piece)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, e := range k.all {
		at, ok := places[e.Position]
		if !ok || at.Piece != piece {
			continue
		}
		b := make([]byte, journal.EntrySize(len(e.Key), len(e.Payload)))
		if _, err := p.ReadAt(b, at.Offset); err != nil {
			t.Fatalf("entry %v at %v: %v", e.Position, at, err)
		}
		got, rest, err := journal.CutEntry(b)
		if err != nil || len(rest) != 0 || got.Kind != e.Kind || string(got.Key) != e.Key || string(got.Payload) != string(e.Payload) {
			t.Fatalf("entry %v at %v: %v, %d bytes left, %v", e.Position, at, got.Kind, len(rest), err)
		}
		n++
	}
	return n
}

func (k *keeper) pieces() (all, kept []uint64) {
	for _, p := range k.Pieces() {
		all = append(all, p.First)
		if p.Kept {
			kept = append(kept, p.First)
		}
	}
	return all, kept
}

func testLocate(t *testing.T, impl Journal) {
	k := newKeeper(t, impl)
	k.fill(t, 3)
	for range 2 {
		places, n := k.places(t), 0
		all, kept := k.pieces()
		if len(kept) != 0 || !slices.IsSorted(all) {
			t.Errorf("pieces %v, kept %v", all, kept)
		}
		for _, piece := range all {
			n += k.reads(t, piece, places)
		}
		if n != len(k.all) {
			t.Errorf("%d entries of %d lie in pieces", n, len(k.all))
		}
		for _, frame := range []uint64{0, k.Stats().End.Frame + 5, 1 << 60} {
			if at, ok := k.Locate(frame); ok {
				t.Errorf("frame %d lies at %v", frame, at)
			}
		}
		k.reopen(t)
	}
	closeJournal(t, k.Journal)
}

func testKeep(t *testing.T, impl Journal) {
	k := newKeeper(t, impl)
	k.fill(t, 5)
	places := k.places(t)
	all, _ := k.pieces()
	want := []uint64{all[0], all[2], all[3]}
	for _, piece := range append(want, want[1]) {
		if err := k.Keep(piece); err != nil {
			t.Fatal(err)
		}
	}
	open, err := k.OpenPiece(all[2]) // stays open through all that comes
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := k.Trim(k.Stats().End); err != nil {
		t.Fatal(err)
	}
	first := k.Stats().First
	for range 2 {
		if now, kept := k.pieces(); !slices.Equal(kept, want) || now[len(kept)] != first.Frame {
			t.Errorf("kept %v of %v, want %v", kept, now, want)
		}
		if st := k.Stats(); st.First != first || st.Kept < 3*48<<10 || st.Kept > 4*64<<10 {
			t.Errorf("the lane begins with %v, and %d bytes are kept", st.First, st.Kept)
		}
		for _, piece := range want {
			if k.reads(t, piece, places) == 0 {
				t.Errorf("nothing lay in piece %d", piece)
			}
			if err := k.Keep(piece); err != nil {
				t.Error(err)
			}
		}
		if got := collect(t, k.Journal, journal.Position{}); len(got) > 0 && got[0].Frame < first.Frame {
			t.Errorf("kept entries are read: %v", got[0].Position)
		}
		if at, ok := k.Locate(k.all[0].Frame); ok {
			t.Errorf("a frame that has left the lane lies at %v", at)
		}
		k.reopen(t)
	}
	if _, err := open.ReadAt(make([]byte, 100), 100); err != nil {
		t.Error(err)
	}
	k.fill(t, 2) // with new files where others were
	for _, piece := range want {
		k.reads(t, piece, places)
	}
	closeJournal(t, k.Journal)
}

func testNotKept(t *testing.T, impl Journal) {
	k := newKeeper(t, impl)
	k.fill(t, 4)
	all, _ := k.pieces()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, piece := range all[:4] {
		must(k.Keep(piece))
	}
	must(k.Release(all[1]))
	must(k.Release(all[1]))
	must(k.Keep(all[1]))
	must(k.Release(all[2]))
	must(k.Trim(journal.Position{Frame: all[3]}))
	if _, kept := k.pieces(); !slices.Equal(kept, all[:2]) {
		t.Errorf("kept %v, want %v", kept, all[:2])
	}
	k.reopen(t) // forgets that the next was to be kept
	must(k.Trim(k.Stats().End))
	if _, kept := k.pieces(); !slices.Equal(kept, all[:2]) {
		t.Errorf("kept %v, want %v", kept, all[:2])
	}
	for _, piece := range []uint64{all[2], all[3], 0, all[0] + 1, 1 << 60} {
		_, err := k.OpenPiece(piece)
		if !errors.Is(err, fs.ErrNotExist) || !errors.Is(k.Keep(piece), fs.ErrNotExist) || !errors.Is(k.Release(piece), fs.ErrNotExist) {
			t.Errorf("piece %d: %v", piece, err)
		}
	}
	closeJournal(t, k.Journal)
}

func testRelease(t *testing.T, impl Journal) {
	k := newKeeper(t, impl)
	k.fill(t, 8)
	places := k.places(t)
	all, _ := k.pieces()
	for _, piece := range all {
		if err := k.Keep(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Trim(k.Stats().End); err != nil {
		t.Fatal(err)
	}
	_, left := k.pieces()
	for n := 0; len(left) > 0; n++ {
		gone := left[n*7%len(left)]
		left = slices.DeleteFunc(left, func(piece uint64) bool { return piece == gone })
		if err := k.Release(gone); err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			k.reopen(t)
		}
		if _, err := k.OpenPiece(gone); !errors.Is(err, fs.ErrNotExist) || !errors.Is(k.Release(gone), fs.ErrNotExist) {
			t.Errorf("piece %d was released: %v", gone, err)
		}
		if _, kept := k.pieces(); !slices.Equal(kept, left) {
			t.Errorf("kept %v, want %v", kept, left)
		}
		k.fill(t, 1) // where the released one was
		for _, piece := range left {
			k.reads(t, piece, places)
		}
	}
	if st := k.Stats(); st.Kept != 0 {
		t.Errorf("%d bytes are kept", st.Kept)
	}
	closeJournal(t, k.Journal)
}

func testPieceEntries(t *testing.T, impl Journal) {
	k := newKeeper(t, impl)
	k.fill(t, 3)
	k.reopen(t)
	k.fill(t, 1)
	places := k.places(t)
	all, _ := k.pieces()
	for _, piece := range all {
		if err := k.Keep(piece); err != nil {
			t.Fatal(err)
		}
	}
	for _, trimmed := range []bool{false, true} {
		rest := k.all
		for _, piece := range all {
			p, err := k.OpenPiece(piece)
			if err != nil {
				t.Fatal(err)
			}
			for e, err := range p.Entries() {
				if err != nil {
					t.Fatalf("piece %d, trimmed %v: %v", piece, trimmed, err)
				}
				want := rest[0]
				if e.Position != want.Position || e.Kind != want.Kind || e.Key != want.Key || string(e.Payload) != string(want.Payload) {
					t.Fatalf("entry %v of piece %d, want %v", e.Position, piece, want.Position)
				}
				if at := (journal.Place{Piece: piece, Offset: e.Offset}); at != places[e.Position] || e.Size != journal.EntrySize(len(e.Key), len(e.Payload)) {
					t.Fatalf("entry %v lies at %v with %d bytes, and was located at %v", e.Position, at, e.Size, places[e.Position])
				}
				rest = rest[1:]
			}
			if p.Name() == "" {
				t.Error("a piece without a name")
			}
			p.Close()
		}
		if len(rest) > 0 {
			t.Errorf("%d entries lie in no piece", len(rest))
		}
		if err := k.Trim(k.Stats().End); err != nil {
			t.Fatal(err)
		}
	}
	closeJournal(t, k.Journal)
}

func testKeeperClosed(t *testing.T, impl Journal) {
	k := newKeeper(t, impl)
	k.fill(t, 1)
	all, _ := k.pieces()
	closeJournal(t, k.Journal)
	if _, err := k.OpenPiece(all[0]); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("open: %v", err)
	}
	if err := k.Keep(all[0]); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("keep: %v", err)
	}
	if err := k.Release(all[0]); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("release: %v", err)
	}
}

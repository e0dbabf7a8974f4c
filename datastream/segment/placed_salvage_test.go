package segment

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// lies is where a record lies.
type lies struct {
	file     int // of the sealed files, from 0; -1 for one in memory or in the lane
	shard    uint32
	piece    uint64
	block    block
	from, to uint64 // of its frame in the piece
}

// placedImage is a store of four files in place, which share pieces.
type placedImage struct {
	dir   string
	all   map[Key][]Record
	lies  map[journal.Position]lies
	files []*file
}

const placedMem = 150_000

func newPlacedImage(t *testing.T) *placedImage {
	t.Helper()
	r := newRig(t, placedMem)
	im := &placedImage{dir: r.dir, all: r.grouped(t, 3, 20, 4), lies: map[journal.Position]lies{}, files: r.catalog.files()}
	kept := r.keptPieces()
	frames := map[uint64][2]uint64{}
	for _, piece := range kept {
		p, err := r.lane.OpenPiece(piece)
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range p.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			if e.Index == 0 {
				frames[e.Frame] = [2]uint64{uint64(e.Offset) - 64}
			}
			frames[e.Frame] = [2]uint64{frames[e.Frame][0], uint64(e.Offset) + uint64(e.Size)}
		}
		p.Close()
	}
	for i, f := range im.files {
		raw, err := f.open(r.fs)
		if err != nil {
			t.Fatal(err)
		}
		places, err := f.again(f.size).load(raw)
		if err != nil {
			t.Fatal(err)
		}
		for j := range places {
			x := f.extent(&places[j])
			index, err := f.index(raw, &x)
			if err != nil {
				t.Fatal(err)
			}
			for n := range index.count() {
				e := index.at(n)
				piece := f.uses[e.offset>>pieceShift-1]
				if !slices.Contains(kept, piece) {
					continue
				}
				for at := e.first; at <= e.last; at++ {
					p := unpack(at)
					im.lies[p] = lies{i, places[j].key.Shard, piece, e, frames[p.Frame][0], frames[p.Frame][1]}
				}
			}
		}
		raw.Close()
	}
	r.close(t)
	if len(kept) < 2 || len(im.files) != 4 {
		t.Fatalf("%d files, kept %v", len(im.files), kept)
	}
	return im
}

// of is where a record lies; those in memory or in the lane in no file.
func (im *placedImage) of(p journal.Position) lies {
	l, ok := im.lies[p]
	if !ok {
		l.file = -1
	}
	return l
}

// TestDamagedInPlace damages an index, pieces, and both. The store opens; what is
// whole is served, and what is not is told.
func TestDamagedInPlace(t *testing.T) {
	im := newPlacedImage(t)
	const which = 1 // of the files
	f := im.files[which]
	segment := filepath.Join("segments", filepath.Base(f.name))
	index, err := os.ReadFile(filepath.Join(im.dir, segment))
	if err != nil {
		t.Fatal(err)
	}
	var hit lies // a record of that file in its first piece, whose frame has others
	for _, records := range im.all {
		for _, rec := range records {
			if l := im.of(rec.Position); l.file == which && rec.Position.Index == 25 {
				hit = l
			}
		}
	}
	if hit.piece == 0 {
		t.Fatal("nothing to hit")
	}
	piece := filepath.Join("records", fmt.Sprintf("%020d.wal.kept", hit.piece))
	data, err := os.ReadFile(filepath.Join(im.dir, piece))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, at ...uint64) []byte {
		b = bytes.Clone(b)
		for _, i := range at {
			b[i] ^= 0x10
		}
		return b
	}
	size := uint64(len(index))
	foot := size - footerSize
	at := hit.block.offset&(1<<pieceShift-1) + 100 // in the block
	none := func(lies) bool { return false }
	inBlock := func(l lies) bool { return l.piece == hit.piece && l.block.offset == hit.block.offset }
	inFrame := func(l lies) bool { return l.piece == hit.piece && l.from == hit.from }
	inPiece := func(l lies) bool { return l.piece == hit.piece }
	type files map[string][]byte // nil: missing
	badIndex := flip(index, f.footer.index+50)
	for _, test := range []struct {
		name  string
		files files
		lost  func(lies) bool
		found int // files that are found damaged at opening
	}{
		{"whole", files{}, none, 0},
		{"header", files{segment: flip(index, 9)}, none, 1},
		{"pieces", files{segment: flip(index, headerSize+3)}, none, 1},
		{"index", files{segment: badIndex}, none, 0},
		{"directory", files{segment: flip(index, f.footer.directory+60)}, none, 1},
		{"footer", files{segment: flip(index, foot+30)}, none, 1},
		{"one byte short", files{segment: index[:size-1]}, none, 1},
		{"empty", files{segment: {}}, none, 1},
		{"another file", files{segment: someFile(t, 100)}, none, 1},
		{"missing", files{segment: nil}, none, 1},
		{"block", files{piece: flip(data, at)}, inBlock, 0},
		{"header of a frame", files{piece: flip(data, hit.from+20)}, none, 0},
		{"header of a piece", files{piece: flip(data, 10)}, none, 0},
		{"piece of zeros", files{piece: make([]byte, len(data))}, inPiece, 0},
		{"piece missing", files{piece: nil}, inPiece, 2},
		{"piece empty", files{piece: {}}, inPiece, 2},
		{"piece cut", files{piece: data[:hit.from+100]}, func(l lies) bool { return l.piece == hit.piece && l.from >= hit.from }, 2},
		{"index of another shard, and block", files{segment: badIndex, piece: flip(data, at)}, func(l lies) bool { return inBlock(l) || l.file == which && l.shard == 0 && inFrame(l) }, 0},
		{"missing, and a block", files{segment: nil, piece: flip(data, at)}, func(l lies) bool { return l.file == which && inFrame(l) }, 1},
		{"missing, and the header of a frame", files{segment: nil, piece: flip(data, hit.from+20)}, func(l lies) bool { return l.file == which && inFrame(l) }, 1},
		{"missing, and the length of a frame", files{segment: nil, piece: flip(data, hit.from+9)}, func(l lies) bool { return l.file == which && l.piece == hit.piece && l.from >= hit.from }, 1},
		{"missing, and the header of a piece", files{segment: nil, piece: flip(data, 10)}, none, 1},
		{"both missing", files{segment: nil, piece: nil}, inPiece, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			r := &rig{dir: filepath.Join(t.TempDir(), "copy"), fs: vfs.OS{}, mem: placedMem, log: slog.New(slog.NewTextHandler(&log, nil))}
			if err := os.CopyFS(r.dir, os.DirFS(im.dir)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.close(t) })
			for name, b := range test.files {
				path := filepath.Join(r.dir, name)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if b != nil {
					if err := os.WriteFile(path, b, 0o640); err != nil {
						t.Fatal(err)
					}
				}
			}
			lost, atOpening := 0, 0
			want := map[Key][]Record{}
			for k, records := range im.all {
				for _, rec := range records {
					if l := im.of(rec.Position); l.file < 0 || !test.lost(l) {
						want[k] = append(want[k], rec)
						continue
					}
					lost++
				}
			}
			if lost == 0 && test.files[piece] != nil && strings.Contains(test.name, "block") {
				t.Fatal("nothing is lost")
			}
			r.open(t)
			for _, f := range r.catalog.files() {
				if f.mended.Load() != nil {
					atOpening++
				}
			}
			st := r.Stats()
			if atOpening != test.found || int(st.Damaged) != test.found || test.found > 0 && int(st.Lost) != lost {
				t.Errorf("%d files were found damaged, %d records lost; want %d and %d", atOpening, st.Lost, test.found, lost)
			}
			r.hasAll(t, want)
			said := log.String()
			switch st = r.Stats(); {
			case lost > 0 && (st.Gaps == 0 || st.Damaged == 0 || !strings.Contains(said, "put a copy")):
				t.Errorf("what is lost is not told: %+v, %s", st, said)
			case lost == 0 && st.Gaps > 0:
				t.Errorf("gaps where nothing is lost: %+v, %s", st, said)
			case test.files[segment] != nil && (st.Mended == 0 && lost == 0 || !strings.Contains(said, filepath.Base(segment))):
				t.Errorf("the index is damaged, and that is not told: %+v, %s", st, said)
			}
			for k, records := range im.all { // from there on all that is left of what came later
				for i := 0; i < len(records); i += 5 {
					p, err := r.SeekTime(k, records[i].Arrived)
					if err != nil {
						t.Fatal(err)
					}
					rs, _, err := r.Read(k, p, 1, 1<<20, nil)
					j := slices.IndexFunc(want[k], func(rec Record) bool { return rec.Arrived >= records[i].Arrived })
					if err != nil || (j < 0) != (len(rs) == 0) || j >= 0 && rs[0].Position != want[k][j].Position {
						t.Fatalf("%v from record %d on: %v, %v", k, i, rs, err)
					}
				}
			}
			if err := r.Scrub(t.Context()); (err != nil) != (len(test.files) > 0 && !strings.HasPrefix(test.name, "header of a ")) {
				t.Errorf("scrub: %v", err)
			}
			for k, more := range r.grouped(t, 3, 20, 2) {
				want[k] = append(want[k], more...)
			}
			r.hasAll(t, want)
			r.reopen(t)
			r.hasAll(t, want)
			r.set(1, -1)
			if err := r.Drop(t.Context()); err != nil {
				t.Error(err)
			}
			if n, kept := r.Stats().Files, r.keptPieces(); n != 0 || len(kept) != 0 {
				t.Errorf("%d files are left of a deleted stream, and pieces %v", n, kept)
			}
		})
	}
}

// TestPieceVanishes: a piece that goes away while the store is open is an error,
// not the end of the shard, until it is back.
func TestPieceVanishes(t *testing.T) {
	r := newRig(t, 100_000)
	all := r.grouped(t, 2, 20, 4)
	name := filepath.Join(r.dir, "records", fmt.Sprintf("%020d.wal.kept", r.keptPieces()[0]))
	if err := os.Rename(name, name+"-aside"); err != nil {
		t.Fatal(err)
	}
	k := Key{Stream: 1}
	rs, next, err := r.Read(k, journal.Position{}, 1, 1, nil)
	if !isDamage(err) || len(rs) > 0 || next != (journal.Position{}) || !strings.Contains(err.Error(), filepath.Base(name)[:20]) {
		t.Errorf("%d records, next %v, %v", len(rs), next, err)
	}
	if _, err := r.SeekTime(k, all[k][3].Arrived); !isDamage(err) {
		t.Errorf("seek: %v", err)
	}
	if err := r.Scrub(t.Context()); !isDamage(err) {
		t.Errorf("scrub: %v", err)
	}
	if err := os.Rename(name+"-aside", name); err != nil {
		t.Fatal(err)
	}
	r.hasAll(t, all)
	if st := r.Stats(); st.Gaps > 0 {
		t.Errorf("%d gaps", st.Gaps)
	}
}

// TestEveryByteInPlace: no byte of an index, or of what it refers to, can change
// without being noticed.
func TestEveryByteInPlace(t *testing.T) {
	r := newRig(t, 20_000)
	r.kind = inPlace
	r.reopen(t)
	all := r.grouped(t, 2, 3, 1)
	f := r.catalog.files()[0]
	k := Key{Stream: 1}
	x, _, _ := r.shards.find(k).at(all[k][0].Position, 0)
	raw, index, err := r.indexed(k, &x)
	if err != nil {
		t.Fatal(err)
	}
	e := index.at(0)
	raw.Close()
	piece, _, at := f.where(e.offset)
	scrub := func() error { return f.verify(t.Context(), r.fs, unpaced) }
	if err := scrub(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		from, to uint64
	}{{f.name, 0, uint64(f.size)}, {piece, at, at + uint64(e.length)}} {
		for i := c.from; i < c.to; i += 1 + i%7 {
			harm(t, c.name, i)
			if err := scrub(); !isDamage(err) {
				t.Errorf("byte %d of %s: %v", i, c.name, err)
			}
			harm(t, c.name, i)
		}
	}
	if err := scrub(); err != nil {
		t.Error(err)
	}
}

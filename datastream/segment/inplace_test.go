package segment

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
)

// grouped makes calls of records of 1 KiB over so many shards, those of a shard
// together, until so many tables are sealed, and returns what was put.
func (r *rig) grouped(t testing.TB, shards, perShard, tables int) map[Key][]Record {
	t.Helper()
	all := map[Key][]Record{}
	at := time.Now().Add(-time.Hour).UnixMilli()
	for shard := range shards {
		_, _, last := r.Bounds(Key{Stream: 1, Shard: uint32(shard)})
		at = max(at, last)
	}
	for before := r.Stats().Seals; r.Stats().Seals < before+uint64(tables); {
		var items []Item
		for shard := range shards {
			for range perShard {
				at++
				items = append(items, Item{Key: Key{Stream: 1, Shard: uint32(shard)}, Arrived: at, Body: bodyOf(uint64(at), 1000)})
			}
		}
		for i, p := range r.put(t, items...) {
			k := items[i].Key
			all[k] = append(all[k], Record{Position: p, Arrived: items[i].Arrived, Body: items[i].Body})
		}
		r.sealAll(t)
	}
	return all
}

func (r *rig) hasAll(t testing.TB, all map[Key][]Record) {
	t.Helper()
	for k, want := range all {
		sameRecords(t, fmt.Sprint(k), r.readAll(t, k, 50, 1<<20), want)
	}
}

// keptPieces are the first frames of those that have left the lane.
func (r *rig) keptPieces() (kept []uint64) {
	for _, p := range r.lane.Pieces() {
		if p.Kept {
			kept = append(kept, p.First)
		}
	}
	return kept
}

// TestSealedInPlace: records that lie in long stretches are written once, and are
// read from where the lane has them.
func TestSealedInPlace(t *testing.T) {
	r := newRig(t, 1<<20)
	all := r.grouped(t, 4, 30, 6)
	st := r.Stats()
	if st.Seals != 6 || st.InPlace != 6 {
		t.Fatalf("%d tables sealed, %d of them in place", st.Seals, st.InPlace)
	}
	if st.Sealed > uint64(st.FileBytes/50) || st.FileBytes < 6*900_000 || st.FileBytes > 7<<20 {
		t.Errorf("%d bytes were written to seal %d", st.Sealed, st.FileBytes)
	}
	for range 2 {
		r.hasAll(t, all)
		if err := r.Scrub(t.Context()); err != nil {
			t.Error(err)
		}
		if now := r.Stats(); now.FileBytes != st.FileBytes || now.Records != st.Records || now.Scrubbed < uint64(st.FileBytes) || now.Damaged > 0 {
			t.Errorf("stats say %+v, were %+v", now, st)
		}
		for k, records := range all {
			for i := 0; i < len(records); i += 7 {
				if p, err := r.SeekTime(k, records[i].Arrived); err != nil || p != records[i].Position {
					t.Fatalf("seek: %v, %v, want %v", p, err, records[i].Position)
				}
				rs, _, err := r.Read(k, records[i].Position, 2, 1<<20, nil)
				if err != nil {
					t.Fatal(err)
				}
				sameRecords(t, "from the middle", rs, records[i:min(i+2, len(records))])
			}
		}
		r.reopen(t)
	}
}

// reopenStore opens the store anew with other options, on the same lane.
func (r *rig) reopenStore(t *testing.T, change func(*Options)) {
	t.Helper()
	opts := r.Store.opts
	if err := r.Store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	change(&opts)
	var err error
	if r.Store, err = Open(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsSorted: tables that can not or should not stay in the lane are sorted
// into files of their own.
func TestWhatIsSorted(t *testing.T) {
	now := time.Now().UnixMilli()
	items := func(streams ...uint64) (list []Item) {
		for _, stream := range streams {
			for n := range 20 {
				list = append(list, Item{Key: Key{Stream: stream}, Arrived: now, Body: bodyOf(uint64(n), 1000)})
			}
		}
		return list
	}
	for _, test := range []struct {
		name    string
		prepare func(r *rig)
		items   []Item
		kind    int64
		placed  bool
	}{
		{"long stretches", nil, items(1, 2), 0, true},
		{"short stretches", nil, items(1, 2)[10:30], 0, false},
		{"long enough", nil, items(1, 2)[10:30], 10 * 1024, true},
		{"not long enough", nil, items(1, 2)[10:30], 10*1024 + 500, false},
		{"two classes", func(r *rig) { r.set(1, day) }, items(1, 2), 0, false},
		{"one class of two", func(r *rig) { r.set(3, day) }, items(1, 2), 0, true},
		{"a deleted stream", func(r *rig) { r.set(1, -1) }, items(1, 2), 0, false},
		{"expired records", func(r *rig) { r.set(1, time.Millisecond); r.set(2, day) }, items(1, 2), 0, false},
		{"a lane that keeps nothing", func(r *rig) {
			r.reopenStore(t, func(o *Options) { o.Lane = struct{ journal.Journal }{r.lane} })
		}, items(1, 2), 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, 200_000)
			r.kind = test.kind
			r.reopen(t)
			if test.prepare != nil {
				test.prepare(r)
			}
			time.Sleep(2 * time.Millisecond) // for what expires
			for r.Stats().Seals == 0 {
				r.put(t, test.items...)
				if r.Stats().Waiting > 0 {
					r.sealAll(t)
				}
			}
			if st := r.Stats(); (st.InPlace == st.Seals) != test.placed || (st.InPlace == 0) == test.placed {
				t.Errorf("%d of %d tables were sealed in place", st.InPlace, st.Seals)
			}
		})
	}
}

// TestFormerStore: a store that never sealed in place says the format of before,
// so that former software takes it, and takes that of one that did as unknown.
func TestFormerStore(t *testing.T) {
	r := newRig(t, 100_000)
	format := func() int {
		value, _, err := r.meta.Get(stateKey)
		var st state
		if err = errors.Join(err, json.Unmarshal(value, &st)); err != nil {
			t.Fatal(err)
		}
		return st.Format
	}
	r.kind = sorted
	r.reopen(t)
	all := r.grouped(t, 2, 20, 2)
	if format() != 1 {
		t.Errorf("format %d without a file in place", format())
	}
	r.kind = 0
	r.reopen(t)
	for k, more := range r.grouped(t, 2, 20, 2) {
		all[k] = append(all[k], more...)
	}
	if format() != 2 || r.Stats().InPlace == 0 {
		t.Errorf("format %d with %d files in place", format(), r.Stats().InPlace)
	}
	r.kind = sorted
	r.reopen(t)
	for k, more := range r.grouped(t, 2, 20, 2) {
		all[k] = append(all[k], more...)
	}
	if format() != 2 {
		t.Errorf("format %d after a sorted file", format())
	}
	r.hasAll(t, all)
	r.reopen(t)
	r.hasAll(t, all)
}

// TestLaneMustKeep: files in place are not opened on a lane that keeps nothing.
func TestLaneMustKeep(t *testing.T) {
	r := newRig(t, 100_000)
	r.grouped(t, 2, 20, 2)
	opts := r.Store.opts
	if err := r.Store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	opts.Lane = struct{ journal.Journal }{r.lane}
	if s, err := Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "keeps none") {
		t.Errorf("opened: %v, %v", s != nil, err)
	}
	if n := len(r.keptPieces()); n == 0 {
		t.Error("nothing is kept any more")
	}
}

// TestPiecesGo: a piece goes when the last file that refers to it is dropped, not
// before, and not while another is about to refer to it.
func TestPiecesGo(t *testing.T) {
	r := newRig(t, 100_000) // two tables and more to a piece
	r.set(1, 2*time.Hour)
	all := r.grouped(t, 2, 20, 12)
	before := r.keptPieces()
	if len(before) < 3 {
		t.Fatalf("only %v are kept", before)
	}
	files := r.catalog.files()
	for len(files) > 0 {
		gone := files[0]
		files = files[1:]
		last := unpack(gone.last())
		for k, records := range all { // as if they had expired
			all[k] = slices.DeleteFunc(records, func(rec Record) bool { return !last.Less(rec.Position) })
		}
		oldest := time.Now().UnixMilli()
		for _, records := range all {
			if len(records) > 0 {
				oldest = min(oldest, records[0].Arrived)
			}
		}
		r.set(1, time.Since(time.UnixMilli(oldest))-5*time.Millisecond)
		drop(t, r, 1)
		var want []uint64
		for _, f := range files {
			want = append(want, f.uses...)
		}
		slices.Sort(want)
		want = slices.DeleteFunc(slices.Compact(want), func(piece uint64) bool { return !slices.Contains(before, piece) })
		if kept := r.keptPieces(); !slices.Equal(kept, want) {
			t.Fatalf("kept %v, want %v", kept, want)
		}
		r.set(1, 365*day)
		r.hasAll(t, all)
	}
	if st := r.lane.Stats(); st.Kept != 0 || st.Spare == 0 {
		t.Errorf("%d bytes are kept, %d spare", st.Kept, st.Spare)
	}
}

// last is the position of a file's last record.
func (f *file) last() (last uint64) {
	raw, err := f.open(vfs.OS{})
	if err != nil {
		return 0
	}
	defer raw.Close()
	places, _ := f.again(f.size).load(raw)
	for i := range places {
		last = max(last, places[i].last)
	}
	return last
}

// TestPiecesAreSwept: what a crash left kept without a file that refers to it goes
// at the next opening.
func TestPiecesAreSwept(t *testing.T) {
	r := newRig(t, 100_000)
	all := r.grouped(t, 2, 20, 8)
	want := r.keptPieces()
	r.close(t)
	lane, err := wal.Open(filepath.Join(r.dir, "records"), wal.Options{ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	sealed := lane.Pieces()[len(want)]
	lane.Close()
	stray := filepath.Join(r.dir, "records", fmt.Sprintf("%020d.wal.kept", sealed.First-1))
	if err := os.WriteFile(stray, []byte("left"), 0o640); err != nil {
		t.Fatal(err)
	}
	r.open(t)
	if kept := r.keptPieces(); !slices.Equal(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("the stray piece is still there")
	}
	r.hasAll(t, all)
}

// TestDropUnderReadersInPlace: a reader in a file that is dropped, whose pieces are
// written over, finds neither damage nor other records.
func TestDropUnderReadersInPlace(t *testing.T) {
	for _, overwritten := range []bool{false, true} {
		t.Run(fmt.Sprintf("overwritten %v", overwritten), func(t *testing.T) {
			r := newRig(t, 100_000)
			all := r.grouped(t, 1, 20, 6)
			k := Key{Stream: 1}
			x, _, _ := r.shards.find(k).at(journal.Position{}, 0)
			raw, index, err := r.indexed(k, &x)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			e := index.at(0)
			q := query{key: k, left: 1000, bytes: 1 << 30}
			if err := r.readBlock(&q, x.file, raw, &e); err != nil || q.taken == 0 {
				t.Fatal(q.taken, err)
			}
			r.set(1, time.Minute)
			if err := r.Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !x.file.dropped.Load() {
				t.Fatal("not dropped")
			}
			if overwritten {
				name := fmt.Sprintf("%020d.wal.spare", x.file.uses[0])
				path := filepath.Join(r.dir, "records", name)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				f, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.WriteAt(make([]byte, len(data)), 0)
				if err = errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
			}
			q = query{key: k, left: 1000, bytes: 1 << 30}
			err = r.readBlock(&q, x.file, raw, &e)
			if overwritten && (err != errDropped || q.taken != 0) || !overwritten && (err != nil || q.taken == 0) {
				t.Errorf("%d records, %v", q.taken, err)
			}
			q = query{key: k, left: 1000, bytes: 1 << 30}
			if err := r.readExtent(&q, &x); err != nil || q.taken != 0 {
				t.Errorf("%d records, %v", q.taken, err)
			}
			if _, found, err := r.seekExtent(k, &x, all[k][3].Arrived); found || err != nil {
				t.Errorf("found %v, %v", found, err)
			}
			if st := r.Stats(); st.Damaged > 0 || st.Gaps > 0 {
				t.Errorf("damage was told of: %+v", st)
			}
		})
	}
}

package segment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// salvageImage is a store of two sealed files: the first holds streams 1 and 2,
// the second streams 1 and 3, each of two blocks.
type salvageImage struct {
	dir    string
	all    map[uint64][]Record // by stream
	data   []byte              // of the first file
	first  *file
	places []place
	blocks [2]blocks // of streams 1 and 2 in the first file
}

const salvageMem = 190_000 // a table of 180 records is full

func newSalvageImage(t *testing.T) *salvageImage {
	t.Helper()
	r := newRig(t, salvageMem)
	im := &salvageImage{dir: r.dir, all: map[uint64][]Record{}}
	at := time.Now().Add(-time.Hour).UnixMilli()
	for _, streams := range [][2]uint64{{1, 2}, {1, 3}} {
		for range 18 {
			var items []Item
			for i := range 10 {
				at++
				items = append(items, Item{Key: Key{Stream: streams[i%2]}, Arrived: at, Body: bodyOf(uint64(at), 1000)})
			}
			for i, p := range r.put(t, items...) {
				k := items[i].Key.Stream
				im.all[k] = append(im.all[k], Record{Position: p, Arrived: items[i].Arrived, Body: items[i].Body})
			}
		}
		r.sealAll(t)
	}
	files := r.catalog.files()
	if len(files) != 2 {
		t.Fatalf("%d files", len(files))
	}
	r.close(t)
	im.look(t, r, files[0].id)
	return im
}

func (im *salvageImage) look(t *testing.T, r *rig, id identity) {
	t.Helper()
	var err error
	if im.first, im.places, err = openFile(r.fs, filepath.Join(im.dir, "segments"), id); err != nil || len(im.places) != 2 {
		t.Fatal(err, im.places)
	}
	if im.data, err = os.ReadFile(im.first.name); err != nil {
		t.Fatal(err)
	}
	for i := range im.places {
		x := im.first.extent(&im.places[i])
		if im.blocks[i], err = im.first.index(bytes.NewReader(im.data), &x); err != nil || im.blocks[i].count() != 2 {
			t.Fatal(err, im.blocks[i].count())
		}
	}
}

// copied makes a rig of a copy of the image, with other bytes in the first file;
// nil for no file.
func (im *salvageImage) copied(t *testing.T, data []byte, log *bytes.Buffer) (r *rig, name string) {
	t.Helper()
	r = &rig{dir: filepath.Join(t.TempDir(), "copy"), fs: vfs.OS{}, mem: salvageMem, log: slog.New(slog.NewTextHandler(log, nil))}
	if err := os.CopyFS(r.dir, os.DirFS(im.dir)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close(t) })
	name = filepath.Join(r.dir, "segments", filepath.Base(im.first.name))
	err := os.Remove(name)
	if data != nil {
		err = os.WriteFile(name, data, 0o640)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, name
}

// flipped returns the file with one bit turned at each offset.
func (im *salvageImage) flipped(at ...uint64) []byte {
	b := bytes.Clone(im.data)
	for _, i := range at {
		b[i] ^= 0x10
	}
	return b
}

// TestDamagedFile damages each part of a file. The store opens, other files are
// served as before, and of this one what is whole; what is not is told: in the
// log, in Stats, and each time a reader passes it.
func TestDamagedFile(t *testing.T) {
	im := newSalvageImage(t)
	f, size := im.first.footer, uint64(len(im.data))
	index, directory, foot := f.index, f.directory, size-footerSize
	of1, of2 := im.blocks[0].at(1), im.blocks[1].at(0) // the second block of stream 1, the first of stream 2
	whole, nothing := uint64(size), uint64(0)
	for _, test := range []struct {
		name  string
		data  []byte
		upTo  uint64 // what lies before this offset is served
		but   uint64 // and not the block here
		quiet bool   // found by who reads, not by the opening
	}{
		{"whole", im.data, whole, 0, false},
		{"header", im.flipped(9), whole, 0, false},
		{"header's magic", im.flipped(0), whole, 0, false},
		{"body", im.flipped(of1.offset + 100), whole, of1.offset, true},
		{"a block's length", im.flipped(of1.offset + 6), whole, of1.offset, true},
		{"index", im.flipped(index + 50), whole, 0, true},
		{"index and body", im.flipped(index+50, of1.offset+100), whole, of1.offset, true},
		{"directory", im.flipped(directory + 60), whole, 0, false},
		{"footer", im.flipped(size - 10), whole, 0, false},
		{"footer's magic", im.flipped(foot), whole, 0, false},
		{"header and footer", im.flipped(9, foot+30), whole, 0, false},
		{"everything but the body", im.flipped(9, index+1, index+60, directory+60, foot+30), whole, 0, false},
		{"footer and body", im.flipped(foot+30, of1.offset+100), whole, of1.offset, false},
		{"footer and a block's length", im.flipped(foot+30, of1.offset+6), of1.offset, 0, false},
		{"footer gone", im.data[:foot], whole, 0, false},
		{"one byte short", im.data[:size-1], whole, 0, false},
		{"one byte more", append(bytes.Clone(im.data), 0), whole, 0, false},
		{"cut in the index", im.data[:index+30], whole, 0, false},
		{"cut between blocks", im.data[:of2.offset], of2.offset, 0, false},
		{"cut in a block", im.data[:of2.offset+1000], of2.offset, 0, false},
		{"cut in the header", im.data[:20], nothing, 0, false},
		{"zero length", []byte{}, nothing, 0, false},
		{"zeros", make([]byte, size), nothing, 0, false},
		{"missing", nil, nothing, 0, false},
		{"of another store", someFile(t, 100), nothing, 0, false},
	} {
		served := func(stream int, rec Record) bool {
			for i := range im.blocks[stream-1].count() {
				if e := im.blocks[stream-1].at(i); pack(rec.Position) >= e.first && pack(rec.Position) <= e.last {
					return e.offset+uint64(e.length) <= test.upTo && e.offset != test.but
				}
			}
			return true // in the other file
		}
		for _, known := range []bool{true, false} {
			if !known && (test.quiet || test.upTo == whole && test.but == 0 && test.name != "footer") {
				continue // the list is not asked
			}
			t.Run(fmt.Sprintf("%s/shards known %v", test.name, known), func(t *testing.T) {
				var log bytes.Buffer
				r, name := im.copied(t, test.data, &log)
				if !known {
					r.forgetShards(t)
				}
				want := map[uint64][]Record{1: nil, 2: nil, 3: im.all[3]}
				lost := 0
				for stream := 1; stream <= 2; stream++ {
					for _, rec := range im.all[uint64(stream)] {
						if served(stream, rec) {
							want[uint64(stream)] = append(want[uint64(stream)], rec)
						} else {
							lost++
						}
					}
				}
				r.open(t)
				if st := r.Stats(); !test.quiet && (int(st.Lost) != lost || (st.Broken == 1) != (lost > 0) || int(st.Records) != 360-lost) {
					t.Errorf("%d of %d records are lost, in %d files; want %d", st.Lost, st.Records, st.Broken, lost)
				}
				for stream, records := range want {
					sameRecords(t, fmt.Sprint("stream ", stream), r.readAll(t, Key{Stream: stream}, 7, 1<<20), records)
				}
				r.told(t, &log, name, lost, test.name != "whole", known || test.quiet || lost == 0)
				r.seeks(t, im, want)
				r.goesOn(t, im, test.data, name)
			})
		}
	}
}

// told wants damage to be in the log and in Stats.
func (r *rig) told(t *testing.T, log *bytes.Buffer, name string, lost int, damaged, known bool) {
	t.Helper()
	st := r.Stats()
	said := log.String()
	switch {
	case !damaged && (st.Damaged > 0 || strings.Contains(said, "ERROR")):
		t.Errorf("damage was told of a good file: %s", said)
	case damaged && (st.Damaged == 0 || !strings.Contains(said, name)):
		t.Errorf("met %d times, and not said of %s: %s", st.Damaged, name, said)
	case lost == 0 && (st.Gaps > 0 || damaged && st.Mended != 1):
		t.Errorf("nothing is lost, but there were %d gaps, and %d files are mended", st.Gaps, st.Mended)
	case lost > 0 && known && (st.Gaps == 0 || !strings.Contains(said, "shard 0 from ")):
		t.Errorf("readers passed %d gaps, and said was %s", st.Gaps, said)
	case lost > 0 && !known && !strings.Contains(said, "not known which"):
		t.Errorf("it is not said that others may have lost something: %s", said)
	case lost > 0 && !strings.Contains(said, "put a copy"):
		t.Errorf("what to do is not said: %s", said)
	}
}

// seeks looks for the time of every record, those that are gone too: what comes
// from there on is all that is left of what arrived since.
func (r *rig) seeks(t *testing.T, im *salvageImage, want map[uint64][]Record) {
	t.Helper()
	for stream, records := range im.all {
		k := Key{Stream: stream}
		for i := 0; i < len(records); i += 13 {
			p, err := r.SeekTime(k, records[i].Arrived)
			if err != nil {
				t.Fatal(err)
			}
			rs, _, err := r.Read(k, p, 1, 1<<20, nil)
			j := slices.IndexFunc(want[stream], func(rec Record) bool { return rec.Arrived >= records[i].Arrived })
			if err != nil || (j < 0) != (len(rs) == 0) || j >= 0 && rs[0].Position != want[stream][j].Position {
				t.Fatalf("stream %d from record %d on: %v, %v", stream, i, rs, err)
			}
		}
	}
}

// goesOn writes on, opens again, and lets retention take the file.
func (r *rig) goesOn(t *testing.T, im *salvageImage, data []byte, name string) {
	t.Helper()
	last := im.all[2][len(im.all[2])-1].Position
	if p := r.put(t, Item{Key: Key{Stream: 2}, Arrived: time.Now().UnixMilli(), Body: []byte("next")}); !last.Less(p[0]) {
		t.Errorf("position %v after %v", p[0], last)
	}
	before := r.readAll(t, Key{Stream: 2}, 100, 1<<20)
	if n := len(before); n == 0 || string(before[n-1].Body) != "next" {
		t.Errorf("of %d records the last is not the one put last", n)
	}
	r.reopen(t)
	sameRecords(t, "opened again", r.readAll(t, Key{Stream: 2}, 100, 1<<20), before)
	if after, err := os.ReadFile(name); (err != nil) != (data == nil) || !bytes.Equal(after, data) {
		t.Errorf("the file was touched: %d bytes, were %d, %v", len(after), len(data), err)
	}
	unknown := slices.ContainsFunc(r.catalog.files(), func(f *file) bool { return f.unknown })
	for stream := uint64(1); stream <= 3; stream++ {
		r.set(stream, -1)
	}
	if err := r.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := os.Stat(name)
	if n := r.Stats().Files; unknown != (n == 1) || !unknown && (n != 0 || err == nil) {
		t.Errorf("%d files are left of deleted streams, unknown who had records: %v, %v", n, unknown, err)
	}
}

// forgetShards makes the list that of a store of before it had copies.
func (r *rig) forgetShards(t *testing.T) {
	t.Helper()
	r.open(t)
	items := slices.Collect(r.meta.List(filesKeys))
	for _, it := range items {
		var l map[string]any
		if err := json.Unmarshal(it.Value, &l); err != nil || l["shards"] == nil {
			t.Fatal(l, err)
		}
		delete(l, "shards")
		if _, err := r.meta.Put(t.Context(), it.Key, mustJSON(l), it.Revision); err != nil {
			t.Fatal(err)
		}
	}
	r.close(t)
}

// TestScanOrder: whole blocks that can not be those of the file are not taken, and
// leave a hole.
func TestScanOrder(t *testing.T) {
	rec := func(frame uint64, arrived int64) Record {
		return Record{Position: journal.Position{Frame: frame}, Arrived: arrived, Body: []byte("body")}
	}
	limits := bounds{first: 10 << 16, last: 20 << 16, arrived: 1000, records: 100}
	for _, test := range []struct {
		name   string
		blocks []Record // each a block of its own
		stream []uint64 // of each
		want   []bool
	}{
		{"in order", []Record{rec(10, 5), rec(12, 5), rec(11, 1), rec(20, 1000)}, []uint64{1, 1, 2, 2}, []bool{true, true, true, true}},
		{"one twice", []Record{rec(10, 5), rec(10, 5), rec(12, 5)}, []uint64{1, 1, 1}, []bool{true, false, true}},
		{"a position back", []Record{rec(12, 5), rec(11, 5), rec(13, 5)}, []uint64{1, 1, 1}, []bool{true, false, true}},
		{"an arrival back", []Record{rec(12, 5), rec(13, 4), rec(14, 5)}, []uint64{1, 1, 1}, []bool{true, false, true}},
		{"a shard back", []Record{rec(12, 5), rec(13, 5), rec(14, 5)}, []uint64{2, 1, 2}, []bool{true, false, true}},
		{"before the file", []Record{rec(9, 5), rec(13, 5)}, []uint64{1, 1}, []bool{false, true}},
		{"behind the file", []Record{rec(13, 5), rec(21, 5), rec(14, 5)}, []uint64{1, 1, 1}, []bool{true, false, true}},
		{"later than the file", []Record{rec(13, 1001), rec(14, 5)}, []uint64{1, 1}, []bool{false, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out fileBuffer
			w := newWriter(&out, someID, sortedFormat, 1)
			for i, rec := range test.blocks {
				if err := w.add(Key{Stream: test.stream[i]}, []Record{rec}); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := w.finish(); err != nil {
				t.Fatal(err)
			}
			f := &file{name: "f", id: someID, size: int64(len(out.data))}
			found, err := f.scan(bytes.NewReader(out.data), limits)
			if err != nil {
				t.Fatal(err)
			}
			for i, rec := range test.blocks {
				if !test.want[i] {
					continue
				}
				hole := i > 0 && !test.want[i-1]
				if len(found) == 0 || found[0].first != pack(rec.Position) || found[0].hole != hole {
					t.Fatalf("block %d: %+v, want a hole before it: %v", i, found, hole)
				}
				found = found[1:]
			}
			if len(found) > 0 {
				t.Errorf("taken too: %+v", found)
			}
		})
	}
}

// TestMendMiddle: a block that does not fit what is known of its shard leaves a
// gap, and those around it are served.
func TestMendMiddle(t *testing.T) {
	at := func(frame uint64, arrived int64) salvaged {
		p := frame << 16
		return salvaged{key: Key{Stream: 1}, block: block{span: span{p, p, arrived, arrived}, offset: 99, length: 99}, records: 1}
	}
	p := place{key: Key{Stream: 1}, span: span{1 << 16, 9 << 16, 1, 9}, records: 3}
	places, m := mend([]place{p}, []salvaged{at(1, 1), at(2, 10), at(9, 9)})
	if len(m.gaps) != 1 || m.gaps[0].first != 1<<16+1 || m.gaps[0].last != 9<<16-1 || m.lost != 1 || places[0].records != 2 || m.index[p.key].count() != 3 {
		t.Errorf("%v, gaps %v, %d lost", places, m.gaps, m.lost)
	}
	_, m = mend([]place{p}, []salvaged{at(9, 9)})
	if len(m.gaps) != 1 || m.gaps[0].first != p.first || m.gaps[0].last != 9<<16-1 || m.lost != 2 {
		t.Errorf("gaps %v, %d lost", m.gaps, m.lost)
	}
}

// TestNothingThere: a folder with none of the files is refused, and all is well
// when they are back.
func TestNothingThere(t *testing.T) {
	im := newSalvageImage(t)
	var log bytes.Buffer
	r, _ := im.copied(t, im.data, &log)
	dir := filepath.Join(r.dir, "segments")
	if err := os.Rename(dir, dir+"-aside"); err != nil {
		t.Fatal(err)
	}
	err := r.tryOpen()
	r.Store = nil
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "none of 2") {
		t.Fatalf("opened with %v", err)
	}
	if err := errors.Join(os.Remove(dir), os.Rename(dir+"-aside", dir)); err != nil {
		t.Fatal(err)
	}
	r.open(t)
	for stream, want := range im.all {
		sameRecords(t, fmt.Sprint("stream ", stream), r.readAll(t, Key{Stream: stream}, 100, 1<<20), want)
	}
}

// TestUnknownExpires: a file of which it is not known what was in it goes when no
// stream could want it any more.
func TestUnknownExpires(t *testing.T) {
	f := &file{unknown: true, lastArrived: time.Now().Add(-longestKeep + time.Hour).UnixMilli()}
	r := retention{now: time.Now()}
	if r.expired(f) {
		t.Error("dropped too soon")
	}
	r.now = r.now.Add(2 * time.Hour)
	if !r.expired(f) {
		t.Error("kept for ever")
	}
}

// TestForgedBlock: a record that looks like a block of another stream is never
// taken for one, however the block around it is damaged.
func TestForgedBlock(t *testing.T) {
	var forged fileBuffer
	w := newWriter(&forged, someID, sortedFormat, 1)
	victim := Record{Position: journal.Position{Frame: 90}, Arrived: 1, Body: []byte("forged")}
	if err := w.add(Key{Stream: 9}, []Record{victim}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.finish(); err != nil {
		t.Fatal(err)
	}
	image := forged.data[headerSize : len(forged.data)-footerSize-dirSize-indexSize]
	var out fileBuffer
	w = newWriter(&out, someID, sortedFormat, 1)
	body := bytes.Repeat(image, 20)
	if err := w.add(Key{Stream: 1}, []Record{{Position: journal.Position{Frame: 5}, Arrived: 1, Body: body}}); err != nil {
		t.Fatal(err)
	}
	if err := w.add(Key{Stream: 3}, []Record{{Position: journal.Position{Frame: 6}, Arrived: 1, Body: []byte("good")}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.finish(); err != nil {
		t.Fatal(err)
	}
	for at := headerSize; at < headerSize+blockHead+len(body); at++ {
		if at == headerSize+4 || at == headerSize+5 { // a length that leads into the record, as chance may have it
			continue
		}
		data := bytes.Clone(out.data)
		data[at] ^= 0x20
		f := &file{name: "f", id: someID, size: int64(len(data))}
		found, err := f.scan(bytes.NewReader(data), bounds{last: 1 << 60, arrived: 1 << 60, records: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range found {
			if x.key.Stream == 9 {
				t.Fatalf("byte %d: a record was taken for a block", at)
			}
		}
	}
}

// TestSalvageHistory damages files of random histories at random: what is read is
// what was written, in order; what is missing was told of; nobody is stopped.
func TestSalvageHistory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	missing := 0
	for round := uint64(0); round < 6 && !t.Failed(); round++ {
		rng := rand.New(rand.NewPCG(seed, round))
		h := &history{rig: newRig(t, 30_000), rng: rng, model: map[Key][]Record{}, now: time.Now().Add(-time.Hour).UnixMilli()}
		for range 60 {
			h.append(t)
		}
		h.sealAll(t)
		h.close(t)
		names, err := filepath.Glob(filepath.Join(h.dir, "segments", "*"+fileSuffix))
		if err != nil || len(names) < 3 {
			t.Fatal(names, err)
		}
		for range 1 + rng.IntN(3) {
			harmAtRandom(t, names[rng.IntN(len(names))], rng)
		}
		h.open(t)
		for k, want := range h.model {
			got := h.readAll(t, k, 1+rng.IntN(50), 1<<20)
			at := map[journal.Position]Record{}
			for _, rec := range want {
				at[rec.Position] = rec
			}
			for i, rec := range got {
				w, ok := at[rec.Position]
				if !ok || w.Arrived != rec.Arrived || !bytes.Equal(w.Body, rec.Body) || i > 0 && !got[i-1].Position.Less(rec.Position) {
					t.Fatalf("shard %v: record %d at %v was never put, or not so (seed %d, round %d)", k, i, rec.Position, seed, round)
				}
			}
			missing += len(want) - len(got)
			if len(got) < len(want) && h.Stats().Gaps == 0 {
				t.Fatalf("shard %v: %d records of %d are missing, and nobody was told (seed %d, round %d)", k, len(want)-len(got), len(want), seed, round)
			}
		}
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d: %d records were missing", seed, missing)
}

// harmAtRandom damages a file in one of the ways in which files get damaged.
func harmAtRandom(t *testing.T, name string, rng *rand.Rand) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil || len(data) == 0 {
		return // it has been met before
	}
	switch at := rng.IntN(len(data)); rng.IntN(6) {
	case 0:
		err = os.Remove(name)
	case 1:
		err = os.WriteFile(name, data[:at], 0o640)
	case 2: // a sector of zeros
		clear(data[at/512*512 : min(len(data), at/512*512+512)])
		err = os.WriteFile(name, data, 0o640)
	case 3: // the tail, where the index is
		at = max(0, len(data)-1-rng.IntN(300))
		fallthrough
	default:
		data[at] ^= 1 << rng.IntN(8)
		err = os.WriteFile(name, data, 0o640)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzPlaces: what is taken for a copy of a directory can be one, and reads the
// same when it is written again.
func FuzzPlaces(f *testing.F) {
	some := []place{
		{key: Key{1, 0}, span: span{5 << 16, 9<<16 | 3, 1000, 2000}, records: 7},
		{key: Key{1, 4}, span: span{5<<16 | 1, 5<<16 | 1, 900, 900}, records: 1},
		{key: Key{1 << 60, 4}, span: span{4 << 16, 1 << 62, 0, 1 << 50}, records: 1 << 31},
	}
	f.Add(encodePlaces(some))
	f.Add([]byte{copyVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		places, err := decodePlaces(b)
		if err != nil || len(b) > maxCopy {
			return
		}
		again, err := decodePlaces(encodePlaces(places))
		if err != nil || !slices.Equal(again, places) {
			t.Fatalf("%v became %v: %v", places, again, err)
		}
	})
}

// TestPlacesBound: a file of very many shards has no copy.
func TestPlacesBound(t *testing.T) {
	var places []place
	for i := range uint32(maxCopy / 4) {
		places = append(places, place{key: Key{uint64(i), i}, span: span{uint64(i) << 16, uint64(i) << 16, 1, 1}, records: 1})
	}
	if b := encodePlaces(places); b != nil {
		t.Errorf("%d bytes", len(b))
	}
	few := places[:1000]
	if got, err := decodePlaces(encodePlaces(few)); err != nil || !slices.Equal(got, few) {
		t.Errorf("%d places, %v", len(got), err)
	}
}

package segment

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

const day = 24 * time.Hour

// fill appends records of 1 KiB, the i-th arriving at start+i*step, and waits
// until whole tables of them are sealed.
func (r *rig) fill(t *testing.T, k Key, n int, start, step int64) []Record {
	t.Helper()
	records := make([]Record, 0, n)
	for len(records) < n {
		items := make([]Item, min(5, n-len(records)))
		for i := range items {
			items[i] = Item{Key: k, Arrived: start + int64(len(records)+i)*step, Body: bodyOf(uint64(len(records)+i), 1000)}
		}
		for i, p := range r.put(t, items...) {
			records = append(records, Record{Position: p, Arrived: items[i].Arrived, Body: items[i].Body})
		}
	}
	r.sealAll(t)
	return records
}

// TestClasses: streams of different retention do not share a file, and the file
// of a short one is dropped while those of others stay.
func TestClasses(t *testing.T) {
	r := newRig(t, 40_000)
	now := time.Now().UnixMilli()
	keeps := []time.Duration{day, 2 * day, 7 * day, 8 * day, 30 * day, 31 * day, 365 * day}
	want := []int{0, 1, 1, 2, 2, 3, 3}
	var items []Item
	for i, keep := range keeps {
		if got := classOf(keep); got != want[i] {
			t.Errorf("class of %v is %d, want %d", keep, got, want[i])
		}
		r.set(uint64(i), keep)
		for n := range 10 {
			items = append(items, Item{Key: Key{Stream: uint64(i)}, Arrived: now, Body: bodyOf(uint64(n), 1000)})
		}
	}
	r.put(t, items...)
	r.sealAll(t)
	if n := len(r.segmentFiles(t)); n != classes {
		t.Fatalf("%d files, want one for each of %d classes", n, classes)
	}
	for i := range keeps {
		if n := len(r.readAll(t, Key{Stream: uint64(i)}, 100, 1<<20)); n != 10 {
			t.Errorf("stream %d has %d records", i, n)
		}
	}
	r.set(0, -1)
	drop(t, r, 1)
	r.set(1, -1)
	drop(t, r, 0) // stream 2 is in the same file
	r.set(2, -1)
	drop(t, r, 1)
	r.reopen(t)
	if n := len(r.readAll(t, Key{Stream: 6}, 100, 1<<20)); n != 10 {
		t.Errorf("stream 6 has %d records after all that", n)
	}
	if n := r.Stats().Files; n != 2 {
		t.Errorf("%d files are left, want 2", n)
	}
}

func drop(t *testing.T, r *rig, want uint64) {
	t.Helper()
	before := r.Stats()
	if err := r.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := r.Stats()
	if n := after.Dropped - before.Dropped; n != want {
		t.Errorf("dropped %d files, want %d", n, want)
	}
	if n := len(r.segmentFiles(t)); n != after.Files || n != before.Files-int(want) {
		t.Errorf("%d files lie there, %d are known", n, after.Files)
	}
}

// TestExpired: records that are too old are hidden at once, in files and in
// memory, whole blocks and parts of one, and their files go when all are.
func TestExpired(t *testing.T) {
	r := newRig(t, 300_000)
	k := Key{Stream: 1, Shard: 7}
	now := time.Now().UnixMilli()
	hour := time.Hour.Milliseconds()
	all := r.fill(t, k, 1000, now-1000*hour, hour) // three files of some 270 records and the rest in memory
	if st := r.Stats(); st.Files != 3 || st.MemBytes == 0 {
		t.Fatalf("%d files and %d bytes in memory: not what is to be tested", st.Files, st.MemBytes)
	}
	ages := []int{999, 900, 733, 500, 250, 100, 3}
	for _, x := range r.shards.find(k).extents { // the last record of a file is the first that is kept, and is not
		last := slices.IndexFunc(all, func(rec Record) bool { return pack(rec.Position) == x.last })
		ages = append(ages, 1000-last, 999-last)
	}
	slices.Sort(ages)
	slices.Reverse(ages)
	for _, hours := range ages {
		r.set(1, time.Duration(hours)*time.Hour+time.Hour/2)
		want := all[1000-hours:]
		sameRecords(t, "read", r.readAll(t, k, 50, 1<<20), want)
		first, end, last := r.Bounds(k)
		if first != want[0].Position || end != all[999].Position.Next() || last != all[999].Arrived {
			t.Errorf("%d hours: bounds %v %v %d", hours, first, end, last)
		}
		for _, at := range []int64{0, all[0].Arrived, want[0].Arrived} {
			if p, err := r.SeekTime(k, at); p != want[0].Position || err != nil {
				t.Errorf("%d hours: seek %d gave %v, %v, want %v", hours, at, p, err, want[0].Position)
			}
		}
		if err := r.Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
		sameRecords(t, "after drop", r.readAll(t, k, 50, 1<<20), want)
	}
	if n := len(r.segmentFiles(t)); n != 0 {
		t.Errorf("%d files are left", n)
	}
	r.set(1, time.Minute)
	for _, deleted := range []bool{false, true} {
		if deleted {
			r.set(1, -1)
		}
		end := all[999].Position.Next()
		if rs, next, err := r.Read(k, all[5].Position, 10, 1000, nil); len(rs) != 0 || err != nil || !deleted && next != end {
			t.Errorf("%d records, next %v, %v", len(rs), next, err)
		}
		if first, e, _ := r.Bounds(k); first != end || e != end {
			t.Errorf("bounds %v %v, want both %v", first, e, end)
		}
		if p, err := r.SeekTime(k, 0); p != end || err != nil {
			t.Errorf("seek gave %v, %v", p, err)
		}
	}
}

// TestDeletedIsNotSealed: what was deleted before sealing is not written, and
// its shards are forgotten.
func TestDeletedIsNotSealed(t *testing.T) {
	r := newRig(t, 40_000)
	r.set(1, -1)
	now := time.Now().UnixMilli()
	r.fill(t, Key{Stream: 1}, 100, now, 1)
	if n := len(r.segmentFiles(t)); n != 0 {
		t.Errorf("%d files of a deleted stream", n)
	}
	if st := r.Stats(); st.Seals < 2 || st.Shards != 1 {
		t.Errorf("%d seals, %d shards", st.Seals, st.Shards)
	}
	r.fill(t, Key{Stream: 2}, 50, now, 1) // pushes the rest of 1 out of memory
	woken := r.Wake(Key{Stream: 1})
	drop(t, r, 0)
	if st := r.Stats(); st.Shards != 1 {
		t.Errorf("%d shards are known, want 1", st.Shards)
	}
	select {
	case <-woken:
	default:
		t.Error("who waited for a record of a deleted stream was not woken")
	}
	if first, end, _ := r.Bounds(Key{Stream: 1}); first != end || end != (journal.Position{}) {
		t.Errorf("a forgotten shard has bounds %v %v", first, end)
	}
}

// TestDropUnderReaders: a reader who has found a file that is dropped before it
// is opened goes on with what there is; one who has it open is not disturbed.
func TestDropUnderReaders(t *testing.T) {
	r := newRig(t, 100_000)
	k := Key{Stream: 1}
	all := r.fill(t, k, 300, time.Now().UnixMilli()-10*day.Milliseconds(), 1)
	x, _, _ := r.shards.find(k).at(journal.Position{}, 0)
	raw, err := r.Store.open(x.file)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	r.set(1, day)
	if err := r.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.set(1, 365*day)
	if gone, err := r.Store.open(x.file); gone != nil || err != nil {
		t.Errorf("a dropped file opens: %v, %v", gone, err)
	}
	q := query{key: k, left: 10, bytes: 1 << 20}
	if err := r.readExtent(&q, &x); err != nil || len(q.into) != 0 {
		t.Errorf("reading a dropped file gave %d records, %v", len(q.into), err)
	}
	index, err := x.file.index(raw, &x)
	if err != nil {
		t.Fatal(err)
	}
	e := index.at(0)
	if err := q.block(x.file, raw, &e); err != nil || len(q.into) != 10 {
		t.Errorf("reading on gave %d records, %v", len(q.into), err)
	}
	rest := r.readAll(t, k, 100, 1<<20) // only what was in memory
	if len(rest) == 0 || len(rest) >= 300 {
		t.Errorf("%d records are left", len(rest))
	}
	sameRecords(t, "rest", rest, all[300-len(rest):])
}

// TestSweep: files that are not listed are removed at opening; without the list
// nothing is.
func TestSweep(t *testing.T) {
	r := newRig(t, 100_000)
	k := Key{Stream: 1}
	all := r.fill(t, k, 300, time.Now().UnixMilli(), 1)
	r.close(t)
	before := r.segmentFiles(t)
	dir := filepath.Join(r.dir, "segments")
	for _, name := range []string{"00000000000000aa.seg", "00000000000000ab.seg.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half a file"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	r.open(t)
	if after := r.segmentFiles(t); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("left %v, want %v", after, before)
	}
	sameRecords(t, "after sweeping", r.readAll(t, k, 100, 1<<20), all)
	r.close(t)

	if err := os.RemoveAll(filepath.Join(r.dir, "streams")); err != nil {
		t.Fatal(err)
	}
	if err := r.tryOpen(); err == nil || !strings.Contains(err.Error(), "the list of them is lost") {
		t.Errorf("opening without the list: %v", err)
	}
	r.Store = nil
	if after := r.segmentFiles(t); len(after) != len(before) {
		t.Errorf("files were removed: left %v", after)
	}
}

// TestLaneFits: a lane that does not go on where the files end is damage.
func TestLaneFits(t *testing.T) {
	for _, test := range []struct {
		name string
		harm func(t *testing.T, r *rig)
	}{
		{"the lane is lost", func(t *testing.T, r *rig) {
			os.RemoveAll(filepath.Join(r.dir, "records"))
		}},
		{"Meta is behind the lane", func(t *testing.T, r *rig) {
			os.RemoveAll(filepath.Join(r.dir, "streams"))
			os.RemoveAll(filepath.Join(r.dir, "segments"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, 100_000)
			r.fill(t, Key{Stream: 1}, 1000, time.Now().UnixMilli(), 1)
			r.close(t)
			test.harm(t, r)
			var damage *journal.CorruptError
			if err := r.tryOpen(); !errors.As(err, &damage) {
				t.Errorf("opened with %v", err)
			}
			r.Store = nil
		})
	}
}

// TestForeignEntry: a lane that holds anything but records, or records whose
// arrival goes back, is damage.
func TestForeignEntry(t *testing.T) {
	k := laneKey(Key{Stream: 1})
	later, earlier := []byte("\x02\x00\x00\x00\x00\x00\x00\x00b"), []byte("\x01\x00\x00\x00\x00\x00\x00\x00b")
	for _, test := range []struct {
		name    string
		kind    journal.Kind
		key     string
		payload []byte
	}{
		{"kind", laneRecord + 1, k, later},
		{"key", laneRecord, k + "x", later},
		{"no arrival", laneRecord, k, later[:7]},
		{"arrival goes back", laneRecord, k, earlier},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, 100_000)
			r.put(t, Item{Key: Key{Stream: 1}, Arrived: 2})
			if _, err := r.lane.Append(test.kind, test.key, test.payload).Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.close(t)
			var damage *journal.CorruptError
			if err := r.tryOpen(); !errors.As(err, &damage) || damage.Frame == 0 {
				t.Errorf("opened with %v", err)
			}
			r.Store = nil
		})
	}
}

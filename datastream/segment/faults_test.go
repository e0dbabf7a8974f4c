package segment

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

var errDevice = fmt.Errorf("the device says: %w", syscall.EIO)

// sealFaults are the calls that sealing makes.
var sealFaults = []struct {
	name   string
	op     vfs.Op
	suffix string
}{
	{"create", vfs.OpCreate, tempSuffix},
	{"write", vfs.OpWrite, tempSuffix},
	{"sync", vfs.OpSync, tempSuffix},
	{"rename", vfs.OpRename, fileSuffix},
	{"sync of the directory", vfs.OpSyncDir, "segments"},
}

// failing makes one kind of call on files with a suffix fail from the nth on;
// writes get half-way.
func failing(op vfs.Op, suffix string, nth int32, err error) func(vfs.Call) vfs.Fault {
	var calls atomic.Int32
	return func(c vfs.Call) vfs.Fault {
		if c.Op == op && strings.HasSuffix(c.Name, suffix) && calls.Add(1) >= nth {
			return vfs.Fault{Err: err, Wrote: c.N / 2}
		}
		return vfs.Fault{}
	}
}

// faultyRig is a rig that sorts into files of two classes, or seals in place.
func faultyRig(t *testing.T, kind int64) (*rig, *vfs.Faults) {
	fsys := vfs.NewFaults(vfs.OS{})
	r := &rig{dir: t.TempDir(), fs: fsys, mem: 10_000, kind: kind}
	if kind == sorted {
		r.set(1, day)
	}
	r.open(t)
	t.Cleanup(func() { r.close(t) })
	return r, fsys
}

// feed appends calls of two streams, of different classes, until one is refused,
// and returns what was acknowledged of each.
func (r *rig) feed(t *testing.T, calls int) (kept [2][]Record, err error) {
	t.Helper()
	for n := range calls {
		items := make([]Item, 2)
		for i := range items {
			items[i] = Item{Key: Key{Stream: uint64(1 + i)}, Arrived: time.Now().UnixMilli(), Body: bodyOf(uint64(n), 900)}
		}
		p := r.Append(items)
		if err = p.Wait(t.Context()); err != nil {
			return kept, err
		}
		for i := range items {
			kept[i] = append(kept[i], Record{Position: p.Position(i), Arrived: items[i].Arrived, Body: items[i].Body})
		}
	}
	return kept, nil
}

// retry makes sealing try again at once.
func (r *rig) retry() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *rig) has(t *testing.T, kept [2][]Record) {
	t.Helper()
	for i := range kept {
		sameRecords(t, fmt.Sprint("stream ", 1+i), r.readAll(t, Key{Stream: uint64(1 + i)}, 7, 1<<20), kept[i])
	}
}

// TestNoRoom: without room for sealing, appends are refused once memory is full;
// reading and dropping go on, nothing is left lying about, and with room all goes
// on as if nothing had been.
func TestNoRoom(t *testing.T) { eachKind(t, testNoRoom) }

func testNoRoom(t *testing.T, kind int64) {
	for _, test := range sealFaults {
		for nth := range int32(3) {
			t.Run(fmt.Sprintf("%s %d", test.name, 1+nth), func(t *testing.T) {
				r, fsys := faultyRig(t, kind)
				before, err := r.feed(t, 20)
				if err != nil {
					t.Fatal(err)
				}
				r.sealAll(t)
				fsys.Set(failing(test.op, test.suffix, 1+nth, syscall.ENOSPC))
				kept, err := r.feed(t, 1000)
				if !errors.Is(err, journal.ErrFull) {
					t.Fatalf("appends end with %v", err)
				}
				for i := range kept {
					kept[i] = append(before[i], kept[i]...)
				}
				r.has(t, kept)
				st := r.Stats()
				if !st.NoRoom || st.Waiting != maxWaiting || st.Refused != 1 || st.MemBytes > 6*r.mem {
					t.Errorf("stats say %+v", st)
				}
				if n := len(r.segmentFiles(t)); n > st.Files+1 { // the one being tried
					t.Errorf("%d files lie there, %d are known", n, st.Files)
				}
				fsys.Set(nil)
				r.retry()
				r.sealAll(t)
				if n := len(r.segmentFiles(t)); n != r.Stats().Files || r.Stats().NoRoom {
					t.Errorf("with room again: %d files lie there, stats say %+v", n, r.Stats())
				}
				more, err := r.feed(t, 20)
				if err != nil {
					t.Fatal(err)
				}
				for i := range kept {
					kept[i] = append(kept[i], more[i]...)
				}
				r.has(t, kept)
				if st := r.Stats(); (st.InPlace == st.Seals) != (kind == inPlace) {
					t.Errorf("%d of %d tables were sealed in place", st.InPlace, st.Seals)
				}
				r.reopen(t)
				r.has(t, kept)
				if err := r.Scrub(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// roomy is a file system that says how much room there is.
type roomy struct {
	vfs.FS
	free atomic.Int64
}

func (f *roomy) Free(string) (uint64, error) { return uint64(f.free.Load()), nil }

// TestDropMakesRoom: sealing does not fill the device to find out, dropping
// works without room, and what it gives back is used at once. Opening works
// without room too, with more in the lane than memory should hold.
func TestDropMakesRoom(t *testing.T) {
	fsys := &roomy{FS: vfs.OS{}}
	fsys.free.Store(1 << 40)
	r := &rig{dir: t.TempDir(), fs: fsys, mem: 10_000}
	r.open(t)
	defer r.close(t)
	if _, err := r.feed(t, 20); err != nil {
		t.Fatal(err)
	}
	r.sealAll(t)
	fsys.free.Store(4_000)
	kept, err := r.feed(t, 1000)
	if !errors.Is(err, journal.ErrFull) {
		t.Fatalf("appends end with %v", err)
	}
	if a, b := len(r.segmentFiles(t)), r.Stats().Files; a != b {
		t.Errorf("%d files lie there, %d are known", a, b)
	}
	r.mem = 5_000
	r.reopen(t)
	if st := r.Stats(); st.MemBytes < 5*r.mem {
		t.Errorf("opened without room, with %d bytes in memory", st.MemBytes)
	}
	r.set(1, -1)
	r.set(2, -1)
	if err := r.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.set(1, day)
	r.set(2, day)
	if n := r.Stats().Files; n != 0 {
		t.Errorf("%d files are left", n)
	}
	fsys.free.Store(1 << 40)
	r.retry()
	r.sealAll(t)
	for i := range kept { // before them is what was in memory while the streams were deleted
		all := r.readAll(t, Key{Stream: uint64(1 + i)}, 7, 1<<20)
		sameRecords(t, "after drop", all[max(0, len(all)-len(kept[i])):], kept[i])
	}
	if _, err := r.feed(t, 3); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestFailureIsFinal: after any other failure of sealing nothing is accepted,
// everything can be read, and the next opening has all that was acknowledged.
func TestFailureIsFinal(t *testing.T) { eachKind(t, testFailureIsFinal) }

func testFailureIsFinal(t *testing.T, kind int64) {
	for _, test := range sealFaults {
		t.Run(test.name, func(t *testing.T) {
			r, fsys := faultyRig(t, kind)
			fsys.Set(failing(test.op, test.suffix, 1, errDevice))
			kept, err := r.feed(t, 1000)
			if !errors.Is(err, syscall.EIO) || errors.Is(err, journal.ErrFull) {
				t.Fatalf("appends end with %v", err)
			}
			<-r.Fatal()
			if again := r.Append([]Item{{Key: Key{Stream: 1}}}).Wait(t.Context()); again != err || r.Stats().Err != err {
				t.Errorf("later %v, stats %v, want %v", again, r.Stats().Err, err)
			}
			r.checkAfterFailure(t, fsys, kept)
		})
	}
}

// checkAfterFailure reads everything, and again after opening anew. A call
// whose outcome was an error may be there or not.
func (r *rig) checkAfterFailure(t *testing.T, fsys *vfs.Faults, kept [2][]Record) {
	t.Helper()
	for range 2 {
		for i := range kept {
			all := r.readAll(t, Key{Stream: uint64(1 + i)}, 7, 1<<20)
			if n := len(all) - len(kept[i]); n == 1 {
				all = all[:len(kept[i])]
			}
			sameRecords(t, fmt.Sprint("stream ", 1+i), all, kept[i])
		}
		fsys.Set(nil)
		r.Close(t.Context())
		r.lane.Close()
		r.meta.Close()
		r.open(t)
	}
}

// TestLaneFails: the lane's failure is passed on.
func TestLaneFails(t *testing.T) {
	r, fsys := faultyRig(t, sorted)
	kept, err := r.feed(t, 3)
	if err != nil {
		t.Fatal(err)
	}
	fsys.Set(failing(vfs.OpSync, ".wal", 1, errDevice))
	if _, err := r.feed(t, 1); !errors.Is(err, syscall.EIO) {
		t.Errorf("append: %v", err)
	}
	<-r.Fatal()
	if err := r.Stats().Err; !errors.Is(err, syscall.EIO) {
		t.Errorf("stats say %v", err)
	}
	r.checkAfterFailure(t, fsys, kept)
}

// TestLaneIsFull: what the lane refuses is refused, and is not there.
func TestLaneIsFull(t *testing.T) {
	r, fsys := faultyRig(t, sorted)
	kept, err := r.feed(t, 3)
	if err != nil {
		t.Fatal(err)
	}
	fsys.Set(failing(vfs.OpWrite, ".wal", 1, syscall.ENOSPC))
	for range 3 {
		if _, err := r.feed(t, 1); !errors.Is(err, journal.ErrFull) {
			t.Errorf("append: %v", err)
		}
	}
	fsys.Set(nil)
	more, err := r.feed(t, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range kept {
		kept[i] = append(kept[i], more[i]...)
	}
	r.has(t, kept)
	r.reopen(t)
	r.has(t, kept)
}

// oddMeta answers transactions with an error, before or after making them.
type oddMeta struct {
	journal.Meta
	err   error
	after bool
	fatal chan struct{}
	calls atomic.Int32
}

func (m *oddMeta) Txn(ctx context.Context, changes ...journal.Change) (uint64, error) {
	if m.calls.Add(1) != 3 {
		return m.Meta.Txn(ctx, changes...)
	}
	if m.after {
		if _, err := m.Meta.Txn(ctx, changes...); err != nil {
			return 0, err
		}
	}
	return 0, m.err
}

func (m *oddMeta) Fatal() <-chan struct{} { return m.fatal }

// TestListIsNotKept: a transaction whose outcome is unknown ends the store, and
// however it went, nothing is lost or doubled; one refused for want of room is
// tried again.
func TestListIsNotKept(t *testing.T) { eachKind(t, testListIsNotKept) }

func testListIsNotKept(t *testing.T, kind int64) {
	for _, test := range []struct {
		name  string
		err   error
		after bool
		final bool
	}{
		{"no room", journal.ErrFull, false, false},
		{"not made", errDevice, false, true},
		{"made, unheard", errDevice, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, fsys := faultyRig(t, kind)
			r.Close(t.Context())
			opts := r.Store.opts
			opts.Meta = &oddMeta{Meta: r.meta, err: test.err, after: test.after, fatal: make(chan struct{})}
			var err error
			if r.Store, err = Open(t.Context(), opts); err != nil {
				t.Fatal(err)
			}
			kept, err := r.feed(t, 300)
			if !errors.Is(err, test.err) {
				t.Errorf("appends end with %v", err)
			}
			if !test.final {
				r.retry()
				r.sealAll(t)
				r.has(t, kept)
			}
			r.checkAfterFailure(t, fsys, kept)
		})
	}
}

// TestMetaFails: its failure is passed on.
func TestMetaFails(t *testing.T) {
	r := newRig(t, 10_000)
	r.Close(t.Context())
	opts := r.Store.opts
	meta := &oddMeta{Meta: r.meta, fatal: make(chan struct{})}
	opts.Meta = meta
	var err error
	if r.Store, err = Open(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	close(meta.fatal)
	<-r.Fatal()
	if _, err := r.feed(t, 1); err == nil || err != r.Stats().Err {
		t.Errorf("append: %v, stats %v", err, r.Stats().Err)
	}
}

// TestTrimFails: a lane that can not be trimmed keeps its entries and nothing
// else happens.
func TestTrimFails(t *testing.T) { eachKind(t, testTrimFails) }

func testTrimFails(t *testing.T, kind int64) {
	r, fsys := faultyRig(t, kind)
	var failed atomic.Int32
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if ext := filepath.Ext(c.Name); c.Op == vfs.OpRemove && ext == ".wal" || c.Op == vfs.OpRename && (ext == ".spare" || ext == ".kept") {
			failed.Add(1)
			return vfs.Fault{Err: errDevice}
		}
		return vfs.Fault{}
	})
	kept, err := r.feed(t, 200)
	if err != nil {
		t.Fatal(err)
	}
	r.sealAll(t)
	r.has(t, kept)
	if failed.Load() == 0 {
		t.Error("the lane was not trimmed: the test misses it")
	}
	fsys.Set(nil)
	more, err := r.feed(t, 200)
	if err != nil {
		t.Fatal(err)
	}
	for i := range kept {
		kept[i] = append(kept[i], more[i]...)
	}
	for range 2 {
		r.has(t, kept)
		r.reopen(t)
	}
}

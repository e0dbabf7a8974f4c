package wal

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

// failing makes one kind of call on files with a suffix fail.
func failing(op vfs.Op, suffix string, err error) func(vfs.Call) vfs.Fault {
	return func(c vfs.Call) vfs.Fault {
		if c.Op == op && strings.HasSuffix(c.Name, suffix) {
			return vfs.Fault{Err: err}
		}
		return vfs.Fault{}
	}
}

func appendOK(t *testing.T, l *Lane, i int) journal.Position {
	t.Helper()
	p, err := l.Append(1, "key", entryOf(i)).Wait(t.Context())
	if err != nil {
		t.Fatalf("entry %d: %v", i, err)
	}
	return p
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestFailureIsFinal: after a failed write or sync nothing is accepted, and
// nothing is tried again.
func TestFailureIsFinal(t *testing.T) {
	for _, test := range []struct {
		name string
		hook func(vfs.Call) vfs.Fault
	}{
		{"write", failing(vfs.OpWrite, fileSuffix, errDevice)},
		{"sync", failing(vfs.OpSync, fileSuffix, errDevice)},
		{"sync for want of room", failing(vfs.OpSync, fileSuffix, syscall.ENOSPC)},
		{"half a write", func(c vfs.Call) vfs.Fault {
			if c.Op == vfs.OpWrite {
				return vfs.Fault{Err: errDevice, Wrote: c.N / 2}
			}
			return vfs.Fault{}
		}},
		{"no room, and no way back", func(c vfs.Call) vfs.Fault {
			switch c.Op {
			case vfs.OpWrite:
				return vfs.Fault{Err: syscall.ENOSPC, Wrote: c.N / 2}
			case vfs.OpTruncate:
				return vfs.Fault{Err: errDevice}
			}
			return vfs.Fault{}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := vfs.NewFaults(vfs.OS{})
			dir := t.TempDir()
			l := mustOpen(t, dir, Options{FS: fsys})
			appendOK(t, l, 0)
			waiting := make(chan error, 1)
			go func() { waiting <- l.Wait(t.Context(), journal.Position{Frame: 1 << 40}) }()
			fsys.Set(test.hook)
			_, first := l.Append(1, "key", entryOf(1)).Wait(t.Context())
			if first == nil || errors.Is(first, journal.ErrFull) {
				t.Fatalf("the append that met it: %v", first)
			}
			<-l.Fatal()
			var calls atomic.Int32
			fsys.Set(func(c vfs.Call) vfs.Fault {
				if c.Op != vfs.OpOpen {
					calls.Add(1)
				}
				return vfs.Fault{}
			})
			for range 3 {
				if _, err := l.Append(1, "key", entryOf(1)).Wait(t.Context()); err != first {
					t.Errorf("later append: %v, want the same %v", err, first)
				}
			}
			if err := <-waiting; err != first {
				t.Errorf("who waited got %v", err)
			}
			if err := l.Stats().Err; err != first {
				t.Errorf("stats say %v", err)
			}
			if err := l.Trim(journal.Position{Frame: 1 << 40}); err != first {
				t.Errorf("trim: %v", err)
			}
			if n := readAll(t, l); n != 1 {
				t.Errorf("%d entries can be read, want 1", n)
			}
			if err := l.Close(); !errors.Is(err, first) {
				t.Errorf("close: %v", err)
			}
			if n := calls.Load(); n != 0 {
				t.Errorf("%d calls changed something after the failure", n)
			}
			l = mustOpen(t, dir, Options{})
			defer l.Close()
			if n := readAll(t, l); n < 1 || n > 2 {
				t.Errorf("%d entries after reopening", n)
			}
		})
	}
}

// TestFailureReachesEveryone: those queued behind a failing frame, and those
// waiting for the queue, get the same error, in order.
func TestFailureReachesEveryone(t *testing.T) {
	fsys := vfs.NewFaults(vfs.OS{})
	l := mustOpen(t, t.TempDir(), Options{FS: fsys, QueueBytes: 4000, FrameBytes: 1000})
	hold := make(chan struct{})
	entered := make(chan struct{}, 16)
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op != vfs.OpSync {
			return vfs.Fault{}
		}
		entered <- struct{}{}
		<-hold
		return vfs.Fault{Err: errDevice}
	})
	first := l.Append(1, "key", make([]byte, 100))
	<-entered
	var queued []journal.Future
	for range 9 {
		queued = append(queued, l.Append(1, "key", make([]byte, 400)))
	}
	blocked := make(chan journal.Future)
	go func() { blocked <- l.Append(1, "key", make([]byte, 400)) }()
	select {
	case <-blocked:
		t.Fatal("a full queue took an entry")
	case <-time.After(20 * time.Millisecond):
	}
	close(hold)
	_, want := first.Wait(t.Context())
	if !errors.Is(want, syscall.EIO) {
		t.Fatalf("first: %v", want)
	}
	for i, f := range append(queued, <-blocked) {
		if _, err := f.Wait(t.Context()); err != want {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	l.Close()
}

// TestNoAckBeforeSync: while the sync is held, nothing resolves and nothing can
// be read.
func TestNoAckBeforeSync(t *testing.T) {
	fsys := vfs.NewFaults(vfs.OS{})
	l := mustOpen(t, t.TempDir(), Options{FS: fsys})
	defer l.Close()
	appendOK(t, l, 0)
	hold := make(chan struct{})
	entered := make(chan struct{}, 16)
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpSync {
			entered <- struct{}{}
			<-hold
		}
		return vfs.Fault{}
	})
	first := l.Append(1, "key", entryOf(1))
	<-entered
	second := l.Append(1, "key", entryOf(2))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := first.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("resolved before its sync: %v", err)
	}
	if isClosed(second.Done()) {
		t.Error("a later one resolved before its sync")
	}
	if n := readAll(t, l); n != 1 {
		t.Errorf("%d entries can be read before their sync, want 1", n)
	}
	if q := l.Stats().Queued; q == 0 {
		t.Error("nothing counts as queued")
	}
	hold <- struct{}{}
	if _, err := first.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	<-entered
	close(hold)
	if _, err := second.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if n := readAll(t, l); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

// TestGroupCommit: all that queues during a sync shares the next one.
func TestGroupCommit(t *testing.T) {
	fsys := vfs.NewFaults(vfs.OS{})
	l := mustOpen(t, t.TempDir(), Options{FS: fsys})
	defer l.Close()
	hold := make(chan struct{})
	entered := make(chan struct{}, 16)
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpSync {
			entered <- struct{}{}
			<-hold
		}
		return vfs.Fault{}
	})
	before := l.Stats().Frames
	l.Append(1, "key", entryOf(0))
	<-entered
	var last journal.Future
	for i := range 1000 {
		last = l.Append(1, "key", entryOf(i+1))
	}
	close(hold)
	if _, err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := l.Stats().Frames - before; n != 2 {
		t.Errorf("1001 entries took %d frames, want 2", n)
	}
	if n := readAll(t, l); n != 1001 {
		t.Errorf("%d entries", n)
	}
}

// TestFrameHoldsAtMost65535: an index has 16 bits.
func TestFrameHoldsAtMost65535(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{})
	defer l.Close()
	var last journal.Future
	for range 200_000 {
		last = l.Append(1, "", nil)
	}
	if _, err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, before := 0, journal.Position{}
	for e, err := range l.Read(journal.Position{}) {
		if err != nil || !before.Less(e.Position) {
			t.Fatalf("entry %d: %v after %v, %v", n, e.Position, before, err)
		}
		n, before = n+1, e.Position
	}
	if n != 200_000 {
		t.Errorf("%d entries", n)
	}
}

// TestNoRoom: a refused frame leaves no trace, wherever in it the device ran
// out, and the lane goes on as soon as there is room.
func TestNoRoom(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		for _, wrote := range []int{0, 1, 63, 64, 65, 90, 1 << 20} {
			t.Run(fmt.Sprintf("%v after %d bytes", errno, wrote), func(t *testing.T) {
				fsys := vfs.NewFaults(vfs.OS{})
				dir := t.TempDir()
				l := mustOpen(t, dir, Options{FS: fsys})
				appendOK(t, l, 0)
				fsys.Set(func(c vfs.Call) vfs.Fault {
					if c.Op == vfs.OpWrite {
						return vfs.Fault{Err: errno, Wrote: min(wrote, c.N-1)}
					}
					return vfs.Fault{}
				})
				for range 2 {
					if _, err := l.Append(1, "key", make([]byte, 5000)).Wait(t.Context()); !errors.Is(err, journal.ErrFull) {
						t.Fatalf("append: %v", err)
					}
				}
				if s := l.Stats(); s.Refused != 2 || s.Err != nil || s.Queued != 0 {
					t.Errorf("stats: %+v", s)
				}
				fsys.Set(nil)
				appendOK(t, l, 1)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = mustOpen(t, dir, Options{})
				defer l.Close()
				if n := readAll(t, l); n != 2 || l.Stats().TornTail != 0 {
					t.Errorf("%d entries after reopening, %d bytes torn", n, l.Stats().TornTail)
				}
			})
		}
	}
}

// TestNoRoomForAFile: the next file can not be made, and then can.
func TestNoRoomForAFile(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			fsys := vfs.NewFaults(vfs.OS{})
			dir := t.TempDir()
			l := mustOpen(t, dir, Options{FS: fsys, MaxFileBytes: 300})
			n := 0
			for l.Stats().Bytes+100 <= 300 {
				appendOK(t, l, n)
				n++
			}
			suffix := tempSuffix
			if op == vfs.OpRename {
				suffix = fileSuffix
			}
			fsys.Set(failing(op, suffix, syscall.ENOSPC))
			if _, err := l.Append(1, "key", entryOf(n)).Wait(t.Context()); !errors.Is(err, journal.ErrFull) {
				t.Fatalf("append: %v", err)
			}
			fsys.Set(nil)
			appendOK(t, l, n)
			if l.Stats().Files != 2 {
				t.Errorf("%d files", l.Stats().Files)
			}
			l.Close()
			l = mustOpen(t, dir, Options{})
			defer l.Close()
			if got := readAll(t, l); got != n+1 {
				t.Errorf("%d entries, want %d", got, n+1)
			}
		})
	}
}

// TestNoRoomForAName: a new file whose name may or may not last is no want of
// room. Were the frame that it is named after to go elsewhere, it would be
// there twice.
func TestNoRoomForAName(t *testing.T) {
	fsys := vfs.NewFaults(vfs.OS{})
	l := mustOpen(t, t.TempDir(), Options{FS: fsys, MaxFileBytes: 300})
	for n := 0; l.Stats().Bytes+100 <= 300; n++ {
		appendOK(t, l, n)
	}
	fsys.Set(failing(vfs.OpSyncDir, "", syscall.ENOSPC))
	if _, err := l.Append(1, "key", entryOf(0)).Wait(t.Context()); err == nil || errors.Is(err, journal.ErrFull) {
		t.Errorf("append: %v", err)
	}
	<-l.Fatal()
	l.Close()
}

// TestOpenWithoutRoom: opening works where only a trim can help.
func TestOpenWithoutRoom(t *testing.T) {
	im := laneImage(t, 12, Options{MaxFileBytes: 400})
	dir := t.TempDir()
	im.restore(t, dir)
	fsys := vfs.NewFaults(vfs.OS{})
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpWrite || c.Op == vfs.OpCreate {
			return vfs.Fault{Err: syscall.ENOSPC}
		}
		return vfs.Fault{}
	})
	l := mustOpen(t, dir, Options{FS: fsys, MaxFileBytes: 400})
	if n := readAll(t, l); n != 12 {
		t.Errorf("%d entries", n)
	}
	if err := l.Trim(l.Stats().End); err != nil || l.Stats().Files != 1 {
		t.Errorf("trim: %v, %d files", err, l.Stats().Files)
	}
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestTrimThatFails: what could not be removed stays part of the lane, as a
// later removal would otherwise leave a hole before it.
func TestTrimThatFails(t *testing.T) {
	for _, spares := range []int{-1, 2} {
		fsys := vfs.NewFaults(vfs.OS{})
		dir := t.TempDir()
		l := mustOpen(t, dir, Options{FS: fsys, MaxFileBytes: 400, SpareFiles: spares, ReserveBytes: -1})
		for i := range 12 {
			appendOK(t, l, i)
		}
		files := l.Stats().Files
		fsys.Set(func(c vfs.Call) vfs.Fault {
			if c.Op == vfs.OpRename || c.Op == vfs.OpRemove {
				return vfs.Fault{Err: errDevice}
			}
			return vfs.Fault{}
		})
		if err := l.Trim(l.Stats().End); !errors.Is(err, syscall.EIO) {
			t.Errorf("trim: %v", err)
		}
		if n := l.Stats().Files; n != files {
			t.Errorf("%d files of %d are left", n, files)
		}
		if n := readAll(t, l); n != 12 {
			t.Errorf("%d entries", n)
		}
		fsys.Set(nil)
		if err := l.Trim(l.Stats().End); err != nil || l.Stats().Files != 1 {
			t.Errorf("trim: %v, %d files", err, l.Stats().Files)
		}
		l.Close()
		mustOpen(t, dir, Options{}).Close()
	}
}

// TestFailureDuringTrim: a lane ends once, whoever meets the failure first.
func TestFailureDuringTrim(t *testing.T) {
	for _, test := range []struct {
		spares int
		op     vfs.Op
	}{{-1, vfs.OpRemove}, {2, vfs.OpRename}} {
		fsys := vfs.NewFaults(vfs.OS{})
		l := mustOpen(t, t.TempDir(), Options{FS: fsys, MaxFileBytes: 400, SpareFiles: test.spares, ReserveBytes: -1})
		for i := range 12 {
			appendOK(t, l, i)
		}
		var first error
		fsys.Set(func(c vfs.Call) vfs.Fault {
			switch {
			case c.Op == test.op && first == nil:
				_, first = l.Append(1, "key", nil).Wait(context.Background())
				return vfs.Fault{}
			case c.Op == vfs.OpSync || c.Op == vfs.OpSyncDir:
				return vfs.Fault{Err: errDevice}
			}
			return vfs.Fault{}
		})
		if err := l.Trim(l.Stats().End); err == nil || err != first {
			t.Errorf("trim: %v, append: %v", err, first)
		}
		<-l.Fatal()
		if err := l.Close(); !errors.Is(err, first) {
			t.Errorf("close: %v", err)
		}
	}
}

// TestTrimUnderAReader: a reader passes over what was trimmed before it came.
func TestTrimUnderAReader(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{MaxFileBytes: 400})
	defer l.Close()
	var last journal.Position
	for i := range 12 {
		last = appendOK(t, l, i)
	}
	n := 0
	var seen journal.Position
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			if err := l.Trim(last); err != nil {
				t.Fatal(err)
			}
		}
		seen = e.Position
	}
	if n >= 12 || seen != last {
		t.Errorf("read %d entries, the last at %v, want fewer than 12 and %v", n, seen, last)
	}
}

func TestOptions(t *testing.T) {
	for _, opts := range []Options{
		{MaxFileBytes: -1},
		{FrameBytes: -1},
		{FrameBytes: maxBody + 1},
		{QueueBytes: -1},
		{SnapshotBytes: -1},
	} {
		if l, err := Open(t.TempDir(), opts); err == nil {
			l.Close()
			t.Errorf("%+v was accepted", opts)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	f, err := vfs.OS{}.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := Open(file, Options{}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("opening a file as a lane: %v", err)
	}
	if _, err := OpenMeta(file, Options{}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("opening a file as a store: %v", err)
	}
}

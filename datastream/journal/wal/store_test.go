package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

func small() Options { return Options{SnapshotBytes: 2000, ReserveBytes: -1} }

// change puts a value of 100 bytes that tells n.
func changeKey(t *testing.T, s *Store, key string, n int) {
	t.Helper()
	_, rev, err := s.Get(key)
	if err != nil && !errors.Is(err, journal.ErrAbsent) {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), key, fmt.Appendf(nil, "%0100d", n), rev); err != nil {
		t.Fatalf("%s to %d: %v", key, n, err)
	}
}

// changes makes n changes to ten keys, from the given number on.
func changes(t *testing.T, s *Store, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		changeKey(t, s, fmt.Sprintf("key%d", i%10), i)
	}
}

// wantChanges wants the store as all changes up to n left it.
func wantChanges(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := max(0, n-10); i < n; i++ {
		v, _, err := s.Get(fmt.Sprintf("key%d", i%10))
		if err != nil || string(v) != fmt.Sprintf("%0100d", i) {
			t.Errorf("key%d is %q (%v), want %d", i%10, v, err, i)
		}
	}
	if s.state.Load().tree.size != min(n, 10) {
		t.Errorf("%d keys", s.state.Load().tree.size)
	}
}

// storeImage makes changes until there are two snapshots and a few changes
// after them, and returns how many.
func storeImage(t *testing.T, opts Options) (image, int) {
	t.Helper()
	dir := t.TempDir()
	s := mustOpenMeta(t, dir, opts)
	n := 0
	deadline := time.Now().Add(10 * time.Second)
	for first := uint64(1); first == 1 || len(namesIn(t, dir, snapSuffix)) != keptSnapshots; first = s.Stats().First.Frame {
		changes(t, s, n, 1)
		n++
		if time.Now().After(deadline) {
			t.Fatalf("after %d changes the lane is not trimmed: %v", n, namesIn(t, dir, snapSuffix))
		}
	}
	changes(t, s, n, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return takeImage(t, dir), n + 3
}

func TestSnapshotsAndTrims(t *testing.T) {
	im, n := storeImage(t, small())
	dir := t.TempDir()
	im.restore(t, dir)
	s := mustOpenMeta(t, dir, small())
	wantChanges(t, s, n)
	before := s.Stats()
	changes(t, s, n, 300)
	deadline := time.Now().Add(10 * time.Second)
	for s.Stats().Bytes > 20_000 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // the last snapshot is still being taken
	}
	after := s.Stats()
	if after.First.Frame <= before.First.Frame || after.Bytes > 20_000 {
		t.Errorf("after 300 changes the lane begins at %v and has %d bytes, was %v", after.First, after.Bytes, before.First)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := namesIn(t, dir, snapSuffix); len(got) != keptSnapshots {
		t.Errorf("kept %v", got)
	}
	s = mustOpenMeta(t, dir, small())
	defer s.Close()
	wantChanges(t, s, n+300)
}

// TestDamagedSnapshot: whatever byte of the newest is damaged, the one before
// it and the lane tell the same, and the damaged one is set aside.
func TestDamagedSnapshot(t *testing.T) {
	im, n := storeImage(t, small())
	names := im.files(snapSuffix)
	newest, older := names[len(names)-1], names[0]
	dir := t.TempDir()
	for at := 0; at < len(im[newest]); at += 1 + at/64*13 {
		bad := bytes.Clone(im[newest])
		bad[at] ^= 1 << (at % 8)
		im.with(newest, bad).restore(t, dir)
		s, err := OpenMeta(dir, small())
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		wantChanges(t, s, n)
		changes(t, s, n, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if after := takeImage(t, dir); !bytes.Equal(after[newest+damagedSuffix], bad) || after[newest] != nil {
			t.Fatalf("byte %d: the damaged snapshot was not set aside", at)
		}
	}
	damage := func(b []byte) []byte { return append([]byte{b[0] ^ 1}, b[1:]...) }
	for _, test := range []struct {
		name  string
		image image
		want  string
	}{
		{"cut short", im.with(newest, im[newest][:len(im[newest])-1]), ""},
		{"longer", im.with(newest, append(bytes.Clone(im[newest]), 0)), ""},
		{"empty", im.with(newest, nil), ""},
		{"the older one under the newest's name", im.with(newest, im[older]), ""},
		{"unfinished one beside", im.with("00000000000000099999.snap.tmp", []byte("x")), ""},
		{"both", im.with(newest, damage(im[newest])).with(older, damage(im[older])), older},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.image.restore(t, dir)
			s, err := OpenMeta(dir, small())
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				wantChanges(t, s, n)
				return
			}
			var corrupt *journal.CorruptError
			if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("opened with %v", err)
			}
		})
	}
}

// TestStoreWithoutItsLane: a snapshot knows how far the lane had come.
func TestStoreWithoutItsLane(t *testing.T) {
	im, _ := storeImage(t, small())
	lanes, snaps := im.files(fileSuffix), im.files(snapSuffix)
	without := func(names ...string) image {
		c := maps.Clone(im)
		for _, name := range names {
			delete(c, name)
		}
		return c
	}
	// The lane ends in, or before, the file that holds the newest snapshot's frame.
	newest, _ := snapshots(snaps)
	firsts, _, _ := laneFiles(lanes)
	holder := 0
	for i, first := range firsts {
		if first <= newest[len(newest)-1] {
			holder = i
		}
	}
	last := lanes[holder]
	ending := without(lanes[holder+1:]...)
	dir := t.TempDir()
	for _, test := range []struct {
		name  string
		image image
	}{
		{"no lane", without(lanes...)},
		{"its last files lost", without(lanes[holder:]...)},
		{"its end cut off", ending.with(last, im[last][:fileHeaderSize])},
		{"torn below the snapshot", ending.with(last, im[last][:fileHeaderSize+80])},
		{"no snapshot, but a trimmed lane", without(snaps...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.image.restore(t, dir)
			s, err := OpenMeta(dir, small())
			if err == nil {
				s.Close()
				t.Fatal("opened without complaint")
			}
			var corrupt *journal.CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("opened with %v, want a CorruptError", err)
			}
			if after := takeImage(t, dir); !maps.EqualFunc(after, test.image, bytes.Equal) {
				t.Errorf("opening changed it (%v)", err)
			}
		})
	}
}

// TestSnapshotThatFails: the store goes on, keeps its lane, and takes the next.
func TestSnapshotThatFails(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			fsys := vfs.NewFaults(vfs.OS{})
			dir := t.TempDir()
			opts := small()
			opts.FS = fsys
			opts.MaxFileBytes = 1 << 20 // no other unfinished files
			s := mustOpenMeta(t, dir, opts)
			met := make(chan struct{}, 1)
			fsys.Set(func(c vfs.Call) vfs.Fault {
				if c.Op != op || !strings.Contains(c.Name, snapSuffix) {
					return vfs.Fault{}
				}
				select {
				case met <- struct{}{}:
				default:
				}
				return vfs.Fault{Err: syscall.ENOSPC, Wrote: c.N / 2}
			})
			n := 0
			for ; len(met) == 0; n++ {
				changes(t, s, n, 1)
			}
			changes(t, s, n, 5)
			n += 5
			if got := namesIn(t, dir, snapSuffix); len(got) != 0 {
				t.Errorf("a failed snapshot left %v", got)
			}
			fsys.Set(nil)
			deadline := time.Now().Add(10 * time.Second)
			for len(namesIn(t, dir, snapSuffix)) == 0 && time.Now().Before(deadline) {
				changes(t, s, n, 1)
				n++
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got := takeImage(t, dir); len(got.files(snapSuffix)) == 0 || len(got.files(tempSuffix)) != 0 {
				t.Errorf("left %v", slices.Collect(maps.Keys(got)))
			}
			s = mustOpenMeta(t, dir, small())
			defer s.Close()
			wantChanges(t, s, n)
		})
	}
}

// holdSyncs makes syncs of lane files wait. It returns a channel that tells of
// each, and what lets them all go.
func holdSyncs(fsys *vfs.Faults, outcome error) (entered <-chan struct{}, release func()) {
	hold, in := make(chan struct{}), make(chan struct{}, 64)
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op != vfs.OpSync || !strings.HasSuffix(c.Name, fileSuffix) {
			return vfs.Fault{}
		}
		in <- struct{}{}
		<-hold
		return vfs.Fault{Err: outcome}
	})
	return in, func() { close(hold) }
}

// TestUndecidedChange: a change to a key waits for the one before it, and is
// decided on what became of that; nothing shows before it is durable.
func TestUndecidedChange(t *testing.T) {
	fsys := vfs.NewFaults(vfs.OS{})
	s := mustOpenMeta(t, t.TempDir(), Options{FS: fsys})
	defer s.Close()
	changeKey(t, s, "k", 1)
	_, rev, _ := s.Get("k")
	entered, release := holdSyncs(fsys, nil)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- s.Delete(t.Context(), "k", rev) }()
	<-entered
	go func() {
		_, err := s.Put(t.Context(), "k", []byte("again"), 0) // right only once it is deleted
		second <- err
	}()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Put(short, "k", nil, rev); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third change did not wait: %v", err)
	}
	if _, now, err := s.Get("k"); now != rev || err != nil {
		t.Errorf("the delete shows before it is durable: %d, %v", now, err)
	}
	release()
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
	if v, _, err := s.Get("k"); string(v) != "again" {
		t.Errorf("%q, %v", v, err)
	}
}

// TestRefusedChange: others to the same key then find it as it was.
func TestRefusedChange(t *testing.T) {
	fsys := vfs.NewFaults(vfs.OS{})
	dir := t.TempDir()
	s := mustOpenMeta(t, dir, Options{FS: fsys})
	changeKey(t, s, "k", 1)
	_, rev, _ := s.Get("k")
	fsys.Set(failing(vfs.OpWrite, fileSuffix, syscall.ENOSPC))
	if _, err := s.Put(t.Context(), "k", nil, rev); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("put: %v", err)
	}
	fsys.Set(nil)
	next, err := s.Put(t.Context(), "k", []byte("2"), rev)
	if err != nil || next <= rev {
		t.Fatalf("put: %d, %v", next, err)
	}
	s.Close()
	s = mustOpenMeta(t, dir, Options{})
	defer s.Close()
	if v, now, err := s.Get("k"); string(v) != "2" || now != next {
		t.Errorf("%q at %d (%v), want 2 at %d", v, now, err, next)
	}
}

func TestStoreFailure(t *testing.T) {
	fsys := vfs.NewFaults(vfs.OS{})
	s := mustOpenMeta(t, t.TempDir(), Options{FS: fsys})
	changeKey(t, s, "k", 1)
	fsys.Set(failing(vfs.OpSync, fileSuffix, errDevice))
	_, first := s.Put(t.Context(), "other", nil, 0)
	if !errors.Is(first, syscall.EIO) {
		t.Fatalf("put: %v", first)
	}
	<-s.Fatal()
	fsys.Set(nil)
	if _, err := s.Put(t.Context(), "third", nil, 0); err != first {
		t.Errorf("later put: %v", err)
	}
	if _, _, err := s.Get("k"); err != nil {
		t.Errorf("get: %v", err)
	}
	if _, _, err := s.Get("other"); !errors.Is(err, journal.ErrAbsent) {
		t.Errorf("get of what failed: %v", err)
	}
	if err := s.Close(); !errors.Is(err, first) {
		t.Errorf("close: %v", err)
	}
}

// TestForeignLane: a store refuses a lane that is not its own.
func TestForeignLane(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	appendOK(t, l, 0)
	l.Close()
	var corrupt *journal.CorruptError
	if s, err := OpenMeta(dir, Options{}); !errors.As(err, &corrupt) || filepath.Dir(corrupt.File) != filepath.Dir(dir) {
		if err == nil {
			s.Close()
		}
		t.Errorf("opened with %v", err)
	}
}

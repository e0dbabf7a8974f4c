package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestFiles(t *testing.T) {
	var fsys FS = OS{}
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := fsys.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "f")
	if _, err := fsys.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of what is not there: %v", err)
	}
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		second(f.WriteAt([]byte("hello"), 3)), f.Sync(), f.Truncate(6), fsys.Rename(name, name+"2"), fsys.SyncDir(dir),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if size, err := f.Size(); size != 6 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	f.Close()
	if b, err := os.ReadFile(name + "2"); string(b) != "\x00\x00\x00hel" || err != nil {
		t.Errorf("holds %q, %v", b, err)
	}
	if names, err := fsys.List(dir); !slices.Equal(names, []string{"f2"}) || err != nil {
		t.Errorf("listed %q, %v", names, err)
	}
	if err := fsys.Remove(name + "2"); err != nil {
		t.Error(err)
	}
	if err := fsys.MkdirAll("/dev/null/x"); err == nil {
		t.Error("made a directory in a device")
	}
	if free, err := fsys.Free(dir); free == 0 || err != nil {
		t.Errorf("free: %d, %v", free, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "LOCK")
	held, err := OS{}.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (OS{}).Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("second holder: %v", err)
	}
	held.Close()
	again, err := OS{}.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestNoRoom(t *testing.T) {
	wrapped := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	if !NoRoom(wrapped) || !NoRoom(syscall.EDQUOT) || NoRoom(syscall.EIO) || NoRoom(nil) {
		t.Error("errors are not told apart")
	}
}

// TestFaults: each operation can be made to fail, is named, and reaches the
// file system again once the hook is gone.
func TestFaults(t *testing.T) {
	fsys := NewFaults(OS{})
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	closing := func(f File, err error) error {
		if err == nil {
			f.Close()
		}
		return err
	}
	for _, test := range []struct {
		op   Op
		name string
		call func() error
	}{
		{OpWrite, name, func() error { return second(f.WriteAt([]byte("12345678"), 0)) }},
		{OpSync, name, f.Sync},
		{OpTruncate, name, func() error { return f.Truncate(4) }},
		{OpCreate, name + "2", func() error { return closing(fsys.Create(name + "2")) }},
		{OpOpen, name + "2", func() error { return closing(fsys.Open(name + "2")) }},
		{OpRename, name + "3", func() error { return fsys.Rename(name+"2", name+"3") }},
		{OpRemove, name + "3", func() error { return fsys.Remove(name + "3") }},
		{OpSyncDir, dir, func() error { return fsys.SyncDir(dir) }},
	} {
		var calls []Call
		fsys.Set(func(c Call) Fault {
			calls = append(calls, c)
			return Fault{Err: syscall.EIO, Wrote: 3}
		})
		if err := test.call(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", test.op, err)
		}
		if len(calls) != 1 || calls[0].Op != test.op || calls[0].Name != test.name {
			t.Errorf("%s: asked %+v", test.op, calls)
		}
		if test.op == OpWrite {
			if size, _ := f.Size(); size != 3 || calls[0].N != 8 {
				t.Errorf("%d of %d bytes were written, want 3 of 8", size, calls[0].N)
			}
		}
		fsys.Set(nil)
		if err := test.call(); err != nil {
			t.Errorf("%s without a hook: %v", test.op, err)
		}
	}
}

// TestInterrupted: a call that a signal interrupted is made again, as often as
// it takes; any other outcome is final.
func TestInterrupted(t *testing.T) {
	calls := 0
	err := ignoringEINTR(func() error {
		if calls++; calls < 5 {
			return syscall.EINTR
		}
		return syscall.EIO
	})
	if calls != 5 || err != syscall.EIO {
		t.Errorf("%d calls, %v; want 5 and the last one's error", calls, err)
	}
}

// TestKind: the real file system names what a directory lies on.
func TestKind(t *testing.T) {
	if kind, err := (OS{}).Kind(t.TempDir()); err != nil || kind == "" {
		t.Errorf("kind %q, %v", kind, err)
	}
	if kind, err := (OS{}).Kind("/dev/shm"); err != nil || kind != "tmpfs" {
		t.Errorf("/dev/shm is of kind %q, %v", kind, err)
	}
	if _, err := (OS{}).Kind("/nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of what is not there: %v", err)
	}
}

package dir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kineweir/kineweir/archive/bucket"
)

// watched is a store whose folder syncs are noted (as paths below the root) and can be made to fail.
type watched struct {
	*Store
	synced []string
	fail   error
}

func watch(t *testing.T, root string) *watched {
	t.Helper()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Store: s}
	real := s.syncFolder
	s.syncFolder = func(path string) error {
		rel, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		w.synced = append(w.synced, rel)
		return errors.Join(w.fail, real(path))
	}
	return w
}

// syncs gives what was synced since it was last asked, sorted.
func (w *watched) syncs() []string {
	s := w.synced
	w.synced = nil
	slices.Sort(s)
	return s
}

func (w *watched) store(t *testing.T, key string) error {
	t.Helper()
	_, err := w.Put(t.Context(), key, strings.NewReader("x"), 1, bucket.PutOptions{IfAbsent: true})
	return err
}

// TestFoldersAreSynced says for each step which folders must be synced: that of the object always, and those
// above it as long as the name of a folder is not known to be durable.
func TestFoldersAreSynced(t *testing.T) {
	root := t.TempDir()
	w := watch(t, root)
	step := func(name string, err error, want ...string) {
		t.Helper()
		if have := w.syncs(); err != nil || !slices.Equal(have, want) {
			t.Errorf("%s: synced %q, want %q (%v)", name, have, want, err)
		}
	}
	step("at the top", w.store(t, "top"), ".")
	step("first in new folders", w.store(t, "a/b/c/1"), ".", "a", "a/b", "a/b/c")
	step("second", w.store(t, "a/b/c/2"), "a/b/c")
	step("beside", w.store(t, "a/b/d/1"), "a/b", "a/b/d")
	step("above", w.store(t, "a/1"), "a")
	step("delete", w.Delete(t.Context(), "a/b/c/1"), "a/b/c")
	step("delete the last", w.Delete(t.Context(), "a/b/c/2"), "a/b/c")
	if _, err := os.Stat(filepath.Join(root, "a/b/c")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty folder is left: %v", err)
	}
	step("in the folder made anew", w.store(t, "a/b/c/3"), "a/b", "a/b/c")
	if err := os.RemoveAll(filepath.Join(root, "a/b")); err != nil {
		t.Fatal(err)
	}
	step("in a folder someone else removed", w.store(t, "a/b/c/4"), "a", "a/b", "a/b/c")

	// Another process may have made folders and crashed before it synced them.
	w = watch(t, root)
	step("after opening again", w.store(t, "a/b/c/5"), ".", "a", "a/b", "a/b/c")

	file := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	outside, err := filepath.Rel(w.root, filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	step("adopt", w.Adopt(t.Context(), file, "a/b/e/1"), outside, "a/b", "a/b/e")
	step("adopt what was adopted", w.Adopt(t.Context(), file, "a/b/e/1"), "a/b/e")
}

// TestFailedSyncIsNoSuccess: what may not be durable must not be acknowledged, nor be thought durable later.
func TestFailedSyncIsNoSuccess(t *testing.T) {
	w := watch(t, t.TempDir())
	w.fail = syscall.EIO
	file := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"put": w.store(t, "a/1"), "adopt": w.Adopt(t.Context(), file, "b/1"), "delete": w.Delete(t.Context(), "a/1"),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s with a failing sync: %v", name, err)
		}
	}
	w.fail = nil
	w.syncs()
	if err := w.store(t, "a/2"); err != nil {
		t.Fatal(err)
	}
	if have := w.syncs(); !slices.Equal(have, []string{".", "a"}) {
		t.Errorf("synced %q after the failure", have)
	}
	// The objects came to be, and doing it again acknowledges them.
	if err := w.Adopt(t.Context(), file, "b/1"); err != nil {
		t.Error(err)
	}
}

// TestDurableIsBounded: the memory for folders known to be durable does not grow with the number of folders.
func TestDurableIsBounded(t *testing.T) {
	w := watch(t, t.TempDir())
	for i := range maxDurable {
		w.durable[fmt.Sprint(i)] = struct{}{}
	}
	if err := w.store(t, "a/b/1"); err != nil {
		t.Fatal(err)
	}
	if n := len(w.durable); n > maxDurable {
		t.Errorf("%d folders are remembered", n)
	}
}

func TestSweep(t *testing.T) {
	root := t.TempDir()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	// A writer at work, and one that is no more: its file is not locked.
	alive, err := s.createTemp()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	dead, err := s.createTemp()
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	if _, err := Open(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(alive.Name()); err != nil {
		t.Errorf("a file being written was swept: %v", err)
	}
	if _, err := os.Stat(dead.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an orphan was left: %v", err)
	}
	// Tidied up by hand under a running store.
	if err := os.RemoveAll(s.temp); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "k", bytes.NewReader(nil), 0, bucket.PutOptions{}); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(s.temp); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestMeaningOfFailures(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ err, reading, storing error }{
		{syscall.ENOENT, bucket.ErrAbsent, syscall.ENOENT},
		{syscall.ENOTDIR, bucket.ErrAbsent, bucket.ErrInvalidKey},
		{syscall.ENOSPC, bucket.ErrFull, bucket.ErrFull},
		{syscall.EDQUOT, bucket.ErrFull, bucket.ErrFull},
		{syscall.EACCES, bucket.ErrRefused, bucket.ErrRefused},
		{syscall.EPERM, bucket.ErrRefused, bucket.ErrRefused},
		{syscall.EROFS, bucket.ErrRefused, bucket.ErrRefused},
		{syscall.EEXIST, syscall.EEXIST, bucket.ErrExists},
		{syscall.EIO, syscall.EIO, syscall.EIO},
	} {
		wrapped := &fs.PathError{Op: "op", Path: "p", Err: c.err}
		if err := failure("get", "k", wrapped); !errors.Is(err, c.reading) {
			t.Errorf("reading, %v: %v, want %v", c.err, err, c.reading)
		}
		err := s.storing("put", "k", wrapped)
		if !errors.Is(err, c.storing) || errors.Is(err, bucket.ErrAbsent) {
			t.Errorf("storing, %v: %v, want %v", c.err, err, c.storing)
		}
	}
}

// TestLinkNew is the way of file systems that cannot rename without replacing.
func TestLinkNew(t *testing.T) {
	d := t.TempDir()
	from, to := filepath.Join(d, "from"), filepath.Join(d, "to")
	for i, want := range []error{nil, fs.ErrExist} {
		if err := os.WriteFile(from, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := linkNew(from, to); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", i, err, want)
		}
	}
	if p, err := os.ReadFile(to); err != nil || p[0] != 0 {
		t.Errorf("the first file was replaced: %v, %v", p, err)
	}
	if _, err := os.Stat(from); err != nil {
		t.Errorf("the second file is gone: %v", err)
	}
	if err := linkNew(filepath.Join(d, "none"), filepath.Join(d, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

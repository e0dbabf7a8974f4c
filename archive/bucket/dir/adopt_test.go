package dir_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
	"github.com/kineweir/kineweir/archive/bucket/dir"
)

// TestAdopt has a row for each state a crash can leave, or another object.
func TestAdopt(t *testing.T) {
	const key = "video/a/1.mp4"
	body := buckettest.Body(1, 70_000)
	other := bytes.Clone(body)
	other[69_999] ^= 1
	write := func(t *testing.T, path string, p []byte) {
		if err := os.WriteFile(path, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		state func(t *testing.T, s *dir.Store, spool string)
		want  error
		left  bool // the spool file afterwards
	}{
		{"a file and no object", func(t *testing.T, s *dir.Store, spool string) {
			write(t, spool, body)
		}, nil, false},
		{"moved already", func(t *testing.T, s *dir.Store, spool string) {
			put(t, s, key, body)
		}, nil, false},
		{"linked, not yet removed", func(t *testing.T, s *dir.Store, spool string) {
			put(t, s, key, body)
			if err := os.Link(filepath.Join(s.Root(), key), spool); err != nil {
				t.Fatal(err)
			}
		}, nil, false},
		{"copied, not yet removed", func(t *testing.T, s *dir.Store, spool string) {
			put(t, s, key, body)
			write(t, spool, body)
		}, nil, false},
		{"another object there", func(t *testing.T, s *dir.Store, spool string) {
			put(t, s, key, other)
			write(t, spool, body)
		}, bucket.ErrExists, true},
		{"a shorter object there", func(t *testing.T, s *dir.Store, spool string) {
			put(t, s, key, body[:100])
			write(t, spool, body)
		}, bucket.ErrExists, true},
		{"neither", func(t *testing.T, s *dir.Store, spool string) {}, fs.ErrNotExist, false},
		{"an empty file", func(t *testing.T, s *dir.Store, spool string) { write(t, spool, nil) }, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, spool := open(t), filepath.Join(t.TempDir(), "spool")
			c.state(t, s, spool)
			before, berr := s.Head(t.Context(), key)
			for range 2 { // a second time is as good
				if err := s.Adopt(t.Context(), spool, key); !errors.Is(err, c.want) {
					t.Fatalf("%v, want %v", err, c.want)
				}
			}
			if _, err := os.Stat(spool); (err == nil) != c.left {
				t.Errorf("spool file afterwards: %v, want it there: %v", err, c.left)
			}
			after, err := s.Head(t.Context(), key)
			if berr == nil && after != before {
				t.Errorf("the object was %+v and is %+v, %v", before, after, err)
			}
			if c.want == nil && err != nil {
				t.Error(err)
			}
		})
	}
	s := open(t)
	if err := s.Adopt(t.Context(), t.TempDir(), key); err == nil {
		t.Error("a folder was adopted")
	}
	if err := s.Adopt(t.Context(), "x", "../up"); !errors.Is(err, bucket.ErrInvalidKey) {
		t.Errorf("an invalid key: %v", err)
	}
}

// TestAdoptKeepsTheFile: on one file system it is the very file, not a copy.
func TestAdoptKeepsTheFile(t *testing.T) {
	s, spool := open(t), filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(spool, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(spool)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), spool, "a/b"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(s.Root(), "a/b"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("another file: %v", err)
	}
}

// TestAdoptAcross takes a file from another file system, where a rename cannot.
func TestAdoptAcross(t *testing.T) {
	s := open(t)
	elsewhere, err := os.MkdirTemp("/dev/shm", "adopt")
	if err != nil {
		t.Fatalf("a second file system is needed, a tmpfs at /dev/shm: %v", err)
	}
	defer os.RemoveAll(elsewhere)
	if device(t, elsewhere) == device(t, s.Root()) {
		t.Fatal("/dev/shm is on the file system of the temporary folder: set TMPDIR to a folder on a disk")
	}
	body := buckettest.Body(1, 1_000_000)
	spool := filepath.Join(elsewhere, "spool")
	for range 2 { // the second time as after a crash between copy and removal
		if err := os.WriteFile(spool, body, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Adopt(t.Context(), spool, "a/b"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(spool); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is left: %v", err)
		}
		if _, err := bucket.Same(t.Context(), s, "a/b", bytes.NewReader(body), int64(len(body))); err != nil {
			t.Error(err)
		}
	}
}

func device(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return uint64(st.Dev)
}

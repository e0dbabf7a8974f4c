package wal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// image is the content of a directory, as a crash might leave it.
type image map[string][]byte

// lazyDisk is the real file system without its syncs, for the many openings of
// tests that are about bytes.
type lazyDisk struct{ vfs.OS }

type lazyFile struct{ vfs.File }

func (lazyFile) Sync() error { return nil }

func (lazyDisk) SyncDir(string) error { return nil }

func (d lazyDisk) Create(name string) (vfs.File, error) {
	f, err := d.OS.Create(name)
	return lazyFile{f}, err
}

func (d lazyDisk) Open(name string) (vfs.File, error) {
	f, err := d.OS.Open(name)
	return lazyFile{f}, err
}

// takeImage copies what is in dir while it is in use: with nothing under way,
// that is what a crash would leave.
func takeImage(t *testing.T, dir string) image {
	t.Helper()
	im := image{}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if n.Name() == lockName {
			continue
		}
		if im[n.Name()], err = os.ReadFile(filepath.Join(dir, n.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return im
}

// restore writes the image over what is in dir.
func (im image) restore(t *testing.T, dir string) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.Remove(filepath.Join(dir, n.Name())); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range im {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// with returns an image in which one file is another.
func (im image) with(name string, b []byte) image {
	c := maps.Clone(im)
	c[name] = b
	return c
}

// files returns the sorted names with a suffix.
func (im image) files(suffix string) []string {
	var names []string
	for name := range im {
		if filepath.Ext(name) == suffix {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// namesIn lists the files in dir with a suffix.
func namesIn(t *testing.T, dir, suffix string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return names
}

// frameAt is where a frame lies in a file's bytes.
type frameAt struct {
	header
	off int
}

// framesOf finds the frames of an undamaged file.
func framesOf(t *testing.T, b []byte) []frameAt {
	t.Helper()
	fh, err := parseFileHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	w := window{f: bytes.NewReader(b), limit: int64(len(b))}
	var frames []frameAt
	for off := int64(fileHeaderSize); off < int64(len(b)); {
		h, _, err := w.frameAt(off, fh.salt)
		if err != nil {
			t.Fatalf("frame at %d: %v", off, err)
		}
		frames = append(frames, frameAt{h, int(off)})
		off += h.span()
	}
	return frames
}

// laneImage is a lane of n single-entry frames, left without a Close. Opening
// it put an epoch frame before them.
func laneImage(t *testing.T, n int, opts Options) image {
	t.Helper()
	dir := t.TempDir()
	l := mustOpen(t, dir, opts)
	for i := range n {
		if _, err := l.Append(1, "key", entryOf(i)).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	im := takeImage(t, dir)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return im
}

// entryOf is the payload of the i-th entry; no byte of it is zero.
func entryOf(i int) []byte { return fmt.Appendf(nil, "entry %04d, and some more", i) }

// readAll returns how many entries can be read, after checking each.
func readAll(t *testing.T, l *Lane) int {
	t.Helper()
	n := 0
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			t.Fatalf("after %d entries: %v", n, err)
		}
		if want := entryOf(n); !bytes.Equal(e.Payload, want) {
			t.Fatalf("entry %d is %q, want %q", n, e.Payload, want)
		}
		n++
	}
	return n
}

// wantCorrupt opens the image, wants a CorruptError, and wants nothing changed.
func wantCorrupt(t *testing.T, dir string, im image, opts Options) *journal.CorruptError {
	t.Helper()
	im.restore(t, dir)
	l, err := Open(dir, opts)
	if err == nil {
		l.Close()
		t.Fatal("opened without complaint")
	}
	var corrupt *journal.CorruptError
	if !errors.As(err, &corrupt) {
		t.Fatalf("opening failed with %v, want a CorruptError", err)
	}
	if after := takeImage(t, dir); !maps.EqualFunc(after, im, bytes.Equal) {
		t.Fatalf("opening a damaged lane changed it (%v)", err)
	}
	return corrupt
}

// wantCut opens the image, wants the first n entries and the rest of the last
// file gone, and wants the lane to go on from there.
func wantCut(t *testing.T, dir string, im image, n int) {
	t.Helper()
	im.restore(t, dir)
	for round := range 2 {
		l, err := Open(dir, Options{FS: lazyDisk{}})
		if err != nil {
			t.Fatal(err)
		}
		if cut := l.Stats().TornTail; (cut > 0) != (round == 0) {
			t.Fatalf("opening %d cut %d bytes", round, cut)
		}
		if got := readAll(t, l); got != n+round {
			t.Fatalf("opening %d: %d entries, want %d", round, got, n+round)
		}
		if _, err := l.Append(1, "key", entryOf(n+round)).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

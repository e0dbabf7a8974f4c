package vfs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestDirect writes aligned and unaligned pieces and wants the file to hold
// them all, whatever the file system makes of the flag.
func TestDirect(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := CreateDirect(OS{}, name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := DirectBuffer(64 << 10)
	content = content[:cap(content)]
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	for _, p := range []struct {
		name     string
		from, to int
		direct   bool
	}{
		{"aligned", 0, 8 << 10, true},
		{"aligned, further on", 8 << 10, 24 << 10, true},
		{"a part of a page", 24 << 10, 24<<10 + 100, false},
		{"an offset within a page", 24<<10 + 100, 32 << 10, false},
		{"aligned again", 32 << 10, 48 << 10, false},
		{"the end", 48 << 10, 50<<10 + 1, false},
	} {
		if n, err := f.WriteAt(content[p.from:p.to], int64(p.from)); n != p.to-p.from || err != nil {
			t.Fatalf("%s: %d, %v", p.name, n, err)
		}
		if d, ok := f.(*directFile); ok && (d.direct != p.direct || isDirect(t, d) != p.direct) {
			t.Errorf("%s: direct is %v, the flag %v", p.name, d.direct, isDirect(t, d))
		}
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(name); !bytes.Equal(b, content[:50<<10+1]) || err != nil {
		t.Errorf("read %d other bytes, %v", len(b), err)
	}
}

func isDirect(t *testing.T, f *directFile) bool {
	t.Helper()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_DIRECT != 0
}

func TestDirectUnalignedMemory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := CreateDirect(OS{}, name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := DirectBuffer(2 * DirectAlign)[:2*DirectAlign]
	if n, err := f.WriteAt(b[1:1+DirectAlign], 0); n != DirectAlign || err != nil {
		t.Error(n, err)
	}
}

func TestDirectBuffer(t *testing.T) {
	for _, size := range []int{1, 4095, 4096, 4097, 1 << 20} {
		b := DirectBuffer(size)
		if len(b) != 0 || cap(b) != size || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%DirectAlign != 0 {
			t.Errorf("size %d: %d of %d bytes at %p", size, len(b), cap(b), b)
		}
	}
}

// TestCreateDirectElsewhere wants an ordinary file of a file system that can do
// no better.
func TestCreateDirectElsewhere(t *testing.T) {
	fsys := NewMemory()
	if err := fsys.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	f, err := CreateDirect(fsys, "d/f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Error(err)
	}
}

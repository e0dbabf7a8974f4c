package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// outcome is what two file systems are compared by: errors by their kind.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, fs.ErrNotExist):
		return "not there"
	case errors.Is(err, io.EOF):
		return "end"
	case errors.Is(err, fs.ErrClosed):
		return "closed"
	case errors.Is(err, ErrLocked):
		return "locked"
	}
	return "refused"
}

// opened is one file open in both.
type opened struct{ os, memory File }

func randomName(rng *rand.Rand) string {
	return []string{"a", "b", "c", "d/a", "d/b", "missing/a", "d"}[rng.IntN(7)]
}

// TestMemoryIsLikeOS: the same random calls give the same results in memory as
// on the real file system.
func TestMemoryIsLikeOS(t *testing.T) {
	const rounds, calls = 20, 150
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		pair := bothSystems{rng: rng, os: t.TempDir(), memory: NewMemory()}
		for _, err := range []error{pair.memory.MkdirAll("/x/d"), OS{}.MkdirAll(filepath.Join(pair.os, "d"))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for range calls {
			pair.step(t)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		for _, f := range pair.open {
			f.os.Close()
		}
	}
	t.Logf("%d rounds of %d calls, seed %d", rounds, calls, seed)
}

type bothSystems struct {
	rng    *rand.Rand
	os     string
	memory *Memory
	open   []opened
}

func (b *bothSystems) step(t *testing.T) {
	name, other := randomName(b.rng), randomName(b.rng)
	real, realOther := filepath.Join(b.os, name), filepath.Join(b.os, other)
	mem, memOther := "/x/"+name, "/x/"+other
	same := func(call string, want, got error) {
		if outcome(want) != outcome(got) {
			t.Errorf("%s %s %s: %v, in memory %v", call, name, other, want, got)
		}
	}
	adopt := func(call string, f File, want error, g File, got error) {
		same(call, want, got)
		if want == nil && got == nil {
			b.open = append(b.open, opened{f, g})
		}
	}
	switch b.rng.IntN(9) {
	case 0:
		f, want := OS{}.Create(real)
		g, got := b.memory.Create(mem)
		adopt("create", f, want, g, got)
	case 1:
		if name == "d" {
			return // OS refuses to open a directory for writing, as Memory does
		}
		f, want := OS{}.Open(real)
		g, got := b.memory.Open(mem)
		adopt("open", f, want, g, got)
	case 2:
		if name == "d" { // renaming a directory is the known difference
			return
		}
		same("rename", OS{}.Rename(real, realOther), b.memory.Rename(mem, memOther))
	case 3:
		if name != "d" {
			same("remove", OS{}.Remove(real), b.memory.Remove(mem))
		}
	case 4:
		want, err := OS{}.List(filepath.Dir(real))
		got, gotErr := b.memory.List(filepath.Dir(mem))
		same("list", err, gotErr)
		if len(want) != len(got) {
			t.Errorf("list of %s: %q, in memory %q", filepath.Dir(name), want, got)
		}
	default:
		if len(b.open) > 0 {
			b.fileStep(t, b.open[b.rng.IntN(len(b.open))])
		}
	}
}

// fileStep calls one method of an open file with a place of any size: within,
// beyond, and across chunks.
func (b *bothSystems) fileStep(t *testing.T, f opened) {
	off := int64(b.rng.IntN(1 << (1 + b.rng.IntN(20))))
	p := make([]byte, b.rng.IntN(1<<(1+b.rng.IntN(19))))
	for i := range p {
		p[i] = byte(off + int64(i)*7 + 1)
	}
	same := func(call string, n, m int, want, got error) {
		if n != m || outcome(want) != outcome(got) {
			t.Errorf("%s of %d at %d: %d, %v, in memory %d, %v", call, len(p), off, n, want, m, got)
		}
	}
	switch b.rng.IntN(5) {
	case 0, 1:
		n, want := f.os.WriteAt(p, off)
		m, got := f.memory.WriteAt(p, off)
		same("write", n, m, want, got)
	case 2:
		same("truncate", 0, 0, f.os.Truncate(off), f.memory.Truncate(off))
	case 3:
		q := bytes.Repeat([]byte{0xAA}, len(p))
		n, want := f.os.ReadAt(p, off)
		m, got := f.memory.ReadAt(q, off)
		same("read", n, m, want, got)
		if n == m && !bytes.Equal(p[:n], q[:n]) {
			t.Errorf("read of %d at %d differs", n, off)
		}
	case 4:
		n, want := f.os.Size()
		m, got := f.memory.Size()
		same("size", int(n), int(m), want, got)
	}
}

func TestMemoryLock(t *testing.T) {
	m := NewMemory()
	if err := m.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	held, err := m.Lock("data/LOCK")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Lock("./data/LOCK"); !errors.Is(err, ErrLocked) {
		t.Errorf("second holder: %v", err)
	}
	held.Close()
	again, err := m.Lock("data/LOCK")
	if err != nil {
		t.Fatal(err)
	}
	held.Close() // closing twice is harmless, also to the next holder
	if _, err := m.Lock("data/LOCK"); !errors.Is(err, ErrLocked) {
		t.Errorf("the first holder let go what the next one holds: %v", err)
	}
	again.Close()
	if _, err := m.Lock("nowhere/LOCK"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lock in a missing directory: %v", err)
	}
	if free, err := m.Free("data"); free < 1<<60 || err != nil {
		t.Errorf("free: %d, %v", free, err)
	}
}

func TestMemoryClosed(t *testing.T) {
	m := NewMemory()
	f, err := m.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("x"), 0)
	f.Close()
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	_, writeErr := f.WriteAt([]byte("y"), 0)
	_, sizeErr := f.Size()
	for i, err := range []error{readErr, writeErr, sizeErr, f.Sync(), f.Truncate(0), f.Close()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("call %d on a closed file: %v", i, err)
		}
	}
	g, err := m.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.WriteAt(nil, -1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("write before the beginning: %v", err)
	}
}

// TestMemoryConcurrent: readers of what is there are not disturbed by growth,
// renames and removals (run with -race).
func TestMemoryConcurrent(t *testing.T) {
	m := NewMemory()
	f, err := m.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	const pieces, size = 200, 10_000
	var all sync.WaitGroup
	all.Go(func() {
		for i := range pieces {
			f.WriteAt(bytes.Repeat([]byte{byte(i)}, size), int64(i)*size)
		}
	})
	for range 3 {
		all.Go(func() {
			g, err := m.Open("f")
			if err != nil {
				return // already removed
			}
			p := make([]byte, size)
			for range pieces {
				n, _ := g.Size()
				if i := n/size - 1; i >= 0 {
					if _, err := g.ReadAt(p, i*size); err != nil || p[0] != byte(i) || p[size-1] != byte(i) {
						t.Errorf("piece %d reads %d..%d, %v", i, p[0], p[size-1], err)
					}
				}
			}
		})
	}
	m.Rename("f", "g")
	m.Remove("g")
	all.Wait()
}

// BenchmarkMemory: frames of 1 MiB written one after the other, and read.
func BenchmarkMemory(b *testing.B) {
	p := make([]byte, 1<<20)
	b.Run("write", func(b *testing.B) {
		m := NewMemory()
		f, _ := m.Create("f")
		b.SetBytes(1 << 20)
		b.ReportAllocs()
		i := int64(0)
		for b.Loop() {
			f.WriteAt(p, i%128<<20)
			i++
		}
	})
	b.Run("read", func(b *testing.B) {
		m := NewMemory()
		f, _ := m.Create("f")
		f.WriteAt(p, 0)
		b.SetBytes(1 << 20)
		b.ReportAllocs()
		for b.Loop() {
			f.ReadAt(p, 0)
		}
	})
}

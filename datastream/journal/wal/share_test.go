package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// What is shared stays as it was appended, whatever comes after it, and is what
// the lane reads back: from one writer and many, mixed with entries that are not
// shared, through frames and pieces of memory that are small and entries larger
// than both.
func TestSharedPayloads(t *testing.T) {
	t.Run("cached", func(t *testing.T) { testSharedPayloads(t, vfs.NewMemory(), 8<<10) })
	t.Run("direct", func(t *testing.T) {
		testSharedPayloads(t, directFS{idleFS{vfs.NewMemory()}, func([]byte, int64) {}}, 1<<20)
	})
}

// idleFS lets others go on while it is asked for room: between the moment that a
// frame takes no more entries and the one that it is padded.
type idleFS struct{ vfs.FS }

func (f idleFS) Free(dir string) (uint64, error) {
	for range 50 {
		runtime.Gosched()
	}
	return f.FS.Free(dir)
}

func testSharedPayloads(t *testing.T, fsys vfs.FS, frame int) {
	const writers, each = 4, 600
	l, err := Open("lane", Options{
		FS: fsys, FrameBytes: frame, DirectBytes: 1 << 10, MaxFileBytes: 8 * int64(frame), QueueBytes: 48 << 10, ReserveBytes: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type kept struct {
		future journal.Future
		shared []byte
		want   []byte
	}
	lists := make([][]kept, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			scratch := make([]byte, 100_000)
			for n := range each {
				size := rng.IntN(700)
				if n%97 == 0 {
					size = rng.IntN(90_000)
				}
				head, body := scratch[:rng.IntN(20)], scratch[20:20+size]
				for i := range scratch[:20+size] { // the caller's memory is its own again each time
					scratch[i] = byte(rng.Uint32())
				}
				k := kept{want: append(bytes.Clone(head), body...)}
				if n%7 == 0 {
					k.future = l.Append(1, fmt.Sprint(w), k.want)
				} else {
					one := []journal.Shared{{Key: fmt.Sprint(w), Head: head, Body: body}}
					l.AppendShared(1, one)
					k.future, k.shared = one[0].Future, one[0].Payload
				}
				lists[w] = append(lists[w], k)
			}
		})
	}
	all.Wait()
	at := make(map[journal.Position][]byte)
	shared := 0
	for _, list := range lists {
		for _, k := range list {
			p, err := k.future.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at[p] = k.want
			if k.shared == nil {
				continue
			}
			shared++
			if !bytes.Equal(k.shared, k.want) || cap(k.shared) != len(k.shared) {
				t.Fatalf("entry %s of %d bytes changed after it was shared, or has room behind it", p, len(k.want))
			}
		}
	}
	n := 0
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.Payload, at[e.Position]) {
			t.Fatalf("entry %s reads otherwise than it was appended", e.Position)
		}
		n++
	}
	if n != writers*each {
		t.Fatalf("read %d entries of %d", n, writers*each)
	}
	t.Logf("%d entries, %d of them shared, %d frames", n, shared, l.Stats().Frames)
}

// A refused entry is not shared.
func TestSharedRefused(t *testing.T) {
	l, err := Open("lane", Options{FS: vfs.NewMemory(), ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	both := []journal.Shared{{Key: "k", Head: make([]byte, 10), Body: make([]byte, journal.MaxPayload-9)}, {Key: "k", Body: []byte("x")}}
	l.AppendShared(1, both)
	if _, err := both[0].Future.Wait(t.Context()); both[0].Payload != nil || !errors.Is(err, journal.ErrTooLarge) {
		t.Fatal("too large an entry is shared", err)
	}
	if _, err := both[1].Future.Wait(t.Context()); string(both[1].Payload) != "x" || err != nil {
		t.Fatalf("the entry after it is %q, %v", both[1].Payload, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	late := []journal.Shared{{Key: "k", Body: []byte("x")}}
	l.AppendShared(1, late)
	if _, err := late[0].Future.Wait(t.Context()); late[0].Payload != nil || !errors.Is(err, journal.ErrClosed) {
		t.Fatal("an entry is shared after Close", err)
	}
}

// Memory comes back once nobody reads in it, and not before: payloads that are
// held keep their bytes through any number of collections, while those that are
// let go make room for later ones.
func TestSharedMemoryComesBack(t *testing.T) {
	l, err := Open("lane", Options{FS: vfs.NewMemory(), FrameBytes: 256 << 10, MaxFileBytes: 1 << 20, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	body := make([]byte, 100<<10)
	put := func(fill byte) []byte {
		for i := range body {
			body[i] = fill
		}
		one := []journal.Shared{{Key: "k", Body: body}}
		l.AppendShared(1, one)
		if _, err := one[0].Future.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		return one[0].Payload
	}
	var held [][]byte
	used := func() bool { // new memory is all zeros
		l.mu.Lock()
		defer l.mu.Unlock()
		piece := l.newPiece(1000)
		return slices.ContainsFunc(piece[:cap(piece)], func(b byte) bool { return b != 0 })
	}
	came := false
	for n := 0; n < 1000 && !(came && n >= 10); n++ {
		for range 10 {
			put(0xff)
		}
		held = append(held, put(byte(n)))
		runtime.GC()
		came = used() || came
	}
	if !came {
		t.Error("no memory came back")
	}
	for n, payload := range held {
		for i, b := range payload {
			if b != byte(n) {
				t.Fatalf("byte %d of payload %d, which was held, is %d", i, n, b)
			}
		}
	}
}

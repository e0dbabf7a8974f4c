package wal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
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
	const writers, each = 4, 600
	l, err := Open("lane", Options{FS: vfs.NewMemory(), FrameBytes: 8 << 10, MaxFileBytes: 64 << 10, QueueBytes: 48 << 10, ReserveBytes: -1})
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
					k.future, k.shared = l.AppendShared(1, fmt.Sprint(w), head, body)
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
	if _, shared := l.AppendShared(1, "k", make([]byte, 10), make([]byte, journal.MaxPayload-9)); shared != nil {
		t.Fatal("too large an entry is shared")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if f, shared := l.AppendShared(1, "k", nil, []byte("x")); shared != nil {
		t.Fatal("an entry is shared after Close", f)
	}
}

package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
)

// FuzzFrame: whatever the bytes, the parser neither panics nor reads beyond
// them, and what it takes for a frame is one: sealing what it found gives the
// same bytes again.
func FuzzFrame(f *testing.F) {
	for _, h := range []header{
		{kind: typeEpoch, number: 1, epoch: 1},
		{kind: typeEntries, count: 2, salt: 7, number: 2, epoch: 1, committed: 1, chain: 9},
	} {
		b := make([]byte, headerSize)
		for range h.count {
			b = appendEntry(b, 3, "key", []byte("payload"))
		}
		h.seal(b)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fixed := bytes.Clone(b)
		if len(b) >= headerSize { // let it past the checksums, where the rest is
			length := min(len(b)-headerSize, maxBody)
			fixed = fixed[:headerSize+length]
			h := header{kind: 1 + b[5]%3, count: uint16(b[6]), salt: uint64(b[16])}
			h.seal(fixed)
		}
		for _, b := range [][]byte{b, fixed} {
			h, err := parseHeader(b)
			if err != nil {
				if !aboutBytes(err) {
					t.Fatalf("%v is not about the bytes", err)
				}
				continue
			}
			w := window{f: bytes.NewReader(b), limit: int64(len(b))}
			_, body, err := w.frameAt(0, h.salt)
			if err != nil {
				if !aboutBytes(err) {
					t.Fatalf("%v is not about the bytes", err)
				}
				continue
			}
			again := append(make([]byte, headerSize), body...)
			h.seal(again)
			if !bytes.Equal(again[:48], b[:48]) || !bytes.Equal(again[64:], b[64:len(again)]) {
				t.Fatalf("%x was read as %x", b, again)
			}
			rest := body
			for range h.count {
				if _, rest, err = journal.CutEntry(rest); err != nil {
					t.Fatalf("checked entries fail: %v", err)
				}
			}
		}
	})
}

// FuzzSnapshot: a snapshot that is accepted holds what it says.
func FuzzSnapshot(f *testing.F) {
	body := appendItem(nil, &item{key: "a", value: []byte("1"), revision: 1})
	body = appendItem(body, &item{key: "b", revision: 2})
	h := snapHeader{next: journal.Position{Frame: 9}, keys: 2, revision: 2, length: uint64(len(body)), bodyCRC: checksum(body)}
	f.Add(append(h.encode(), body...))
	f.Add(h.encode())
	ranks := newRanks()
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= snapHeaderSize {
			body := b[snapHeaderSize:]
			h := snapHeader{keys: uint64(b[24]), revision: 1 << 40, length: uint64(len(body)), bodyCRC: checksum(body)}
			checkSnapshot(t, append(h.encode(), body...), ranks)
		}
		checkSnapshot(t, b, ranks)
	})
}

func checkSnapshot(t *testing.T, b []byte, ranks ranks) {
	s, off, err := parseSnapshot(b, ranks)
	if err != nil {
		if off < 0 || off > int64(len(b)) {
			t.Fatalf("damage at %d of %d", off, len(b))
		}
		return
	}
	if n := len(contents(t, s.tree)); uint64(n) != uint64(s.tree.size) {
		t.Fatalf("%d keys of %d", n, s.tree.size)
	}
	var body []byte
	s.tree.from("", func(it *item) bool { body = appendItem(body, it); return true })
	if len(body) > len(b)-snapHeaderSize {
		t.Fatal("holds more than was there")
	}
}

// FuzzChange: likewise for the entries of a store's lane.
func FuzzChange(f *testing.F) {
	b, _ := encodeChanges([]journal.Change{{Key: "a", Value: []byte("1")}, {Key: "b", Delete: true, Expect: 3}}, 5)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		revision, edits, err := decodeChanges(b)
		if err != nil {
			if !errors.Is(err, errChange) {
				t.Fatal(err)
			}
			return
		}
		changes := make([]journal.Change, len(edits))
		for i, e := range edits {
			changes[i] = journal.Change{Key: e.key, Value: e.value, Delete: e.value == nil}
		}
		again, _ := encodeChanges(changes, revision)
		if len(again) > len(b) { // b may have longer varints, never shorter
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// FuzzFileHeader: likewise for the head of a file.
func FuzzFileHeader(f *testing.F) {
	h := fileHeader{salt: 1, first: 2, epoch: 3, chain: 4}
	f.Add(h.encode())
	h.reused = true
	f.Add(h.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= fileHeaderSize { // let it past the checksum
			b = bytes.Clone(b)
			binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
		}
		if h, err := parseFileHeader(b); err == nil {
			if again := h.encode(); !bytes.Equal(again[:36], b[:36]) {
				t.Fatalf("%x was read as %x", b, again)
			}
		}
	})
}

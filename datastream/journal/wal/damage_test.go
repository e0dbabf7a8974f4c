package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
)

// One lane file is all these tests need.
const only = "00000000000000000001.wal"

func TestTornTailAtEveryByte(t *testing.T) {
	const entries = 4
	im := laneImage(t, entries, Options{})
	whole := im[only]
	frames := framesOf(t, whole)
	last := frames[len(frames)-1]
	noise := make([]byte, 300)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	dir := t.TempDir()
	for cut := last.off; cut < len(whole); cut++ {
		tails := map[string][]byte{
			"nothing": nil,
			"zeros":   make([]byte, len(whole)-cut),
			"garbage": noise,
		}
		if cut == last.off {
			delete(tails, "nothing") // the frame is not there at all
		}
		for name, tail := range tails {
			torn := append(bytes.Clone(whole[:cut]), tail...)
			t.Run(fmt.Sprintf("%d bytes then %s", cut-last.off, name), func(t *testing.T) {
				wantCut(t, dir, im.with(only, torn), entries-1)
			})
		}
	}
}

func TestTornSectors(t *testing.T) {
	// A frame of many sectors, of which any may be missing after a power loss.
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	var last journal.Future
	for i := range 400 {
		last = l.Append(1, "key", entryOf(i))
		if i == 0 {
			last.Wait(t.Context())
		}
	}
	if _, err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	im := takeImage(t, dir)
	l.Close()
	whole := im[only]
	frames := framesOf(t, whole)
	f := frames[len(frames)-1]
	before := 400 - int(f.count)
	for at := f.off; at < f.off+int(f.size()); at += 512 {
		torn := bytes.Clone(whole)
		clear(torn[at:min(at+512, len(torn))])
		wantCut(t, dir, im.with(only, torn), before)
	}
}

func TestDamageInTheMiddle(t *testing.T) {
	im := laneImage(t, 5, Options{})
	whole := im[only]
	frame := framesOf(t, whole)[3]
	dir := t.TempDir()
	for _, class := range []struct {
		name     string
		from, to int
	}{
		{"magic", 0, 4},
		{"format", 4, 5},
		{"type", 5, 6},
		{"count", 6, 8},
		{"body length", 8, 12},
		{"body checksum", 12, 16},
		{"salt", 16, 24},
		{"frame number", 24, 32},
		{"epoch", 32, 40},
		{"committed", 40, 48},
		{"reserved", 48, 56},
		{"chain", 56, 60},
		{"header checksum", 60, 64},
		{"body", 64, int(frame.size())},
	} {
		t.Run(class.name, func(t *testing.T) {
			for at := class.from; at < class.to; at++ {
				bad := bytes.Clone(whole)
				bad[frame.off+at] ^= 1 << (at % 8)
				err := wantCorrupt(t, dir, im.with(only, bad), Options{})
				if err.File != filepath.Join(dir, only) || err.Offset != int64(frame.off) || err.Frame != frame.number {
					t.Fatalf("byte %d: reported %+v, want frame %d at %d", at, err, frame.number, frame.off)
				}
			}
		})
	}
}

// TestDamageInTheLast: the last frame of a lane left by a crash may be torn, so
// a flip in it is cut; once another frame follows, as Close and every opening
// leave one, the same flip is damage.
func TestDamageInTheLast(t *testing.T) {
	im := laneImage(t, 3, Options{})
	whole := im[only]
	frames := framesOf(t, whole)
	last := frames[len(frames)-1]
	dir := t.TempDir()
	im.restore(t, dir)
	if err := mustOpen(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	closed := takeImage(t, dir)
	for at := range int(last.size()) {
		bad := bytes.Clone(whole)
		bad[last.off+at] ^= 0x10
		wantCut(t, dir, im.with(only, bad), 2)
		bad = bytes.Clone(closed[only])
		bad[last.off+at] ^= 0x10
		wantCorrupt(t, dir, closed.with(only, bad), Options{})
	}
}

// TestWrongLinks: frames with right checksums that do not belong where they
// stand are damage even at the very end.
func TestWrongLinks(t *testing.T) {
	im := laneImage(t, 3, Options{})
	whole := im[only]
	frames := framesOf(t, whole)
	dir := t.TempDir()
	for _, test := range []struct {
		name   string
		change func(*header)
		reason string
	}{
		{"chain", func(h *header) { h.chain++ }, "chain"},
		{"a frame left out", func(h *header) { h.number++ }, "stands where"},
		{"epoch goes back", func(h *header) { h.epoch = 0 }, "epoch 0 after epoch 1"},
		{"committed ahead of itself", func(h *header) { h.committed = h.number }, "durable before it"},
	} {
		for _, at := range []int{len(frames) - 1, len(frames) - 2} {
			t.Run(fmt.Sprintf("%s in frame %d", test.name, at), func(t *testing.T) {
				f := frames[at]
				bad := bytes.Clone(whole)
				h := f.header
				test.change(&h)
				h.seal(bad[f.off : f.off+int(f.size())])
				err := wantCorrupt(t, dir, im.with(only, bad), Options{})
				if err.Offset != int64(f.off) || err.Frame != f.number || !strings.Contains(err.Reason, test.reason) {
					t.Errorf("reported %+v, want %q at %d", err, test.reason, f.off)
				}
			})
		}
	}
}

func TestTails(t *testing.T) {
	im := laneImage(t, 3, Options{})
	other := laneImage(t, 9, Options{})
	whole := im[only]
	frames := framesOf(t, whole)
	first, last := frames[1], frames[len(frames)-1]
	noise := make([]byte, 3<<20)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	others := framesOf(t, other[only])
	rivals := other[only][others[len(frames)].off:] // with the numbers that would be next
	magics := bytes.Repeat(frameMagic[:], 1<<18)
	dir := t.TempDir()
	for _, test := range []struct {
		name string
		tail []byte
	}{
		{"zeros", make([]byte, 64<<10)},
		{"one zero", make([]byte, 1)},
		{"garbage", noise},
		{"nothing but magic", magics},
		{"frames of another file", other[only][fileHeaderSize:]},
		{"frames of another file that would be next", rivals},
		{"frames of another file that would be later", rivals[others[len(frames)].size():]},
		{"an older frame again", whole[first.off : first.off+int(first.size())]},
		{"the last frame again", whole[last.off:]},
	} {
		t.Run(test.name, func(t *testing.T) {
			tailed := append(bytes.Clone(whole), test.tail...)
			wantCut(t, dir, im.with(only, tailed), 3)
		})
	}
	// The header of a later frame, anywhere behind, is proof of damage; so the
	// search has to find it wherever its buffer happens to end.
	h := header{kind: typeEpoch, salt: last.salt, number: last.number + 2, epoch: 1, committed: last.number}
	later := make([]byte, headerSize)
	h.seal(later)
	for _, gap := range []int{1, 63, windowSize - 65, windowSize - 64, windowSize - 30, windowSize - 1, windowSize, 2*windowSize + 7} {
		t.Run(fmt.Sprintf("a later frame after %d bytes", gap), func(t *testing.T) {
			bad := append(bytes.Clone(whole), noise[:gap]...)
			bad = append(bad, later...)
			err := wantCorrupt(t, dir, im.with(only, bad), Options{})
			if err.Offset != int64(len(whole)) || err.Frame != last.number+1 {
				t.Errorf("reported %+v", err)
			}
		})
	}
}

func TestDamagedFiles(t *testing.T) {
	opts := Options{MaxFileBytes: 400}
	im := laneImage(t, 12, opts)
	names := im.files(fileSuffix)
	if len(names) < 3 {
		t.Fatalf("only %d files", len(names))
	}
	middle := names[1]
	b := im[middle]
	frames := framesOf(t, b)
	flip := func(at int) []byte {
		c := bytes.Clone(b)
		c[at] ^= 4
		return c
	}
	without := func(name string) image {
		c := im.with(name, nil)
		delete(c, name)
		return c
	}
	fh, err := parseFileHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	renamed := without(middle)
	wrong := filepath.Base(fileName("", fh.first-1))
	renamed[wrong] = b
	relinked := bytes.Clone(b)
	fh.chain++
	copy(relinked, fh.encode())
	dir := t.TempDir()
	for _, test := range []struct {
		name  string
		image image
		file  string
	}{
		{"flip in a frame", im.with(middle, flip(frames[0].off+70)), middle},
		{"flip in the last frame of a file with a successor", im.with(middle, flip(len(b)-1)), middle},
		{"cut short, with a successor", im.with(middle, b[:len(b)-1]), middle},
		{"cut at a frame, with a successor", im.with(middle, b[:frames[len(frames)-1].off]), names[2]},
		{"bytes behind the end, with a successor", im.with(middle, append(bytes.Clone(b), 0)), middle},
		{"missing", without(middle), names[2]},
		{"wrong name", renamed, wrong},
		{"empty", im.with(middle, nil), middle},
		{"another chain", im.with(middle, relinked), middle},
		{"last file without a header", im.with(names[len(names)-1], nil), names[len(names)-1]},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := wantCorrupt(t, dir, test.image, opts); err.File != filepath.Join(dir, test.file) {
				t.Errorf("reported %v, want it in %s", err, test.file)
			}
		})
	}
	t.Run("every byte of a file header", func(t *testing.T) {
		for at := range fileHeaderSize {
			wantCorrupt(t, dir, im.with(middle, flip(at)), opts)
		}
	})
	t.Run("unfinished file", func(t *testing.T) {
		im.with("00000000000000000099.wal.tmp", []byte("x")).restore(t, dir)
		l := mustOpen(t, dir, opts)
		defer l.Close()
		if n := readAll(t, l); n != 12 {
			t.Errorf("%d entries", n)
		}
		if _, err := os.Stat(filepath.Join(dir, "00000000000000000099.wal.tmp")); err == nil {
			t.Error("it was left behind")
		}
	})
}

// TestDamageUnderAnOpenLane: reading checks again.
func TestDamageUnderAnOpenLane(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	defer l.Close()
	for i := range 5 {
		if _, err := l.Append(1, "key", entryOf(i)).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, only)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	frame := framesOf(t, b)[3]
	for _, at := range []int{0, 60, 70} {
		bad := bytes.Clone(b)
		bad[frame.off+at] ^= 1
		if err := os.WriteFile(name, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		n := 0
		var got error
		for _, err := range l.Read(journal.Position{}) {
			if err != nil {
				got = err
				continue
			}
			n++
		}
		var corrupt *journal.CorruptError
		if !errors.As(got, &corrupt) || corrupt.Offset != int64(frame.off) || corrupt.Frame != frame.number || n != 2 {
			t.Errorf("byte %d: %d entries and %v, want 2 and frame %d damaged", at, n, got, frame.number)
		}
	}
}

// TestLyingLengths: a length is not trusted before its checksum, nor beyond its
// bound with a right one.
func TestLyingLengths(t *testing.T) {
	frame := make([]byte, headerSize, headerSize+100)
	frame = appendEntry(frame, 1, "key", []byte("payload"))
	h := header{kind: typeEntries, count: 1, number: 1, epoch: 1}
	h.seal(frame)
	for _, test := range []struct {
		name   string
		change func(b []byte)
		want   error
	}{
		{"beyond the bound", func(b []byte) { binary.LittleEndian.PutUint32(b[8:], maxBody+1) }, errLength},
		{"beyond the file", func(b []byte) { binary.LittleEndian.PutUint32(b[8:], maxBody) }, errCutShort},
		{"entries without a count", func(b []byte) { b[6], b[7] = 0, 0 }, errLength},
		{"more entries than there are", func(b []byte) { b[6] = 2 }, errEntries},
		{"unknown type", func(b []byte) { b[5] = 9 }, errFormat},
		{"unknown format", func(b []byte) { b[4] = 3 }, errFormat},
		{"padding of a page", func(b []byte) { b[4] = 2; binary.LittleEndian.PutUint32(b[48:], pageSize) }, errLength},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := bytes.Clone(frame)
			test.change(b)
			binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
			w := window{f: bytes.NewReader(b), limit: int64(len(b))}
			allocs := testing.AllocsPerRun(1, func() {
				if _, _, err := w.frameAt(0, 0); !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
			if cap(w.buf) > windowSize || allocs > 3 {
				t.Errorf("took %d bytes and %v allocations to find out", cap(w.buf), allocs)
			}
		})
	}
}

package wal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

func reuseOptions() Options {
	return Options{FS: lazyDisk{}, MaxFileBytes: 2 << 10, ReserveBytes: -1}
}

// numbers reads the lane, wants its entries to follow one another, and returns
// the first and the one after the last.
func numbers(t *testing.T, l *Lane) (first, end int) {
	t.Helper()
	first, end = -1, -1
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscanf(string(e.Payload), "entry %d", &n); err != nil || (first >= 0 && n != end) {
			t.Fatalf("entry %q after %d", e.Payload, end-1)
		}
		if first < 0 {
			first = n
		}
		end = n + 1
	}
	return first, end
}

// reusedLane appends and trims until the file being written, and the one before
// it, are made of spares and hold a few frames, and returns the lane and the
// number of its next entry.
func reusedLane(t *testing.T, dir string, opts Options) (*Lane, int) {
	t.Helper()
	l := mustOpen(t, dir, opts)
	n := 0
	for ; l.Stats().Files < 4; n++ {
		appendOK(t, l, n)
	}
	if err := l.Trim(l.Stats().End); err != nil {
		t.Fatal(err)
	}
	for files := 0; files < 2 || l.active.size < 600; n++ {
		appendOK(t, l, n)
		files = int(reusedFiles(l))
	}
	return l, n
}

// reusedImage is such a lane, left without a Close: the image of it, the image
// as it was before the last entry, and the number of the next entry.
func reusedImage(t *testing.T) (before, im image, next int) {
	t.Helper()
	dir := t.TempDir()
	l, n := reusedLane(t, dir, reuseOptions())
	before = takeImage(t, dir)
	appendOK(t, l, n)
	im = takeImage(t, dir)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return before, im, n + 1
}

// livingFrames finds the frames of a reused file, without what lies behind.
func livingFrames(t *testing.T, b []byte) []frameAt {
	t.Helper()
	fh, err := parseFileHeader(b)
	if err != nil || !fh.reused {
		t.Fatalf("not a reused file: %+v, %v", fh, err)
	}
	w := window{f: bytes.NewReader(b), limit: int64(len(b))}
	var frames []frameAt
	for off := int64(fileHeaderSize); ; {
		h, _, err := w.frameAt(off, fh.salt)
		if err != nil {
			return frames
		}
		frames = append(frames, frameAt{h, int(off)})
		off += h.span()
	}
}

func TestReuse(t *testing.T) {
	dir := t.TempDir()
	l, n := reusedLane(t, dir, reuseOptions())
	s := l.Stats()
	if got := namesIn(t, dir, spareSuffix); len(got) != 0 || s.Spare != 0 {
		t.Errorf("%v are spare, %d bytes; the lane used both", got, s.Spare)
	}
	first, end := numbers(t, l)
	if end != n {
		t.Errorf("entries %d to %d, want up to %d", first, end, n)
	}
	im := takeImage(t, dir)
	names := im.files(fileSuffix)
	last := im[names[len(names)-1]]
	frames := livingFrames(t, last)
	if live := frames[len(frames)-1]; int64(live.off)+live.size() >= int64(len(last)) {
		t.Error("nothing of a former life lies behind the last frame: the test misses it")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // opening neither cuts nor complains
		l = mustOpen(t, dir, reuseOptions())
		if a, b := numbers(t, l); a != first || b != n || l.Stats().TornTail != 0 {
			t.Errorf("reopened: entries %d to %d, %d bytes torn", a, b, l.Stats().TornTail)
		}
		appendOK(t, l, n)
		n++
		l.Close()
	}
	if now := takeImage(t, dir)[names[len(names)-1]]; len(now) != len(last) {
		t.Errorf("the file had %d bytes and now has %d", len(last), len(now))
	}
}

// TestSpares: as many are kept as wanted, through openings too.
func TestSpares(t *testing.T) {
	for _, want := range []int{1, 2, 3} {
		dir := t.TempDir()
		opts := reuseOptions()
		opts.SpareFiles = want
		l := mustOpen(t, dir, opts)
		for n := 0; l.Stats().Files < 6; n++ {
			appendOK(t, l, n)
		}
		if err := l.Trim(l.Stats().End); err != nil {
			t.Fatal(err)
		}
		spares := namesIn(t, dir, spareSuffix)
		if len(spares) != want || l.Stats().Spare < int64(want)*opts.MaxFileBytes/2 {
			t.Errorf("kept %v, %d bytes, want %d files", spares, l.Stats().Spare, want)
		}
		l.Close()
		for _, fewer := range []int{want, 1, -1} {
			opts.SpareFiles = fewer
			mustOpen(t, dir, opts).Close()
			if got := namesIn(t, dir, spareSuffix); len(got) != max(fewer, 0) {
				t.Errorf("opened with SpareFiles %d: kept %v", fewer, got)
			}
		}
	}
}

// TestReusedTornAtEveryByte: however much of the last frame reached the file,
// before the bytes that were there, the lane ends before it and goes on.
func TestReusedTornAtEveryByte(t *testing.T) {
	before, im, next := reusedImage(t)
	names := im.files(fileSuffix)
	last := names[len(names)-1]
	frames := livingFrames(t, im[last])
	f := frames[len(frames)-1]
	dir := t.TempDir()
	for at := range int(f.size()) {
		for _, torn := range [][]byte{
			slices.Concat(im[last][:f.off+at], before[last][f.off+at:]),
			slices.Concat(before[last][:f.off+at], im[last][f.off+at:]),
		} {
			if bytes.Equal(torn, im[last]) {
				continue
			}
			im.with(last, torn).restore(t, dir)
			for round := range 2 {
				l := mustOpen(t, dir, reuseOptions())
				if _, end := numbers(t, l); end != next-1+round {
					t.Fatalf("%d bytes, opening %d: entries up to %d, want %d", at, round, end, next-1+round)
				}
				if at >= headerSize && round == 0 && bytes.Equal(torn[f.off:f.off+headerSize], im[last][f.off:f.off+headerSize]) && l.Stats().TornTail == 0 {
					t.Fatalf("%d bytes: an unfinished frame is not told", at)
				}
				if l.active.extent < int64(len(torn)) {
					t.Fatalf("%d bytes: the file was cut to %d", at, l.active.extent)
				}
				appendOK(t, l, next-1+round)
				l.Close()
			}
		}
	}
}

func TestReusedDamage(t *testing.T) {
	_, im, _ := reusedImage(t)
	names := im.files(fileSuffix)
	dir := t.TempDir()
	for _, test := range []struct {
		what  string
		file  string
		frame int // from the end
	}{
		{"a frame before the last one of the lane", names[len(names)-1], 2},
		{"the first frame of the last file", names[len(names)-1], -1},
		{"the last frame of a file with a successor", names[len(names)-2], 1},
		{"a frame of a file with a successor", names[len(names)-2], 3},
	} {
		frames := livingFrames(t, im[test.file])
		f := frames[0]
		if test.frame > 0 {
			f = frames[len(frames)-test.frame]
		}
		for at := range int(f.size()) {
			bad := bytes.Clone(im[test.file])
			bad[f.off+at] ^= 1 << (at % 8)
			err := wantCorrupt(t, dir, im.with(test.file, bad), reuseOptions())
			if err.File != filepath.Join(dir, test.file) || err.Offset != int64(f.off) || err.Frame != f.number {
				t.Fatalf("%s, byte %d: reported %+v, want frame %d at %d", test.what, at, err, f.number, f.off)
			}
		}
	}
	missing := im.with(names[0], nil)
	for _, name := range names {
		delete(missing, name)
	}
	missing["00000000000000000001.wal.spare"] = im[names[0]]
	if err := wantCorrupt(t, dir, missing, reuseOptions()); !strings.Contains(err.Reason, "missing") {
		t.Errorf("spares without a lane: %v", err)
	}
}

// TestFormerLife: frames of a former life do not come back, even if all but the
// salt is what the next frame would be.
func TestFormerLife(t *testing.T) {
	_, im, next := reusedImage(t)
	names := im.files(fileSuffix)
	last := names[len(names)-1]
	frames := livingFrames(t, im[last])
	f := frames[len(frames)-1]
	frame := appendEntry(make([]byte, headerSize), 1, "key", entryOf(next))
	h := header{kind: typeEntries, count: 1, salt: f.salt + 1, number: f.number + 1, epoch: f.epoch, committed: f.number, chain: f.crc}
	h.seal(frame)
	later := make([]byte, headerSize)
	h = header{kind: typeEpoch, salt: f.salt + 1, number: f.number + 2, epoch: f.epoch, committed: f.number + 1}
	h.seal(later)
	end := f.off + int(f.size())
	grafted := slices.Concat(im[last][:end], frame, later, im[last][end:])
	dir := t.TempDir()
	im.with(last, grafted).restore(t, dir)
	l := mustOpen(t, dir, reuseOptions())
	defer l.Close()
	if _, got := numbers(t, l); got != next {
		t.Errorf("entries up to %d, want %d", got, next)
	}
}

// TestReaderOfAReusedFile: a reader in a file that is trimmed and written over
// passes on to what is retained.
func TestReaderOfAReusedFile(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{MaxFileBytes: 3 << 20, ReserveBytes: -1})
	defer l.Close()
	data := bytes.Repeat([]byte{'x'}, 300<<10) // more than a reader has in its buffer
	n := 0
	put := func() {
		b := fmt.Appendf(nil, "entry %04d %s", n, data)
		if _, err := l.Append(1, "key", b).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		n++
	}
	for l.Stats().Files < 3 {
		put()
	}
	seen, before := 0, n
	lastSeen := ""
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			t.Fatalf("after %d entries: %v", seen, err)
		}
		if seen++; seen == 1 {
			if err := l.Trim(l.Stats().End); err != nil {
				t.Fatal(err)
			}
			for reusedFiles(l) < 2 || l.active.size < l.opts.MaxFileBytes/2 {
				put()
			}
		}
		lastSeen = string(e.Payload[:10])
	}
	if want := fmt.Sprintf("entry %04d", before-1); lastSeen != want {
		t.Errorf("the last of %d entries was %q, want %q", seen, lastSeen, want)
	}
}

// TestSparesAreGivenBack: no entry is refused while a spare holds room.
func TestSparesAreGivenBack(t *testing.T) {
	t.Run("a write meets no room", func(t *testing.T) {
		fsys := vfs.NewFaults(vfs.OS{})
		opts := reuseOptions()
		opts.FS = fsys
		dir := t.TempDir()
		l := mustOpen(t, dir, opts)
		defer l.Close()
		n := 0
		for ; l.Stats().Files < 4; n++ {
			appendOK(t, l, n)
		}
		if err := l.Trim(l.Stats().End); err != nil {
			t.Fatal(err)
		}
		var spares atomic.Int32
		spares.Store(2)
		fsys.Set(func(c vfs.Call) vfs.Fault {
			switch {
			case c.Op == vfs.OpRemove && strings.HasSuffix(c.Name, spareSuffix):
				spares.Add(-1)
			case c.Op == vfs.OpWrite && spares.Load() > 0:
				return vfs.Fault{Err: syscall.ENOSPC, Wrote: 10}
			}
			return vfs.Fault{}
		})
		appendOK(t, l, n)
		if s := l.Stats(); s.Spare != 0 || s.Refused != 0 {
			t.Errorf("%d bytes are spare, %d entries were refused", s.Spare, s.Refused)
		}
	})
	t.Run("the reserve is touched", func(t *testing.T) {
		fsys := &roomyFS{FS: vfs.OS{}}
		fsys.free.Store(1 << 40)
		opts := Options{MaxFileBytes: 2 << 10, ReserveBytes: 1 << 20, FS: fsys}
		dir := t.TempDir()
		l, n := reusedLane(t, dir, opts)
		defer l.Close()
		fsys.free.Store(100) // from here on only what the lane has
		for l.active.size+200 < l.active.extent {
			appendOK(t, l, n)
			n++
		}
		_, err := l.Append(1, "key", make([]byte, 1000)).Wait(t.Context())
		if !errors.Is(err, journal.ErrFull) {
			t.Errorf("beyond what the lane has: %v", err)
		}
		if err := l.Trim(l.Stats().End); err != nil || l.Stats().Spare != 0 {
			t.Errorf("trim kept %d bytes that others wait for, %v", l.Stats().Spare, err)
		}
	})
}

// roomyFS says how much room there is.
type roomyFS struct {
	vfs.FS
	free atomic.Uint64
}

func (f *roomyFS) Free(string) (uint64, error) { return f.free.Load(), nil }

// TestFormerVersion: a lane written before there were spares.
func TestFormerVersion(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "lane01.hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	wantCut(t, dir, image{only: append(bytes.Clone(b), 0)}, 2)
	image{only: b}.restore(t, dir)
	l := mustOpen(t, dir, Options{})
	defer l.Close()
	if n := readAll(t, l); n != 2 || l.Stats().TornTail != 0 {
		t.Errorf("%d entries, %d bytes torn", n, l.Stats().TornTail)
	}
}

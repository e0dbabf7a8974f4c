package wal

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// directFS is a file system whose direct writes are ordinary ones, and told of.
type directFS struct {
	vfs.FS
	tell func(b []byte, offset int64)
}

type directFile struct {
	vfs.File
	tell func(b []byte, offset int64)
}

func (d directFS) OpenDirect(name string) (vfs.File, error) {
	f, err := d.Open(name)
	return directFile{f, d.tell}, err
}

func (f directFile) WriteAt(b []byte, offset int64) (int, error) {
	f.tell(b, offset)
	return f.File.WriteAt(b, offset)
}

// TestDirectFrames appends entries of all sizes, alone and together, so that
// small frames, large ones and those that are not shared follow each other in
// all orders and through several files, new and reused, and wants them read back
// by this lane and by the next.
func TestDirectFrames(t *testing.T) {
	dir := t.TempDir()
	direct := 0
	opts := Options{
		FS:           directFS{lazyDisk{}, func([]byte, int64) { direct++ }},
		MaxFileBytes: 256 << 10, FrameBytes: 64 << 10, DirectBytes: 4 << 10, ReserveBytes: -1,
	}
	l := mustOpen(t, dir, opts)
	rng := rand.New(rand.NewPCG(5, 6))
	want := make(map[journal.Position][]byte)
	reused := int64(0)
	for n := range 1500 {
		entries := make([]journal.Shared, 1+rng.IntN(4))
		for i := range entries {
			body := make([]byte, rng.IntN(1<<rng.IntN(16)))
			for j := range body {
				body[j] = byte(rng.Uint32())
			}
			entries[i] = journal.Shared{Key: "k", Body: body}
		}
		if n%50 == 7 {
			entries[0].Future = l.Append(1, "k", entries[0].Body)
			entries = entries[:1]
		} else {
			l.AppendShared(1, entries)
		}
		for i := range entries {
			p, err := entries[i].Future.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want[p] = entries[i].Body
		}
		if n == 700 {
			if err := l.Trim(l.Stats().End); err != nil {
				t.Fatal(err)
			}
		}
		reused = max(reused, reusedFiles(l))
	}
	check := func(l *Lane) {
		t.Helper()
		n := 0
		for e, err := range l.Read(journal.Position{}) {
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(e.Payload, want[e.Position]) {
				t.Fatalf("entry %s reads otherwise than it was appended", e.Position)
			}
			n++
		}
		if n < 600 {
			t.Errorf("read %d entries", n)
		}
	}
	check(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, Options{})
	check(l)
	if st := l.Stats(); st.TornTail != 0 {
		t.Errorf("a torn tail of %d bytes", st.TornTail)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if direct < 50 || reused == 0 {
		t.Errorf("%d direct writes, %d reused files", direct, reused)
	}
}

// paddedImage is a lane whose last frame is padded, left without a Close.
func paddedImage(t *testing.T) (im image, last frameAt) {
	t.Helper()
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{FS: directFS{lazyDisk{}, func([]byte, int64) {}}, DirectBytes: 1 << 10})
	for i := range 3 {
		one := []journal.Shared{{Key: "key", Body: bytes.Repeat(entryOf(i), 50)}}
		l.AppendShared(1, one)
		if _, err := one[0].Future.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	im = takeImage(t, dir)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	frames := framesOf(t, im[only])
	last = frames[len(frames)-1]
	if last.padding == 0 || last.off%pageSize != 0 || len(im[only])%pageSize != 0 {
		t.Fatalf("the last frame is at %d with %d bytes of padding", last.off, last.padding)
	}
	return im, last
}

// What a crash makes of a frame's padding takes nothing from the frame, and the
// next one goes where it would have gone.
func TestPaddingMeansNothing(t *testing.T) {
	im, last := paddedImage(t)
	whole := im[only]
	end := last.off + int(last.size())
	garbage := bytes.Clone(whole)
	for i := end; i < len(garbage); i++ {
		garbage[i] = byte(i)
	}
	for name, b := range map[string][]byte{
		"whole": whole, "none": whole[:end], "half": whole[:(end+len(whole))/2], "garbage": garbage,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			im.with(only, b).restore(t, dir)
			for range 2 {
				l := mustOpen(t, dir, Options{})
				if st := l.Stats(); st.TornTail != 0 || st.Files != 1 {
					t.Errorf("%+v", st)
				}
				n := 0
				for e, err := range l.Read(journal.Position{}) {
					if err != nil || !bytes.Equal(e.Payload, bytes.Repeat(entryOf(n%3), 50)) {
						t.Fatalf("entry %d: %v", n, err)
					}
					n++
				}
				if n%3 != 0 || n == 0 {
					t.Errorf("%d entries", n)
				}
				for i := range 3 {
					if _, err := l.Append(1, "key", bytes.Repeat(entryOf(i), 50)).Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if names := namesIn(t, dir, fileSuffix); len(names) != 1 || filepath.Base(names[0]) != only {
				t.Errorf("files %q", names)
			}
		})
	}
}

// A bad frame that is padded, or follows one, is judged as any other.
func TestPaddedDamage(t *testing.T) {
	im, last := paddedImage(t)
	dir := t.TempDir()
	frames := framesOf(t, im[only])
	for _, f := range frames[:len(frames)-1] {
		b := bytes.Clone(im[only])
		b[f.off+20] ^= 1
		wantCorrupt(t, dir, im.with(only, b), Options{})
	}
	for _, at := range []int{last.off, last.off + 48, last.off + 63, last.off + int(last.size()) - 1} {
		b := bytes.Clone(im[only])
		b[at] ^= 1
		im.with(only, b).restore(t, dir)
		l := mustOpen(t, dir, Options{})
		if torn := l.Stats().TornTail; torn != int64(len(b)-last.off) {
			t.Errorf("byte %d: %d bytes cut off", at, torn)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

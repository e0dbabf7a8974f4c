package archive

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// spoolFile is the only segment in the spool.
func (p *place) spoolFile() string {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.opts.Dir, "spool", "*", "*"+objectExt))
	if err != nil || len(files) != 1 {
		p.t.Fatalf("spool holds %v (%v), want one file", files, err)
	}
	return files[0]
}

func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRecovery has a row for each state in which a crash or a fault can leave a
// spool file of three fragments, of which the index knows all.
func TestRecovery(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(data []byte, e []*Entry) []byte
		kept  []int // of the three fragments
		aside bool  // a damaged copy is kept
	}{
		{"as it was", func(d []byte, _ []*Entry) []byte { return d }, []int{0, 1, 2}, false},
		{"torn box after the last", func(d []byte, e []*Entry) []byte { return append(d, d[e[1].Offset-100:e[1].Offset+50]...) }, []int{0, 1, 2}, false},
		{"zeros after the last", func(d []byte, _ []*Entry) []byte { return append(d, make([]byte, 5000)...) }, []int{0, 1, 2}, false},
		{"a torn index box", func(d []byte, e []*Entry) []byte {
			box := appendIndex(nil, "cam", testObject(testCreated, testVideo(), testAudio()), nil)
			return append(d, box[:len(box)-5]...)
		}, []int{0, 1, 2}, false},
		{"damage in the first", func(d []byte, e []*Entry) []byte { d[e[0].Offset+60] ^= 1; return d }, []int{1, 2}, true},
		{"damage in the second", func(d []byte, e []*Entry) []byte { d[e[1].Runs[1].Offset+5] ^= 1; return d }, []int{0, 2}, true},
		{"damaged box of the second", func(d []byte, e []*Entry) []byte { d[e[1].Offset-4] ^= 1; return d }, []int{0, 2}, true},
		{"damage in the last", func(d []byte, e []*Entry) []byte { d[e[2].Offset+60] ^= 1; return d }, []int{0, 1}, true},
		{"the last cut off", func(d []byte, e []*Entry) []byte { return d[:e[2].Offset+60] }, []int{0, 1}, true},
		{"all cut off", func(d []byte, e []*Entry) []byte { return d[:e[0].Offset+60] }, nil, true},
		{"damaged header", func(d []byte, e []*Entry) []byte { d[200] ^= 1; return d[:100] }, nil, true},
		{"empty", func([]byte, []*Entry) []byte { return nil }, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			a := p.open()
			p.record(a, "other").add(2)
			other := listed(t, a, "other")
			p.close(a)
			a = p.open()
			p.record(a, "cam").add(3)
			all := listed(t, a, "cam")
			p.crash(a)
			path := p.spoolFile()
			change(t, path, func(d []byte) []byte { return c.spoil(d, all) })
			for range 2 { // the second time nothing is left to do
				a = p.open()
				var want []*Entry
				for _, i := range c.kept {
					want = append(want, all[i])
				}
				if got := listed(t, a, "cam"); !reflect.DeepEqual(got, want) {
					t.Fatalf("%v are left, want %v", numbers(got), numbers(want))
				}
				if got := listed(t, a, "other"); !reflect.DeepEqual(got, other) {
					t.Fatalf("another stream has %v", numbers(got))
				}
				checkReadable(t, a, "cam", want)
				settled(t, a)
				checkReadable(t, a, "cam", want)
				if len(p.record(a, "cam").add(1)) != 1 {
					t.Fatal("cannot record")
				}
				all = append(all, listed(t, a, "cam")[len(want)])
				c.kept = append(c.kept, len(all)-1)
				p.close(a)
			}
			_, err := os.Stat(path + damagedExt)
			if c.aside != (err == nil) {
				t.Fatalf("damaged copy: %v, want one: %v", err, c.aside)
			}
			report, err := Verify(context.Background(), p.opts.Bucket, nil)
			if err != nil || len(report.Problems) > 0 {
				t.Fatalf("verify: %v, %+v", err, report)
			}
		})
	}
}

// TestRecoveryWithoutFrames: fragments that are whole in the spool and that the
// index does not know get their frames, torn ones anywhere in the last do not.
func TestRecoveryWithoutFrames(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	r.g.frames, r.g.frameSize = 2, 20
	r.add(2)
	two := listed(t, a, "cam")
	indexed := snapshot(t, p.opts.Dir)
	r.add(2)
	four := listed(t, a, "cam")
	p.crash(a)
	path := p.spoolFile()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int64{four[2].Offset - 1, four[2].Offset + 1, four[2].Offset + four[2].Size - 1, four[2].Offset + four[2].Size, four[3].Offset, int64(len(data))} {
		restore(t, p.opts.Dir, indexed)
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		a := p.open()
		want := two
		for _, e := range four[2:] {
			if e.Offset+e.Size <= cut {
				want = append(want[:len(want):len(want)], e)
			}
		}
		got := listed(t, a, "cam")
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("cut at %d: %v, want %v", cut, numbers(got), numbers(want))
		}
		checkReadable(t, a, "cam", got)
		p.crash(a)
		a = p.open() // from the frames that were made up for
		if got := listed(t, a, "cam"); !reflect.DeepEqual(got, want) {
			t.Fatalf("cut at %d, again: %v, want %v", cut, numbers(got), numbers(want))
		}
		p.crash(a)
		key := want[0].Object
		if err := p.opts.Bucket.Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot keeps the files of the index and the catalog; restore brings them
// back.
func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{"journal", "meta"} {
		paths, err := filepath.Glob(filepath.Join(dir, name, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if files[path], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files
}

func restore(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for _, name := range []string{"journal", "meta"} {
		paths, _ := filepath.Glob(filepath.Join(dir, name, "*"))
		for _, path := range paths {
			if _, ok := files[path]; !ok {
				os.Remove(path)
			}
		}
	}
	for path, data := range files {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashAfterAdoption: the bucket has taken the file, the index does not know.
func TestCrashAfterAdoption(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	r.add(2)
	want := listed(t, a, "cam")
	indexed := snapshot(t, p.opts.Dir)
	r.close()
	settled(t, a)
	p.crash(a)
	restore(t, p.opts.Dir, indexed)
	a = p.open()
	settled(t, a)
	if got := listed(t, a, "cam"); !reflect.DeepEqual(got, want) {
		t.Fatalf("%v, want %v", numbers(got), numbers(want))
	}
	checkReadable(t, a, "cam", want)
	if info, _ := a.Stream("cam"); info.Spooled != 0 {
		t.Fatalf("%d bytes are thought to be in the spool", info.Spooled)
	}
}

// TestStrangeFiles: what the spool should not hold is left alone.
func TestStrangeFiles(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	p.record(a, "cam").add(1)
	p.crash(a)
	dir := filepath.Dir(p.spoolFile())
	strange := []string{filepath.Join(dir, "notes.txt"), filepath.Join(p.opts.Dir, "spool", "who@1", objectName(fragments.Number{Epoch: 1, Counter: 1}))}
	for _, path := range strange {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a = p.open()
	if n := len(listed(t, a, "cam")); n != 1 {
		t.Fatalf("%d fragments", n)
	}
	for _, path := range strange {
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, []byte("x")) {
			t.Fatalf("%s: %v", strings.TrimPrefix(path, p.opts.Dir), err)
		}
	}
}

// TestLeftBehind: a crash came before the spool file of a stored object was
// removed; one that was found only after its hour was closed goes as well.
func TestLeftBehind(t *testing.T) {
	for _, closed := range []bool{false, true} {
		p := newPlace(t)
		a := p.open()
		r := p.record(a, "cam")
		r.add(2)
		want := listed(t, a, "cam")
		path := p.spoolFile()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r.close()
		settled(t, a)
		if closed {
			p.clock.Add(2 * time.Hour)
			a.chore(context.Background())
		}
		p.crash(a)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		a = p.open()
		if _, err := os.Stat(path); !isAbsent(err) {
			t.Fatalf("hour closed %v: the file is still there: %v", closed, err)
		}
		if got := listed(t, a, "cam"); !slices.EqualFunc(got, want, equalEntries) || a.Stats().SpoolBytes != 0 {
			t.Fatalf("hour closed %v: %v, want %v", closed, numbers(got), numbers(want))
		}
	}
}

// TestDamageIsMetByReaders: a changed byte is an error that names the place, for
// the track that it lies in alone.
func TestDamageIsMetByReaders(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	r.add(1)
	r.close()
	settled(t, a)
	e := listed(t, a, "cam")[0]
	flip(t, p.opts.Bucket, e.Object, func(int64) int64 { return e.Runs[0].Offset + e.Runs[0].Size - 1 })
	_, err := a.ReadRun(context.Background(), "cam", e, 0)
	var damage *DamagedError
	if !errors.As(err, &damage) || damage.Object != e.Object || a.Stats().Damaged != 1 {
		t.Fatalf("the damaged track: %v", err)
	}
	if _, err := a.ReadRun(context.Background(), "cam", e, 1); err != nil {
		t.Fatalf("the other track: %v", err)
	}
	if _, err := a.ReadRun(context.Background(), "cam", e, 2); err == nil {
		t.Fatal("a track that is not there was read")
	}
	flip(t, p.opts.Bucket, e.Object, func(int64) int64 { return -1 })
	if _, err := a.ReadRun(context.Background(), "cam", e, 0); !errors.As(err, &damage) {
		t.Fatalf("a missing object: %v", err)
	}
}

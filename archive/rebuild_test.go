package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
)

// checkRebuilt rebuilds into a new folder and in place, and compares.
func checkRebuilt(t testing.TB, opts Options, want map[fragments.StreamName][]*Entry) {
	t.Helper()
	for _, folder := range []string{t.TempDir(), opts.Dir} {
		objects := 0
		report, err := Rebuild(context.Background(), RebuildOptions{
			Bucket: opts.Bucket, Dir: folder, Now: opts.Now,
			Progress: func(p Progress) { objects = p.Objects },
		})
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("rebuild: %v, %+v", err, report)
		}
		if objects != report.Objects {
			t.Fatalf("progress tells of %d objects, the report of %d", objects, report.Objects)
		}
		opts := opts
		opts.Dir = folder
		a, err := Open(context.Background(), opts)
		if err != nil {
			t.Fatal(err)
		}
		a.chore(context.Background())
		a.retain(context.Background())
		for name, entries := range want {
			got := listed(t, a, name)
			if len(got)+len(entries) > 0 && !reflect.DeepEqual(got, entries) {
				t.Fatalf("%s: rebuilt %d entries, want %d:\n%v\n%v", name, len(got), len(entries), numbers(got), numbers(entries))
			}
			if len(got) > 0 {
				checkReadable(t, a, name, got[len(got)-1:])
				info, _ := a.Stream(name)
				if !reflect.DeepEqual(info.First, got[0]) || !reflect.DeepEqual(info.Last, got[len(got)-1]) || info.Fragments != int64(len(got)) {
					t.Fatalf("%s: rebuilt stream is %+v", name, info)
				}
			}
		}
		if n := len(a.all()); n != len(want) {
			t.Fatalf("%d streams rebuilt, want %d", n, len(want))
		}
		if err := a.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRebuild(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r, other := p.record(a, "cam"), p.record(a, fragments.StreamName(strings.Repeat("long", 64)))
	gone := p.record(a, "gone")
	for range 3 { // hours
		r.add(4)
		r.g.video = testVideo()
		r.g.video.Params[1] = append(r.g.video.Params[1], byte(len(r.g.video.Params[1])))
		r.add(3)
		other.add(2)
		gone.add(1)
		p.clock.Add(time.Hour)
	}
	epoch := r.l.Epoch
	for _, r := range []*recorder{r, other, gone} {
		r.close()
	}
	settled(t, a)
	a.chore(context.Background())
	r = p.record(a, "cam")
	r.add(2) // the last hour stays open
	r.close()
	settled(t, a)
	if err := a.DeleteStream(context.Background(), "gone"); err != nil {
		t.Fatal(err)
	}
	a.sweepGone(context.Background())
	want := map[fragments.StreamName][]*Entry{"cam": listed(t, a, "cam"), other.l.Stream: listed(t, a, other.l.Stream)}
	if len(want["cam"]) != 23 || len(want[other.l.Stream]) != 6 {
		t.Fatalf("recorded %d and %d", len(want["cam"]), len(want[other.l.Stream]))
	}
	if _, err := Rebuild(context.Background(), RebuildOptions{Bucket: p.opts.Bucket, Dir: p.opts.Dir}); err == nil {
		t.Fatal("rebuilt under an open archive")
	}
	p.close(a)
	checkRebuilt(t, p.opts, want)
	a = p.open()
	if r := p.record(a, "cam"); r.l.Epoch <= epoch {
		t.Fatalf("epoch %d after a rebuild, was %d", r.l.Epoch, epoch)
	}
}

// TestRebuildKeepsDeleted: what was deleted, and what was being deleted when the
// lights went out, does not come back.
func TestRebuildKeepsDeleted(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r, gone := p.record(a, "cam"), p.record(a, "gone")
	for range 3 {
		r.add(3)
		gone.add(3)
		p.clock.Add(time.Hour)
	}
	r.close()
	gone.close()
	settled(t, a)
	a.chore(context.Background())
	all := listed(t, a, "cam")
	s, _ := a.stream("cam")
	// As far as stream.json, but not further.
	if err := errors.Join(s.raise(context.Background(), all[4].Number), a.writeSettings(context.Background(), s, false)); err != nil {
		t.Fatal(err)
	}
	if err := a.DeleteStream(context.Background(), "gone"); err != nil {
		t.Fatal(err)
	}
	for dir, g := range a.gone {
		file := settingsFile{Version: settingsVersion, Name: g.Name, Created: timeOfMillis(g.Created), Deleted: true}
		if err := putSettings(context.Background(), p.opts.Bucket, dir, file); err != nil {
			t.Fatal(err)
		}
	}
	p.close(a)
	checkRebuilt(t, p.opts, map[fragments.StreamName][]*Entry{"cam": all[4:]})
	if keys := keysOf(t, p.opts.Bucket, "video/gone@"); len(keys) > 0 {
		t.Fatalf("left of the deleted stream: %v", keys)
	}
	report, err := Verify(context.Background(), p.opts.Bucket, nil)
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("verify: %v, %+v", err, report)
	}
}

// TestRebuildWithSpool: the spool of a lost catalog is recovered too.
func TestRebuildWithSpool(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r, only := p.record(a, "cam"), p.record(a, "spooled")
	r.add(3)
	r.close()
	settled(t, a)
	r = p.record(a, "cam")
	r.add(2)
	only.add(2)
	want := map[fragments.StreamName][]*Entry{"cam": listed(t, a, "cam"), "spooled": listed(t, a, "spooled")}
	p.clock.Add(3 * time.Hour)
	p.crash(a)
	if err := errors.Join(os.RemoveAll(filepath.Join(p.opts.Dir, "journal")), os.RemoveAll(filepath.Join(p.opts.Dir, "meta"))); err != nil {
		t.Fatal(err)
	}
	report, err := Rebuild(context.Background(), RebuildOptions{Bucket: p.opts.Bucket, Dir: p.opts.Dir, Now: p.clock.Now})
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("rebuild: %v, %+v", err, report)
	}
	a = p.open()
	for name, entries := range want {
		if got := listed(t, a, name); !reflect.DeepEqual(got, entries) {
			t.Fatalf("%s: %v, want %v", name, numbers(got), numbers(entries))
		}
		checkReadable(t, a, name, entries)
	}
}

// TestDamageIsReported breaks one thing in the bucket at a time; verify and
// rebuild must name it and go on.
func TestDamageIsReported(t *testing.T) {
	for _, c := range []struct {
		name    string
		key     func(all []*Entry) string
		offset  func(e *Entry, size int64) int64 // of the flipped byte, or -1: the object is removed
		rebuild int                              // problems that rebuild reports
		kept    int                              // fragments that are listed after it
	}{
		{"media", objectOf, func(e *Entry, _ int64) int64 { return e.Runs[0].Offset + 100 }, 0, 4},
		{"fragment box", objectOf, func(e *Entry, _ int64) int64 { return e.Offset - 3 }, 0, 4},
		{"index box", objectOf, func(_ *Entry, size int64) int64 { return size - 30 }, 0, 4},
		{"tail", objectOf, func(_ *Entry, size int64) int64 { return size - 1 }, 0, 4},
		{"header", objectOf, func(e *Entry, _ int64) int64 { return e.Offset - 150 }, 0, 4},
		{"moov", objectOf, func(*Entry, int64) int64 { return 40 }, 0, 4},
		{"object", objectOf, func(*Entry, int64) int64 { return -1 }, 0, 2},
		{"hour block", blockOf, func(_ *Entry, size int64) int64 { return size / 2 }, 0, 4},
		{"stream.json", settingsOf, func(*Entry, int64) int64 { return 0 }, 1, 4},
		{"no stream.json", settingsOf, func(*Entry, int64) int64 { return -1 }, 1, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			a := p.open()
			for range 2 {
				r := p.record(a, "cam")
				r.add(2)
				r.close()
			}
			settled(t, a)
			all := listed(t, a, "cam")
			p.clock.Add(2 * time.Hour)
			a.chore(context.Background())
			p.close(a)
			key := c.key(all)
			flip(t, p.opts.Bucket, key, func(size int64) int64 { return c.offset(all[0], size) })
			report, err := Verify(context.Background(), p.opts.Bucket, func(Progress) {})
			if err != nil {
				t.Fatal(err)
			}
			named := false
			for _, problem := range report.Problems {
				named = named || problem.Key == key && problem.Err != nil
			}
			if !named {
				t.Fatalf("verify does not name %s: %+v", key, report.Problems)
			}
			report, err = Rebuild(context.Background(), RebuildOptions{Bucket: p.opts.Bucket, Dir: p.opts.Dir, Now: p.clock.Now})
			if err != nil || len(report.Problems) != c.rebuild {
				t.Fatalf("rebuild: %v, %+v", err, report)
			}
			if got := listed(t, p.open(), "cam"); len(got) != c.kept {
				t.Fatalf("%d fragments after the rebuild, want %d", len(got), c.kept)
			}
		})
	}
}

func objectOf(all []*Entry) string   { return all[0].Object }
func blockOf(all []*Entry) string    { k := parseKey(all[0].Object); return blockKey(k.dir, k.hour) }
func settingsOf(all []*Entry) string { return settingsKey(parseKey(all[0].Object).dir) }

// flip changes a byte of an object, or removes it.
func flip(t *testing.T, b bucket.Bucket, key string, at func(size int64) int64) {
	t.Helper()
	path := filepath.Join(b.(interface{ Root() string }).Root(), filepath.FromSlash(key))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := at(int64(len(data)))
	if i < 0 {
		err = os.Remove(path)
	} else {
		data[i] ^= 0x55
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

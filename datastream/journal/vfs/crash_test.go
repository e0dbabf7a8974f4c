package vfs

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// picture tells what is in a directory.
func picture(t *testing.T, fsys FS) string {
	t.Helper()
	names, err := fsys.List("/d")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		f, err := fsys.Open("/d/" + name)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		content := make([]byte, size)
		f.ReadAt(content, 0)
		fmt.Fprintf(&b, "%s:", name)
		for len(content) > 0 { // runs of equal bytes
			n := len(content) - len(bytes.TrimLeft(content, string(content[:1])))
			fmt.Fprintf(&b, "%dx%02x ", n, content[0])
			content = content[n:]
		}
	}
	return strings.TrimSpace(b.String())
}

// TestCrash: what may come back after a crash, and after a kill and then a
// crash, is exactly what the calls before allow.
func TestCrash(t *testing.T) {
	a, b := bytes.Repeat([]byte{0xa}, 512), bytes.Repeat([]byte{0xb}, 1024)
	for _, test := range []struct {
		name string
		run  func(c *Crash, f File)
		want []string
	}{
		{"nothing more", func(*Crash, File) {}, []string{"f:512x0a"}},
		{"a write", func(_ *Crash, f File) { f.WriteAt(b, 512) }, []string{
			"f:512x0a", "f:512x0a 512x0b", "f:512x0a 1024x0b", "f:512x0a 512x00 512x0b", // sectors
			"f:512x0a 1024x00", "f:512x0a 512x0b 512x00", // the length alone
		}},
		{"a write across sectors", func(_ *Crash, f File) { f.WriteAt(b[:512], 256) }, []string{
			"f:512x0a", "f:256x0a 256x0b", "f:512x0a 256x0b", "f:256x0a 512x0b",
			"f:512x0a 256x00", "f:256x0a 256x0b 256x00",
		}},
		{"a synced write", func(_ *Crash, f File) { f.WriteAt(b, 512); f.Sync() }, []string{"f:512x0a 1024x0b"}},
		{"a truncation", func(_ *Crash, f File) { f.Truncate(5) }, []string{"f:512x0a", "f:5x0a"}},
		{"a synced truncation", func(_ *Crash, f File) { f.Truncate(5); f.Sync() }, []string{"f:5x0a"}},
		{"a new file", func(c *Crash, _ File) { c.Create("/d/g") }, []string{"f:512x0a", "f:512x0a g:"}},
		{"a rename", func(c *Crash, _ File) { c.Rename("/d/f", "/d/g") }, []string{"f:512x0a", "g:512x0a"}},
		{"a synced rename", func(c *Crash, _ File) { c.Rename("/d/f", "/d/g"); c.SyncDir("/d") }, []string{"g:512x0a"}},
		{"a removal", func(c *Crash, _ File) { c.Remove("/d/f") }, []string{"f:512x0a", ""}},
		{"a rename, and a file in its place", func(c *Crash, _ File) {
			c.Rename("/d/f", "/d/g")
			f, _ := c.Create("/d/f")
			f.WriteAt(a[:1], 0)
			f.Sync()
			c.SyncDir("/d")
		}, []string{"f:1x0a g:512x0a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := NewCrash()
			c.MkdirAll("/d")
			f, _ := c.Create("/d/f")
			f.WriteAt(a, 0)
			f.Sync()
			c.SyncDir("/d")
			test.run(c, f)
			before := picture(t, c)
			killed := c.AfterKill()
			if got := picture(t, killed); got != before {
				t.Errorf("after a kill: %q, was %q", got, before)
			}
			for name, crash := range map[string]*Crash{"a crash": c, "a kill and a crash": killed} {
				seen := map[string]bool{}
				for seed := range uint64(600) {
					after := crash.AfterCrash(rand.New(rand.NewPCG(seed, 0)))
					seen[picture(t, after)] = true
					if again := after.AfterCrash(rand.New(rand.NewPCG(seed, 1))); picture(t, again) != picture(t, after) {
						t.Fatalf("%s: what came back is not certain", name)
					}
				}
				slices.Sort(test.want)
				if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, test.want) {
					t.Errorf("%s leaves\n%q, want\n%q", name, got, test.want)
				}
			}
			if got := picture(t, c); got != before {
				t.Errorf("the copies changed the original: %q, was %q", got, before)
			}
		})
	}
}

// TestCrashHook: every call that changes something is told of, syncs before and
// after.
func TestCrashHook(t *testing.T) {
	c := NewCrash()
	c.MkdirAll("/d")
	var got []string
	c.Set(func(call Call) { got = append(got, string(call.Op)) })
	f, _ := c.Create("/d/f")
	f.WriteAt([]byte("x"), 0)
	f.Sync()
	f.Truncate(0)
	c.Rename("/d/f", "/d/g")
	c.SyncDir("/d")
	c.Remove("/d/g")
	if want := "create write sync sync truncate rename syncdir syncdir remove"; strings.Join(got, " ") != want {
		t.Errorf("told of %q, want %q", got, want)
	}
	if _, err := c.Open("/d/g"); err == nil {
		t.Error("opened what was removed")
	}
	held, _ := c.Lock("/d/LOCK")
	if _, err := c.Lock("/d/LOCK"); err == nil {
		t.Error("locked twice")
	}
	if _, err := c.AfterKill().Lock("/d/LOCK"); err != nil {
		t.Errorf("a lock outlived its process: %v", err)
	}
	held.Close()
}

package wal

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// TestNumbersUsedUp: a lane ends before a frame's number, or an epoch, comes
// again.
func TestNumbersUsedUp(t *testing.T) {
	start := func(h fileHeader) (dir string) {
		dir = t.TempDir()
		image{filepath.Base(fileName("", h.first)): h.encode()}.restore(t, dir)
		return dir
	}
	dir := start(fileHeader{salt: 1, first: math.MaxUint64 - 3, epoch: 1, chain: 1})
	l := mustOpen(t, dir, Options{}) // one frame
	for i := range 3 {               // and three
		if p := appendOK(t, l, i); p.Frame != math.MaxUint64-2+uint64(i) {
			t.Errorf("entry %d is at %v", i, p)
		}
	}
	if _, err := l.Append(1, "key", entryOf(3)).Wait(t.Context()); !errors.Is(err, errUsedUp) {
		t.Errorf("one more: %v", err)
	}
	<-l.Fatal()
	if n := readAll(t, l); n != 3 {
		t.Errorf("%d entries", n)
	}
	l.Close()
	if _, err := Open(dir, Options{}); !errors.Is(err, errUsedUp) {
		t.Errorf("opened again with %v", err)
	}
	if _, err := Open(start(fileHeader{salt: 1, first: 5, epoch: math.MaxUint64, chain: 1}), Options{}); !errors.Is(err, errUsedUp) {
		t.Errorf("with the last epoch: %v", err)
	}
	if p := (journal.Position{Frame: 7, Index: math.MaxUint16}).Next(); p != (journal.Position{Frame: 8}) {
		t.Errorf("after the last index of a frame comes %v", p)
	}
}

// TestZeros: nothing that is all zeros is taken for anything, whatever its
// length.
func TestZeros(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 512, 4096} {
		zeros := make([]byte, n)
		if h, err := parseHeader(zeros); err == nil {
			t.Errorf("%d zeros are a frame: %+v", n, h)
		}
		if h, err := parseFileHeader(zeros); err == nil {
			t.Errorf("%d zeros begin a file: %+v", n, h)
		}
		if h, err := parseSnapHeader(zeros, int64(n)); err == nil {
			t.Errorf("%d zeros begin a snapshot: %+v", n, h)
		}
		if checksum(zeros) == 0 && n > 0 {
			t.Errorf("%d zeros have the checksum 0", n)
		}
	}
}

// kindOf is a file system of another kind.
type kindOf struct {
	vfs.FS
	kind string
	err  error
	slow time.Duration
}

func (k kindOf) Kind(string) (string, error) { return k.kind, k.err }

func (k kindOf) Open(name string) (vfs.File, error) {
	f, err := k.FS.Open(name)
	return slowFile{f, k.slow}, err
}

type slowFile struct {
	vfs.File
	slow time.Duration
}

func (f slowFile) Sync() error {
	time.Sleep(f.slow)
	return f.File.Sync()
}

// TestUnsafePlaces: opening a lane where a crash may take what it acknowledged
// says so once.
func TestUnsafePlaces(t *testing.T) {
	for _, test := range []struct {
		name string
		fs   vfs.FS
		want string
	}{
		{"tmpfs", kindOf{kind: "tmpfs", slow: time.Millisecond}, "in memory"},
		{"overlay", kindOf{kind: "overlay", slow: time.Millisecond}, "container"},
		{"nfs", kindOf{kind: "nfs", slow: time.Millisecond}, "server"},
		{"smb", kindOf{kind: "smb", slow: time.Millisecond}, "server"},
		{"fuse", kindOf{kind: "fuse", slow: time.Millisecond}, "server"},
		{"a sync that is too fast", kindOf{kind: "ext4"}, "too fast"},
		{"of no known kind, and too fast", vfs.NewFaults(vfs.NewMemory()), "too fast"},
		{"a sync that may be true", kindOf{kind: "ext4", slow: time.Millisecond}, ""},
		{"a kind that can not be found out", kindOf{err: errDevice}, ""},
		{"memory, on purpose", vfs.NewMemory(), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if k, ok := test.fs.(kindOf); ok {
				k.FS = vfs.NewMemory()
				test.fs = k
			}
			var log bytes.Buffer
			lines := 0
			for try := 0; try < 20 && lines == 0; try++ { // a busy machine makes any sync slow
				l := mustOpen(t, "/lane", Options{FS: test.fs, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				appendOK(t, l, try)
				l.Close()
				lines = strings.Count(log.String(), "\n")
			}
			if test.want == "" && lines > 0 || test.want != "" && (lines != 1 || !strings.Contains(log.String(), test.want)) {
				t.Errorf("logged %q, want one line with %q", log.String(), test.want)
			}
		})
	}
}

// TestNoClock: a lane measures how long things take and nothing else; no time
// of day decides anything or is written, so no step of a clock matters here.
// Leases are what time is for, and run by the clock they are given.
func TestNoClock(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	uses, begun := map[string]int{}, 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && fmt.Sprint(s.X) == "time" {
				uses[s.Sel.Name]++
			}
			if s, ok := n.(*ast.AssignStmt); ok && fmt.Sprint(s.Lhs[0]) == "start" {
				begun++
			}
			return true
		})
	}
	for name := range uses {
		switch name {
		case "Now", "Since", "Duration", "Microsecond":
		case "Time", "Millisecond", "Second": // lease.go's
		default:
			t.Errorf("time.%s is used", name)
		}
	}
	if uses["Now"] == 0 || uses["Now"] != uses["Since"] || uses["Now"] != begun {
		t.Errorf("time.Now is used %d times, for %d starts of which %d are measured", uses["Now"], begun, uses["Since"])
	}
}

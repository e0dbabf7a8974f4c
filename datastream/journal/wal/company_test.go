package wal

import (
	"runtime"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// Whoever is first on the way back from a frame of many does not get a frame for
// itself, unless it is all there is or the lane takes nothing more.
func TestFrameWaitsForCompany(t *testing.T) {
	const others = 20
	for _, c := range []struct {
		name     string
		usual    int
		refusing error
		want     int
	}{
		{"after a frame of many", 100, nil, 1 + others},
		{"after a frame of one", 1, nil, 1},
		{"after a frame of as many", 4, nil, 1},
		{"while the lane is closed", 100, journal.ErrClosed, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			// One processor: the others run when the committer lets them.
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			l := unstarted(t)
			l.usual = c.usual
			l.Append(1, "first", nil)
			l.refusing = c.refusing
			for range others {
				go l.Append(1, "other", nil)
			}
			if b := l.next(); b.count != c.want {
				t.Errorf("the frame has %d entries, want %d", b.count, c.want)
			}
		})
	}
}

// A lone entry is not kept waiting for those who do not come.
func TestFrameWithoutCompany(t *testing.T) {
	l := unstarted(t)
	l.usual = 1000
	l.Append(1, "alone", nil)
	if b := l.next(); b.count != 1 || l.usual != 1 {
		t.Errorf("the frame has %d entries and the next is measured by %d, want 1 and 1", b.count, l.usual)
	}
}

// unstarted is a lane without a committer.
func unstarted(t *testing.T) *Lane {
	t.Helper()
	fsys := vfs.NewMemory()
	mustOpen(t, "lane", Options{FS: fsys}).Close()
	opts, err := Options{FS: fsys}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	l, err := recoverLane("lane", opts, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.letGo() })
	return l
}

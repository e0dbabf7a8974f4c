package wal

import (
	"math"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/journaltest"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// noRoom is a reserve that no device has.
const noRoom = math.MaxInt64

func mustOpen(t testing.TB, dir string, opts Options) *Lane {
	t.Helper()
	l, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustOpenMeta(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := OpenMeta(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// systems are the file systems that journals have to work on.
func systems() map[string]vfs.FS {
	return map[string]vfs.FS{"disk": vfs.OS{}, "memory": vfs.NewMemory()}
}

func TestJournalSuite(t *testing.T) {
	for name, fsys := range systems() {
		open := func(reserve int64) func(*testing.T, string) journal.Journal {
			return func(t *testing.T, dir string) journal.Journal {
				return mustOpen(t, dir, Options{FS: fsys, MaxFileBytes: 64 << 10, ReserveBytes: reserve})
			}
		}
		t.Run(name, func(t *testing.T) {
			impl := journaltest.Journal{Open: open(-1), OpenFull: open(noRoom)}
			journaltest.RunJournal(t, impl)
			journaltest.RunKeeper(t, impl)
		})
	}
}

func TestMetaSuite(t *testing.T) {
	for name, fsys := range systems() {
		open := func(reserve int64) func(*testing.T, string) journal.Meta {
			return func(t *testing.T, dir string) journal.Meta {
				return mustOpenMeta(t, dir, Options{FS: fsys, SnapshotBytes: 32 << 10, ReserveBytes: reserve})
			}
		}
		t.Run(name, func(t *testing.T) {
			openAt := func(t *testing.T, dir string, clock journal.Clock) journal.Meta {
				return mustOpenMeta(t, dir, Options{FS: fsys, SnapshotBytes: 32 << 10, ReserveBytes: -1, Clock: clock})
			}
			journaltest.RunMeta(t, journaltest.Meta{Open: open(-1), OpenFull: open(noRoom), OpenAt: openAt})
		})
	}
}

func TestLanesSuite(t *testing.T) {
	for name, fsys := range systems() {
		t.Run(name, func(t *testing.T) {
			journaltest.RunLanes(t, func(_ *testing.T, dir string) journal.Lanes {
				return Lanes{Dir: dir, Options: Options{FS: fsys, MaxFileBytes: 64 << 10, ReserveBytes: -1}}
			})
		})
	}
}

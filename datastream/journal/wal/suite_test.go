package wal

import (
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/journaltest"
)

// noRoom is a reserve that no device has.
const noRoom = 1 << 60

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

func TestJournalSuite(t *testing.T) {
	journaltest.RunJournal(t, journaltest.Journal{
		Open: func(t *testing.T, dir string) journal.Journal {
			return mustOpen(t, dir, Options{MaxFileBytes: 64 << 10, ReserveBytes: -1})
		},
		OpenFull: func(t *testing.T, dir string) journal.Journal {
			return mustOpen(t, dir, Options{MaxFileBytes: 64 << 10, ReserveBytes: noRoom})
		},
	})
}

func TestMetaSuite(t *testing.T) {
	journaltest.RunMeta(t, journaltest.Meta{
		Open: func(t *testing.T, dir string) journal.Meta {
			return mustOpenMeta(t, dir, Options{SnapshotBytes: 32 << 10, ReserveBytes: -1})
		},
		OpenFull: func(t *testing.T, dir string) journal.Meta {
			return mustOpenMeta(t, dir, Options{SnapshotBytes: 32 << 10, ReserveBytes: noRoom})
		},
	})
}

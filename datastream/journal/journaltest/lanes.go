package journaltest

import (
	"errors"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Lanes says how a place for lanes is opened.
type Lanes func(t *testing.T, dir string) journal.Lanes

// RunLanes runs the suite of those who open lanes by name.
func RunLanes(t *testing.T, open Lanes) {
	lanes := open(t, t.TempDir())
	must := func(lane string, epoch uint64) journal.Journal {
		t.Helper()
		j, err := lanes.Open(t.Context(), lane, epoch)
		if err != nil {
			t.Fatalf("open %s with epoch %d: %v", lane, epoch, err)
		}
		return j
	}
	j := must("one", 7)
	if e := j.Stats().Epoch; e != 7 {
		t.Errorf("epoch %d, want 7", e)
	}
	other := must("two", 0)
	at := wait(t, j.Append(1, "k", []byte("first")))
	next := wait(t, j.Append(1, "k", []byte("second")))
	wait(t, other.Append(1, "k", []byte("of the other")))
	closeJournal(t, other)

	// The next owner, while the former has the lane: it waits, or fences it.
	taken, err := lanes.Open(t.Context(), "one", 9)
	if err == nil {
		_, err = j.Append(1, "k", []byte("too late")).Wait(t.Context())
		if !errors.Is(err, journal.ErrFenced) {
			t.Errorf("a former owner appends: %v", err)
		}
		closeJournal(t, taken)
	} else if !errors.Is(err, journal.ErrLocked) {
		t.Errorf("a lane that another owner has open: %v", err)
	}
	closeJournal(t, j)

	closeJournal(t, must("one", 10))
	for _, old := range []uint64{1, 7, 10} {
		if _, err := lanes.Open(t.Context(), "one", old); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("epoch %d after 10: %v", old, err)
		}
	}
	j = must("one", 0)
	defer closeJournal(t, j)
	if e := j.Stats().Epoch; e != 11 {
		t.Errorf("the next epoch is %d, want 11", e)
	}
	if end := j.Stats().End; end != next.Next() {
		t.Errorf("the lane ends at %v, its last entry is %v", end, next)
	}
	got := collect(t, j, at.Next())
	if len(got) != 1 || got[0].Position != next || string(got[0].Payload) != "second" {
		t.Errorf("from %v on it replays %v", at.Next(), got)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "../one", "A", "a b", strings.Repeat("x", 65)} {
		if j, err := lanes.Open(t.Context(), bad, 0); err == nil {
			closeJournal(t, j)
			t.Errorf("%q is no name of a lane", bad)
		}
	}
}

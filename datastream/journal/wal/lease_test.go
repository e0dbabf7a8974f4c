package wal

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/journaltest"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// lateClock is a clock whose alarms never come.
type lateClock struct{ *journaltest.Clock }

func (lateClock) AfterFunc(time.Duration, func()) func() bool { return func() bool { return true } }

func mustGrant(t *testing.T, s *Store, key, holder string) journal.Lease {
	t.Helper()
	l, err := s.Grant(t.Context(), key, holder, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func lost(l journal.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// TestLeaseLateAlarm: a lease ends by the clock, not by an alarm that may be late.
func TestLeaseLateAlarm(t *testing.T) {
	clock := lateClock{journaltest.NewClock()}
	s := mustOpenMeta(t, t.TempDir(), Options{Clock: clock, ReserveBytes: -1})
	defer s.Close()
	l := mustGrant(t, s, "k", "a")
	clock.Advance(time.Second)
	if err := errors.Join(l.Renew(t.Context()), l.Release(t.Context())); !errors.Is(err, journal.ErrLost) {
		t.Errorf("renewed too late: %v", err)
	}
	if lost(l) {
		t.Error("the alarm came: the test misses it")
	}
	mustGrant(t, s, "k", "b")
	if !lost(l) {
		t.Error("taken over, and not told")
	}
}

// TestLeaseRenewedTooLate: a renewal that takes longer than the lease lasts does
// not save it, and leaves nothing that keeps others out.
func TestLeaseRenewedTooLate(t *testing.T) {
	clock, fsys := journaltest.NewClock(), vfs.NewFaults(vfs.OS{})
	s := mustOpenMeta(t, t.TempDir(), Options{FS: fsys, Clock: clock, ReserveBytes: -1})
	defer s.Close()
	l := mustGrant(t, s, "k", "a")
	clock.Advance(600 * time.Millisecond)
	entered, release := holdSyncs(fsys, nil)
	renewed := make(chan error, 1)
	go func() { renewed <- l.Renew(t.Context()) }()
	<-entered
	clock.Advance(400 * time.Millisecond)
	if !lost(l) {
		t.Error("the holder is not told while its renewal is under way")
	}
	release()
	if err := <-renewed; !errors.Is(err, journal.ErrLost) {
		t.Errorf("renewed: %v", err)
	}
	mustGrant(t, s, "k", "b")
}

// TestLeaseWithoutRoom: a lease whose time is over is over, even if its key can
// not be deleted; that is done once there is room.
func TestLeaseWithoutRoom(t *testing.T) {
	clock, fsys := journaltest.NewClock(), vfs.NewFaults(vfs.OS{})
	s := mustOpenMeta(t, t.TempDir(), Options{FS: fsys, Clock: clock, ReserveBytes: -1})
	defer s.Close()
	l, other := mustGrant(t, s, "k", "a"), mustGrant(t, s, "other", "a")
	full := make(chan struct{}, 100)
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op != vfs.OpWrite {
			return vfs.Fault{}
		}
		full <- struct{}{}
		return vfs.Fault{Err: syscall.ENOSPC}
	})
	clock.Advance(time.Second)
	<-full
	if !lost(l) || !lost(other) {
		t.Error("not told")
	}
	fsys.Set(nil)
	mustGrant(t, s, "k", "b")
	deadline := time.Now().Add(10 * time.Second)
	for gone := false; !gone; time.Sleep(time.Millisecond) {
		clock.Advance(100 * time.Millisecond)
		_, _, err := s.Get(journal.LeasePrefix + "other")
		if gone = errors.Is(err, journal.ErrAbsent); !gone && time.Now().After(deadline) {
			t.Fatal("the key of a lease that is over stays")
		}
	}
}

// TestWatchAfterSnapshot: deletions before the snapshot that a store was opened
// with are not known any more, and that is told; those after it are.
func TestWatchAfterSnapshot(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenMeta(t, dir, small())
	changes(t, s, 0, 10)
	before := s.state.Load().revision
	_, rev, _ := s.Get("key3")
	if err := s.Delete(t.Context(), "key3", rev); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for n := 0; len(namesIn(t, dir, snapSuffix)) < keptSnapshots; n++ {
		changeKey(t, s, "filler", n)
		if time.Now().After(deadline) {
			t.Fatal("no snapshots")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpenMeta(t, dir, small())
	defer s.Close()
	u := s.state.Load().since("key", before)
	if !u.Whole || len(u.Items) != 9 {
		t.Errorf("from before the snapshot: whole %v, %d items", u.Whole, len(u.Items))
	}
	after := s.state.Load().revision
	_, rev, _ = s.Get("key4")
	if err := s.Delete(t.Context(), "key4", rev); err != nil {
		t.Fatal(err)
	}
	if u := s.state.Load().since("key", after); u.Whole || fmt.Sprint(u.Deleted) != "[key4]" {
		t.Errorf("from after it: %+v", u)
	}
}

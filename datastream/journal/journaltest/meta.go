package journaltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Meta says how the implementation under test is opened.
type Meta struct {
	// Open opens the store kept in dir, making it if need be. A few hundred
	// KiB of changes should be enough to make it tidy up what it keeps.
	Open func(t *testing.T, dir string) journal.Meta
	// OpenFull opens the same store as if its device had no room left.
	OpenFull func(t *testing.T, dir string) journal.Meta
	// OpenAt opens the same store with leases that run by another clock.
	OpenAt func(t *testing.T, dir string, clock journal.Clock) journal.Meta
}

// RunMeta runs the suite.
func RunMeta(t *testing.T, impl Meta) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Meta)
	}{
		{"compare and set", testCompareAndSet},
		{"revisions only grow", testRevisions},
		{"listing is in key order", testList},
		{"a listing is a still picture", testListStill},
		{"of racing changes one wins", testRace},
		{"no increment is lost", testIncrements},
		{"a transaction is all or nothing", testTxn},
		{"bounds", testMetaBounds},
		{"everything is there after reopening", testMetaReopen},
		{"a full device refuses and reads", testMetaFull},
		{"a closed store says so", testMetaClosed},
		{"a watcher is told of changes", testWatch},
		{"a slow watcher is told what it missed", testWatchSlow},
		{"a watcher comes back", testWatchResumes},
		{"watchers know what there is", testWatchHistory},
		{"a watcher is told of the end", testWatchEnds},
		{"a lease has one holder", testLease},
		{"a lease runs out", testLeaseExpires},
		{"a lease is there after reopening", testLeaseReopen},
		{"of racing holders one wins", testLeaseRace},
		{"leases as their model has them", testLeaseHistory},
		{"a changed key ends its lease", testLeaseMeddled},
		{"bounds of leases", testLeaseBounds},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, impl) })
	}
}

func closeMeta(t *testing.T, m journal.Meta) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func put(t *testing.T, m journal.Meta, key, value string, expect uint64) uint64 {
	t.Helper()
	rev, err := m.Put(t.Context(), key, []byte(value), expect)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return rev
}

func holds(t *testing.T, m journal.Meta, key, value string, revision uint64) {
	t.Helper()
	v, rev, err := m.Get(key)
	if err != nil || string(v) != value || rev != revision {
		t.Errorf("%q holds %q at %d (%v), want %q at %d", key, v, rev, err, value, revision)
	}
}

func absent(t *testing.T, m journal.Meta, key string) {
	t.Helper()
	if v, rev, err := m.Get(key); !errors.Is(err, journal.ErrAbsent) {
		t.Errorf("%q holds %q at %d (%v), want it absent", key, v, rev, err)
	}
}

func testCompareAndSet(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	ctx := t.Context()
	absent(t, m, "k")
	conflict := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, journal.ErrConflict) {
			t.Errorf("%s: %v, want a conflict", what, err)
		}
	}
	_, err := m.Put(ctx, "k", nil, 7)
	conflict("update of an absent key", err)
	conflict("delete of an absent key", m.Delete(ctx, "k", 7))
	conflict("delete of an absent key, expecting it", m.Delete(ctx, "k", 0))

	first := put(t, m, "k", "a", 0)
	holds(t, m, "k", "a", first)
	_, err = m.Put(ctx, "k", []byte("b"), 0)
	conflict("create of a present key", err)
	second := put(t, m, "k", "b", first)
	_, err = m.Put(ctx, "k", []byte("c"), first)
	conflict("update from an old revision", err)
	conflict("delete at an old revision", m.Delete(ctx, "k", first))
	holds(t, m, "k", "b", second)

	if err := m.Delete(ctx, "k", second); err != nil {
		t.Fatal(err)
	}
	absent(t, m, "k")
	third := put(t, m, "k", "", 0)
	holds(t, m, "k", "", third)
	if third <= second {
		t.Errorf("revision %d after a delete, was %d", third, second)
	}
}

func testRevisions(t *testing.T, impl Meta) {
	dir := t.TempDir()
	m := impl.Open(t, dir)
	last := uint64(0)
	for i := range 40 {
		rev := put(t, m, fmt.Sprint(i), "x", 0)
		if rev <= last {
			t.Fatalf("revision %d after %d", rev, last)
		}
		last = rev
	}
	if err := m.Delete(t.Context(), "39", last); err != nil {
		t.Fatal(err)
	}
	closeMeta(t, m)
	m = impl.Open(t, dir)
	defer closeMeta(t, m)
	if rev := put(t, m, "39", "x", 0); rev <= last {
		t.Errorf("revision %d after reopening, was %d", rev, last)
	}
}

// keysOf lists a prefix.
func keysOf(m journal.Meta, prefix string) []string {
	var keys []string
	for it := range m.List(prefix) {
		keys = append(keys, it.Key)
	}
	return keys
}

func testList(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	keys := []string{"", "a", "b", "b/", "b/1", "b/10", "b/2", "b/\xff", "b0", "c", "\xff", "\xff\xff"}
	for _, i := range []int{5, 0, 11, 3, 8, 1, 7, 2, 10, 4, 9, 6} {
		put(t, m, keys[i], keys[i], 0)
	}
	for _, test := range []struct {
		prefix string
		want   []string
	}{
		{"", keys}, {"b", keys[2:9]}, {"b/", keys[3:8]}, {"b/1", keys[4:6]}, {"\xff", keys[10:]}, {"x", nil}, {"b/3", nil},
	} {
		if got := keysOf(m, test.prefix); !slices.Equal(got, test.want) {
			t.Errorf("list %q gave %q, want %q", test.prefix, got, test.want)
		}
	}
	for it := range m.List("b/1") {
		if v, rev, _ := m.Get(it.Key); it.Key != "b/1" || string(v) != string(it.Value) || rev != it.Revision {
			t.Errorf("listed %q %q %d, got %q %d", it.Key, it.Value, it.Revision, v, rev)
		}
		break
	}
}

func testListStill(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	for i := range 10 {
		put(t, m, fmt.Sprint(i), "old", 0)
	}
	n := 0
	for it := range m.List("") {
		if string(it.Value) != "old" {
			t.Errorf("%q became %q under the listing", it.Key, it.Value)
		}
		if n++; n == 1 {
			put(t, m, "5", "new", mustRevision(t, m, "5"))
			put(t, m, "55", "new", 0)
			if err := m.Delete(t.Context(), "7", mustRevision(t, m, "7")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 10 {
		t.Errorf("listed %d keys, want 10", n)
	}
}

func mustRevision(t *testing.T, m journal.Meta, key string) uint64 {
	t.Helper()
	_, rev, err := m.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func testRace(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	expect := uint64(0)
	for round := range 20 {
		var won atomic.Uint64
		var wins atomic.Int32
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				rev, err := m.Put(t.Context(), "lease", fmt.Appendf(nil, "%d", w), expect)
				switch {
				case err == nil:
					won.Store(rev)
					wins.Add(1)
				case !errors.Is(err, journal.ErrConflict):
					t.Errorf("writer %d: %v", w, err)
				default:
					// What it conflicted with can be read.
					if _, rev, err := m.Get("lease"); err != nil || rev == expect {
						t.Errorf("conflict, but the key is at %d (%v)", rev, err)
					}
				}
			})
		}
		all.Wait()
		if wins.Load() != 1 {
			t.Fatalf("round %d: %d writers won", round, wins.Load())
		}
		expect = won.Load()
	}
}

// increment adds one to a counter, as often as it takes.
func increment(ctx context.Context, m journal.Meta, key string) error {
	for {
		n := 0
		v, rev, err := m.Get(key)
		if err == nil {
			fmt.Sscan(string(v), &n)
		} else if !errors.Is(err, journal.ErrAbsent) {
			return err
		}
		_, err = m.Put(ctx, key, fmt.Appendf(nil, "%d", n+1), rev)
		if !errors.Is(err, journal.ErrConflict) {
			return err
		}
	}
}

func testIncrements(t *testing.T, impl Meta) {
	const writers, each = 8, 10
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				if err := increment(t.Context(), m, "n"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if v, _, err := m.Get("n"); err != nil || string(v) != fmt.Sprint(writers*each) {
		t.Errorf("counted %q (%v), want %d", v, err, writers*each)
	}
}

func testTxn(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	a, b := put(t, m, "a", "1", 0), put(t, m, "b", "1", 0)
	_, err := m.Txn(t.Context(),
		journal.Change{Key: "a", Value: []byte("2"), Expect: a},
		journal.Change{Key: "c", Value: []byte("2")},
		journal.Change{Key: "b", Expect: b + 1000, Delete: true})
	if !errors.Is(err, journal.ErrConflict) {
		t.Fatalf("a transaction with one wrong revision: %v", err)
	}
	holds(t, m, "a", "1", a)
	holds(t, m, "b", "1", b)
	absent(t, m, "c")
	rev, err := m.Txn(t.Context(),
		journal.Change{Key: "a", Value: []byte("2"), Expect: a},
		journal.Change{Key: "c", Value: []byte("2")},
		journal.Change{Key: "b", Expect: b, Delete: true})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, m, "a", "2", rev)
	holds(t, m, "c", "2", rev)
	absent(t, m, "b")
	if _, err := m.Txn(t.Context()); err == nil {
		t.Error("a transaction of nothing succeeded")
	}
	if _, err := m.Txn(t.Context(), journal.Change{Key: "x"}, journal.Change{Key: "x"}); err == nil {
		t.Error("a transaction with a key twice succeeded")
	}
}

func testMetaBounds(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	if _, err := m.Put(t.Context(), string(make([]byte, journal.MaxKey+1)), nil, 0); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("long key: %v", err)
	}
	if _, err := m.Put(t.Context(), "k", make([]byte, journal.MaxPayload+1), 0); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("long value: %v", err)
	}
	long := string(make([]byte, journal.MaxKey))
	holds(t, m, long, "x", put(t, m, long, "x", 0))
	value := []byte("as it was")
	rev, err := m.Put(t.Context(), "k", value, 0)
	if err != nil {
		t.Fatal(err)
	}
	copy(value, "scribbled")
	holds(t, m, "k", "as it was", rev)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Put(ctx, "k", nil, rev); !errors.Is(err, context.Canceled) {
		if err != nil {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
}

func testMetaReopen(t *testing.T, impl Meta) {
	dir := t.TempDir()
	want := map[string]string{}
	revisions := map[string]uint64{}
	for round := range 4 {
		m := impl.Open(t, dir)
		var mu sync.Mutex
		var all sync.WaitGroup
		for w := range 16 {
			all.Go(func() {
				for n := range 12 {
					key := fmt.Sprintf("%02d/%d", w, n%5)
					value := string(payload(round, n, 900))
					mu.Lock()
					rev := revisions[key]
					mu.Unlock()
					var err error
					if n%5 == 4 && rev != 0 {
						err, rev, value = m.Delete(t.Context(), key, rev), 0, ""
					} else {
						rev, err = m.Put(t.Context(), key, []byte(value), rev)
					}
					if err != nil {
						t.Errorf("%s: %v", key, err)
						return
					}
					mu.Lock()
					want[key], revisions[key] = value, rev
					if rev == 0 {
						delete(want, key)
						delete(revisions, key)
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		closeMeta(t, m)
		m = impl.Open(t, dir)
		if got := keysOf(m, ""); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("round %d: %d keys after reopening, want %d", round, len(got), len(want))
		}
		for key, value := range want {
			holds(t, m, key, value, revisions[key])
		}
		closeMeta(t, m)
	}
}

func testMetaFull(t *testing.T, impl Meta) {
	dir := t.TempDir()
	m := impl.Open(t, dir)
	rev := put(t, m, "k", "v", 0)
	closeMeta(t, m)
	m = impl.OpenFull(t, dir)
	if _, err := m.Put(t.Context(), "k", []byte("w"), rev); !errors.Is(err, journal.ErrFull) {
		t.Errorf("put on a full device: %v", err)
	}
	if err := m.Delete(t.Context(), "k", rev); !errors.Is(err, journal.ErrFull) {
		t.Errorf("delete on a full device: %v", err)
	}
	holds(t, m, "k", "v", rev)
	closeMeta(t, m)
	m = impl.Open(t, dir)
	defer closeMeta(t, m)
	holds(t, m, "k", "w", put(t, m, "k", "w", rev))
}

func testMetaClosed(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	rev := put(t, m, "k", "v", 0)
	closeMeta(t, m)
	if err := m.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := m.Put(t.Context(), "k", nil, rev); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("put: %v", err)
	}
	if _, _, err := m.Get("k"); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("get: %v", err)
	}
}

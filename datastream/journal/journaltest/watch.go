package journaltest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

// view is what a watcher knows: it only ever looks at updates.
type view struct {
	mu       sync.Mutex // for a view that is used while it is looked at
	prefix   string
	revision uint64
	items    map[string]journal.Item
	wholes   int
}

// take follows one update and says what is wrong with it.
func (v *view) take(u journal.Update) error {
	switch {
	case u.Revision < v.revision && !u.Whole:
		return fmt.Errorf("revision %d after %d", u.Revision, v.revision)
	case !slices.IsSortedFunc(u.Items, func(a, b journal.Item) int { return cmp.Compare(a.Key, b.Key) }), !slices.IsSorted(u.Deleted):
		return fmt.Errorf("not in order: %v, %q", u.Items, u.Deleted)
	case u.Whole && len(u.Deleted) > 0:
		return errors.New("a whole picture with deletions")
	}
	if u.Whole || v.items == nil {
		v.items = map[string]journal.Item{}
	}
	if u.Whole {
		v.wholes++
	}
	for _, it := range u.Items {
		if it.Revision > u.Revision || !u.Whole && it.Revision <= v.revision {
			return fmt.Errorf("%q at %d in the update from %d to %d", it.Key, it.Revision, v.revision, u.Revision)
		}
		v.items[it.Key] = it
	}
	for _, key := range u.Deleted {
		delete(v.items, key)
	}
	v.revision = u.Revision
	return nil
}

// same compares what the watcher knows with what the store holds.
func (v *view) same(m journal.Meta) error {
	want := map[string]journal.Item{}
	for it := range m.List(v.prefix) {
		want[it.Key] = it
	}
	if !maps.EqualFunc(v.items, want, func(a, b journal.Item) bool {
		return a.Revision == b.Revision && string(a.Value) == string(b.Value)
	}) {
		return fmt.Errorf("a watcher of %q knows %d keys at revision %d, there are %d: %v, %v", v.prefix, len(v.items), v.revision, len(want), v.items, want)
	}
	return nil
}

// once takes the first update of a Watch from where the view stands.
func (v *view) once(t *testing.T, m journal.Meta) journal.Update {
	t.Helper()
	for u, err := range m.Watch(t.Context(), v.prefix, v.revision) {
		if err == nil {
			err = v.take(u)
		}
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	t.Fatal("a watch without an update")
	return journal.Update{}
}

// testWatch is one watcher, step by step.
func testWatch(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	old := put(t, m, "a/old", "0", 0)
	put(t, m, "b", "0", 0)
	type told struct {
		u   journal.Update
		err error
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	all := make(chan told)
	go func() {
		defer close(all)
		for u, err := range m.Watch(ctx, "a/", 0) {
			all <- told{u, err}
		}
	}()
	next := func(what string) journal.Update {
		t.Helper()
		select {
		case x := <-all:
			if x.err != nil {
				t.Fatalf("%s: %v", what, x.err)
			}
			return x.u
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: not told", what)
			return journal.Update{}
		}
	}
	if u := next("the picture"); !u.Whole || len(u.Items) != 1 || u.Items[0].Key != "a/old" || u.Items[0].Revision != old {
		t.Errorf("it begins with %+v", u)
	}
	put(t, m, "b", "1", mustRevision(t, m, "b")) // nobody's
	rev, err := m.Txn(t.Context(),
		journal.Change{Key: "a/2", Value: []byte("2")}, journal.Change{Key: "a/1", Value: []byte("1")},
		journal.Change{Key: "a/old", Expect: old, Delete: true}, journal.Change{Key: "c"})
	if err != nil {
		t.Fatal(err)
	}
	u := next("a transaction")
	if u.Whole || u.Revision != rev || len(u.Items) != 2 || u.Items[0].Key != "a/1" || string(u.Items[1].Value) != "2" || !slices.Equal(u.Deleted, []string{"a/old"}) {
		t.Errorf("of a transaction it tells %+v", u)
	}
	// Busy with that update, it misses a value, and a key that came and went.
	put(t, m, "a/1", "y", put(t, m, "a/1", "x", rev))
	if err := m.Delete(t.Context(), "a/3", put(t, m, "a/3", "", 0)); err != nil {
		t.Fatal(err)
	}
	v := view{prefix: "a/", revision: rev, items: map[string]journal.Item{"a/1": {}, "a/2": u.Items[1]}}
	for v.same(m) != nil {
		if err := v.take(next("what it was too slow for")); err != nil {
			t.Fatal(err)
		}
	}
	cancel(errors.New("enough"))
	if x := <-all; x.err == nil || x.err.Error() != "enough" || x.u.Revision != 0 {
		t.Errorf("it ends with %+v", x)
	}
	if x, more := <-all; more {
		t.Errorf("after the end comes %+v", x)
	}
}

// testWatchSlow: a watcher that takes its time is told that steps were merged,
// and one that takes too long gets the whole picture.
func testWatchSlow(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	defer closeMeta(t, m)
	rev := put(t, m, "k", "0", 0)
	v := view{}
	for u, err := range m.Watch(t.Context(), "", 0) {
		if err == nil {
			err = v.take(u)
		}
		if err != nil {
			t.Fatal(err)
		}
		if v.wholes == 2 {
			break
		}
		if u.Whole {
			for range 3 {
				rev = put(t, m, "k", "x", rev)
			}
			continue
		}
		if !u.Merged || len(u.Items) != 1 || u.Items[0].Revision != rev {
			t.Fatalf("of three changes, or too many deletions, it tells of %d items and %d deletions: merged %v, whole %v",
				len(u.Items), len(u.Deleted), u.Merged, u.Whole)
		}
		// More deletions than anybody remembers.
		const most = 100
		for batch := range 100 {
			made, gone := make([]journal.Change, most), make([]journal.Change, most)
			for i := range made {
				made[i].Key = fmt.Sprint("gone/", batch, i)
			}
			at, err := m.Txn(t.Context(), made...)
			for i := range gone {
				gone[i] = journal.Change{Key: made[i].Key, Expect: at, Delete: true}
			}
			if err == nil {
				_, err = m.Txn(t.Context(), gone...)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		v.items["ghost"] = journal.Item{} // of which it has to hear that it is not
	}
	if err := v.same(m); err != nil {
		t.Error(err)
	}
}

// testWatchResumes: who comes back with a revision gets what became since.
func testWatchResumes(t *testing.T, impl Meta) {
	dir := t.TempDir()
	m := impl.Open(t, dir)
	v := view{}
	if u := v.once(t, m); !u.Whole || len(u.Items) != 0 {
		t.Errorf("of an empty store it tells %+v", u)
	}
	a := put(t, m, "a", "1", 0)
	put(t, m, "b", "1", 0)
	v.once(t, m)
	if err := m.Delete(t.Context(), "a", a); err != nil {
		t.Fatal(err)
	}
	if u := v.once(t, m); u.Whole || !u.Merged || !slices.Equal(u.Deleted, []string{"a"}) || len(u.Items) != 0 {
		t.Errorf("from %d on it tells %+v", a+1, u)
	}
	if u := v.once(t, m); u.Whole || len(u.Items)+len(u.Deleted) != 0 {
		t.Errorf("of nothing new it tells %+v", u)
	}
	put(t, m, "c", "1", 0)
	if err := m.Delete(t.Context(), "b", mustRevision(t, m, "b")); err != nil {
		t.Fatal(err)
	}
	closeMeta(t, m)
	m = impl.Open(t, dir)
	defer closeMeta(t, m)
	v.once(t, m)
	if err := v.same(m); err != nil {
		t.Errorf("after reopening: %v", err)
	}
	ahead := view{revision: v.revision + 1000}
	if u := ahead.once(t, m); !u.Whole || ahead.same(m) != nil {
		t.Errorf("from a revision that never was it tells %+v", u)
	}
}

// testWatchHistory is a model of what watchers know, quick, slow and coming back,
// under random changes by several. Values tell which Txn wrote them, so that a
// half of one shows.
func testWatchHistory(t *testing.T, impl Meta) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	views := []*view{{prefix: ""}, {prefix: "1/"}, {prefix: "1/key1"}, {prefix: "2/"}, {prefix: "none"}, {prefix: ""}}
	for life := range uint64(3) {
		m := impl.Open(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		var watching, changing sync.WaitGroup
		for i, v := range views {
			rng := rand.New(rand.NewPCG(seed+life, uint64(i)))
			watching.Go(func() { follow(ctx, t, m, v, rng, i%3 == 1) })
		}
		for w := range 3 {
			rng := rand.New(rand.NewPCG(seed+life, 1000+uint64(w)))
			changing.Go(func() {
				for n := range 80 {
					changeBoth(t, m, rng, fmt.Sprint(life, w, n))
				}
			})
		}
		changing.Wait()
		for _, v := range views { // each comes to know it all
			waitFor(t, func() error { return locked(v, m) })
		}
		cancel()
		watching.Wait()
		closeMeta(t, m)
	}
}

// locked is same for a view that is being used.
func locked(v *view, m journal.Meta) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.same(m)
}

// follow watches until the context ends; a slow one dawdles, and all go away and
// come back now and then.
func follow(ctx context.Context, t *testing.T, m journal.Meta, v *view, rng *rand.Rand, slow bool) {
	for ctx.Err() == nil {
		for u, err := range m.Watch(ctx, v.prefix, v.revision) {
			if ctx.Err() != nil {
				return
			}
			v.mu.Lock()
			if err == nil {
				err = v.take(u)
			}
			if err == nil && v.prefix == "" {
				err = v.pairs()
			}
			v.mu.Unlock()
			if err != nil {
				t.Errorf("watch %q: %v", v.prefix, err)
				return
			}
			if slow {
				time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond) // to be overtaken
			}
			if rng.IntN(20) == 0 {
				break
			}
		}
	}
}

// pairs wants every two keys that are changed together to be of one Txn.
func (v *view) pairs() error {
	for key, it := range v.items {
		if key[0] == '1' {
			if other, ok := v.items["2"+key[1:]]; !ok || string(other.Value) != string(it.Value) || other.Revision != it.Revision {
				return fmt.Errorf("half a transaction shows: %q is %q, and the other %q", key, it.Value, other.Value)
			}
		}
	}
	return nil
}

// changeBoth changes a key and its double, whoever else wants to.
func changeBoth(t *testing.T, m journal.Meta, rng *rand.Rand, value string) {
	key := fmt.Sprint("/key", rng.IntN(20))
	var expect uint64
	if _, rev, err := m.Get("1" + key); err == nil {
		expect = rev
	}
	del := expect != 0 && rng.IntN(3) == 0
	_, err := m.Txn(t.Context(),
		journal.Change{Key: "1" + key, Value: []byte(value), Expect: expect, Delete: del},
		journal.Change{Key: "2" + key, Value: []byte(value), Expect: expect, Delete: del})
	if err != nil && !errors.Is(err, journal.ErrConflict) {
		t.Error(err)
	}
}

// testWatchEnds: a watcher hears that the store closes.
func testWatchEnds(t *testing.T, impl Meta) {
	m := impl.Open(t, t.TempDir())
	ended := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		for _, err := range m.Watch(t.Context(), "", 0) {
			if err != nil {
				ended <- err
				continue
			}
			close(began)
		}
	}()
	<-began
	closeMeta(t, m)
	if err := <-ended; !errors.Is(err, journal.ErrClosed) {
		t.Errorf("it ends with %v", err)
	}
	for _, err := range m.Watch(t.Context(), "", 0) {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("of a closed store: %v", err)
		}
	}
}

// waitFor waits until check has nothing to say.
func waitFor(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if t.Failed() || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

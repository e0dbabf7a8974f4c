package archive

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

func after(t *testing.T, a *Archive, name fragments.StreamName, n fragments.Number) []fragments.Number {
	t.Helper()
	var list []fragments.Number
	for e, err := range a.After(t.Context(), name, n) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Number)
	}
	return list
}

// From every number on, in memory, in blocks, after a restart and after
// retention, After gives exactly what follows.
func TestAfter(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	recordHours(p, a, "cam", 2)
	r := p.record(a, "cam")
	r.add(3)
	check := func(when string) {
		t.Helper()
		all := numbers(listed(t, a, "cam"))
		for i, n := range all {
			if got := after(t, a, "cam", n); !slices.Equal(got, all[i+1:]) {
				t.Errorf("%s: after %s come %v, want %v", when, n, got, all[i+1:])
			}
		}
		if got := after(t, a, "cam", fragments.Number{}); !slices.Equal(got, all) {
			t.Errorf("%s: from the beginning come %v, want %v", when, got, all)
		}
	}
	check("recorded")
	if got := len(blockKeys(t, a)); got != 2 {
		t.Fatalf("%d hours are closed, want 2", got)
	}
	p.crash(a)
	a = p.open()
	check("opened again")
	info, _ := a.Stream("cam")
	p.crash(a)
	p.opts.Retention.MaxBytes = info.Bytes / 2
	a = p.open()
	a.retain(context.Background())
	info, _ = a.Stream("cam")
	if info.Floor.IsZero() || info.First.Number.Less(info.Floor) {
		t.Errorf("floor %s, first %s", info.Floor, info.First.Number)
	}
	check("after retention")
	for _, err := range a.After(t.Context(), "none", fragments.Number{}) {
		if !errors.Is(err, ErrNoStream) {
			t.Errorf("a stream that is not: %v", err)
		}
	}
}

// Whoever looks when told so, misses nothing.
func TestOnChange(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	var mu sync.Mutex
	told := map[fragments.StreamName]int{}
	stop := a.OnChange(func(n fragments.StreamName) {
		mu.Lock()
		defer mu.Unlock()
		told[n]++
	})
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return told["cam"]
	}
	r := p.record(a, "cam")
	first, second := r.begin(), r.begin()
	r.commit(second)
	if n := count(); n != 0 {
		t.Errorf("told %d times of what is held back", n)
	}
	r.commit(first)
	if n := count(); n == 0 {
		t.Error("not told of what became visible")
	}
	before := count()
	p.clock.Add(time.Minute)
	if err := a.DeleteStream(t.Context(), "cam"); err != nil {
		t.Fatal(err)
	}
	if count() == before {
		t.Error("not told of the deletion")
	}
	stop()
	before = count()
	p.record(a, "cam").add(1)
	if count() != before {
		t.Error("told after stop")
	}
}

package wal

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// contents lists a tree and checks its order, its heap and its size.
func contents(t *testing.T, tr tree) map[string]uint64 {
	t.Helper()
	var check func(n *node)
	check = func(n *node) {
		for _, below := range []*node{n.left, n.right} {
			if below != nil {
				if below.rank > n.rank {
					t.Fatalf("%q stands over %q against their ranks", n.key, below.key)
				}
				check(below)
			}
		}
	}
	if tr.root != nil {
		check(tr.root)
	}
	m := map[string]uint64{}
	last, first := "", true
	tr.from("", func(it *item) bool {
		if !first && it.key <= last {
			t.Fatalf("%q after %q", it.key, last)
		}
		last, first = it.key, false
		m[it.key] = it.revision
		return true
	})
	if len(m) != tr.size {
		t.Fatalf("size %d of %d keys", tr.size, len(m))
	}
	return m
}

func TestTreeAgainstMap(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	ranks := newRanks()
	var tr tree
	want := map[string]uint64{}
	var pastTree tree
	var pastWant map[string]uint64
	for i := range uint64(20_000) {
		key := fmt.Sprintf("%d", rng.IntN(500))
		if rng.IntN(3) == 0 {
			tr = tr.remove(key)
			delete(want, key)
		} else {
			tr = tr.put(item{key: key, revision: i}, ranks)
			want[key] = i
		}
		if it := tr.get(key); (it == nil) != (want[key] == 0 && !hasKey(want, key)) {
			t.Fatalf("step %d: get %q gave %v", i, key, it)
		}
		if i%1000 == 0 {
			if pastWant != nil && !maps.Equal(contents(t, pastTree), pastWant) {
				t.Fatalf("step %d: an earlier tree changed", i)
			}
			pastTree, pastWant = tr, maps.Clone(want)
			if !maps.Equal(contents(t, tr), want) {
				t.Fatalf("step %d: the tree differs", i)
			}
		}
	}
	b := builder{ranks: ranks}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		b.add(item{key: key, revision: want[key]})
	}
	if built := b.tree(); !maps.Equal(contents(t, built), want) || depth(built.root) > 60 {
		t.Errorf("built otherwise, depth %d", depth(built.root))
	}
	from := slices.Sorted(maps.Keys(want))[100]
	var got []string
	tr.from(from+"\x00", func(it *item) bool { got = append(got, it.key); return len(got) < 5 })
	if !slices.Equal(got, slices.Sorted(maps.Keys(want))[101:106]) {
		t.Errorf("from %q came %q", from, got)
	}
}

func hasKey(m map[string]uint64, key string) bool { _, ok := m[key]; return ok }

func depth(n *node) int {
	if n == nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}

// TestTreeSince: what it passes over in whole branches has nothing in it that is
// newer, in trees grown and built.
func TestTreeSince(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	ranks := newRanks()
	var tr tree
	want := map[string]uint64{}
	for i := uint64(1); i <= 4000; i++ {
		key := fmt.Sprintf("%x", rng.IntN(300))
		if rng.IntN(3) == 0 {
			tr = tr.remove(key)
			delete(want, key)
		} else {
			tr = tr.put(item{key: key, revision: i}, ranks)
			want[key] = i
		}
		if i%50 > 0 {
			continue
		}
		b := builder{ranks: ranks}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			b.add(item{key: key, revision: want[key]})
		}
		prefix, after := []string{"", "1", "a", "ab", "f", "ff", "zz"}[rng.IntN(7)], i-uint64(rng.IntN(60))
		var expected []string
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if strings.HasPrefix(key, prefix) && want[key] > after {
				expected = append(expected, key)
			}
		}
		for _, tr := range []tree{tr, b.tree()} {
			var got []string
			tr.since(prefix, after, func(it *item) { got = append(got, it.key) })
			if !slices.Equal(got, expected) {
				t.Fatalf("of %q after %d of %d came %q, want %q (seed %d)", prefix, after, i, got, expected, seed)
			}
		}
	}
}

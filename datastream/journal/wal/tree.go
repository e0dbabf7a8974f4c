package wal

import (
	"hash/maphash"
	"strings"
)

// tree is an ordered map that is never modified: put and remove return a new
// tree that shares all but the path to the key. A reader, a listing and a
// snapshot therefore hold still pictures without a lock, at the price of about
// log2(n) small nodes copied per change. It is a treap: keys in search order,
// hashes of the keys in heap order, which keeps it balanced as random input
// would. The zero tree is empty.
type tree struct {
	root *node
	size int
}

type node struct {
	item
	rank        uint64
	newest      uint64 // the greatest revision from here down
	left, right *node
}

// sum works newest out anew; children come first.
func (n *node) sum() *node {
	n.newest = max(n.revision, newestOf(n.left), newestOf(n.right))
	return n
}

func newestOf(n *node) uint64 {
	if n == nil {
		return 0
	}
	return n.newest
}

// item is a key, its value and its revision.
type item struct {
	key      string
	value    []byte
	revision uint64
}

// ranks hashes keys into ranks; the seed lives as long as its store, so that
// nobody can choose keys that unbalance the tree.
type ranks struct{ seed maphash.Seed }

func newRanks() ranks { return ranks{maphash.MakeSeed()} }

func (r ranks) of(key string) uint64 { return maphash.String(r.seed, key) }

// get returns the item with this key, or nil.
func (t tree) get(key string) *item {
	n := t.root
	for n != nil {
		switch c := strings.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return &n.item
		}
	}
	return nil
}

// put returns a tree with the item in it.
func (t tree) put(it item, r ranks) tree {
	if t.get(it.key) == nil {
		t.size++
	}
	t.root = put(t.root, &node{item: it, rank: r.of(it.key)})
	return t
}

// put takes fresh, which belongs to nobody else, into the tree at n.
func put(n, fresh *node) *node {
	if n == nil {
		return fresh.sum()
	}
	if n.key == fresh.key {
		fresh.left, fresh.right = n.left, n.right
		return fresh.sum()
	}
	if fresh.rank > n.rank {
		fresh.left, fresh.right = split(n, fresh.key)
		return fresh.sum()
	}
	c := *n
	if fresh.key < n.key {
		c.left = put(n.left, fresh)
	} else {
		c.right = put(n.right, fresh)
	}
	return c.sum()
}

// split parts the tree at n into what is before key and what is after it. The
// key is not in it: it would stand where its rank puts it, above n.
func split(n *node, key string) (before, after *node) {
	if n == nil {
		return nil, nil
	}
	c := *n
	if key < n.key {
		before, c.left = split(n.left, key)
		return before, c.sum()
	}
	c.right, after = split(n.right, key)
	return c.sum(), after
}

// remove returns a tree without the key.
func (t tree) remove(key string) tree {
	if t.get(key) == nil {
		return t
	}
	return tree{root: remove(t.root, key), size: t.size - 1}
}

func remove(n *node, key string) *node {
	if n.key == key {
		return merge(n.left, n.right)
	}
	c := *n
	if key < n.key {
		c.left = remove(n.left, key)
	} else {
		c.right = remove(n.right, key)
	}
	return c.sum()
}

// merge joins two trees of which all keys of the first come before the second's.
func merge(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.rank > b.rank:
		c := *a
		c.right = merge(a.right, b)
		return c.sum()
	default:
		c := *b
		c.left = merge(a, b.left)
		return c.sum()
	}
}

// from visits the items at or after key in order, until visit says false.
func (t tree) from(key string, visit func(*item) bool) { t.root.from(key, visit) }

func (n *node) from(key string, visit func(*item) bool) bool {
	if n == nil {
		return true
	}
	if key < n.key && !n.left.from(key, visit) {
		return false
	}
	if key <= n.key && !visit(&n.item) {
		return false
	}
	return n.right.from(key, visit)
}

// since visits the items that begin with prefix and have a revision greater than
// after, in order. What is older is passed over in whole branches.
func (t tree) since(prefix string, after uint64, visit func(*item)) {
	t.root.since(prefix, after, visit)
}

func (n *node) since(prefix string, after uint64, visit func(*item)) {
	if n == nil || n.newest <= after {
		return
	}
	has := strings.HasPrefix(n.key, prefix)
	if has || prefix < n.key {
		n.left.since(prefix, after, visit)
	}
	if has && n.revision > after {
		visit(&n.item)
	}
	if has || n.key < prefix {
		n.right.since(prefix, after, visit)
	}
}

// builder makes a tree of items that come in key order, in one pass.
type builder struct {
	ranks ranks
	size  int
	spine []*node // the right edge, from the root down
}

func (b *builder) add(it item) {
	n := &node{item: it, rank: b.ranks.of(it.key)}
	for len(b.spine) > 0 && b.spine[len(b.spine)-1].rank < n.rank {
		n.left = b.spine[len(b.spine)-1].sum() // complete: what comes lies to its right
		b.spine = b.spine[:len(b.spine)-1]
	}
	if len(b.spine) > 0 {
		b.spine[len(b.spine)-1].right = n
	}
	b.spine = append(b.spine, n)
	b.size++
}

func (b *builder) tree() tree {
	if len(b.spine) == 0 {
		return tree{}
	}
	for i := len(b.spine) - 1; i >= 0; i-- {
		b.spine[i].sum()
	}
	return tree{root: b.spine[0], size: b.size}
}

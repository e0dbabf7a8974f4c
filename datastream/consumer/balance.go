package consumer

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// view is a lease that can be worked on, as one worker sees it.
type view struct {
	key    string
	owner  string // "" when it is free: nobody's, or of one not heard of
	wanted string // who asked for it; "" when it is free
}

// balance says which free leases a worker takes, and which of others' it asks
// for. A worker takes free ones up to its even share of all. It asks for one
// when somebody has two more than itself, and for a sixteenth of the difference
// more when it is large: the more careful the steps, the less is moved to and
// fro when many workers take them at once.
func balance(leases []view, me string) (take, ask []string) {
	// A lease that is asked for counts as the asker's.
	count := map[string]int{me: 0}
	var free []view
	for _, v := range leases {
		if v.owner == "" {
			free = append(free, v)
		} else {
			count[cmp.Or(v.wanted, v.owner)]++
		}
	}
	share := (len(leases) + len(count) - 1) / len(count)
	inOwnOrder(free, me)
	for _, v := range free[:max(0, min(len(free), share-count[me]))] {
		take = append(take, v.key)
	}
	most := ""
	for owner, n := range count {
		if owner != me && (most == "" || n > count[most] || n == count[most] && owner < most) {
			most = owner
		}
	}
	gap := count[most] - count[me] - len(take)
	if most == "" || gap < 2 {
		return take, nil
	}
	var theirs []view
	for _, v := range leases {
		if v.owner == most && v.wanted == "" {
			theirs = append(theirs, v)
		}
	}
	inOwnOrder(theirs, me)
	for _, v := range theirs[:min(len(theirs), 1+gap/16)] {
		ask = append(ask, v.key)
	}
	return take, ask
}

// inOwnOrder sorts leases in an order that is each worker's own, so that not
// all begin with the same one.
func inOwnOrder(leases []view, me string) {
	rank := func(v view) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(me + "\x00" + v.key))
		x := h.Sum64() // whose high bits hardly know the last letters
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		return x ^ x>>33
	}
	slices.SortFunc(leases, func(a, b view) int { return cmp.Compare(rank(a), rank(b)) })
}

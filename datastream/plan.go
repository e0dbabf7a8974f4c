package datastream

import (
	"slices"
	"time"
)

// reshard is one step on the list of open ranges in hash order: with split the
// range i is replaced by two, of which the second starts at `at`; without, the
// ranges i and i+1 are replaced by one. Each step works on the list that the
// steps before it left.
type reshard struct {
	split bool
	i     int
	at    HashKey
}

// unevenness is how many times the narrowest range the widest may be before a
// plan of few steps is given up for one that cuts exactly. Halving and pairing
// equal shards never gets beyond it.
const unevenness = 2.001

// planCount says how a stream gets from its open ranges, which tile the circle,
// to target ranges, as UpdateShardCount of the service does: to grow, every
// range is split once and neighbours are then merged until target are left; to
// shrink, neighbours are merged. Splits fall on the boundaries of an even
// division, or in the middle where that gives more even ranges, and the
// boundaries that stay are those nearest to the division. Ranges that are too
// uneven for that, and more than twice as many as there were, are reached by
// cutting at the even boundaries and merging across all others.
func planCount(open []HashRange, target int) []reshard {
	even := SplitEvenly(target)
	// Boundaries are starts of ranges, without the 0 of the first.
	ideal := startsOf(even)
	tries := [][]HashKey{startsOf(open)}
	if target > len(open) {
		tries = [][]HashKey{splitEach(open, ideal), splitEach(open, nil)}
	}
	var plan []reshard
	best := unevenness
	for _, have := range tries {
		keep, ok := nearest(have, ideal)
		if u := unevennessOf(keep); ok && u < best {
			plan, best = steps(open, have, keep), u
		}
	}
	if best == unevenness {
		return planExact(open, ideal)
	}
	return plan
}

// startsOf returns the inner boundaries of ranges that tile the circle.
func startsOf(ranges []HashRange) []HashKey {
	starts := make([]HashKey, 0, len(ranges))
	for _, r := range ranges[1:] {
		starts = append(starts, r.Start)
	}
	return starts
}

// splitEach returns the boundaries there are once every range is split in two:
// at the ideal boundary next to its middle, or in the middle when none lies in
// it. What lies next to an edge counts as the edge: even divisions by different
// numbers miss each other by a few points.
func splitEach(open []HashRange, ideal []HashKey) []HashKey {
	all := make([]HashKey, 0, 2*len(open))
	for i, r := range open {
		if i > 0 {
			all = append(all, r.Start)
		}
		if at, ok := splitPoint(r, ideal); ok {
			all = append(all, at)
		}
	}
	return all
}

func splitPoint(r HashRange, ideal []HashKey) (HashKey, bool) {
	mid, ok := middle(r)
	if !ok {
		return HashKey{}, false
	}
	slack := slackOf(r)
	at := mid
	n, _ := slices.BinarySearchFunc(ideal, mid, HashKey.Compare)
	best := HashKey{}
	for _, k := range ideal[max(0, n-1):min(len(ideal), n+1)] {
		inside := r.Has(k) && distance(k, r.Start).Compare(slack) > 0 && distance(k, r.End).Compare(slack) > 0
		if d := distance(k, mid); inside && (at == mid || d.Compare(best) < 0) {
			at, best = k, d
		}
	}
	return at, true
}

// middle is where a range is cut in halves; false when it is too narrow for the
// service's rule that start+1 < at < end.
func middle(r HashRange) (HashKey, bool) {
	d := distance(r.End, r.Start)
	if d.Hi == 0 && d.Lo < 4 {
		return HashKey{}, false
	}
	d = d.Add(1) // the width, which is 0 for the whole circle
	if d == (HashKey{}) {
		return HashKey{Hi: 1 << 63}, true
	}
	half := HashKey{d.Hi >> 1, d.Lo>>1 | d.Hi<<63}
	return sum(r.Start, half), true
}

// slackOf is how near to its edge a point of a range counts as the edge: a
// millionth of the width.
func slackOf(r HashRange) HashKey {
	d := distance(r.End, r.Start)
	return HashKey{d.Hi >> 20, d.Lo>>20 | d.Hi<<44}.Add(1)
}

// nearest picks, in order, one of the boundaries for each ideal one; false when
// there are too few.
func nearest(have, ideal []HashKey) ([]HashKey, bool) {
	keep := make([]HashKey, 0, len(ideal))
	from := 0
	for j, want := range ideal {
		last := len(have) - (len(ideal) - j) // leaves enough for those that follow
		if last < from {
			return nil, false
		}
		best := from
		for k := from + 1; k <= last && distance(have[k], want).Compare(distance(have[best], want)) < 0; k++ {
			best = k
		}
		keep = append(keep, have[best])
		from = best + 1
	}
	return keep, true
}

// unevennessOf is how many times the narrowest of the ranges between the
// boundaries the widest is.
func unevennessOf(keep []HashKey) float64 {
	narrow, wide, start := 1.0, 0.0, HashKey{}
	for i := 0; i <= len(keep); i++ {
		end := MaxHashKey
		if i < len(keep) {
			end = keep[i]
		}
		w := part(HashRange{start, end})
		narrow, wide, start = min(narrow, w), max(wide, w), end
	}
	return wide / narrow
}

// planExact cuts at every ideal boundary that is not there and merges across
// every one there is that is not ideal.
func planExact(open []HashRange, ideal []HashKey) []reshard {
	if len(ideal) == 0 {
		return steps(open, startsOf(open), nil)
	}
	have, keep := startsOf(open), slices.Clone(ideal)
	slack := slackOf(HashRange{HashKey{}, ideal[0]})
	all := slices.Clone(have)
	for j, want := range keep {
		n, _ := slices.BinarySearchFunc(have, want, HashKey.Compare)
		at := want
		for _, k := range have[max(0, n-1):min(len(have), n+1)] {
			if distance(k, want).Compare(slack) <= 0 {
				at = k
			}
		}
		keep[j] = at
		all = append(all, at)
	}
	slices.SortFunc(all, HashKey.Compare)
	return steps(open, slices.Compact(all), keep)
}

// steps writes out how the open ranges are first cut at all the boundaries and
// then merged across those that are not kept. Both lists are sorted, all holds
// the starts of open, and keep is a part of all.
func steps(open []HashRange, all, keep []HashKey) (plan []reshard) {
	have := startsOf(open)
	for i, at := range all { // range i ends, or is to end, just before all[i]
		if _, there := slices.BinarySearchFunc(have, at, HashKey.Compare); !there {
			plan = append(plan, reshard{split: true, i: i, at: at})
		}
	}
	i := 0
	for _, at := range all {
		if _, stays := slices.BinarySearchFunc(keep, at, HashKey.Compare); stays {
			i++
		} else {
			plan = append(plan, reshard{i: i})
		}
	}
	return plan
}

func distance(a, b HashKey) HashKey {
	if a.Compare(b) < 0 {
		a, b = b, a
	}
	d := a.Sub(b.Lo)
	d.Hi -= b.Hi
	return d
}

func sum(a, b HashKey) HashKey {
	s := a.Add(b.Lo)
	s.Hi += b.Hi
	return s
}

// part is how much of the circle a range covers, about.
func part(r HashRange) float64 {
	d := distance(r.End, r.Start)
	return float64(d.Hi)/(1<<64) + float64(d.Lo)/(1<<64)/(1<<64)
}

// What a shard takes in per second, by the service's limits, and how an
// on-demand stream uses it.
const (
	shardBytes   = 1 << 20
	shardRecords = 1000

	// onDemandShards are what an on-demand stream starts with and is never
	// merged below.
	onDemandShards = 4
	// splitAbove keeps a shard's throughput at double what it was seen to take.
	splitAbove = 0.5
	// mergeBelow is what two neighbours may have taken together to become one:
	// far below splitAbove, so that a merge is not soon regretted.
	mergeBelow = 0.125
	// A shard is judged after it was watched for a while: to split, for one
	// whole measurement; to merge, for a day, as load returns with the hour.
	splitAfter = time.Minute
	mergeAfter = 24 * time.Hour
	// narrowest is how many times narrower than an even share a shard can get.
	// What is still hot then is a single key, which no split divides.
	narrowest = 1024
)

// load is what is known of the use of one open shard of an on-demand stream.
type load struct {
	Range HashRange
	// now is the share of a shard's throughput that the last whole minute used,
	// see shareOf. It is above 1 only where throughput is not limited.
	now float64
	// peak is the highest of these shares while the shard was watched, at most
	// 30 days back. It is at least now.
	peak float64
	// watched is how long the shard was measured: since it was made or since
	// this process started, whichever is later.
	watched time.Duration
}

// shareOf is which part of a shard's throughput a use of it is: of its bytes
// (data and partition keys) or its records, whichever is more.
func shareOf(bytes, records int64, over time.Duration) float64 {
	if over <= 0 {
		return 0
	}
	return max(float64(bytes)/shardBytes, float64(records)/shardRecords) / over.Seconds()
}

// planLoad says what an on-demand stream with these shards, in hash order, has
// to change. It is asked about once a minute.
//
//   - Fewer shards than warm, the throughput in MiB/s asked to be ready: it goes
//     to warm shards at once.
//   - A shard of which more than half was used is split in two, the hottest
//     first, while there are fewer than limit. Its halves are watched anew, so
//     growth is at most a doubling per minute: the service promises a doubling
//     in 15.
//   - When nothing is to be split, neighbours that took next to nothing for a
//     day are merged, each at most once per call, never below warm or four.
//
// Anything else stays. The service says that it follows double the peak of 30
// days and not when it merges; the bounds for that are ours.
func planLoad(loads []load, warm, limit int) []reshard {
	if target := min(warm, limit); len(loads) < target {
		open := make([]HashRange, len(loads))
		for i, l := range loads {
			open[i] = l.Range
		}
		return planCount(open, target)
	}
	if plan := splitHot(loads, limit); len(plan) > 0 {
		return plan
	}
	return mergeCold(loads, max(warm, onDemandShards))
}

func splitHot(loads []load, limit int) (plan []reshard) {
	var hot []int
	for i, l := range loads {
		wide := part(l.Range)*float64(len(loads))*narrowest >= 1
		if l.now > splitAbove && l.watched >= splitAfter && wide {
			hot = append(hot, i)
		}
	}
	if room := max(0, limit-len(loads)); len(hot) > room {
		slices.SortStableFunc(hot, func(a, b int) int {
			switch {
			case loads[a].now > loads[b].now:
				return -1
			case loads[a].now < loads[b].now:
				return 1
			}
			return 0
		})
		hot = hot[:room]
		slices.Sort(hot)
	}
	for _, i := range hot {
		if at, ok := middle(loads[i].Range); ok {
			plan = append(plan, reshard{split: true, i: i + len(plan), at: at})
		}
	}
	return plan
}

func mergeCold(loads []load, floor int) (plan []reshard) {
	spare := len(loads) - floor
	for i := 0; i+1 < len(loads) && len(plan) < spare; i++ {
		a, b := loads[i], loads[i+1]
		if a.watched >= mergeAfter && b.watched >= mergeAfter && a.peak+b.peak < mergeBelow {
			plan = append(plan, reshard{i: i - len(plan)})
			i++ // b is used up
		}
	}
	return plan
}

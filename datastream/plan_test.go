package datastream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// apply carries out a plan as the engine does, and returns the open ranges and
// how many shards were made on the way. Steps the service would refuse fail.
func apply(t *testing.T, open []HashRange, plan []reshard) ([]HashRange, int) {
	t.Helper()
	made := 0
	open = slices.Clone(open)
	for n, s := range plan {
		switch {
		case s.split:
			r := open[s.i]
			if r.Start.Add(1).Compare(s.at) >= 0 || s.at.Compare(r.End) >= 0 {
				t.Fatalf("step %d splits %v at %v", n, r, s.at)
			}
			open = slices.Replace(open, s.i, s.i+1, HashRange{r.Start, s.at.Sub(1)}, HashRange{s.at, r.End})
			made += 2
		default:
			open = slices.Replace(open, s.i, s.i+2, HashRange{open[s.i].Start, open[s.i+1].End})
			made++
		}
	}
	tiles(t, open)
	return open, made
}

func tiles(t *testing.T, open []HashRange) {
	t.Helper()
	next := HashKey{}
	for i, r := range open {
		if r.Start != next || r.Start.Compare(r.End) > 0 {
			t.Fatalf("range %d is %v, should start at %v", i, r, next)
		}
		next = r.End.Add(1)
	}
	if next != (HashKey{}) {
		t.Fatalf("the last range ends before %v", next)
	}
}

// ratio is how many times the narrowest range the widest is.
func ratio(open []HashRange) float64 {
	narrow, wide := math.Inf(1), 0.0
	for _, r := range open {
		narrow, wide = min(narrow, part(r)), max(wide, part(r))
	}
	return wide / narrow
}

func TestPlanCount(t *testing.T) {
	for _, c := range []struct {
		from, to, ever int
		uneven         float64
	}{
		// What moto 5 observed: its test_update_shard_count.
		{2, 4, 6, 1},
		{4, 5, 15, 1},
		{10, 13, 37, 1.25},
		{4, 2, 6, 1},
		{5, 3, 7, 2},
		{10, 3, 17, 4. / 3},
		// Our own.
		{1, 2, 3, 1},
		{2, 1, 3, 1},
		{1, 1, 1, 1},
		{7, 7, 7, 1},
		{3, 6, 9, 1},
		{6, 3, 9, 1},
		{100, 125, 375, 1.34},
		{1000, 1001, 3999, 1},
		{2, 9, 19, 1}, // beyond double: exact
		{1, 10000, 19999, 1},
		{10000, 1, 19999, 1},
	} {
		t.Run(fmt.Sprintf("%d to %d", c.from, c.to), func(t *testing.T) {
			open, made := apply(t, SplitEvenly(c.from), planCount(SplitEvenly(c.from), c.to))
			if len(open) != c.to || c.from+made != c.ever {
				t.Errorf("%d open of %d ever, want %d of %d", len(open), c.from+made, c.to, c.ever)
			}
			if r := ratio(open); r > c.uneven+1e-5 {
				t.Errorf("the widest is %f times the narrowest, want at most %f", r, c.uneven)
			}
		})
	}
}

// randomRanges cuts the circle into n ranges of any widths.
func randomRanges(rng *rand.Rand, n int) []HashRange {
	cuts := []HashKey{{}}
	for len(cuts) < n {
		k := HashKey{rng.Uint64() >> rng.IntN(40), rng.Uint64()}
		if near, there := slices.BinarySearchFunc(cuts, k, HashKey.Compare); !there {
			cuts = slices.Insert(cuts, near, k)
		}
	}
	ranges := make([]HashRange, n)
	for i, k := range cuts {
		ranges[i] = HashRange{k, MaxHashKey}
		if i > 0 {
			ranges[i-1].End = k.Sub(1)
		}
	}
	return ranges
}

// TestPlanCountOfAnything: from any ranges, any number of even ranges comes
// out; and from even ranges, by the service's number of steps.
func TestPlanCountOfAnything(t *testing.T) {
	const rounds = 3000
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d rounds, seed %d", rounds, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		from, to := 1+rng.IntN(40), 1+rng.IntN(40)
		start := randomRanges(rng, from)
		if rng.IntN(2) == 0 {
			start = SplitEvenly(from)
		}
		open, made := apply(t, start, planCount(start, to))
		if len(open) != to || ratio(open) > 2.01 {
			t.Fatalf("%v to %d: %d ranges, widest %f times the narrowest", start, to, len(open), ratio(open))
		}
		again, more := apply(t, open, planCount(open, to))
		if more != 0 || !slices.Equal(again, open) {
			t.Fatalf("%v to %d: asked twice, %d shards more", start, to, more)
		}
		if from != 1 && ratio(start) > 1.001 || to > 2*from {
			continue
		}
		if want := from - to; to <= from && made != want {
			t.Fatalf("%d to %d made %d shards, want %d", from, to, made, want)
		}
		if want := 2*from + 2*from - to; to > from && made != want {
			t.Fatalf("%d to %d made %d shards, want %d", from, to, made, want)
		}
	}
}

// loadsOf makes loads on even ranges, all watched for as long.
func loadsOf(watched time.Duration, shares ...float64) []load {
	loads := make([]load, len(shares))
	for i, r := range SplitEvenly(len(shares)) {
		loads[i] = load{Range: r, now: shares[i], peak: shares[i], watched: watched}
	}
	return loads
}

func TestPlanLoad(t *testing.T) {
	const day, minute = 24 * time.Hour, time.Minute
	narrow := loadsOf(minute, 0, 1, 0, 0)
	narrow[1].Range = HashRange{HashKey{1 << 62, 0}, HashKey{1<<62 + 1<<50, 0}}
	peaked := loadsOf(day, 0, 0, 0, 0, 0, 0)
	peaked[2].peak = 0.4
	for _, c := range []struct {
		name        string
		loads       []load
		warm, limit int
		want        string // s = split, m = merge, with the index
	}{
		{"idle", loadsOf(day, 0, 0, 0, 0), 0, 200, ""},
		{"idle, and fewer than four", loadsOf(day, 0, 0), 0, 200, ""},
		{"half used", loadsOf(day, 0.5, 0.5, 0.5, 0.5), 0, 200, ""},
		{"one hot", loadsOf(minute, 0.1, 0.6, 0.1, 0.1), 0, 200, "s1"},
		{"all hot", loadsOf(minute, 1, 1, 1, 1), 0, 200, "s0 s2 s4 s6"},
		{"hot, watched too shortly", loadsOf(minute-1, 1, 1, 1, 1), 0, 200, ""},
		{"hot, room for one", loadsOf(minute, 0.6, 0.7, 0.9, 0.8), 0, 5, "s2"},
		{"hot, room for two", loadsOf(minute, 0.6, 0.7, 0.9, 0.8), 0, 6, "s2 s4"},
		{"hot, no room", loadsOf(minute, 1, 1, 1, 1), 0, 4, ""},
		{"hot, beyond the limit", loadsOf(minute, 1, 1, 1, 1), 0, 2, ""},
		{"one key hot", narrow, 0, 200, ""},
		{"too many", loadsOf(day, 0, 0, 0, 0, 0, 0, 0, 0), 0, 200, "m0 m1 m2 m3"},
		{"two too many", loadsOf(day, 0, 0, 0, 0, 0, 0), 0, 200, "m0 m1"},
		{"too many, watched too shortly", loadsOf(day-1, 0, 0, 0, 0, 0, 0), 0, 200, ""},
		{"too many, kept warm", loadsOf(day, 0, 0, 0, 0, 0, 0), 6, 200, ""},
		{"too many, some warm", loadsOf(day, 0, 0, 0, 0, 0, 0), 5, 200, "m0"},
		{"not quite cold", loadsOf(day, .1, .1, .1, .1, .1, .1), 0, 200, ""},
		{"one of two cold", loadsOf(day, .2, .01, .2, .01, .2, .01), 0, 200, ""},
		{"cold now, once used", peaked, 0, 200, "m0 m2"},
		{"cold and hot", loadsOf(day, 0, 0, 0, 0, 0, 1), 0, 200, "s5"},
		{"to be warmed", loadsOf(0, 0, 0, 0, 0), 8, 200, "s0 s2 s4 s6"},
		{"to be warmed, limited", loadsOf(0, 0, 0, 0), 8, 4, "s0 s2 s4 m1 m2"},
	} {
		got := ""
		for i, s := range planLoad(c.loads, c.warm, c.limit) {
			if i > 0 {
				got += " "
			}
			if s.split {
				got += fmt.Sprintf("s%d", s.i)
			} else {
				got += fmt.Sprintf("m%d", s.i)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestOnDemandFollows plays days of random load, spread evenly over the circle,
// on a stream: a minute after each doubling nothing is throttled, no capacity
// is lost that the last day used, and an idle stream comes back to four.
func TestOnDemandFollows(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	const limit = 200
	loads := loadsOf(0, 0, 0, 0, 0)
	plans, most := 0, 0
	minute := func(total float64) {
		for i := range loads {
			loads[i].now = min(1, total*part(loads[i].Range))
			loads[i].peak = max(loads[i].peak, loads[i].now)
			loads[i].watched += time.Minute
		}
		open := make([]HashRange, len(loads))
		for i, l := range loads {
			open[i] = l.Range
		}
		plan := planLoad(loads, 0, limit)
		if len(plan) == 0 {
			return
		}
		plans++
		open, _ = apply(t, open, plan)
		next := make([]load, len(open))
		for i, r := range open {
			next[i].Range = r
			for _, l := range loads {
				if l.Range == r {
					next[i] = l
				}
			}
		}
		loads = next
		most = max(most, len(loads))
		if len(loads) > limit || len(loads) < onDemandShards {
			t.Fatalf("seed %d: %d shards", seed, len(loads))
		}
	}
	total := 1.0
	for step := range 200 {
		total = min(45, total*(0.5+1.5*rng.Float64()))
		for range 6 {
			minute(total)
		}
		for _, l := range loads {
			if share := total * part(l.Range); share > splitAbove {
				t.Fatalf("seed %d, step %d: %f of a shard after 6 minutes of %f MiB/s", seed, step, share, total)
			}
		}
	}
	for range 20 {
		for i := range loads {
			loads[i].peak = 0 // a window of a day has passed
		}
		for range 24 * 60 {
			minute(0.1)
		}
	}
	if len(loads) != onDemandShards {
		t.Errorf("seed %d: %d shards are left of an idle stream", seed, len(loads))
	}
	t.Logf("seed %d: %d changes, at most %d shards", seed, plans, most)
}

func TestShareOf(t *testing.T) {
	for _, c := range []struct {
		bytes, records int64
		over           time.Duration
		want           float64
	}{
		{1 << 20, 0, time.Second, 1},
		{60 << 20, 600, time.Minute, 1},
		{0, 30000, time.Minute, 0.5},
		{1, 1, 0, 0},
	} {
		if got := shareOf(c.bytes, c.records, c.over); got != c.want {
			t.Errorf("%+v: %f", c, got)
		}
	}
}

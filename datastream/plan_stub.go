package datastream

import (
	"sync"
	"time"
)

// Stand-ins for plan.go and bucket.go, until they come.

type reshard struct {
	split bool
	i     int
	at    HashKey
}

func planCount(open []HashRange, target int) (steps []reshard) {
	ranges := append([]HashRange(nil), open...)
	for len(ranges) < target {
		i := widest(ranges)
		r := ranges[i]
		at := middle(r)
		steps = append(steps, reshard{split: true, i: i, at: at})
		ranges = append(ranges[:i], append([]HashRange{{r.Start, at.Sub(1)}, {at, r.End}}, ranges[i+1:]...)...)
	}
	for len(ranges) > target {
		steps = append(steps, reshard{i: 0})
		ranges = append([]HashRange{{ranges[0].Start, ranges[1].End}}, ranges[2:]...)
	}
	return steps
}

func widest(ranges []HashRange) (best int) {
	for i, r := range ranges {
		if r.End.Hi-r.Start.Hi > ranges[best].End.Hi-ranges[best].Start.Hi {
			best = i
		}
	}
	return best
}

func middle(r HashRange) HashKey {
	return HashKey{r.Start.Hi + (r.End.Hi-r.Start.Hi)/2 + 1, 0}
}

type tokens struct {
	mu          sync.Mutex
	rate, burst float64
	have        float64
	at          time.Time
}

func newTokens(rate, burst float64) tokens { return tokens{rate: rate, burst: burst, have: burst} }

func (t *tokens) take(n float64, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.at.IsZero() {
		t.have = min(t.burst, t.have+now.Sub(t.at).Seconds()*t.rate)
	}
	t.at = now
	if t.have < n {
		return false
	}
	t.have -= n
	return true
}

func (t *tokens) refund(n float64) {
	t.mu.Lock()
	t.have = min(t.burst, t.have+n)
	t.mu.Unlock()
}

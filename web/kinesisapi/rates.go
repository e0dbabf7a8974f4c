package kinesisapi

import (
	"fmt"
	"sync"
	"time"

	"github.com/kineweir/kineweir/web/awswire"
)

// rates hold the calls that only look to as many in a second as the service
// takes, over all streams; calls that change something are the engine's to
// count. nil holds nothing. Source: the comments of the SDK's operations; the
// service counts some of them for each stream.
type rates map[string]*bucket

func newRates() rates {
	r := rates{}
	for op, n := range map[string]float64{
		"DescribeAccountSettings": 5,
		"DescribeLimits":          1,
		"DescribeStream":          10,
		"DescribeStreamConsumer":  20,
		"DescribeStreamSummary":   20,
		"ListShards":              1000,
		"ListStreamConsumers":     5,
		"ListStreams":             5,
		"ListTagsForResource":     5,
		"ListTagsForStream":       5,
		"UpdateAccountSettings":   5,
	} {
		r[op] = &bucket{rate: n, have: n}
	}
	return r
}

// take counts a call, or refuses it.
func (r rates) take(op string) error {
	b := r[op]
	if b == nil || b.take(time.Now()) {
		return nil
	}
	return &awswire.Error{Code: codeLimit, Message: fmt.Sprintf("Rate exceeded for %s.", op)}
}

// bucket lets rate calls through in a second, as many at once after a pause.
type bucket struct {
	mu   sync.Mutex
	rate float64
	have float64
	last time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() {
		b.have = min(b.rate, b.have+now.Sub(b.last).Seconds()*b.rate)
	}
	b.last = now
	if b.have < 1 {
		return false
	}
	b.have--
	return true
}

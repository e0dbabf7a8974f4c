package datastream

import (
	"sync"
	"time"
)

// Limits are what the engine refuses beyond what can not work at all. The zero
// value refuses nothing.
type Limits struct {
	// Throttle holds every shard to the service's throughput: 1 MiB and 1,000
	// records a second in, 2 MiB in 5 calls a second out, 2 MiB a second out to
	// each enhanced fan-out consumer.
	Throttle bool
	// ShardLimit is how many open shards all provisioned streams together may
	// have; 0 = as many as MaxShards allows in each.
	ShardLimit int
	// OnDemandStreams is how many streams may be on demand; 0 = any number.
	OnDemandStreams int
	// ConsumersPerStream is how many consumers a stream may have; 0 = MaxConsumers.
	ConsumersPerStream int
	// ControlRates holds control calls to the service's rates, UpdateShardCount
	// to half and double, and mode and key changes to a number in 24 hours.
	ControlRates bool
}

// Bounds that hold without any limits, so that a caller can not fill memory.
const (
	MaxShards    = 10000    // open shards in a stream: the service's bound for UpdateShardCount
	MaxConsumers = 1000     // of a stream
	MaxTags      = 50       // of a stream or consumer
	MaxPuts      = 500      // records in a Put
	MaxPutBytes  = 10 << 20 // keys and data of a Put
	MaxReadBytes = 10 << 20 // bodies in a Batch, if it has more than one
	MaxRead      = 10000    // records in a Batch
)

// NoLimits is for those who own the machine.
func NoLimits() Limits { return Limits{} }

// AWSLimits are the service's quotas for a new account in its large regions.
func AWSLimits() Limits {
	return Limits{Throttle: true, ShardLimit: 500, OnDemandStreams: 50, ConsumersPerStream: 20, ControlRates: true}
}

// Calls that change something, by how many the service takes in a second.
const (
	callCreate     = "CreateStream"
	callDelete     = "DeleteStream"
	callSplit      = "SplitShard"
	callMerge      = "MergeShards"
	callCount      = "UpdateShardCount"
	callWarm       = "UpdateStreamWarmThroughput"
	callTag        = "AddTagsToStream"
	callUntag      = "RemoveTagsFromStream"
	callRegister   = "RegisterStreamConsumer"
	callDeregister = "DeregisterStreamConsumer"
)

const creatingAtOnce = 5 // streams, and consumers of a stream, that may be CREATING

// rates are the token buckets of control calls. A nil one allows everything.
type rates struct {
	mu     sync.Mutex
	perSec map[string]*tokens
}

func newRates() *rates {
	r := &rates{perSec: map[string]*tokens{}}
	for call, rate := range map[string]float64{
		callCreate: 5, callDelete: 5, callSplit: 5, callMerge: 5, callCount: 10, callWarm: 5,
		callTag: 5, callUntag: 5, callRegister: 5, callDeregister: 5,
	} {
		t := newTokens(rate, rate)
		r.perSec[call] = &t
	}
	return r
}

func (r *rates) allow(call, stream string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.perSec[call]; t != nil && !t.take(1, time.Now()) {
		return refuse(ErrLimit, stream, "Rate exceeded for %s.", call)
	}
	return nil
}

// recent is the list of moments, in unix ms, at which something was done in the
// last 24 hours.
type recent []int64

// add returns the list with now in it and the old ones out of it; false when
// that would be more than most.
func (r recent) add(now int64, most int) (recent, bool) {
	kept := make(recent, 0, len(r)+1)
	for _, at := range r {
		if now-at < 24*time.Hour.Milliseconds() {
			kept = append(kept, at)
		}
	}
	if len(kept) >= most {
		return r, false
	}
	return append(kept, now), true
}

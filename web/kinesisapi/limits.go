package kinesisapi

import (
	"fmt"

	"github.com/kineweir/kineweir/datastream"
)

// shardLimit is the quota of open shards that DescribeLimits tells: without one
// it is what a single stream may have.
func (h *Handler) shardLimit() int {
	if h.limits.ShardLimit > 0 {
		return h.limits.ShardLimit
	}
	return datastream.MaxShards
}

// onDemandLimit is the quota of streams on demand; without one it is the
// largest number that the service's model allows.
func (h *Handler) onDemandLimit() int {
	if h.limits.OnDemandStreams > 0 {
		return h.limits.OnDemandStreams
	}
	return 1_000_000
}

// tooManyShards is the service's text for the quota of shards.
func (h *Handler) tooManyShards(open, more int) string {
	return fmt.Sprintf("This request would exceed the shard limit for the account %s in %s. "+
		"Current shard count for the account: %d. Limit: %d. "+
		"Number of additional shards that would have resulted from this request: %d. "+
		"Refer to the AWS Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) "+
		"for current limits and how to request higher limits.", h.account, h.region, open, h.shardLimit(), more)
}

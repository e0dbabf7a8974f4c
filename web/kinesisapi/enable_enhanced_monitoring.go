package kinesisapi

import "context"

// EnableEnhancedMonitoring adds metrics of shards to those that a stream is marked with.
//
// Honoured: the marks are kept and told; ALL stands for all seven. Ignored: the
// metrics of every shard are counted and served at /metrics in any case.

func (h *Handler) enableEnhancedMonitoring(ctx context.Context, c *call, in *monitoringInput) (*monitoringOutput, error) {
	return c.monitor(ctx, in, true)
}

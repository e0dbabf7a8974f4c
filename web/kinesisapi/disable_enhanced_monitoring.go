package kinesisapi

import "context"

// DisableEnhancedMonitoring takes metrics of shards from those that a stream is marked with.
//
// Honoured: the marks are kept and told; ALL stands for all seven. Ignored: the
// metrics of every shard are counted and served at /metrics in any case.

func (h *Handler) disableEnhancedMonitoring(ctx context.Context, c *call, in *monitoringInput) (*monitoringOutput, error) {
	return c.monitor(ctx, in, false)
}

package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/datastream"
)

// UpdateStreamRecordDistributionStrategy says whether records go to shards by
// their keys or evenly.
//
// Honoured: everything; AUTO needs mode ON_DEMAND.

type updateStreamRecordDistributionStrategyInput struct {
	StreamARN                  string `aws:"StreamARN,required,min=1,max=2048,pattern=stream"`
	RecordDistributionStrategy string `aws:"RecordDistributionStrategy,required,enum=AUTO|USER_PARTITION_KEY"`
	StreamID                   string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) updateStreamRecordDistributionStrategy(ctx context.Context, c *call, in *updateStreamRecordDistributionStrategyInput) (*none, error) {
	s, err := c.described("", in.StreamARN)
	if err != nil {
		return nil, err
	}
	auto := in.RecordDistributionStrategy == "AUTO"
	if auto && s.Mode != datastream.OnDemand {
		return nil, invalid("RecordDistributionStrategy AUTO is only supported for a stream in ON_DEMAND mode.")
	}
	return nil, h.engine.SetDistribution(ctx, s.Name, auto)
}

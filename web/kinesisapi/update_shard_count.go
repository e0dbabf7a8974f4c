package kinesisapi

import (
	"context"
)

// UpdateShardCount splits and merges until a stream has as many open shards.
//
// Honoured: everything; the bounds of half, double and ten times in 24 hours
// where the server has the service's limits.

type updateShardCountInput struct {
	TargetShardCount int    `aws:"TargetShardCount,required,min=1"`
	ScalingType      string `aws:"ScalingType,required,enum=UNIFORM_SCALING"`
	StreamName       string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN        string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID         string `aws:"StreamId,min=1,max=24,pattern=id"`
}

type updateShardCountOutput struct {
	StreamName        string `aws:"StreamName"`
	StreamARN         string `aws:"StreamARN"`
	CurrentShardCount int    `aws:"CurrentShardCount"`
	TargetShardCount  int    `aws:"TargetShardCount"`
}

func (h *Handler) updateShardCount(ctx context.Context, c *call, in *updateShardCountInput) (*updateShardCountOutput, error) {
	s, err := c.resharding(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	current, err := h.engine.SetShardCount(ctx, s.Name, in.TargetShardCount)
	if err != nil {
		return nil, h.tellReshard(err, &s, in.TargetShardCount-s.OpenShards)
	}
	return &updateShardCountOutput{
		StreamName:        s.Name,
		StreamARN:         h.streamARN(s.Name),
		CurrentShardCount: current,
		TargetShardCount:  in.TargetShardCount,
	}, nil
}

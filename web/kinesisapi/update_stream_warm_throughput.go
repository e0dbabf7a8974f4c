package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/datastream"
)

// maxWarmMiBps is the most a stream can be kept ready for, 10 GiB/s. Source: the
// operation's description in the SDK.
const maxWarmMiBps = 10 << 10

// UpdateStreamWarmThroughput keeps a stream on demand ready for so much.
//
// Honoured: everything; it needs the account's billing commitment.

type updateStreamWarmThroughputInput struct {
	WarmThroughputMiBps int    `aws:"WarmThroughputMiBps,required,min=0"`
	StreamName          string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN           string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID            string `aws:"StreamId,min=1,max=24,pattern=id"`
}

type updateStreamWarmThroughputOutput struct {
	StreamName     string          `aws:"StreamName"`
	StreamARN      string          `aws:"StreamARN"`
	WarmThroughput *warmThroughput `aws:"WarmThroughput"`
}

func (h *Handler) updateStreamWarmThroughput(ctx context.Context, c *call, in *updateStreamWarmThroughputInput) (*updateStreamWarmThroughputOutput, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	if s.Mode != datastream.OnDemand {
		return nil, unfit("Request is invalid. Stream %s under account %s is not in On-Demand mode.", s.Name, h.account)
	}
	if err := h.committed(); err != nil {
		return nil, err
	}
	if in.WarmThroughputMiBps > maxWarmMiBps {
		return nil, words(datastream.ErrLimit, datastream.ErrLimit,
			"WarmThroughputMiBps %d is beyond the limit of %d.", in.WarmThroughputMiBps, maxWarmMiBps)
	}
	if err := h.engine.SetWarm(ctx, s.Name, in.WarmThroughputMiBps); err != nil {
		return nil, err
	}
	if s, err = h.engine.Stream(s.Name); err != nil {
		return nil, err
	}
	return &updateStreamWarmThroughputOutput{
		StreamName: s.Name,
		StreamARN:  h.streamARN(s.Name),
		WarmThroughput: &warmThroughput{
			TargetMiBps:  in.WarmThroughputMiBps,
			CurrentMiBps: min(in.WarmThroughputMiBps, s.OpenShards),
		},
	}, nil
}

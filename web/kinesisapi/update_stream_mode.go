package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/datastream"
)

// UpdateStreamMode makes a provisioned stream one on demand, or the reverse. Its
// shards stay.
//
// Honoured: everything; WarmThroughputMiBps needs mode ON_DEMAND and the
// account's billing commitment.

type updateStreamModeInput struct {
	StreamARN           string       `aws:"StreamARN,required,min=1,max=2048,pattern=stream"`
	StreamModeDetails   *modeDetails `aws:"StreamModeDetails,required"`
	WarmThroughputMiBps *int         `aws:"WarmThroughputMiBps,min=0"`
	StreamID            string       `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) updateStreamMode(ctx context.Context, c *call, in *updateStreamModeInput) (*none, error) {
	s, err := c.described("", in.StreamARN)
	if err != nil {
		return nil, err
	}
	mode := datastream.Mode(in.StreamModeDetails.StreamMode)
	if in.WarmThroughputMiBps != nil {
		if mode != datastream.OnDemand {
			return nil, unfit("WarmThroughputMiBps is only supported for a stream in ON_DEMAND mode.")
		}
		if err := h.committed(); err != nil {
			return nil, err
		}
	}
	return nil, h.engine.SetMode(ctx, s.Name, mode, in.WarmThroughputMiBps)
}

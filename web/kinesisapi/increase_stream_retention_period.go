package kinesisapi

import "context"

// IncreaseStreamRetentionPeriod raises how long a stream's records are kept.
//
// Honoured: everything; the period it has already is accepted.

type increaseStreamRetentionPeriodInput struct {
	RetentionPeriodHours int    `aws:"RetentionPeriodHours,required"`
	StreamName           string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN            string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID             string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) increaseStreamRetentionPeriod(ctx context.Context, c *call, in *increaseStreamRetentionPeriodInput) (*none, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	return nil, h.engine.SetRetention(ctx, s.Name, in.RetentionPeriodHours, true)
}

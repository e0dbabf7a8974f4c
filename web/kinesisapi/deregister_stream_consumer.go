package kinesisapi

import "context"

// DeregisterStreamConsumer ends a consumer and its subscriptions.
//
// Honoured: everything.

type deregisterStreamConsumerInput struct {
	ConsumerARN  string `aws:"ConsumerARN,min=1,max=2048,pattern=consumer"`
	StreamARN    string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	ConsumerName string `aws:"ConsumerName,min=1,max=128,pattern=name"`
	StreamID     string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) deregisterStreamConsumer(ctx context.Context, c *call, in *deregisterStreamConsumerInput) (*none, error) {
	r, err := c.namedConsumer(in.ConsumerARN, in.StreamARN, in.ConsumerName)
	if err != nil {
		return nil, err
	}
	if _, err := h.consumer(r); err != nil {
		return nil, err
	}
	return nil, h.engine.DeregisterConsumer(ctx, r.stream, r.consumer)
}

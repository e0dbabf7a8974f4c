package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/web/awswire"
)

// DescribeStreamConsumer gives what a consumer is.
//
// Honoured: everything.

type describeStreamConsumerInput struct {
	ConsumerARN  string `aws:"ConsumerARN,min=1,max=2048,pattern=consumer"`
	StreamARN    string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	ConsumerName string `aws:"ConsumerName,min=1,max=128,pattern=name"`
	StreamID     string `aws:"StreamId,min=1,max=24,pattern=id"`
}

type describeStreamConsumerOutput struct {
	ConsumerDescription consumerDescription `aws:"ConsumerDescription"`
}

type consumerDescription struct {
	ConsumerName              string       `aws:"ConsumerName"`
	ConsumerARN               string       `aws:"ConsumerARN"`
	ConsumerStatus            string       `aws:"ConsumerStatus"`
	ConsumerCreationTimestamp awswire.Time `aws:"ConsumerCreationTimestamp"`
	StreamARN                 string       `aws:"StreamARN"`
}

func (h *Handler) describeStreamConsumer(_ context.Context, c *call, in *describeStreamConsumerInput) (*describeStreamConsumerOutput, error) {
	r, err := c.namedConsumer(in.ConsumerARN, in.StreamARN, in.ConsumerName)
	if err != nil {
		return nil, err
	}
	k, err := h.consumer(r)
	if err != nil {
		return nil, err
	}
	s := h.consumerShape(r.stream, &k)
	return &describeStreamConsumerOutput{consumerDescription{
		ConsumerName:              s.ConsumerName,
		ConsumerARN:               s.ConsumerARN,
		ConsumerStatus:            s.ConsumerStatus,
		ConsumerCreationTimestamp: s.ConsumerCreationTimestamp,
		StreamARN:                 h.streamARN(r.stream),
	}}, nil
}

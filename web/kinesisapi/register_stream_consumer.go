package kinesisapi

import (
	"context"
	"errors"

	"github.com/kineweir/kineweir/datastream"
)

// RegisterStreamConsumer makes an enhanced fan-out consumer of a stream.
//
// Honoured: everything; 20 consumers of a stream where the server has the
// service's limits.

type registerStreamConsumerInput struct {
	StreamARN    string            `aws:"StreamARN,required,min=1,max=2048,pattern=stream"`
	ConsumerName string            `aws:"ConsumerName,required,min=1,max=128,pattern=name"`
	Tags         map[string]string `aws:"Tags,min=1,max=200,key.min=1,key.max=128,value.min=0,value.max=256"`
	StreamID     string            `aws:"StreamId,min=1,max=24,pattern=id"`
}

type registerStreamConsumerOutput struct {
	Consumer consumerShape `aws:"Consumer"`
}

func (h *Handler) registerStreamConsumer(ctx context.Context, c *call, in *registerStreamConsumerInput) (*registerStreamConsumerOutput, error) {
	s, err := c.described("", in.StreamARN)
	if err != nil {
		return nil, err
	}
	for k, v := range in.Tags {
		if err := h.checkTags("add tags to", s.Name, k, v); err != nil {
			return nil, err
		}
	}
	k, err := h.engine.RegisterConsumer(ctx, s.Name, in.ConsumerName, in.Tags)
	if err != nil {
		if known, e := h.engine.Consumer(s.Name, in.ConsumerName); e == nil && errors.Is(err, datastream.ErrInUse) {
			err = words(err, datastream.ErrInUse, "Consumer %s already exists under stream %s and account %s: %s.",
				in.ConsumerName, s.Name, h.account, h.consumerARN(s.Name, &known))
		}
		return nil, err
	}
	return &registerStreamConsumerOutput{h.consumerShape(s.Name, &k)}, nil
}

package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/datastream"
)

// DeleteStream ends a stream, which is DELETING for the engine's StateDelay.
//
// Honoured: EnforceConsumerDeletion, without which a stream that has consumers
// stays.

type deleteStreamInput struct {
	EnforceConsumerDeletion bool   `aws:"EnforceConsumerDeletion"`
	StreamName              string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN               string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID                string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) deleteStream(ctx context.Context, c *call, in *deleteStreamInput) (*none, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	err = h.engine.Delete(ctx, s.Name, in.EnforceConsumerDeletion)
	if s.Consumers > 0 && !in.EnforceConsumerDeletion {
		err = words(err, datastream.ErrInUse,
			"Stream %s under account %s has %d registered consumers. Deregister them or set EnforceConsumerDeletion.",
			s.Name, h.account, s.Consumers)
	}
	return nil, err
}

package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/web/awswire"
)

// ListStreamConsumers gives the consumers of a stream by name.
//
// Honoured: MaxResults, 100 unless it is smaller; NextToken, good for 300
// seconds, which must be of the same stream and excludes StreamCreationTimestamp.

type listStreamConsumersInput struct {
	StreamARN               string       `aws:"StreamARN,required,min=1,max=2048,pattern=stream"`
	MaxResults              *int         `aws:"MaxResults,min=1,max=10000"`
	NextToken               string       `aws:"NextToken,min=1,max=1048576"`
	StreamCreationTimestamp awswire.Time `aws:"StreamCreationTimestamp"`
	StreamID                string       `aws:"StreamId,min=1,max=24,pattern=id"`
}

type listStreamConsumersOutput struct {
	Consumers []consumerShape `aws:"Consumers"`
	NextToken string          `aws:"NextToken,omitempty"`
}

func (h *Handler) listStreamConsumers(_ context.Context, c *call, in *listStreamConsumersInput) (*listStreamConsumersOutput, error) {
	s, err := c.described("", in.StreamARN)
	if err != nil {
		return nil, err
	}
	p := page{Stream: s.Name, ID: s.ID}
	switch {
	case in.NextToken == "":
		if err := h.sameStream(&s, in.StreamCreationTimestamp); err != nil {
			return nil, err
		}
	case !in.StreamCreationTimestamp.IsZero():
		return nil, invalid("NextToken and StreamCreationTimestamp cannot be provided together.")
	default:
		if p, err = h.parsePage(tokenConsumers, in.NextToken); err != nil {
			return nil, err
		}
		if p.Stream != s.Name || p.ID != s.ID {
			return nil, invalid("NextToken is of another stream than StreamARN %s.", in.StreamARN)
		}
	}
	list, more, err := h.engine.Consumers(s.Name, p.After, min(number(in.MaxResults, listPage), listPage))
	if err != nil {
		return nil, err
	}
	out := &listStreamConsumersOutput{}
	for i := range list {
		out.Consumers = append(out.Consumers, h.consumerShape(s.Name, &list[i]))
	}
	if more {
		p.After = list[len(list)-1].Name
		out.NextToken = h.pageToken(tokenConsumers, p)
	}
	return out, nil
}

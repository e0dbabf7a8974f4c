package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/web/awswire"
)

// listPage is how many streams or consumers one answer gives at most.
const listPage = 100

// ListStreams gives the streams by name.
//
// Honoured: Limit, 100 unless it is smaller; ExclusiveStartStreamName, which
// need not exist; NextToken, which is good for 300 seconds and goes before
// ExclusiveStartStreamName.

type listStreamsInput struct {
	Limit                    *int   `aws:"Limit,min=1,max=10000"`
	ExclusiveStartStreamName string `aws:"ExclusiveStartStreamName,min=1,max=128,pattern=name"`
	NextToken                string `aws:"NextToken,min=1,max=1048576"`
}

type listStreamsOutput struct {
	StreamNames     []string        `aws:"StreamNames"`
	HasMoreStreams  bool            `aws:"HasMoreStreams"`
	NextToken       string          `aws:"NextToken,omitempty"`
	StreamSummaries []streamSummary `aws:"StreamSummaries"`
}

type streamSummary struct {
	StreamName              string       `aws:"StreamName"`
	StreamARN               string       `aws:"StreamARN"`
	StreamStatus            string       `aws:"StreamStatus"`
	StreamModeDetails       modeDetails  `aws:"StreamModeDetails"`
	StreamCreationTimestamp awswire.Time `aws:"StreamCreationTimestamp"`
}

func (h *Handler) listStreams(_ context.Context, c *call, in *listStreamsInput) (*listStreamsOutput, error) {
	if err := c.may(""); err != nil {
		return nil, err
	}
	after := in.ExclusiveStartStreamName
	if in.NextToken != "" {
		p, err := h.parsePage(tokenStreams, in.NextToken)
		if err != nil {
			return nil, err
		}
		after = p.After
	}
	list, more := h.engine.Streams(after, min(number(in.Limit, listPage), listPage))
	out := &listStreamsOutput{HasMoreStreams: more}
	for i := range list {
		s := &list[i]
		out.StreamNames = append(out.StreamNames, s.Name)
		out.StreamSummaries = append(out.StreamSummaries, streamSummary{
			StreamName:              s.Name,
			StreamARN:               h.streamARN(s.Name),
			StreamStatus:            string(s.Status),
			StreamModeDetails:       modeDetails{string(s.Mode)},
			StreamCreationTimestamp: awswire.At(s.Created),
		})
	}
	if more {
		out.NextToken = h.pageToken(tokenStreams, page{After: list[len(list)-1].Name})
	}
	return out, nil
}

package kinesisapi

import "context"

// ListTagsForStream gives the tags of a stream by key.
//
// Honoured: Limit, of which the default is all there may be, and
// ExclusiveStartTagKey, which need not exist.

type listTagsForStreamInput struct {
	Limit                *int   `aws:"Limit,min=1,max=50"`
	ExclusiveStartTagKey string `aws:"ExclusiveStartTagKey,min=1,max=128"`
	StreamName           string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN            string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID             string `aws:"StreamId,min=1,max=24,pattern=id"`
}

type listTagsForStreamOutput struct {
	Tags        []tagShape `aws:"Tags"`
	HasMoreTags bool       `aws:"HasMoreTags"`
}

func (h *Handler) listTagsForStream(_ context.Context, c *call, in *listTagsForStreamInput) (*listTagsForStreamOutput, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	all, err := h.engine.Tags(s.Name)
	if err != nil {
		return nil, err
	}
	list := sortedTags(all)
	for len(list) > 0 && list[0].Key <= in.ExclusiveStartTagKey {
		list = list[1:]
	}
	n := min(number(in.Limit, len(list)), len(list))
	return &listTagsForStreamOutput{Tags: list[:n], HasMoreTags: n < len(list)}, nil
}

package kinesisapi

import "context"

// ListTagsForResource gives the tags of a stream or a consumer by key.
//
// Honoured: everything.

type listTagsForResourceInput struct {
	ResourceARN string `aws:"ResourceARN,required,min=1,max=2048,pattern=resource"`
	StreamID    string `aws:"StreamId,min=1,max=24,pattern=id"`
}

type listTagsForResourceOutput struct {
	Tags []tagShape `aws:"Tags"`
}

func (h *Handler) listTagsForResource(_ context.Context, c *call, in *listTagsForResourceInput) (*listTagsForResourceOutput, error) {
	r, err := c.resource(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	tags, err := h.tags(r)
	if err != nil {
		return nil, err
	}
	return &listTagsForResourceOutput{sortedTags(tags)}, nil
}

package kinesisapi

import "context"

// UntagResource takes tags from a stream or a consumer. Keys that it does not
// have do not matter.
//
// Honoured: everything.

type untagResourceInput struct {
	TagKeys     []string `aws:"TagKeys,required,min=1,max=50,each.min=1,each.max=128"`
	ResourceARN string   `aws:"ResourceARN,required,min=1,max=2048,pattern=resource"`
	StreamID    string   `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) untagResource(ctx context.Context, c *call, in *untagResourceInput) (*none, error) {
	r, err := c.resource(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return nil, h.removeTags(ctx, r, in.TagKeys)
}

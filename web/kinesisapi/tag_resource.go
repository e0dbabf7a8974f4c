package kinesisapi

import "context"

// TagResource gives a stream or a consumer tags, and new values to those it has.
//
// Honoured: 50 tags of a resource, the characters of keys and values.

type tagResourceInput struct {
	Tags        map[string]string `aws:"Tags,required,min=1,max=200,key.min=1,key.max=128,value.min=0,value.max=256"`
	ResourceARN string            `aws:"ResourceARN,required,min=1,max=2048,pattern=resource"`
	StreamID    string            `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) tagResource(ctx context.Context, c *call, in *tagResourceInput) (*none, error) {
	r, err := c.resource(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return nil, h.addTags(ctx, r, in.Tags)
}

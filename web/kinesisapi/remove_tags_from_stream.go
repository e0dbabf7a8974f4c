package kinesisapi

import "context"

// RemoveTagsFromStream takes tags from a stream. Keys that it does not have do
// not matter.
//
// Honoured: everything.

type removeTagsFromStreamInput struct {
	TagKeys    []string `aws:"TagKeys,required,min=1,max=50,each.min=1,each.max=128"`
	StreamName string   `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN  string   `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID   string   `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) removeTagsFromStream(ctx context.Context, c *call, in *removeTagsFromStreamInput) (*none, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	return nil, h.removeTags(ctx, resource{stream: s.Name}, in.TagKeys)
}

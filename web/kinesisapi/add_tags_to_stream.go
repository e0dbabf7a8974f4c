package kinesisapi

import "context"

// AddTagsToStream gives a stream tags, and new values to those it has.
//
// Honoured: 50 tags of a stream, the characters of keys and values.
// Ignored: nothing else.

type addTagsToStreamInput struct {
	Tags       map[string]string `aws:"Tags,required,min=1,max=200,key.min=1,key.max=128,value.min=0,value.max=256"`
	StreamName string            `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN  string            `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID   string            `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) addTagsToStream(ctx context.Context, c *call, in *addTagsToStreamInput) (*none, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	return nil, h.addTags(ctx, resource{stream: s.Name}, in.Tags)
}

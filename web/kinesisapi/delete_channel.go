package kinesisapi

import "context"

// DeleteChannel would end a channel. There is none: see channels.go.

type deleteChannelInput struct {
	ChannelARN string `aws:"ChannelARN,required,min=1,max=2048"`
}

func (h *Handler) deleteChannel(_ context.Context, c *call, in *deleteChannelInput) (*none, error) {
	if err := c.may(in.ChannelARN); err != nil {
		return nil, err
	}
	return nil, noChannel(in.ChannelARN)
}

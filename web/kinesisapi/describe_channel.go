package kinesisapi

import "context"

// DescribeChannel would describe a channel. There is none: see channels.go.

type describeChannelInput struct {
	ChannelARN string `aws:"ChannelARN,required,min=1,max=2048"`
}

func (h *Handler) describeChannel(_ context.Context, c *call, in *describeChannelInput) (*none, error) {
	if err := c.may(in.ChannelARN); err != nil {
		return nil, err
	}
	return nil, noChannel(in.ChannelARN)
}

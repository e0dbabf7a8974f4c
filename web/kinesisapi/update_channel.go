package kinesisapi

import "context"

// UpdateChannel would change a channel. There is none: see channels.go.

type updateChannelInput struct {
	ChannelARN                       string            `aws:"ChannelARN,required,min=1,max=2048"`
	LoggingConfiguration             *channelLogging   `aws:"LoggingConfiguration"`
	S3DestinationConfiguration       *channelFreshness `aws:"S3DestinationConfiguration"`
	S3TablesDestinationConfiguration *channelFreshness `aws:"S3TablesDestinationConfiguration"`
}

type channelFreshness struct {
	DataFreshnessInSeconds *int `aws:"DataFreshnessInSeconds"`
}

func (h *Handler) updateChannel(_ context.Context, c *call, in *updateChannelInput) (*none, error) {
	if err := c.may(in.ChannelARN); err != nil {
		return nil, err
	}
	return nil, noChannel(in.ChannelARN)
}

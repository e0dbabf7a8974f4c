package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/web/awswire"
)

// ListChannels gives the channels. There is none: see channels.go.
//
// Honoured: that the streams of StreamFilter exist. NextToken can not be valid.

type listChannelsInput struct {
	MaxResults   *int            `aws:"MaxResults,min=1,max=10000"`
	NextToken    string          `aws:"NextToken,min=1,max=1048576"`
	StreamFilter []channelFilter `aws:"StreamFilter,shown=StreamFilter"`
}

type channelFilter struct {
	StreamARN               string       `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamCreationTimestamp awswire.Time `aws:"StreamCreationTimestamp"`
}

type listChannelsOutput struct {
	ChannelSummaries []none `aws:"ChannelSummaries"`
	NextToken        string `aws:"NextToken,omitempty"`
}

func (h *Handler) listChannels(_ context.Context, c *call, in *listChannelsInput) (*listChannelsOutput, error) {
	if err := c.may(""); err != nil {
		return nil, err
	}
	if in.NextToken != "" {
		return nil, invalid("Invalid NextToken.")
	}
	for _, f := range in.StreamFilter {
		if f.StreamARN == "" {
			continue
		}
		s, err := c.described("", f.StreamARN)
		if err == nil {
			err = h.sameStream(&s, f.StreamCreationTimestamp)
		}
		if err != nil {
			return nil, err
		}
	}
	return &listChannelsOutput{}, nil
}

package kinesisapi

import "context"

// DescribeLimits gives the quotas of the account and what of them is used.
//
// Honoured: the quotas are those the server was started with. ChannelCountLimit
// is 0: there are no channels.

type describeLimitsInput struct{}

type describeLimitsOutput struct {
	ShardLimit               int `aws:"ShardLimit"`
	OpenShardCount           int `aws:"OpenShardCount"`
	OnDemandStreamCount      int `aws:"OnDemandStreamCount"`
	OnDemandStreamCountLimit int `aws:"OnDemandStreamCountLimit"`
	ChannelCount             int `aws:"ChannelCount"`
	ChannelCountLimit        int `aws:"ChannelCountLimit"`
}

func (h *Handler) describeLimits(_ context.Context, c *call, _ *describeLimitsInput) (*describeLimitsOutput, error) {
	if err := c.may(""); err != nil {
		return nil, err
	}
	_, open, onDemand := h.engine.Counts()
	return &describeLimitsOutput{
		ShardLimit:               h.shardLimit(),
		OpenShardCount:           open,
		OnDemandStreamCount:      onDemand,
		OnDemandStreamCountLimit: h.onDemandLimit(),
	}, nil
}

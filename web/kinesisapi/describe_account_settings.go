package kinesisapi

import "context"

// DescribeAccountSettings gives the account's billing commitment.
//
// Honoured: everything.

type describeAccountSettingsInput struct{}

type describeAccountSettingsOutput struct {
	MinimumThroughputBillingCommitment *commitmentOutput `aws:"MinimumThroughputBillingCommitment"`
}

func (h *Handler) describeAccountSettings(_ context.Context, c *call, _ *describeAccountSettingsInput) (*describeAccountSettingsOutput, error) {
	if err := c.may(""); err != nil {
		return nil, err
	}
	return &describeAccountSettingsOutput{h.settled.get().output()}, nil
}

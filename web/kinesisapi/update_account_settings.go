package kinesisapi

import "context"

// UpdateAccountSettings makes or ends the account's billing commitment.
//
// Honoured: the status, that lasts over a restart, and the 24 hours that a
// commitment lasts at least. Ignored: the bill.

type updateAccountSettingsInput struct {
	MinimumThroughputBillingCommitment *commitmentInput `aws:"MinimumThroughputBillingCommitment,required"`
}

type updateAccountSettingsOutput struct {
	MinimumThroughputBillingCommitment *commitmentOutput `aws:"MinimumThroughputBillingCommitment"`
}

func (h *Handler) updateAccountSettings(ctx context.Context, c *call, in *updateAccountSettingsInput) (*updateAccountSettingsOutput, error) {
	if err := c.may(""); err != nil {
		return nil, err
	}
	now, err := h.settled.commit(ctx, in.MinimumThroughputBillingCommitment.Status == commitmentOn)
	if err != nil {
		return nil, err
	}
	return &updateAccountSettingsOutput{now.output()}, nil
}

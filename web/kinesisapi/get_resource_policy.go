package kinesisapi

import "context"

// GetResourcePolicy gives the policy of a stream or a consumer.
//
// Honoured: everything. Without a policy the answer is an empty one, as the
// service gives, and no error.

type getResourcePolicyInput struct {
	ResourceARN string `aws:"ResourceARN,required,min=1,max=2048,pattern=resource"`
	StreamID    string `aws:"StreamId,min=1,max=24,pattern=id"`
}

type getResourcePolicyOutput struct {
	Policy string `aws:"Policy"`
}

func (h *Handler) getResourcePolicy(_ context.Context, c *call, in *getResourcePolicyInput) (*getResourcePolicyOutput, error) {
	r, err := c.resource(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	policy, err := h.engine.Policy(r.stream, r.consumer)
	if err != nil {
		return nil, err
	}
	if policy == "" {
		policy = "{}"
	}
	return &getResourcePolicyOutput{policy}, nil
}

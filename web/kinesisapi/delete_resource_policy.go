package kinesisapi

import "context"

// DeleteResourcePolicy takes the policy from a stream or a consumer. Without
// one it is an error, as with the service.
//
// Honoured: everything.

type deleteResourcePolicyInput struct {
	ResourceARN string `aws:"ResourceARN,required,min=1,max=2048,pattern=resource"`
	StreamID    string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) deleteResourcePolicy(ctx context.Context, c *call, in *deleteResourcePolicyInput) (*none, error) {
	r, err := c.resource(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	policy, err := h.engine.Policy(r.stream, r.consumer)
	if err != nil {
		return nil, err
	}
	if policy == "" {
		return nil, notFound("No resource policy found for resource ARN %s", in.ResourceARN)
	}
	return nil, h.engine.SetPolicy(ctx, r.stream, r.consumer, "")
}

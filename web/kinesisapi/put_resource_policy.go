package kinesisapi

import (
	"context"
	"encoding/json"
)

// maxPolicy is how long a policy may be, in bytes. Source: the quota of IAM for
// policies of resources.
const maxPolicy = 20 << 10

// PutResourcePolicy gives a stream or a consumer a policy.
//
// Honoured: the policy is kept and given back. Ignored: what it says. There is
// one account, and the credentials file says who in it may do what.

type putResourcePolicyInput struct {
	Policy      string `aws:"Policy,required"`
	ResourceARN string `aws:"ResourceARN,required,min=1,max=2048,pattern=resource"`
	StreamID    string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) putResourcePolicy(ctx context.Context, c *call, in *putResourcePolicyInput) (*none, error) {
	r, err := c.resource(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	var policy map[string]json.RawMessage
	switch {
	case len(in.Policy) > maxPolicy:
		return nil, invalid("The policy has %d bytes; %d are allowed.", len(in.Policy), maxPolicy)
	case json.Unmarshal([]byte(in.Policy), &policy) != nil || policy["Statement"] == nil:
		return nil, invalid("The policy is not a JSON object with a Statement.")
	}
	return nil, h.engine.SetPolicy(ctx, r.stream, r.consumer, in.Policy)
}

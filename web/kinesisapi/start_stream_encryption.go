package kinesisapi

import "context"

// StartStreamEncryption begins to encrypt the records that come; those there stay as
// they are and readable.
//
// Honoured: everything, with keys of this server's own key ring; KeyId may be a
// key's id, its alias, or the ARN of either.

func (h *Handler) startStreamEncryption(ctx context.Context, c *call, in *encryptionInput) (*none, error) {
	name, err := c.encrypting(in)
	if err != nil {
		return nil, err
	}
	return nil, h.tellKey(h.engine.Encrypt(ctx, name, in.KeyID), in.KeyID)
}

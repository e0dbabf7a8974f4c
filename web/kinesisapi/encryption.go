package kinesisapi

import (
	"errors"

	"github.com/kineweir/kineweir/datastream"
)

type encryptionInput struct {
	EncryptionType string `aws:"EncryptionType,required,enum=NONE|KMS"`
	KeyID          string `aws:"KeyId,required,min=1,max=2048"`
	StreamName     string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN      string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID       string `aws:"StreamId,min=1,max=24,pattern=id"`
}

// encrypting is the stream of a call about encryption.
func (c *call) encrypting(in *encryptionInput) (string, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return "", err
	}
	if in.EncryptionType != "KMS" {
		return "", invalid("EncryptionType %s is not valid here: the only valid value is KMS.", in.EncryptionType)
	}
	return s.Name, nil
}

// tellKey names the key that is not there.
func (h *Handler) tellKey(err error, key string) error {
	if errors.Is(err, datastream.ErrKeyNotFound) {
		return words(err, datastream.ErrKeyNotFound, "Key '%s' does not exist in the key ring of this server.", key)
	}
	return words(err, datastream.ErrKeyDisabled, "Key '%s' is disabled.", key)
}

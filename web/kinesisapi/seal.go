package kinesisapi

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/kineweir/kineweir/datastream/journal"
)

// keyOfTokens is where Meta keeps the 32 bytes that seal tokens, so that a
// caller goes on reading after a restart.
const keyOfTokens = "kinesisapi/token-key"

// sealer makes what callers carry for us unreadable and unforgeable: AES-256-GCM
// with a random nonce. A nonce is expected to repeat after 2^48 tokens of one
// key; what that would give away is a stream's name and a position, and every
// use of a token asks for the caller's rights anew.
type sealer struct{ aead cipher.AEAD }

// openSealer reads the key from Meta, or makes it there. Two that make it at
// once agree on one.
func openSealer(ctx context.Context, meta journal.Meta) (*sealer, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	if meta != nil {
		_, err := meta.Put(ctx, keyOfTokens, key, 0)
		if errors.Is(err, journal.ErrConflict) {
			key, _, err = meta.Get(keyOfTokens)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("%s has %d bytes instead of 32", keyOfTokens, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead}, err
}

// marker is what every token begins with, readable, as the service's shard
// iterators do.
const marker = "\x00\x00\x00\x00\x00\x00\x00\x01"

// seal is base64 of marker, nonce, sealed text and tag.
func (s *sealer) seal(text []byte) string {
	b := make([]byte, len(marker), len(marker)+len(text)+s.aead.Overhead())
	copy(b, marker)
	return base64.StdEncoding.EncodeToString(s.aead.Seal(b, nil, text, b[:len(marker)]))
}

// open is the text of a token, or nil for what is none of ours. A token wrapped
// in quote marks is taken, as the service does.
func (s *sealer) open(token string) []byte {
	if n := len(token); n >= 2 && token[0] == '"' && token[n-1] == '"' {
		token = token[1 : n-1]
	}
	b, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < len(marker)+s.aead.Overhead() || string(b[:len(marker)]) != marker {
		return nil
	}
	text, err := s.aead.Open(nil, nil, b[len(marker):], b[:len(marker)])
	if err != nil {
		return nil
	}
	return text
}

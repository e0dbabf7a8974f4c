package datastream

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Encryption at rest. A stream has data keys, each wrapped by a master key of
// the key ring; the newest is in use, the older ones open older records.
//
// Records are sealed with AES-256-GCM. So that nonces can be counted and never
// meet, whatever restarts, the key is not the data key itself but derived from
// it (HKDF-SHA256) with 16 random bytes, the salt, drawn anew by each opening
// of the engine; the nonce is four zero bytes and the counter. Header, stream
// and shard are authenticated with the record.
const (
	saltSize  = 16
	nonceSize = 12
	tagSize   = 16
	// unwrappedFor is how long an unwrapped key is used before the ring is asked
	// again, so that a key that was disabled stops working.
	unwrappedFor = 5 * time.Minute
	maxDataKeys  = 1024
	maxOpeners   = 256
)

// cipherState is what Meta holds of a stream's encryption.
type cipherState struct {
	KeyID  string    `json:",omitempty"` // the master key as the caller named it; "" = off
	Number uint32    `json:",omitempty"` // of the newest data key; they count from 1
	Keys   []dataKey `json:",omitempty"`
	Turned recent    `json:",omitempty"` // Encrypt and Decrypt
}

// dataKey is a wrapped data key.
type dataKey struct {
	Number  uint32
	KeyID   string
	Wrapped []byte
	Retired int64 `json:",omitempty"` // unix ms; no record that arrived later is sealed with it
}

// ciphers are the keys of a stream in use. The zero value is ready.
type ciphers struct {
	sealer atomic.Pointer[sealer]

	mu      sync.Mutex
	openers map[opening]*opener // under mu
}

type opening struct {
	number uint32
	salt   [saltSize]byte
}

type opener struct {
	aead  cipher.AEAD
	until time.Time
}

// sealer seals the records of one stream.
type sealer struct {
	opener
	opening
	counter atomic.Uint64
}

// sealer returns the one for the data key in use, or nil when encryption is off.
func (e *Engine) sealer(s *stream, p *picture) (*sealer, error) {
	state := &p.record.Cipher
	if state.KeyID == "" {
		return nil, nil
	}
	now := time.Now()
	if have := s.ciphers.sealer.Load(); have != nil && have.number == state.Number && now.Before(have.until) {
		return have, nil
	}
	made := &sealer{opening: opening{number: state.Number}}
	if _, err := rand.Read(made.salt[:]); err != nil {
		return nil, err
	}
	o, err := e.unwrap(s, state, made.opening)
	if err != nil {
		return nil, err
	}
	made.opener = *o
	s.ciphers.sealer.Store(made)
	return made, nil
}

// unwrap asks the ring for a data key and derives the key of an opening.
func (e *Engine) unwrap(s *stream, state *cipherState, at opening) (*opener, error) {
	i := slices.IndexFunc(state.Keys, func(k dataKey) bool { return k.Number == at.number })
	if i < 0 {
		return nil, fmt.Errorf("stream %s: data key %d: %w", s.name, at.number, errBody)
	}
	if e.keys == nil {
		return nil, refuse(ErrKeyNotFound, s.name, "there is no key ring")
	}
	key, err := e.keys.Unwrap(state.Keys[i].KeyID, state.Keys[i].Wrapped)
	if err != nil {
		return nil, keyError(s.name, state.Keys[i].KeyID, err)
	}
	derived, err := hkdf.Key(sha256.New, key, at.salt[:], "kineweir record", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &opener{aead, time.Now().Add(unwrappedFor)}, nil
}

func keyError(stream, keyID string, err error) error {
	kind := ErrUnavailable
	for _, k := range []error{ErrKeyNotFound, ErrKeyDisabled, ErrInvalid} {
		if errors.Is(err, k) {
			kind = k
		}
	}
	return fmt.Errorf("%w: %w", refuse(kind, stream, "key %s can not be used", keyID), err)
}

// opener returns what opens the records of an opening.
func (e *Engine) opener(s *stream, p *picture, at opening) (cipher.AEAD, error) {
	c := &s.ciphers
	c.mu.Lock()
	have := c.openers[at]
	c.mu.Unlock()
	if have != nil && time.Now().Before(have.until) {
		return have.aead, nil
	}
	made, err := e.unwrap(s, &p.record.Cipher, at)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.openers == nil || len(c.openers) >= maxOpeners {
		c.openers = map[opening]*opener{}
	}
	c.openers[at] = made
	return made.aead, nil
}

// binding is what a cipher is given beside the content: memory for one call
// after the other.
type binding struct {
	nonce [nonceSize]byte
	bound [sealHeader + 12]byte
}

// of sets the binding of a sealed body, of which at least the header is given.
func (n *binding) of(body []byte, stream uint64, shard uint32) {
	copy(n.nonce[nonceSize-8:], body[sealHeader-8:sealHeader])
	copy(n.bound[:], body[:sealHeader])
	binary.BigEndian.PutUint64(n.bound[sealHeader:], stream)
	binary.BigEndian.PutUint32(n.bound[sealHeader+8:], shard)
}

// seal appends a sealed body.
func (c *sealer) seal(b []byte, n *binding, stream uint64, shard uint32, partitionKey string, data []byte) []byte {
	start := len(b)
	b = append(b, bodyVersion, flagSealed)
	b = binary.BigEndian.AppendUint32(b, c.number)
	b = append(b, c.salt[:]...)
	b = binary.BigEndian.AppendUint64(b, c.counter.Add(1))
	content := len(b)
	b = append(appendKey(b, partitionKey), data...)
	n.of(b[start:], stream, shard)
	return c.aead.Seal(b[:content], n.nonce[:], b[content:], n.bound[:]) // in place
}

// unseal appends the content of a sealed body to b and returns it.
func (e *Engine) unseal(b []byte, n *binding, s *stream, p *picture, shard uint32, body []byte) ([]byte, error) {
	if len(body) < sealHeader+tagSize {
		return nil, errBody
	}
	at := opening{number: binary.BigEndian.Uint32(body[bodyHeader:])}
	copy(at.salt[:], body[bodyHeader+4:])
	aead, err := e.opener(s, p, at)
	if err != nil {
		return nil, err
	}
	n.of(body, s.id, shard)
	content, err := aead.Open(b, n.nonce[:], body[sealHeader:], n.bound[:])
	if err != nil {
		return nil, fmt.Errorf("a record does not open: %w", err)
	}
	return content, nil
}

// Encrypt seals the records that are put from now on with a new data key under
// the master key. It also changes the key of a stream that is encrypted.
func (e *Engine) Encrypt(ctx context.Context, name, keyID string) error {
	if e.keys == nil {
		return refuse(ErrKeyNotFound, name, "there is no key ring")
	}
	return e.alter(ctx, name, func(s *stream, r *record) error {
		if keyID == "" || len(keyID) > 2048 {
			return refuse(ErrInvalid, name, "a key ID has 1 to 2048 characters")
		}
		if r.Cipher.KeyID == keyID {
			return nil
		}
		if err := e.turn(s, r); err != nil {
			return err
		}
		_, wrapped, err := e.keys.Wrap(keyID)
		if err != nil {
			return keyError(name, keyID, err)
		}
		c := &r.Cipher
		if len(c.Keys) >= maxDataKeys {
			return refuse(ErrLimit, name, "the stream's records are sealed with %d keys already", len(c.Keys))
		}
		c.KeyID = keyID
		c.Number++
		c.Keys = append(c.Keys, dataKey{Number: c.Number, KeyID: keyID, Wrapped: wrapped})
		return nil
	})
}

// Decrypt leaves the records that are put from now on as they are. Earlier ones
// stay readable. keyID is the one in use.
func (e *Engine) Decrypt(ctx context.Context, name, keyID string) error {
	return e.alter(ctx, name, func(s *stream, r *record) error {
		if r.Cipher.KeyID == "" {
			return nil
		}
		if r.Cipher.KeyID != keyID {
			return refuse(ErrInvalid, name, "the stream is encrypted with key %s, not with %s", r.Cipher.KeyID, keyID)
		}
		if err := e.turn(s, r); err != nil {
			return err
		}
		r.Cipher.KeyID = ""
		return nil
	})
}

// turn retires the data key in use, forgets those with which no record that can
// still be read is sealed, and counts the change.
func (e *Engine) turn(s *stream, r *record) error {
	now := s.clock()
	if e.limits.ControlRates {
		turned, ok := r.Cipher.Turned.add(now, 25)
		if !ok {
			return refuse(ErrLimit, s.name, "A stream's encryption can be changed 25 times in 24 hours.")
		}
		r.Cipher.Turned = turned
	}
	horizon := now - (time.Duration(r.RetentionHours) * time.Hour).Milliseconds()
	var keys []dataKey
	for _, k := range r.Cipher.Keys {
		if k.Retired != 0 && k.Retired < horizon {
			continue
		}
		if k.Number == r.Cipher.Number && k.Retired == 0 {
			k.Retired = now + time.Hour.Milliseconds() // puts under way may still use it
		}
		keys = append(keys, k)
	}
	r.Cipher.Keys = keys
	return nil
}

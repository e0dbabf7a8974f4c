package keyring

import (
	"crypto/rand"
	"errors"
	"fmt"
)

// A wrapped data key is
//
//	version 1 : 1 byte | length of id : 1 | id of the master key | nonce : 12 | AES-256-GCM of the data key : 32 + 16
//
// with everything before the nonce as additional data. It names its master key
// because aliases may move.
const (
	wrapVersion = 1
	nonceBytes  = 12
	tagBytes    = 16
)

// Wrap makes a data key of 32 bytes and wraps it with a master key, which is
// named by id, alias or ARN. alias/aws/kinesis is made when it is not there.
func (r *Ring) Wrap(keyID string) (dataKey, wrapped []byte, err error) {
	id, m, err := r.usable(keyID)
	if errors.Is(err, ErrUnknown) {
		if n, bad := parseName(keyID); bad == nil && n.alias == DefaultAlias {
			if _, err := r.Add(DefaultAlias); err != nil && !errors.Is(err, ErrExists) {
				return nil, nil, err
			}
			id, m, err = r.usable(keyID)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	dataKey = make([]byte, keyBytes)
	rand.Read(dataKey)
	wrapped = make([]byte, 0, 2+len(id)+nonceBytes+keyBytes+tagBytes)
	wrapped = append(wrapped, wrapVersion, byte(len(id)))
	wrapped = append(wrapped, id...)
	header := wrapped
	var nonce [nonceBytes]byte
	rand.Read(nonce[:])
	wrapped = append(wrapped, nonce[:]...)
	return dataKey, m.seal.Seal(wrapped, nonce[:], dataKey, header), nil
}

// Unwrap opens what Wrap wrapped. keyID is the name that Wrap was given: when
// it is an alias that moved since, the key it then stood for is used.
func (r *Ring) Unwrap(keyID string, wrapped []byte) ([]byte, error) {
	n, err := parseName(keyID)
	if err != nil {
		return nil, err
	}
	if len(wrapped) < 2 || wrapped[0] != wrapVersion {
		return nil, fmt.Errorf("key %s: unknown form: %w", keyID, ErrWrapped)
	}
	header := 2 + int(wrapped[1])
	if len(wrapped) != header+nonceBytes+keyBytes+tagBytes {
		return nil, fmt.Errorf("key %s: %d bytes: %w", keyID, len(wrapped), ErrWrapped)
	}
	id := string(wrapped[2:header])
	if n.id != "" && n.id != id {
		return nil, fmt.Errorf("key %s: key %q wrapped it: %w", keyID, id, ErrWrapped)
	}
	_, m, err := r.usable(id)
	if errors.Is(err, ErrName) {
		err = ErrWrapped
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", keyID, err)
	}
	dataKey, err := m.seal.Open(nil, wrapped[header:header+nonceBytes], wrapped[header+nonceBytes:], wrapped[:header])
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", keyID, ErrWrapped)
	}
	return dataKey, nil
}

// usable returns the key of a name if it may be used.
func (r *Ring) usable(name string) (id string, m *master, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if id, err = r.find(name); err != nil {
		return "", nil, err
	}
	if m = r.keys[id]; m.disabled {
		return "", nil, fmt.Errorf("key %s: %w", name, ErrDisabled)
	}
	return id, m, nil
}

package keyring

import (
	"crypto/rand"
	"fmt"
	"strings"
)

// keyName is what a caller may call a key: one of the two is set.
type keyName struct {
	id    string // a UUID, or any other word of letters, digits, "-" and "_"
	alias string // with its "alias/"
}

// parseName reads an id, an alias, or the ARN of either
// (arn:aws:kms:<region>:<account>:key/<id> or :alias/<name>). The ring is of
// one account and region: which ones an ARN names is not looked at.
func parseName(s string) (keyName, error) {
	name := s
	if strings.HasPrefix(s, "arn:") {
		parts := strings.SplitN(s, ":", 6)
		if len(parts) < 6 || !strings.HasPrefix(parts[1], "aws") || parts[2] != "kms" {
			return keyName{}, fmt.Errorf("%q: %w", s, ErrName)
		}
		id, isKey := strings.CutPrefix(parts[5], "key/")
		if !isKey && !strings.HasPrefix(parts[5], "alias/") {
			return keyName{}, fmt.Errorf("%q: %w", s, ErrName)
		}
		name = id
	}
	if alias, ok := strings.CutPrefix(name, "alias/"); ok {
		reserved := strings.HasPrefix(alias, "aws/") && name != DefaultAlias
		if len(name) > 256 || !onlyOf(alias, "/_-") || reserved {
			return keyName{}, fmt.Errorf("%q: %w", s, ErrName)
		}
		return keyName{alias: name}, nil
	}
	if len(name) > 128 || !onlyOf(name, "_-") {
		return keyName{}, fmt.Errorf("%q: %w", s, ErrName)
	}
	return keyName{id: name}, nil
}

// onlyOf reports whether s is some letters, digits and characters of others.
func onlyOf(s, others string) bool {
	for _, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune(others, c) {
			return false
		}
	}
	return s != ""
}

// newID makes a random UUID (RFC 9562, version 4), which is what the service's
// key ids look like.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

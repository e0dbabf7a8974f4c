package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Actions is a set of what a token is for.
type Actions uint8

// The members of the set. Whole is the console's session: everything its user
// may do; it is accepted from the cookie only.
const (
	ActView Actions = 1 << iota
	ActPublish
	actWhole
)

// Grant is what a token says.
type Grant struct {
	ID      [8]byte              // for revocation
	User    string               // who issued it, or signed in; "" is anonymous
	Stream  fragments.StreamName // "" is any that the user may
	Actions Actions
	Start   time.Time // of the video it is for, millisecond resolution; zero: no bound
	End     time.Time // exclusive; zero: no bound
	Expires time.Time // second resolution
}

// Errors of tokens.
var (
	ErrBadToken     = errors.New("the token is not one of this server")
	ErrExpiredToken = errors.New("the token has expired")
	ErrRevokedToken = errors.New("the token has been revoked")
)

// A token is, in base64 without padding, the following and its authenticator.
// It stands in every URL of a playlist, so it is kept short.
//
//	+---------+---------+----+-------+---------+-------+-----+-------------+---------------+-----+
//	| version | actions | id | stamp | expires | start | end | len, user   | len, stream   | mac |
//	| 1       | 1       | 8  | 8     | varint  | varint| var | varint, ... | varint, ...   | 16  |
//	+---------+---------+----+-------+---------+-------+-----+-------------+---------------+-----+
//
// expires is in seconds, start and end in milliseconds since 1970, 0 is none.
// stamp ties the token to the user's credentials of the moment. mac is
// HMAC-SHA-256 over all before it, cut to 16 bytes.
const (
	tokenVersion = 1
	tokenMAC     = 16
	tokenHead    = 2 + 8 + 8
	maxToken     = 1024 // characters
)

type stamp [8]byte

var tokenEncoding = base64.RawURLEncoding.Strict()

// encode signs g.
func encode(key []byte, g Grant, s stamp) string {
	b := make([]byte, 0, 96)
	b = append(b, tokenVersion, byte(g.Actions))
	b = append(b, g.ID[:]...)
	b = append(b, s[:]...)
	b = binary.AppendUvarint(b, uint64(g.Expires.Unix()))
	b = binary.AppendUvarint(b, millis(g.Start))
	b = binary.AppendUvarint(b, millis(g.End))
	b = appendString(b, g.User)
	b = appendString(b, string(g.Stream))
	return tokenEncoding.EncodeToString(append(b, macOf(key, b)...))
}

// decode checks the authenticator and reads what it covers.
func decode(key []byte, token string) (Grant, stamp, error) {
	var g Grant
	var s stamp
	if len(token) > maxToken {
		return g, s, fmt.Errorf("%w: it is too long", ErrBadToken)
	}
	b, err := tokenEncoding.DecodeString(token)
	if err != nil || len(b) < tokenHead+tokenMAC {
		return g, s, ErrBadToken
	}
	body, mac := b[:len(b)-tokenMAC], b[len(b)-tokenMAC:]
	if !hmac.Equal(mac, macOf(key, body)) {
		return g, s, ErrBadToken
	}
	if body[0] != tokenVersion {
		return g, s, fmt.Errorf("%w: its version is %d", ErrBadToken, body[0])
	}
	g.Actions = Actions(body[1])
	copy(g.ID[:], body[2:10])
	copy(s[:], body[10:18])
	r := reader{b: body[tokenHead:]}
	g.Expires = time.Unix(int64(r.uvarint()), 0).UTC()
	g.Start = fromMillis(r.uvarint())
	g.End = fromMillis(r.uvarint())
	g.User = r.string()
	g.Stream = fragments.StreamName(r.string())
	if r.bad || len(r.b) != 0 {
		return Grant{}, s, ErrBadToken
	}
	return g, s, nil
}

func macOf(key, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)[:tokenMAC]
}

func millis(t time.Time) uint64 {
	if t.IsZero() || t.UnixMilli() < 0 {
		return 0
	}
	return uint64(t.UnixMilli())
}

func fromMillis(v uint64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(v)).UTC()
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader reads fields; after the first that is not whole all are zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<62 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

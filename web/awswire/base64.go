package awswire

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// badDigit is in an entry of base64Digits for what is no digit.
const badDigit = 1 << 31

var (
	strictBase64 = base64.StdEncoding.Strict()
	// base64Digits are the values of the digits, shifted to their places in a group
	// of four.
	base64Digits = func() (t [4][256]uint32) {
		for place := range t {
			for c := range t[place] {
				t[place][c] = badDigit
			}
			for i, c := range []byte(base64Alphabet) {
				t[place][c] = uint32(i) << (6 * (3 - place))
			}
		}
		return t
	}()
	// base64Pairs are the two digits of twelve bits, the first in the high byte.
	base64Pairs = func() (t [1 << 12]uint16) {
		for i := range t {
			t[i] = uint16(base64Alphabet[i>>6])<<8 | uint16(base64Alphabet[i&63])
		}
		return t
	}()
)

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// base64Length is the length of n bytes in base64.
func base64Length(n int) int { return (n + 2) / 3 * 4 }

// appendBase64 appends src in standard base64 with padding, four bytes at once.
func appendBase64(b, src []byte) []byte {
	n := base64Length(len(src))
	b = slices.Grow(b, n)
	dst := b[len(b) : len(b)+n]
	b = b[:len(b)+n]
	t := &base64Pairs
	for len(src) >= 8 && len(dst) >= 8 { // Six bytes are taken of eight.
		v := binary.BigEndian.Uint64(src)
		binary.BigEndian.PutUint64(dst, uint64(t[v>>52])<<48|uint64(t[v>>40&0xfff])<<32|uint64(t[v>>28&0xfff])<<16|uint64(t[v>>16&0xfff]))
		src, dst = src[6:], dst[8:]
	}
	base64.StdEncoding.Encode(dst, src)
	return b
}

// decodeBase64 reads standard base64 with padding (RFC 4648, section 4) whose
// unused bits are zero; dst has the length that src has decoded. Most of the time
// of a PutRecords in JSON is spent here, which is why it is not left to the
// standard library: one look-up a byte and one test for eight of them.
func decodeBase64(dst, src []byte) bool {
	t := &base64Digits
	for len(src) >= 12 && len(dst) >= 8 { // The last group may be padded; eight bytes are written for six.
		s := src[:8]
		a := t[0][s[0]] | t[1][s[1]] | t[2][s[2]] | t[3][s[3]]
		b := t[0][s[4]] | t[1][s[5]] | t[2][s[6]] | t[3][s[7]]
		if (a|b)&badDigit != 0 {
			return false
		}
		binary.BigEndian.PutUint64(dst, uint64(a)<<40|uint64(b)<<16)
		dst, src = dst[6:], src[8:]
	}
	var tail [12]byte // The library needs room for what bad padding would mean.
	if len(src) > 16 {
		return false
	}
	n, err := strictBase64.Decode(tail[:], src)
	return err == nil && n == len(dst) && copy(dst, tail[:n]) == n // It passes over line ends, which are none of ours.
}

package awswire

import (
	"encoding/base64"
	"encoding/binary"
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
			for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
				t[place][c] = uint32(i) << (6 * (3 - place))
			}
		}
		return t
	}()
)

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

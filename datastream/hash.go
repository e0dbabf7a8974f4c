package datastream

import (
	"crypto/md5" // the service's partition function, not a secret
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
)

// HashKey is a point of the 128-bit circle on which partition keys fall.
type HashKey struct{ Hi, Lo uint64 }

// MaxHashKey is 2^128-1, the last point.
var MaxHashKey = HashKey{1<<64 - 1, 1<<64 - 1}

// HashOf is where a partition key falls: the MD5 of its UTF-8 bytes, big-endian.
func HashOf(partitionKey string) HashKey {
	sum := md5.Sum([]byte(partitionKey))
	return HashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// ParseHashKey reads 0|[1-9][0-9]{0,38}, at most 2^128-1.
func ParseHashKey(s string) (HashKey, error) {
	if s == "" || len(s) > 39 || len(s) > 1 && s[0] == '0' {
		return HashKey{}, fmt.Errorf("hash key %q: %w", s, ErrInvalid)
	}
	var h HashKey
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return HashKey{}, fmt.Errorf("hash key %q: %w", s, ErrInvalid)
		}
		over, hi := bits.Mul64(h.Hi, 10)
		carry, lo := bits.Mul64(h.Lo, 10)
		lo, c := bits.Add64(lo, uint64(d), 0)
		hi, c2 := bits.Add64(hi, carry, c)
		if over != 0 || c2 != 0 {
			return HashKey{}, fmt.Errorf("hash key %q is beyond 2^128-1: %w", s, ErrInvalid)
		}
		h = HashKey{hi, lo}
	}
	return h, nil
}

// String is the decimal number.
func (h HashKey) String() string {
	var b [39]byte
	return string(appendLimbs(b[:0], [3]uint64{0, h.Hi, h.Lo}))
}

// Compare answers -1, 0 or +1.
func (h HashKey) Compare(o HashKey) int {
	switch {
	case h == o:
		return 0
	case h.Hi < o.Hi || h.Hi == o.Hi && h.Lo < o.Lo:
		return -1
	}
	return 1
}

// Add is h+n on the circle.
func (h HashKey) Add(n uint64) HashKey {
	lo, c := bits.Add64(h.Lo, n, 0)
	return HashKey{h.Hi + c, lo}
}

// Sub is h-n on the circle.
func (h HashKey) Sub(n uint64) HashKey {
	lo, b := bits.Sub64(h.Lo, n, 0)
	return HashKey{h.Hi - b, lo}
}

// HashRange is a closed interval of the circle.
type HashRange struct{ Start, End HashKey }

// Has reports whether the point lies in the range.
func (r HashRange) Has(h HashKey) bool { return r.Start.Compare(h) <= 0 && h.Compare(r.End) <= 0 }

// SplitEvenly cuts the circle into n ranges as the service does: range i starts
// at i*floor(2^128/n), the last ends at 2^128-1.
func SplitEvenly(n int) []HashRange {
	width := new(big.Int).Lsh(big.NewInt(1), 128)
	width.Div(width, big.NewInt(int64(n)))
	ranges := make([]HashRange, n)
	for i := range ranges {
		ranges[i].Start = hashOfBig(new(big.Int).Mul(width, big.NewInt(int64(i))))
		if i > 0 {
			ranges[i-1].End = ranges[i].Start.Sub(1)
		}
	}
	ranges[n-1].End = MaxHashKey
	return ranges
}

func hashOfBig(n *big.Int) HashKey {
	var b [16]byte
	n.FillBytes(b[:])
	return HashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

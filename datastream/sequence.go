package datastream

import (
	"fmt"
	"math/bits"

	"github.com/kineweir/kineweir/datastream/journal"
)

// SequenceNumber names a record within its shard, in the service's version 2:
// the decimal number of 47 hexadecimal digits (186 bits)
//
//	2 | shard made, unix s : 9 | shard's last digit : 1 | index : 16 | 00 | arrived, unix s : 9 | shard : 8 | 2
//
// whose 63-bit index is here era : 7 | frame : 40 | index in the frame : 16, so
// that a number alone says where in the lane its record lies. Within a shard,
// numbers order as their indexes do. The last index, 2^63-1, is no record: it
// ends a closed shard.
type SequenceNumber struct {
	ShardMade int64 // unix seconds
	Shard     uint32
	Index     uint64 // 63 bits
	Arrived   int64  // unix seconds
}

// EndIndex is the index of the number that ends a closed shard.
const EndIndex = 1<<63 - 1

const (
	era       = 1 // 7 bits; raised when a stream moves to other lanes
	maxFrame  = 1<<40 - 1
	maxMoment = 1<<36 - 1   // what 9 hexadecimal digits hold
	maxMade   = 16025175000 // the service refuses numbers whose shard was made then or later, in the year 2477
)

// IndexOf is the index of the record at a position of the lane.
func IndexOf(p journal.Position) uint64 {
	return era<<56 | (p.Frame&maxFrame)<<16 | uint64(p.Index)
}

// Position is where in the lane the record lies. The index that begins a shard
// gives the zero position, the index that ends one a position behind all.
func (n SequenceNumber) Position() journal.Position {
	if n.Index == EndIndex {
		return journal.Position{Frame: maxFrame, Index: 1<<16 - 1}
	}
	return journal.Position{Frame: n.Index >> 16 & maxFrame, Index: uint16(n.Index)}
}

// String is the decimal number, 56 digits.
func (n SequenceNumber) String() string {
	var b [sequenceDigits]byte
	return string(n.Append(b[:0]))
}

// sequenceDigits is the length of every number of version 2: 2*16^46 has 56
// decimal digits, and so has 3*16^46.
const sequenceDigits = 56

// Append appends the decimal number, 56 digits, to b.
func (n SequenceNumber) Append(b []byte) []byte {
	index, arrived := n.Index&EndIndex, uint64(n.Arrived)&maxMoment
	return appendLimbs(b, [3]uint64{ // the most significant first
		2<<56 | uint64(n.ShardMade)&maxMoment<<20 | uint64(n.Shard&15)<<16 | index>>48,
		index<<16 | arrived>>28,
		arrived<<36 | uint64(n.Shard)<<4 | 2,
	})
}

const tenTo18 = 1_000_000_000_000_000_000 // the largest power of ten whose multiples a division of limbs keeps in 64 bits

// appendLimbs appends a number of up to 192 bits in decimal: 18 digits at a
// time, from the lowest.
func appendLimbs(b []byte, limbs [3]uint64) []byte {
	var digits [72]byte
	at := len(digits)
	for limbs != [3]uint64{} || at == len(digits) {
		var rest uint64
		for i, l := range limbs {
			limbs[i], rest = bits.Div64(rest, l, tenTo18)
		}
		for range 18 {
			at--
			digits[at] = byte('0' + rest%10)
			rest /= 10
		}
	}
	for at < len(digits)-1 && digits[at] == '0' {
		at++
	}
	return append(b, digits[at:]...)
}

// parseLimbs reads up to 57 decimal digits.
func parseLimbs(s string) (limbs [3]uint64, ok bool) {
	for len(s) > 0 {
		n := (len(s)-1)%18 + 1 // the first piece is the odd one
		var piece, scale uint64 = 0, 1
		for _, c := range []byte(s[:n]) {
			d := c - '0'
			if d > 9 {
				return limbs, false
			}
			piece, scale = piece*10+uint64(d), scale*10
		}
		for i := 2; i >= 0; i-- {
			hi, lo := bits.Mul64(limbs[i], scale)
			var carry uint64
			limbs[i], carry = bits.Add64(lo, piece, 0)
			piece = hi + carry
		}
		s = s[n:]
	}
	return limbs, true
}

// ParseSequenceNumber reads a number of version 2. Others are ErrInvalid.
func ParseSequenceNumber(s string) (SequenceNumber, error) {
	bad := func() (SequenceNumber, error) {
		return SequenceNumber{}, fmt.Errorf("sequence number %.130q: %w", s, ErrInvalid)
	}
	if len(s) != sequenceDigits || s[0] == '0' {
		return bad()
	}
	l, ok := parseLimbs(s)
	n := SequenceNumber{
		ShardMade: int64(l[0] >> 20 & maxMoment),
		Shard:     uint32(l[2] >> 4),
		Index:     l[0]<<48 | l[1]>>16,
		Arrived:   int64(l[1]<<28&maxMoment | l[2]>>36),
	}
	zero, digit, version := l[1]>>8&0xff, uint32(l[0]>>16&15), l[2]&15
	if !ok || n.ShardMade >= maxMade || l[0]>>56 != 2 || version != 2 || zero != 0 || n.Index > EndIndex || digit != n.Shard&15 {
		return bad()
	}
	return n, nil
}

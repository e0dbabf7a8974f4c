package datastream

import (
	"fmt"
	"math/big"

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
	maxMoment = 1<<36 - 1 // what 9 hexadecimal digits hold
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
	v := big.NewInt(2)
	push := func(value uint64, digits uint) {
		v.Lsh(v, 4*digits)
		v.Or(v, new(big.Int).SetUint64(value))
	}
	push(uint64(n.ShardMade)&maxMoment, 9)
	push(uint64(n.Shard&15), 1)
	push(n.Index&EndIndex, 16)
	push(0, 2)
	push(uint64(n.Arrived)&maxMoment, 9)
	push(uint64(n.Shard), 8)
	push(2, 1)
	return v.String()
}

// ParseSequenceNumber reads a number of version 2. Others are ErrInvalid.
func ParseSequenceNumber(s string) (SequenceNumber, error) {
	bad := func() (SequenceNumber, error) {
		return SequenceNumber{}, fmt.Errorf("sequence number %q: %w", s, ErrInvalid)
	}
	if len(s) == 0 || len(s) > 56 || s[0] < '1' || s[0] > '9' {
		return bad()
	}
	v, ok := new(big.Int).SetString(s, 10)
	if !ok || v.BitLen() != 186 {
		return bad()
	}
	pull := func(digits uint) uint64 {
		mask := new(big.Int).Lsh(big.NewInt(1), 4*digits)
		low := new(big.Int).And(v, mask.Sub(mask, big.NewInt(1)))
		v.Rsh(v, 4*digits)
		return low.Uint64()
	}
	version := pull(1)
	shard := pull(8)
	arrived := pull(9)
	zero := pull(2)
	index := pull(16)
	digit := pull(1)
	made := pull(9)
	if version != 2 || zero != 0 || index > EndIndex || digit != shard&15 || v.Uint64() != 2 {
		return bad()
	}
	return SequenceNumber{ShardMade: int64(made), Shard: uint32(shard), Index: index, Arrived: int64(arrived)}, nil
}

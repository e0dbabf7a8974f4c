package kinesisapi

import "math/big"

// oldShard is the shard that a sequence number of the service's versions 0 and 1
// encodes. No record here has such a number, and the service makes none any
// more; but it still reads them, and says what they encode. As hexadecimal
// digits:
//
//	version 0: 1 | shard made, unix s : 9 | 00 | 16 | shard : 4            (125 bits; the first digit may be left out)
//	version 1: 2 | shard made, unix s : 9 | .. | 00 | 9 | 14 | 2 | shard : 8 | 1   (186 bits)
func oldShard(sequence string) (shard uint32, ok bool) {
	if len(sequence) > 57 { // 2^186 has 57 digits
		return 0, false
	}
	n, ok := new(big.Int).SetString(sequence, 10)
	if !ok || n.Sign() < 0 {
		return 0, false
	}
	bits := func(from, count uint) uint64 {
		part := new(big.Int).Rsh(n, from)
		return part.And(part, new(big.Int).SetUint64(1<<count-1)).Uint64()
	}
	switch length := n.BitLen(); {
	case length <= 125 && bits(88, 36) < maxMade:
		return uint32(bits(0, 16)), true
	case length == 186 && bits(0, 4) == 1:
		return uint32(bits(4, 32)), true
	}
	return 0, false
}

// maxMade bounds when a number's shard was made, in unix seconds: the service
// refuses numbers from there on, in the year 2477.
const maxMade = 16025175000

package socket

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/kineweir/kineweir/datastream/journal"
)

// A resume token is the base64 (URL alphabet, no padding) of
//
//	version 1 | flags 1 | stream | seen | count | count * (shard | frame | index) | CRC-32C 4, little-endian
//
// with every number but the first two and the last a varint, and shard counted
// from the one before, in rising order. Flag 1: one shard alone is read. It is
// open to whoever holds it and gives no right: the sum keeps a damaged one from
// being taken for another place.
const tokenVersion = 1

const flagSingle = 1

// token is a place in a stream: for each shard that has not been read to its
// end, where to go on. Shards below seen that are not listed are done with.
type token struct {
	stream uint64
	seen   uint32
	single bool
	at     []mark
}

// mark is how far a shard has been read; the zero Position is its beginning.
type mark struct {
	shard uint32
	next  journal.Position
}

// castagnoli is never changed.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (t *token) append(b []byte) []byte {
	raw := make([]byte, 0, 32+16*len(t.at))
	flags := byte(0)
	if t.single {
		flags = flagSingle
	}
	raw = append(raw, tokenVersion, flags)
	raw = binary.AppendUvarint(raw, t.stream)
	raw = binary.AppendUvarint(raw, uint64(t.seen))
	raw = binary.AppendUvarint(raw, uint64(len(t.at)))
	before := uint32(0)
	for _, m := range t.at {
		raw = binary.AppendUvarint(raw, uint64(m.shard-before))
		raw = binary.AppendUvarint(raw, m.next.Frame)
		raw = binary.AppendUvarint(raw, uint64(m.next.Index))
		before = m.shard
	}
	raw = binary.LittleEndian.AppendUint32(raw, crc32.Checksum(raw, castagnoli))
	return base64.RawURLEncoding.AppendEncode(b, raw)
}

var errBadToken = errors.New("not a resume token")

func parseToken(s string) (token, error) {
	var t token
	if len(s) > 64<<10 { // more than maxShards marks make
		return t, errBadToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) < 6 || raw[0] != tokenVersion || raw[1]&^flagSingle != 0 {
		return t, errBadToken
	}
	raw, sum := raw[:len(raw)-4], binary.LittleEndian.Uint32(raw[len(raw)-4:])
	if crc32.Checksum(raw, castagnoli) != sum {
		return t, errBadToken
	}
	t.single = raw[1] == flagSingle
	raw = raw[2:]
	bad := false
	pull := func(most uint64) uint64 {
		n, size := binary.Uvarint(raw)
		if size <= 0 || n > most {
			bad = true
			return 0
		}
		raw = raw[size:]
		return n
	}
	t.stream = pull(1<<64 - 1)
	t.seen = uint32(pull(1<<32 - 1))
	count := pull(maxShards)
	shard := uint64(0)
	for i := uint64(0); i < count && !bad; i++ {
		step := pull(1<<32 - 2 - shard)
		if i > 0 && step == 0 {
			return token{}, errBadToken
		}
		shard += step
		m := mark{shard: uint32(shard)}
		m.next.Frame = pull(1<<64 - 1)
		m.next.Index = uint16(pull(1<<16 - 1))
		t.at = append(t.at, m)
	}
	if bad || len(raw) > 0 || t.single && len(t.at) > 1 {
		return token{}, errBadToken
	}
	return t, nil
}

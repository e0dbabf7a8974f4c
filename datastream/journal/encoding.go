package journal

import (
	"encoding/binary"
	"errors"
)

// An entry as it lies in the body of a frame, whoever keeps the lane:
//
//	+------+-----------------+---------------------+-----+---------+
//	| kind | uvarint key len | uvarint payload len | key | payload |
//	+------+-----------------+---------------------+-----+---------+
//
// A body is its entries, in the order of their indexes, with nothing between them.

// MaxEntryHead is the most that stands before the key of an entry, in bytes.
const MaxEntryHead = 1 + 2*binary.MaxVarintLen32

// ErrEntry says that bytes are not an entry.
var ErrEntry = errors.New("not an entry of a journal")

// AppendEntryHead appends to b what stands before the payload of an entry. Key
// and the length of the payload are within bounds.
func AppendEntryHead(b []byte, kind Kind, key string, payload int) []byte {
	b = append(b, byte(kind))
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(payload))
	return append(b, key...)
}

// EntrySize is the length of an entry whose key and payload have these lengths.
func EntrySize(key, payload int) int {
	return 1 + uvarintSize(key) + uvarintSize(payload) + key + payload
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// RawEntry is an entry as it lies in a body, of which Key and Payload are parts.
type RawEntry struct {
	Kind         Kind
	Key, Payload []byte
}

// CutEntry decodes the entry that b begins with, and returns what follows it. It
// is ErrEntry if b does not begin with one.
func CutEntry(b []byte) (e RawEntry, rest []byte, err error) {
	if len(b) == 0 {
		return e, nil, ErrEntry
	}
	e.Kind, rest = Kind(b[0]), b[1:]
	key, n := binary.Uvarint(rest)
	if n <= 0 || key > MaxKey {
		return e, nil, ErrEntry
	}
	rest = rest[n:]
	payload, n := binary.Uvarint(rest)
	if n <= 0 || payload > MaxPayload {
		return e, nil, ErrEntry
	}
	rest = rest[n:]
	if uint64(len(rest)) < key+payload {
		return e, nil, ErrEntry
	}
	e.Key, rest = rest[:key:key], rest[key:]
	e.Payload, rest = rest[:payload:payload], rest[payload:]
	return e, rest, nil
}

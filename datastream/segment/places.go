package segment

import (
	"encoding/binary"
	"errors"
	"math"
)

// What a file holds of each shard is kept in Meta too, so that who lost what is
// known even when nothing of the file is left. It is a version byte and then, for
// each shard, in the order of the directory:
//
//	+---------------+--------------+----------------------+---------------------+-----------------------+----------------------+-----------------+
//	| uvarint stream| uvarint shard| varint first pos. -  | uvarint last pos. - | varint first arrival -| uvarint last arrival-| uvarint records |
//	|               |              | that of the one before| first pos.         | that of the one before| first arrival        |                 |
//	+---------------+--------------+----------------------+---------------------+-----------------------+----------------------+-----------------+
const (
	copyVersion = 1
	// maxCopy bounds the copy of a file, in bytes: some ten thousand shards. A
	// file of more has none.
	maxCopy = 256 << 10
)

var errCopy = errors.New("the copy of a directory does not fit")

// encodePlaces returns the copy of a directory, or nil when it would be too large.
func encodePlaces(places []place) []byte {
	b := []byte{copyVersion}
	var before span
	for i := range places {
		p := &places[i]
		b = binary.AppendUvarint(b, p.key.Stream)
		b = binary.AppendUvarint(b, uint64(p.key.Shard))
		b = binary.AppendVarint(b, int64(p.first-before.first))
		b = binary.AppendUvarint(b, p.last-p.first)
		b = binary.AppendVarint(b, p.firstArrived-before.firstArrived)
		b = binary.AppendUvarint(b, uint64(p.lastArrived-p.firstArrived))
		b = binary.AppendUvarint(b, uint64(p.records))
		if len(b) > maxCopy {
			return nil
		}
		before = p.span
	}
	return b
}

// decodePlaces is the reverse; of nothing it makes nothing.
func decodePlaces(b []byte) ([]place, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != copyVersion {
		return nil, errCopy
	}
	r := varints{rest: b[1:]}
	var places []place
	var before place
	for len(r.rest) > 0 {
		var p place
		p.key.Stream = r.unsigned(math.MaxUint64)
		p.key.Shard = uint32(r.unsigned(math.MaxUint32))
		p.first = before.first + uint64(r.signed())
		p.last = p.first + r.unsigned(math.MaxUint64)
		p.firstArrived = before.firstArrived + r.signed()
		p.lastArrived = p.firstArrived + int64(r.unsigned(math.MaxInt64))
		p.records = uint32(r.unsigned(math.MaxUint32))
		if r.bad || !p.sound() || p.records == 0 || len(places) > 0 && before.key.compare(p.key) >= 0 {
			return nil, errCopy
		}
		places = append(places, p)
		before = p
	}
	return places, nil
}

// varints reads one number after the other; bad is set once one does not fit.
type varints struct {
	rest []byte
	bad  bool
}

func (r *varints) unsigned(most uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > most {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *varints) signed() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

package consumer

import (
	"bytes"
	"crypto/md5" // the format's checksum, not a secret
	"encoding/binary"
	"errors"

	"github.com/kineweir/kineweir/datastream"
)

// An aggregated record of the Kinesis Producer Library (aggregation-format.md
// of amazon-kinesis-producer) is
//
//	F3 89 9A C2 | protobuf AggregatedRecord | MD5 of the protobuf, 16 bytes
//
//	AggregatedRecord: 1 partition_key_table (string, repeated)
//	                  2 explicit_hash_key_table (string, repeated)
//	                  3 records (Record, repeated)
//	Record:           1 partition_key_index (uint64)  2 explicit_hash_key_index (uint64, optional)
//	                  3 data (bytes)  4 tags (ignored)
const aggregateMagic = "\xf3\x89\x9a\xc2"

// Deaggregate appends the user records that r carries to into: those of an
// aggregated record with Sub counting from 0, or else r as it is. A record that
// looks aggregated but does not check is an ordinary record. What is appended
// shares r.Data.
//
// With a range, user records of an aggregated record whose own hash lies
// outside it are left out: a producer that aggregated for the shards of before
// a split sends those again. (The KCL leaves out all user records of such a
// record; as not every producer sends all of them again, this does not.)
func Deaggregate(r Record, within *datastream.HashRange, into []Record) []Record {
	body, ok := aggregateBody(r.Data)
	if !ok {
		return append(into, r)
	}
	a, err := parseAggregate(body)
	if err != nil {
		return append(into, r)
	}
	for sub, u := range a.records {
		key, explicit, hash := a.keysOf(u)
		if within != nil && !within.Has(hash) {
			continue
		}
		into = append(into, Record{
			Sequence: r.Sequence, Sub: int64(sub), Aggregated: true,
			PartitionKey: key, ExplicitHash: explicit, Data: u.data, Arrived: r.Arrived,
		})
	}
	return into
}

// aggregateBody returns the protobuf of what is an aggregated record.
func aggregateBody(data []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(data, []byte(aggregateMagic))
	if !ok || len(rest) < md5.Size {
		return nil, false
	}
	body, sum := rest[:len(rest)-md5.Size], rest[len(rest)-md5.Size:]
	return body, md5.Sum(body) == [md5.Size]byte(sum)
}

type aggregate struct {
	keys, hashes []string
	points       []datastream.HashKey // of hashes
	records      []userRecord
}

type userRecord struct {
	key, hash int // indexes; hash is -1 for none
	data      []byte
}

// keysOf returns what the indexes of u stand for, which parseAggregate checked.
func (a *aggregate) keysOf(u userRecord) (key, explicit string, hash datastream.HashKey) {
	key = a.keys[u.key]
	if u.hash < 0 {
		return key, "", datastream.HashOf(key)
	}
	return key, a.hashes[u.hash], a.points[u.hash]
}

var errAggregate = errors.New("malformed aggregated record")

// parseAggregate reads the protobuf. What it allocates is bounded by what there
// is to read.
func parseAggregate(body []byte) (*aggregate, error) {
	a := &aggregate{}
	for len(body) > 0 {
		f, rest, err := nextField(body)
		if err != nil {
			return nil, err
		}
		body = rest
		switch {
		case f.number > 3:
			continue
		case f.wire != wireBytes:
			return nil, errAggregate
		case f.number == 1:
			a.keys = append(a.keys, string(f.bytes))
		case f.number == 2:
			a.hashes = append(a.hashes, string(f.bytes))
		case f.number == 3:
			u, err := parseUserRecord(f.bytes)
			if err != nil {
				return nil, err
			}
			a.records = append(a.records, u)
		}
	}
	for _, h := range a.hashes {
		p, err := datastream.ParseHashKey(h)
		if err != nil {
			return nil, errAggregate
		}
		a.points = append(a.points, p)
	}
	for _, u := range a.records { // the tables may come after
		if u.key >= len(a.keys) || u.hash >= len(a.hashes) {
			return nil, errAggregate
		}
	}
	return a, nil
}

func parseUserRecord(body []byte) (userRecord, error) {
	u := userRecord{key: -1, hash: -1}
	for len(body) > 0 {
		f, rest, err := nextField(body)
		if err != nil {
			return u, err
		}
		body = rest
		switch {
		case f.number > 3:
		case f.number == 3 && f.wire == wireBytes:
			u.data = f.bytes
		case f.number != 3 && f.wire == wireVarint && f.value < 1<<31:
			if f.number == 1 {
				u.key = int(f.value)
			} else {
				u.hash = int(f.value)
			}
		default:
			return u, errAggregate
		}
	}
	if u.key < 0 || u.data == nil { // both are required
		return u, errAggregate
	}
	return u, nil
}

// Wire types of protobuf.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

type field struct {
	number uint64
	wire   uint64
	value  uint64 // of wireVarint
	bytes  []byte // of wireBytes, never nil; shared
}

// nextField reads one field of a protobuf message.
func nextField(b []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return f, nil, errAggregate
	}
	b = b[n:]
	f.number, f.wire = tag>>3, tag&7
	if f.number == 0 {
		return f, nil, errAggregate
	}
	size := uint64(0)
	switch f.wire {
	case wireVarint, wireBytes:
		if f.value, n = binary.Uvarint(b); n <= 0 {
			return f, nil, errAggregate
		}
		b = b[n:]
		if f.wire == wireBytes {
			size = f.value
		}
	case wire64:
		size = 8
	case wire32:
		size = 4
	default: // groups are not in this format
		return f, nil, errAggregate
	}
	if size > uint64(len(b)) {
		return f, nil, errAggregate
	}
	f.bytes = b[:size:size]
	return f, b[size:], nil
}

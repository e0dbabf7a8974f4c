package datastream

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// What the log holds of a record:
//
//	+-------------+-----------------+-----------------------+---------------+------+
//	| version : 1 | flags : 1 (= 0) | key length (uvarint)  | partition key | data |   plain
//	+-------------+-----------------+-----------------------+---------------+------+
//
//	+-------------+-----------------+-------------------+-----------+-------------+--------------------------------+----------+
//	| version : 1 | flags : 1 (= 1) | data key : uint32 | salt : 16 | counter : 8 | key length, partition key, data | tag : 16 |   sealed
//	+-------------+-----------------+-------------------+-----------+-------------+--------------------------------+----------+
//
// What is sealed is encrypted, and bound to the bytes before it and to its
// stream and shard (see cipher.go). Integers are big-endian.
const (
	bodyVersion = 1
	flagSealed  = 1
	bodyHeader  = 2
	sealHeader  = bodyHeader + 4 + saltSize + 8
)

// appendHead appends a plain body up to its data.
func appendHead(b []byte, partitionKey string) []byte {
	return appendKey(append(b, bodyVersion, 0), partitionKey)
}

// appendKey appends a content up to its data.
func appendKey(b []byte, partitionKey string) []byte {
	b = binary.AppendUvarint(b, uint64(len(partitionKey)))
	return append(b, partitionKey...)
}

var errBody = errors.New("the record is not one of ours")

// parseContent returns the parts of a content. They share its memory, which is
// never modified.
func parseContent(b []byte) (partitionKey string, data []byte, err error) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return "", nil, errBody
	}
	key := b[n : n+int(length)]
	return unsafe.String(unsafe.SliceData(key), len(key)), b[n+int(length):], nil
}

// isSealed tells the two kinds of body apart.
func isSealed(body []byte) (bool, error) {
	if len(body) < bodyHeader || body[0] != bodyVersion || body[1] > flagSealed {
		return false, errBody
	}
	return body[1] == flagSealed, nil
}

package kinesisapi

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web/awswire"
)

// tokenLife is how long iterators and page tokens may be used, as often as one
// likes.
const tokenLife = 300 * time.Second

// The first byte of a token's text says what it is.
const (
	tokenIterator  = 'i'
	tokenShards    = 's'
	tokenStreams   = 'n'
	tokenConsumers = 'c'
)

// iteratorHead is the length of an iterator's text before the name of its
// stream, which has at most 128 bytes: base64 of all is at most 288 characters long,
// where the service allows 512.
//
//	'i' : 1 | made, unix ms : 8 | stream : 8 | shard : 4 | frame : 8 | index : 2 | name of the stream
const iteratorHead = 1 + 8 + 8 + 4 + 8 + 2

// The service's iterators are blocks of 16 bytes behind the marker, 152 bytes at
// least: with marker, nonce and tag these lengths of text give the same.
const (
	iteratorLeast = 152 - 8 - 12 - 16
	iteratorStep  = 16
)

// iterator is the token of a place in a shard.
func (h *Handler) iterator(stream string, c datastream.Cursor) string {
	var room [iteratorLeast + 4*iteratorStep]byte
	b := append(room[:0], tokenIterator)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, c.Stream)
	b = binary.BigEndian.AppendUint32(b, c.Shard)
	b = binary.BigEndian.AppendUint64(b, c.Next.Frame)
	b = binary.BigEndian.AppendUint16(b, c.Next.Index)
	b = append(b, stream...)
	// Zeros fill it up to a length that iterators of the service have too.
	for len(b) < iteratorLeast || (len(b)-iteratorLeast)%iteratorStep != 0 {
		b = append(b, 0)
	}
	return h.seal.seal(b)
}

// parseIterator reads a token that iterator made.
func (h *Handler) parseIterator(token string) (stream string, c datastream.Cursor, err error) {
	b := h.seal.open(token)
	if len(b) < iteratorHead || b[0] != tokenIterator {
		return "", c, invalid("Invalid ShardIterator.")
	}
	made := time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:])))
	if now := time.Now(); now.Sub(made) > tokenLife {
		return "", c, expiredIterator(made, now)
	}
	c = datastream.Cursor{
		Stream: binary.BigEndian.Uint64(b[9:]),
		Shard:  binary.BigEndian.Uint32(b[17:]),
		Next:   journal.Position{Frame: binary.BigEndian.Uint64(b[21:]), Index: binary.BigEndian.Uint16(b[29:])},
	}
	return string(bytes.TrimRight(b[iteratorHead:], "\x00")), c, nil
}

func expiredIterator(made, now time.Time) *awswire.Error {
	const form = "Mon Jan 02 15:04:05 UTC 2006"
	return &awswire.Error{
		Code: codeExpiredIterator,
		Message: "Iterator expired. The iterator was created at time " + made.UTC().Format(form) +
			" while right now it is " + now.UTC().Format(form) +
			" which is further in the future than the tolerated delay of 300000 milliseconds.",
	}
}

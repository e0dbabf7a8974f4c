package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/kineweir/kineweir/datastream/journal"
)

// A frame is what one group commit writes and one sync makes durable. Integers
// are little-endian.
//
//	 0        4    5    6        8                12               16
//	+--------+----+----+--------+----------------+----------------+
//	| "KWfr" |form|type| count  | body length    | body CRC-32C   |
//	+--------+----+----+--------+----------------+----------------+
//	16                          24                               32
//	+-----------------------------+--------------------------------+
//	| salt of the file            | frame number                   |
//	+-----------------------------+--------------------------------+
//	32                          40                               48
//	+-----------------------------+--------------------------------+
//	| epoch                       | committed up to (frame number) |
//	+-----------------------------+--------------------------------+
//	48             52             56               60              64
//	+--------------+--------------+----------------+---------------+
//	| padding      | 0            | chain          | header CRC-32C|
//	+--------------+--------------+----------------+---------------+
//	64   body: count entries, one after the other, then the padding
//
// A frame of format 01 has no padding. In one of format 02 so many bytes, less
// than a page of 4 KiB, stand between its body and the frame after it, which
// thus begins with a page and can be written past the page cache. They mean
// nothing, and no checksum covers them.
//
// chain is the header CRC of the frame before, and as a header holds its body's
// CRC, one chain value vouches for everything before it. "Committed up to" is
// the last frame known durable when this one was written: here always the frame
// before, since a frame is written only after the sync of its predecessor. That
// is why a frame found after a damaged one proves that the damaged one had been
// durable, and why only a last frame can be torn.
//
// An entry is encoded as journal.AppendEntryHead says.
const (
	headerSize   = 64
	frameFormat  = 1
	paddedFormat = 2

	// maxBody bounds a frame's body, checked before anything is read or
	// allocated for it.
	maxBody  = 16 << 20
	maxCount = 1<<16 - 1

	// maxEntryHead is the most that stands before an entry's key.
	maxEntryHead = journal.MaxEntryHead
)

var frameMagic = [4]byte{'K', 'W', 'f', 'r'}

// castagnoli is CRC-32C, which processors compute by themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Frame types.
const (
	typeEntries = 1 // carries entries
	typeEpoch   = 2 // an owner took the lane: the first frame of its epoch
	typeClose   = 3 // an owner left in good order
)

// header is a frame's header, decoded.
type header struct {
	kind      byte
	count     uint16
	length    uint32 // of the body, bytes
	bodyCRC   uint32
	salt      uint64
	number    uint64
	epoch     uint64
	committed uint64
	padding   uint32 // bytes
	chain     uint32
	crc       uint32 // this header's own
}

func (h *header) size() int64 { return headerSize + int64(h.length) }

// span is how far after it the next frame begins.
func (h *header) span() int64 { return h.size() + int64(h.padding) }

// seal fills the header space at the start of frame from h and the body behind
// it, and completes h with the lengths and CRCs.
func (h *header) seal(frame []byte) {
	h.bodyCRC = checksum(frame[headerSize:])
	h.sealSummed(frame)
}

// sealSummed is seal for who has put the body's CRC into h. Of the padding, which
// frame does not hold, h tells.
func (h *header) sealSummed(frame []byte) {
	h.length = uint32(len(frame) - headerSize)
	b := frame[:headerSize]
	copy(b, frameMagic[:])
	b[4], b[5] = frameFormat, h.kind
	if h.padding > 0 {
		b[4] = paddedFormat
	}
	binary.LittleEndian.PutUint16(b[6:], h.count)
	binary.LittleEndian.PutUint32(b[8:], h.length)
	binary.LittleEndian.PutUint32(b[12:], h.bodyCRC)
	binary.LittleEndian.PutUint64(b[16:], h.salt)
	binary.LittleEndian.PutUint64(b[24:], h.number)
	binary.LittleEndian.PutUint64(b[32:], h.epoch)
	binary.LittleEndian.PutUint64(b[40:], h.committed)
	binary.LittleEndian.PutUint64(b[48:], uint64(h.padding))
	binary.LittleEndian.PutUint32(b[56:], h.chain)
	h.crc = checksum(b[:60])
	binary.LittleEndian.PutUint32(b[60:], h.crc)
}

// The ways in which bytes fail to be a frame. They are reasons, not verdicts:
// whether they mean a torn tail or damage depends on where they are found.
var (
	errNoMagic   = errors.New("no frame begins here")
	errFormat    = errors.New("frame of an unknown format")
	errHeaderCRC = errors.New("header checksum does not match")
	errBodyCRC   = errors.New("body checksum does not match")
	errLength    = errors.New("length out of bounds")
	errCutShort  = errors.New("the file ends inside the frame")
	errSalt      = errors.New("frame of another file")
	errEntries   = errors.New("entries do not fill the frame as its header says")
)

// parseHeader decodes the first headerSize bytes of b. A header it returns
// without error has a right checksum and lengths within bounds.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		return header{}, errCutShort
	}
	if [4]byte(b) != frameMagic {
		return header{}, errNoMagic
	}
	h := header{
		kind:      b[5],
		count:     binary.LittleEndian.Uint16(b[6:]),
		length:    binary.LittleEndian.Uint32(b[8:]),
		bodyCRC:   binary.LittleEndian.Uint32(b[12:]),
		salt:      binary.LittleEndian.Uint64(b[16:]),
		number:    binary.LittleEndian.Uint64(b[24:]),
		epoch:     binary.LittleEndian.Uint64(b[32:]),
		committed: binary.LittleEndian.Uint64(b[40:]),
		chain:     binary.LittleEndian.Uint32(b[56:]),
		crc:       binary.LittleEndian.Uint32(b[60:]),
	}
	if b[4] == paddedFormat {
		h.padding = binary.LittleEndian.Uint32(b[48:])
	}
	switch {
	case checksum(b[:60]) != h.crc:
		return header{}, errHeaderCRC
	case b[4] != frameFormat && b[4] != paddedFormat || h.kind < typeEntries || h.kind > typeClose:
		return header{}, errFormat
	case h.length > maxBody || h.padding >= pageSize || (h.kind == typeEntries) != (h.count > 0):
		return header{}, errLength
	}
	return h, nil
}

// appendEntry encodes an entry behind b, with the parts of its payload one after
// the other. Key and payload are within bounds.
func appendEntry(b []byte, kind journal.Kind, key string, payload ...[]byte) []byte {
	length := 0
	for _, part := range payload {
		length += len(part)
	}
	b = journal.AppendEntryHead(b, kind, key, length)
	for _, part := range payload {
		b = append(b, part...)
	}
	return b
}

// checkEntries walks the whole body, so that no reader meets a surprise behind
// a right checksum.
func checkEntries(body []byte, count uint16) error {
	for range count {
		var err error
		if _, body, err = journal.CutEntry(body); err != nil {
			return errEntries
		}
	}
	if len(body) != 0 {
		return errEntries
	}
	return nil
}

package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/kineweir/kineweir/datastream/journal"
)

// A sealed file. Integers are little-endian, checksums are CRC-32C, positions
// are frame<<16 | index, arrivals unix milliseconds.
//
//	+--------+--------+--------+-   -+-------------+-----------+--------+
//	| header | block  | block  | ... | block index | directory | footer |
//	+--------+--------+--------+-   -+-------------+-----------+--------+
//
// A file whose blocks lie in pieces of the lane, where they were written first:
//
//	+--------+--------+-------------+-----------+--------+
//	| header | pieces | block index | directory | footer |
//	+--------+--------+-------------+-----------+--------+
//
// Header, of format 01 or, with pieces, 02:
//
//	0        4    5     6      8              16            24     28      32
//	+--------+----+-----+------+--------------+-------------+------+-------+
//	| "KWsg" |form|class| 0    | store id     | file number | 0    | CRC   |
//	+--------+----+-----+------+--------------+-------------+------+-------+
//
// Pieces, an entry for each, and at their end the CRC of all:
//
//	0             8                      16       0     4     8
//	+-------------+----------------------+  ...   +-----+-----+
//	| first frame | end of what is of use|        | CRC | 0   |
//	+-------------+----------------------+        +-----+-----+
//
// Block, records of one shard in order; the CRC is of all that follows it:
//
//	0     4        8      12      16       24      28    32           40            48
//	+-----+--------+------+-------+--------+-------+-----+------------+-------------+---------
//	| CRC | length | kind | count | stream | shard | 0   | first pos. | first arr.  | records
//	+-----+--------+------+-------+--------+-------+-----+------------+-------------+---------
//
// Record:
//
//	+-------------------------+------------------------+---------------------+------+
//	| uvarint pos. - previous | uvarint arr. - previous| uvarint body length | body |
//	+-------------------------+------------------------+---------------------+------+
//
// A block in a piece is a part of the body of a frame: entries of one shard, one
// behind the other (journal.AppendEntryHead, shard.go), without anything of its
// own. Its offset has the number of the piece, from 1, in the upper 16 bits and
// that in the piece in the others; its entries have all positions from the first
// to the last; its CRC is of all of it.
//
// Block index, an entry per block in the order of the blocks, so that those of a
// shard lie together:
//
//	0            8           16           24          32       40       44    48
//	+------------+-----------+------------+-----------+--------+--------+-----+
//	| first pos. | last pos. | first arr. | last arr. | offset | length | CRC |
//	+------------+-----------+------------+-----------+--------+--------+-----+
//
// Directory, an entry per shard, ordered by stream and shard:
//
//	0        8       12       16           24          32           40          48        52          56
//	+--------+-------+--------+------------+-----------+------------+-----------+---------+-----------+
//	| stream | shard | blocks | first pos. | last pos. | first arr. | last arr. | records | index CRC |
//	+--------+-------+--------+------------+-----------+------------+-----------+---------+-----------+
//
// Footer:
//
//	0        4        8          16            24             32                 40        48            56     60    64
//	+--------+--------+----------+-------------+--------------+------------------+---------+-------------+------+-----+
//	| "KWsf" | shards | store id | file number | index offset | directory offset | records | file length |dirCRC| CRC |
//	+--------+--------+----------+-------------+--------------+------------------+---------+-------------+------+-----+
const (
	headerSize   = 32
	pieceSize    = 16 // of an entry
	piecesEnd    = 8  // behind the last
	blockHead    = 48
	indexSize    = 48 // of an entry
	dirSize      = 56 // of an entry
	footerSize   = 64
	sortedFormat = 1
	placedFormat = 2
	kindRecords  = 1 // of a block

	// pieceShift is where in the offset of a block the number of its piece begins,
	// which is 0 for the file itself.
	pieceShift = 48
	maxPieces  = 1<<15 - 1

	// blockBytes is the size at which a block is closed; one large record makes
	// a larger block, up to maxBlock.
	blockBytes    = 64 << 10
	maxBlock      = 16 << 20
	maxRecordHead = 3 * binary.MaxVarintLen64
)

var (
	headerMagic = [4]byte{'K', 'W', 's', 'g'}
	footerMagic = [4]byte{'K', 'W', 's', 'f'}
	le          = binary.LittleEndian
	be          = binary.BigEndian
)

// castagnoli is CRC-32C, which processors compute by themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// The ways in which bytes fail to be what they should.
var (
	errMagic    = errors.New("not a sealed file")
	errFormat   = errors.New("sealed file of an unknown format")
	errChecksum = errors.New("checksum does not match")
	errOther    = errors.New("belongs to another store or another file")
	errLayout   = errors.New("parts do not fill the file")
	errOrder    = errors.New("not in order")
	errPlace    = errors.New("block of another place")
	errRecords  = errors.New("records do not fill the block as its header says")
)

// maxFrame is the last frame whose positions can be packed.
const maxFrame = 1<<48 - 1

// pack makes a position one number, of the same order. One beyond what can be
// packed lies behind all records.
func pack(p journal.Position) uint64 {
	if p.Frame > maxFrame {
		return math.MaxUint64
	}
	return p.Frame<<16 | uint64(p.Index)
}

func unpack(p uint64) journal.Position {
	return journal.Position{Frame: p >> 16, Index: uint16(p)}
}

// identity tells a file from others.
type identity struct {
	store  uint64
	number uint64
}

func appendHeader(b []byte, id identity, format byte, class int) []byte {
	start := len(b)
	b = append(b, headerMagic[:]...)
	b = append(b, format, byte(class), 0, 0)
	b = le.AppendUint64(b, id.store)
	b = le.AppendUint64(b, id.number)
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, checksum(b[start:]))
}

func checkHeader(b []byte, id identity, format byte) error {
	switch {
	case len(b) < headerSize || [4]byte(b) != headerMagic:
		return errMagic
	case checksum(b[:28]) != le.Uint32(b[28:]):
		return errChecksum
	case b[4] != format:
		return errFormat
	case le.Uint64(b[8:]) != id.store || le.Uint64(b[16:]) != id.number:
		return errOther
	}
	return nil
}

// usedPiece is a piece of the lane that has blocks of a file.
type usedPiece struct {
	first uint64 // its first frame: its name
	end   int64  // of the last of the blocks
}

func appendPieces(b []byte, pieces []usedPiece) []byte {
	start := len(b)
	for _, p := range pieces {
		b = le.AppendUint64(b, p.first)
		b = le.AppendUint64(b, uint64(p.end))
	}
	b = le.AppendUint32(b, checksum(b[start:]))
	return le.AppendUint32(b, 0)
}

// checkPieces reads the pieces of a file and wants them to be those that are
// expected.
func checkPieces(b []byte, expected []uint64) ([]usedPiece, error) {
	if len(b) != len(expected)*pieceSize+piecesEnd {
		return nil, errLayout
	}
	list := b[:len(b)-piecesEnd]
	if checksum(list) != le.Uint32(b[len(list):]) || le.Uint32(b[len(list)+4:]) != 0 {
		return nil, errChecksum
	}
	pieces := make([]usedPiece, len(expected))
	for i := range pieces {
		at := list[i*pieceSize:]
		pieces[i] = usedPiece{le.Uint64(at), int64(le.Uint64(at[8:]))}
		if pieces[i].first != expected[i] {
			return nil, errOther
		}
	}
	return pieces, nil
}

// footer says where the parts of a file are.
type footer struct {
	shards    uint32
	index     uint64 // offset of the block index
	directory uint64 // offset of the directory
	records   uint64
	length    uint64 // of the file
	dirCRC    uint32
}

func (f *footer) appendTo(b []byte, id identity) []byte {
	start := len(b)
	b = append(b, footerMagic[:]...)
	b = le.AppendUint32(b, f.shards)
	b = le.AppendUint64(b, id.store)
	b = le.AppendUint64(b, id.number)
	b = le.AppendUint64(b, f.index)
	b = le.AppendUint64(b, f.directory)
	b = le.AppendUint64(b, f.records)
	b = le.AppendUint64(b, f.length)
	b = le.AppendUint32(b, f.dirCRC)
	return le.AppendUint32(b, checksum(b[start:]))
}

// parseFooter reads the footer of a file of this size. The parts it returns
// fill the file and lie within it.
func parseFooter(b []byte, id identity, size int64) (footer, error) {
	if len(b) < footerSize || [4]byte(b) != footerMagic {
		return footer{}, errMagic
	}
	if checksum(b[:60]) != le.Uint32(b[60:]) {
		return footer{}, errChecksum
	}
	if le.Uint64(b[8:]) != id.store || le.Uint64(b[16:]) != id.number {
		return footer{}, errOther
	}
	f := footer{
		shards: le.Uint32(b[4:]), index: le.Uint64(b[24:]), directory: le.Uint64(b[32:]),
		records: le.Uint64(b[40:]), length: le.Uint64(b[48:]), dirCRC: le.Uint32(b[56:]),
	}
	end := uint64(size) - footerSize
	switch {
	case f.length != uint64(size), f.index < headerSize, f.index > f.directory, f.directory > end,
		(f.directory-f.index)%indexSize != 0, end-f.directory != uint64(f.shards)*dirSize:
		return footer{}, errLayout
	}
	return f, nil
}

// span is where records begin and end, in positions and arrivals; both ends are
// records of it.
type span struct {
	first, last               uint64 // packed positions
	firstArrived, lastArrived int64
}

func (s *span) appendTo(b []byte) []byte {
	b = le.AppendUint64(b, s.first)
	b = le.AppendUint64(b, s.last)
	b = le.AppendUint64(b, uint64(s.firstArrived))
	return le.AppendUint64(b, uint64(s.lastArrived))
}

func parseSpan(b []byte) span {
	return span{
		first: le.Uint64(b), last: le.Uint64(b[8:]),
		firstArrived: int64(le.Uint64(b[16:])), lastArrived: int64(le.Uint64(b[24:])),
	}
}

func (s *span) sound() bool {
	return s.first <= s.last && s.firstArrived >= 0 && s.firstArrived <= s.lastArrived
}

// place is an entry of the directory.
type place struct {
	key Key
	span
	firstBlock uint32 // the shard's first entry in the block index; not stored, a sum
	blocks     uint32
	records    uint32
	indexCRC   uint32 // of its part of the block index
}

func (p *place) appendTo(b []byte) []byte {
	b = le.AppendUint64(b, p.key.Stream)
	b = le.AppendUint32(b, p.key.Shard)
	b = le.AppendUint32(b, p.blocks)
	b = p.span.appendTo(b)
	b = le.AppendUint32(b, p.records)
	return le.AppendUint32(b, p.indexCRC)
}

func parsePlace(b []byte) place {
	return place{
		key:    Key{Stream: le.Uint64(b), Shard: le.Uint32(b[8:])},
		blocks: le.Uint32(b[12:]), span: parseSpan(b[16:]), records: le.Uint32(b[48:]), indexCRC: le.Uint32(b[52:]),
	}
}

// parseDirectory reads all entries, whose checksum is right, and wants them in
// order and their blocks to be those of the index.
func parseDirectory(b []byte, f footer) ([]place, error) {
	places := make([]place, 0, len(b)/dirSize)
	var blocks, records uint64
	for ; len(b) > 0; b = b[dirSize:] {
		p := parsePlace(b)
		p.firstBlock = uint32(blocks)
		blocks += uint64(p.blocks)
		records += uint64(p.records)
		if !p.sound() || p.blocks == 0 || blocks > math.MaxUint32 {
			return nil, errOrder
		}
		if n := len(places); n > 0 && places[n-1].key.compare(p.key) >= 0 {
			return nil, errOrder
		}
		places = append(places, p)
	}
	if blocks*indexSize != f.directory-f.index || records != f.records {
		return nil, errLayout
	}
	return places, nil
}

// block is an entry of the block index.
type block struct {
	span
	offset uint64
	length uint32
	crc    uint32
}

func (e *block) appendTo(b []byte) []byte {
	b = e.span.appendTo(b)
	b = le.AppendUint64(b, e.offset)
	b = le.AppendUint32(b, e.length)
	return le.AppendUint32(b, e.crc)
}

// blocks is a shard's part of the block index, as it lies in the file.
type blocks []byte

func (x blocks) count() int { return len(x) / indexSize }

func (x blocks) at(i int) block {
	b := x[i*indexSize:][:indexSize]
	return block{span: parseSpan(b), offset: le.Uint64(b[32:]), length: le.Uint32(b[40:]), crc: le.Uint32(b[44:])}
}

// layout is where blocks can lie: in their file before its index, end to end, or
// in so many pieces.
type layout struct {
	limit  uint64
	pieces int
}

func (l *layout) fits(e, before *block) bool {
	if !e.sound() || e.length > maxBlock {
		return false
	}
	if l.pieces > 0 {
		return e.placed() && e.offset>>pieceShift <= uint64(l.pieces) && e.length > 0 && e.first>>16 == e.last>>16
	}
	return e.length >= blockHead && e.offset >= headerSize && e.offset <= l.limit && e.offset+uint64(e.length) <= l.limit &&
		(before == nil || e.offset == before.offset+uint64(before.length))
}

// check wants the entries in order, their blocks where they can lie, and all of
// them together to be what the directory says of the shard.
func (x blocks) check(p *span, l layout) error {
	var before block
	for i := range x.count() {
		e := x.at(i)
		var last *block
		if i > 0 {
			last = &before
		}
		switch {
		case !l.fits(&e, last):
			return errLayout
		case i == 0 && (e.first != p.first || e.firstArrived != p.firstArrived):
			return errOrder
		case i > 0 && (e.first <= before.last || e.firstArrived < before.lastArrived):
			return errOrder
		}
		before = e
	}
	if before.last != p.last || before.lastArrived != p.lastArrived {
		return errOrder
	}
	return nil
}

// placed reports whether a block lies in a piece of the lane.
func (e *block) placed() bool { return e.offset>>pieceShift > 0 }

// cursor walks the records of a block whose checksum is right.
type cursor struct {
	rest     []byte
	left     uint32
	position uint64
	arrived  int64

	// Of a block in a piece.
	placed bool
	begun  bool // position is that of the entry before
	key    Key  // of all entries
}

// openBlock checks a block against its entry in the index.
func openBlock(b []byte, k Key, e *block) (cursor, error) {
	if e.placed() {
		return openRun(b, k, e)
	}
	if crc := le.Uint32(b); crc != e.crc || checksum(b[4:]) != crc {
		return cursor{}, errChecksum
	}
	c := cursor{rest: b[blockHead:], left: le.Uint32(b[12:]), position: le.Uint64(b[32:]), arrived: int64(le.Uint64(b[40:]))}
	switch {
	case le.Uint32(b[8:]) != kindRecords:
		return cursor{}, fmt.Errorf("block of unknown kind %d", le.Uint32(b[8:]))
	case le.Uint32(b[4:]) != uint32(len(b)), le.Uint64(b[16:]) != k.Stream, le.Uint32(b[24:]) != k.Shard,
		c.left == 0, c.position != e.first, c.arrived != e.firstArrived:
		return cursor{}, errPlace
	}
	return c, nil
}

// openRun checks a block that lies in a piece.
func openRun(b []byte, k Key, e *block) (cursor, error) {
	if checksum(b) != e.crc {
		return cursor{}, errChecksum
	}
	c := cursor{rest: b, left: uint32(e.last-e.first) + 1, position: e.first, arrived: e.firstArrived, placed: true, key: k}
	ahead := c
	if r, err := ahead.next(); err != nil || r.Arrived != e.firstArrived {
		return cursor{}, errPlace
	}
	return c, nil
}

// nextEntry is next for entries of the lane.
func (c *cursor) nextEntry() (Record, error) {
	e, rest, err := journal.CutEntry(c.rest)
	if err != nil || !isRecord(e.Kind, e.Payload) || len(e.Key) != laneKeySize ||
		be.Uint64(e.Key) != c.key.Stream || be.Uint32(e.Key[8:]) != c.key.Shard {
		return Record{}, errRecords
	}
	arrived := int64(le.Uint64(e.Payload))
	if arrived < c.arrived {
		return Record{}, errRecords
	}
	if c.begun {
		c.position++
	}
	c.begun = true
	c.arrived, c.rest = arrived, rest
	c.left--
	return Record{Position: unpack(c.position), Arrived: arrived, Body: e.Payload[entryHead:]}, nil
}

// next decodes a record. Its body is a part of the block. The caller looks at
// left first.
func (c *cursor) next() (Record, error) {
	if c.placed {
		return c.nextEntry()
	}
	position, n := binary.Uvarint(c.rest)
	if n <= 0 {
		return Record{}, errRecords
	}
	arrived, m := binary.Uvarint(c.rest[n:])
	if m <= 0 {
		return Record{}, errRecords
	}
	n += m
	length, m := binary.Uvarint(c.rest[n:])
	if m <= 0 || length > uint64(len(c.rest)-n-m) {
		return Record{}, errRecords
	}
	n += m
	c.position += position
	c.arrived += int64(arrived)
	c.left--
	body := c.rest[n : n+int(length) : n+int(length)]
	c.rest = c.rest[n+int(length):]
	return Record{Position: unpack(c.position), Arrived: c.arrived, Body: body}, nil
}

package archive

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// castagnoli is only read; the polynomial is the one with a CPU instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Why bytes were refused by a decoder.
var (
	errShort   = errors.New("ends early")
	errTooMany = errors.New("a count or length is beyond its bound")
	errVersion = errors.New("version is not known")
	errChecked = errors.New("checksum does not match")
	errExcess  = errors.New("bytes are left over")
	errSense   = errors.New("values contradict each other")
)

// decoder takes values off the front of outside bytes. Its first failure
// sticks, so that a caller asks once at the end; no length is trusted before
// it has been compared with what is there.
type decoder struct {
	b   []byte
	err error
	// Entries and runs are taken from the front of these, if there are any.
	entrySlab []Entry
	runSlab   []EntryRun
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() byte {
	if len(d.b) < 1 {
		d.fail(errShort)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) u32() uint32 {
	if len(d.b) < 4 {
		d.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

// count takes a number of things of which each takes at least a byte.
func (d *decoder) count(limit int) int {
	v := d.uvarint()
	if v > uint64(limit) || v > uint64(len(d.b)) {
		d.fail(errTooMany)
		return 0
	}
	return int(v)
}

// number takes a value that must fit into an int of 31 bits.
func (d *decoder) number() int {
	v := d.uvarint()
	if v > 1<<31-1 {
		d.fail(errTooMany)
		return 0
	}
	return int(v)
}

// bytes takes a length and so many bytes; they are lent, not copied.
func (d *decoder) bytes(limit int) []byte {
	n := d.count(limit)
	if d.err != nil {
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// done is the outcome: the first failure, or that something is left over.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) > 0 {
		return errExcess
	}
	return d.err
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

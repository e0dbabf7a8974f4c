package cmaf

import "encoding/binary"

// An AV1 open bitstream unit begins with a byte of 1 bit zero, 4 bits type,
// 1 bit extension, 1 bit has_size, 1 bit reserved; then one byte when there is
// an extension; then its size in LEB128 when has_size is set (AV1 5.3).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2

	obuExtension = 0x04
	obuHasSize   = 0x02
)

func obuType(obu []byte) byte { return obu[0] >> 3 & 15 }

// droppedOBU reports whether an OBU has no place in a sample.
func droppedOBU(obu []byte) bool {
	return len(obu) == 0 || obuType(obu) == obuTemporalDelimiter
}

// obuHead returns how many bytes stand before the size field.
func obuHead(obu []byte) int {
	if obu[0]&obuExtension != 0 {
		return min(2, len(obu))
	}
	return 1
}

// sizedOBU returns the length of the OBU with a size field.
func sizedOBU(obu []byte) int {
	if obu[0]&obuHasSize != 0 {
		return len(obu)
	}
	n := len(obu) + 1
	for size := len(obu) - obuHead(obu); size >= 0x80; size >>= 7 {
		n++
	}
	return n
}

// appendSizedOBU appends a non-empty OBU, with a size field when it has none.
func appendSizedOBU(dst, obu []byte) []byte {
	if obu[0]&obuHasSize != 0 {
		return append(dst, obu...)
	}
	head := obuHead(obu)
	dst = append(dst, obu[0]|obuHasSize)
	dst = append(dst, obu[1:head]...)
	dst = binary.AppendUvarint(dst, uint64(len(obu)-head)) // LEB128
	return append(dst, obu[head:]...)
}

// cutOBU takes the first OBU, which must have a size field, off b and returns it
// without that field, in memory of its own, and the rest of b. ok is false
// when b does not begin with a whole one.
func cutOBU(b []byte) (obu, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&obuHasSize == 0 {
		return nil, nil, false
	}
	head := obuHead(b)
	size, n := binary.Uvarint(b[head:])
	if n <= 0 || n > 8 || size > uint64(len(b)-head-n) {
		return nil, nil, false
	}
	end := head + n + int(size)
	obu = append(make([]byte, 0, head+int(size)), b[:head]...)
	obu[0] &^= obuHasSize
	return append(obu, b[head+n:end]...), b[end:], true
}

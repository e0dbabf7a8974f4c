package awswire

import (
	"reflect"
	"slices"
)

// draft is an answer under way: its bytes without the large blobs, and these
// with their places. They are put in when the answer is written, so that it is
// never in memory as a whole. What a draft is appended to is passed along beside
// it.
type draft struct {
	cbor  bool
	holes []hole
	extra int // bytes that will fill the holes
}

// hole is where a blob goes: before the byte of that number.
type hole struct {
	at   int
	blob []byte
}

// inlined is the length of the blobs that are not worth a hole, in bytes.
const inlined = 256

// leave leaves a hole for the blob in b, if it is worth one.
func (d *draft) leave(b, blob []byte) bool {
	if len(blob) <= inlined {
		return false
	}
	d.holes = append(d.holes, hole{len(b), blob})
	d.extra += len(blob)
	if !d.cbor {
		d.extra += base64Length(len(blob)) - len(blob)
	}
	return true
}

// fill puts the blobs into the holes of b. It gives all of it to flush, in pieces
// of the room that piece has; flush has done with one when it returns.
func (d *draft) fill(piece, b []byte, flush func([]byte) error) error {
	f := filler{piece: piece, flush: flush}
	from := 0
	for i := range d.holes {
		h := &d.holes[i]
		f.raw(b[from:h.at])
		from = h.at
		if d.cbor {
			f.raw(h.blob)
		} else {
			f.base64(h.blob)
		}
	}
	f.raw(b[from:])
	f.turn()
	return f.err
}

// filler gathers an answer into pieces. After an error it does nothing.
type filler struct {
	piece []byte
	flush func([]byte) error
	err   error
}

// turn gives away what was gathered.
func (f *filler) turn() {
	if len(f.piece) > 0 && f.err == nil {
		f.err = f.flush(f.piece)
	}
	f.piece = f.piece[:0]
}

func (f *filler) raw(b []byte) {
	for len(b) > 0 && f.err == nil {
		if len(f.piece) == cap(f.piece) {
			f.turn()
		}
		n := min(len(b), cap(f.piece)-len(f.piece))
		f.piece = append(f.piece, b[:n]...)
		b = b[n:]
	}
}

func (f *filler) base64(b []byte) {
	for len(b) > 0 && f.err == nil {
		n := min(len(b), (cap(f.piece)-len(f.piece))/4*3) // Whole groups, but for the end.
		if base64Length(n) > cap(f.piece)-len(f.piece) || n == 0 {
			f.turn()
			continue
		}
		f.piece = appendBase64(f.piece, b[:n])
		b = b[n:]
	}
}

// append writes a struct to b.
func (d *draft) append(b []byte, s *shape, p any) []byte {
	if d.cbor {
		return d.appendCBOR(b, s, p)
	}
	return d.appendJSON(b, s, p)
}

// left reports whether a field is left out of an answer.
func (f *field) left(p any) bool {
	switch {
	case f.shape.pointer:
		return f.shape.held(p) == nil
	case f.shape.kind == kindTime:
		return p.(*Time).IsZero()
	case !f.omit:
		return false
	case f.shape.kind == kindText:
		return p.(Text).IsZero()
	case f.shape.kind == kindBlob:
		return len(bytesAt(p)) == 0
	case f.shape.kind == kindList:
		return listAt(p).length() == 0
	case f.shape.kind == kindMap:
		return valueAt(p).Len() == 0
	}
	return zero(p)
}

func sortedKeys(v reflect.Value) []string {
	keys := make([]string, 0, v.Len())
	for i := v.MapRange(); i.Next(); {
		keys = append(keys, i.Key().String())
	}
	slices.Sort(keys)
	return keys
}

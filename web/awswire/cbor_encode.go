package awswire

import (
	"encoding/binary"
	"reflect"
	"strings"
)

// Major types of CBOR (RFC 8949, section 3), as the high bits of a first byte.
const (
	majorUint  = 0 << 5
	majorNint  = 1 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorList  = 4 << 5
	majorMap   = 5 << 5
	majorTag   = 6 << 5
	majorOther = 7 << 5
)

// Single bytes of CBOR, and the tag of a timestamp.
const (
	cborFalse   = majorOther | 20
	cborTrue    = majorOther | 21
	cborNull    = majorOther | 22
	cborUndef   = majorOther | 23
	cborBreak   = majorOther | 31
	cborOpenMap = majorMap | 31
	tagTime     = 1
)

// appendHead writes a first byte with its number.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendCBORText(b []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\ufffd")
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// appendCBORWritten writes a text whose length is known behind it: mostly its
// head takes two bytes.
func appendCBORWritten(b []byte, t Text) []byte {
	from := len(b)
	b = t.AppendTo(append(b, majorText|24, 0))
	n := len(b) - from - 2
	if n < 24 || n > 255 {
		return appendCBORText(b[:from], string(b[from+2:]))
	}
	b[from+1] = byte(n)
	return b
}

func appendCBORInt(b []byte, n int64) []byte {
	if n < 0 {
		return appendHead(b, majorNint, uint64(^n))
	}
	return appendHead(b, majorUint, uint64(n))
}

// appendCBOR writes a value that is present. Structs are maps without a length,
// as the service writes them; all else has its length.
func (d *draft) appendCBOR(b []byte, s *shape, p any) []byte {
	if s.pointer {
		p = s.held(p)
	}
	switch s.kind {
	case kindString:
		return appendCBORText(b, textAt(p))
	case kindText:
		return appendCBORWritten(b, p.(Text))
	case kindBlob:
		blob := bytesAt(p)
		b = appendHead(b, majorBytes, uint64(len(blob)))
		if d.leave(b, blob) {
			return b
		}
		return append(b, blob...)
	case kindInteger, kindLong:
		return appendCBORInt(b, intAt(p))
	case kindBoolean:
		if boolAt(p) {
			return append(b, cborTrue)
		}
		return append(b, cborFalse)
	case kindTime:
		return appendCBORInt(append(b, majorTag|tagTime), p.(*Time).UnixMilli())
	case kindList:
		return d.appendCBORList(b, s.elem, listAt(p))
	case kindMap:
		v := valueAt(p)
		b = appendHead(b, majorMap, uint64(v.Len()))
		for _, k := range sortedKeys(v) {
			b = appendCBORText(b, k)
			b = appendCBORText(b, v.MapIndex(reflect.ValueOf(k)).String())
		}
		return b
	}
	return d.appendCBORFields(b, s, p)
}

func (d *draft) appendCBORFields(b []byte, s *shape, p any) []byte {
	places := s.members(p)
	b = append(b, cborOpenMap)
	for i := range s.fields {
		f := &s.fields[i]
		if place := places.at(f); !f.left(place) {
			b = append(b, f.cborKey...)
			b = d.appendCBOR(b, f.shape, place)
		}
	}
	return append(b, cborBreak)
}

func (d *draft) appendCBORList(b []byte, s *shape, l list) []byte {
	b = appendHead(b, majorList, uint64(l.length()))
	for i := range l.length() {
		if m := l.at(i); s.pointer && s.held(m) == nil {
			b = append(b, cborNull)
		} else {
			b = d.appendCBOR(b, s, m)
		}
	}
	return b
}

package awswire

import (
	"reflect"
	"strconv"
	"unicode/utf8"
)

// appendJSON writes a value that is present.
func (d *draft) appendJSON(b []byte, s *shape, p any) []byte {
	if s.pointer {
		p = s.held(p)
	}
	switch s.kind {
	case kindString:
		return appendText(b, textAt(p))
	case kindText:
		return append(p.(Text).AppendTo(append(b, '"')), '"')
	case kindBlob:
		b = append(b, '"')
		if blob := bytesAt(p); !d.leave(b, blob) {
			b = appendBase64(b, blob)
		}
		return append(b, '"')
	case kindInteger, kindLong:
		return strconv.AppendInt(b, intAt(p), 10)
	case kindBoolean:
		return strconv.AppendBool(b, boolAt(p))
	case kindTime:
		return appendSeconds(b, p.(*Time).UnixMilli())
	case kindList:
		return d.appendJSONList(b, s.elem, listAt(p))
	case kindMap:
		v := valueAt(p)
		b = append(b, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, k), ':')
			b = appendText(b, v.MapIndex(reflect.ValueOf(k)).String())
		}
		return append(b, '}')
	}
	return d.appendFields(b, s, p)
}

func (d *draft) appendJSONList(b []byte, s *shape, l list) []byte {
	b = append(b, '[')
	for i := range l.length() {
		if i > 0 {
			b = append(b, ',')
		}
		if m := l.at(i); s.pointer && s.held(m) == nil {
			b = append(b, "null"...)
		} else {
			b = d.appendJSON(b, s, m)
		}
	}
	return append(b, ']')
}

func (d *draft) appendFields(b []byte, s *shape, p any) []byte {
	places := s.members(p)
	b = append(b, '{')
	from := len(b)
	for i := range s.fields {
		f := &s.fields[i]
		place := places.at(f)
		if f.left(place) {
			continue
		}
		if len(b) > from {
			b = append(b, ',')
		}
		b = append(b, f.key...)
		b = d.appendJSON(b, f.shape, place)
	}
	return append(b, '}')
}

const hexDigits = "0123456789abcdef"

// appendText writes a string; what of it is not UTF-8 becomes U+FFFD.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		switch byteKind[c] {
		case 0:
			i++
			continue
		case 3:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[from:i]...)
				b = append(b, "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

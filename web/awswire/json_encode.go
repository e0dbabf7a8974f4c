package awswire

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// appendJSON writes a value that is present.
func appendJSON(b []byte, s *shape, v reflect.Value) []byte {
	if s.pointer {
		v = v.Elem()
	}
	switch s.kind {
	case kindString:
		return appendText(b, v.String())
	case kindBlob:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"')
	case kindInteger, kindLong:
		return strconv.AppendInt(b, v.Int(), 10)
	case kindBoolean:
		return strconv.AppendBool(b, v.Bool())
	case kindTime:
		return appendSeconds(b, millis(v))
	case kindList:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			if m := v.Index(i); s.elem.absent(m) {
				b = append(b, "null"...)
			} else {
				b = appendJSON(b, s.elem, m)
			}
		}
		return append(b, ']')
	case kindMap:
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
	return appendFields(b, s, v)
}

func appendFields(b []byte, s *shape, v reflect.Value) []byte {
	b = append(b, '{')
	from := len(b)
	for i := range s.fields {
		f := &s.fields[i]
		fv := v.Field(f.index)
		if f.left(fv) {
			continue
		}
		if len(b) > from {
			b = append(b, ',')
		}
		b = append(b, f.key...)
		b = appendJSON(b, f.shape, fv)
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

package awswire

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads one JSON text (RFC 8259) strictly: no comments, no trailing
// commas, no control characters in strings, nothing after the text. Strings that
// are not UTF-8, and escapes of half a surrogate pair, are refused: replacing
// them would silently send a record to the shard of another key. Of members with
// the same name the last counts.
type jsonReader struct {
	intake
	in      []byte
	pos     int
	scratch []byte // of strings with escapes
}

// byteKind says what a byte is within a string: 0 plain, 1 the end or an escape,
// 2 a control character, 3 the begin of a longer character.
var byteKind = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c == '"' || c == '\\':
			t[c] = 1
		case c < 0x20:
			t[c] = 2
		case c >= utf8.RuneSelf:
			t[c] = 3
		}
	}
	return t
}()

// peek skips white space and gives the next byte, 0 at the end.
func (d *jsonReader) peek() byte {
	for d.pos < len(d.in) {
		switch c := d.in[d.pos]; c {
		case ' ', '\n', '\t', '\r':
			d.pos++
		default:
			return c
		}
	}
	return 0
}

// rest is how many bytes are left to read.
func (d *jsonReader) rest() int { return len(d.in) - d.pos }

// literal takes the rest of true, false or null.
func (d *jsonReader) literal(word string) error {
	if d.rest() < len(word) || string(d.in[d.pos:d.pos+len(word)]) != word {
		return errSyntax
	}
	d.pos += len(word)
	return nil
}

// text takes a string, whose quote is next, and gives its bytes: of the body, or
// of scratch, which the next string overwrites.
func (d *jsonReader) text() ([]byte, error) {
	from := d.pos + 1
	in := d.in
	for i := from; i < len(in); {
		switch byteKind[in[i]] {
		case 0:
			i++
		case 1:
			if in[i] == '\\' {
				return d.escaped(from, i)
			}
			d.pos = i + 1
			return in[from:i], nil
		case 3:
			r, n := utf8.DecodeRune(in[i:])
			if r == utf8.RuneError && n == 1 {
				return nil, errSyntax
			}
			i += n
		default:
			return nil, errSyntax
		}
	}
	return nil, errSyntax
}

// escaped takes the string that begins at from and has its first escape at i.
func (d *jsonReader) escaped(from, i int) ([]byte, error) {
	out := append(d.scratch[:0], d.in[from:i]...)
	defer func() { d.scratch = out }()
	for i < len(d.in) {
		c := d.in[i]
		switch byteKind[c] {
		case 0:
			out = append(out, c)
			i++
		case 1:
			if c == '"' {
				d.pos = i + 1
				return out, nil
			}
			r, n := unescape(d.in[i:])
			if n == 0 {
				return nil, errSyntax
			}
			out = utf8.AppendRune(out, r)
			i += n
		case 3:
			r, n := utf8.DecodeRune(d.in[i:])
			if r == utf8.RuneError && n == 1 {
				return nil, errSyntax
			}
			out = append(out, d.in[i:i+n]...)
			i += n
		default:
			return nil, errSyntax
		}
	}
	return nil, errSyntax
}

// unescape reads the escape at the beginning of b and its length, 0 for none.
func unescape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), b[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2
	}
	r, ok := hex4(b)
	if !ok || !utf16.IsSurrogate(r) {
		return r, 6 * bit(ok)
	}
	second, ok := hex4(b[6:])
	if r = utf16.DecodeRune(r, second); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// hex4 reads \uXXXX.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// number takes a number and gives its bytes.
func (d *jsonReader) number() ([]byte, error) {
	from := d.pos
	if d.pos < len(d.in) && d.in[d.pos] == '-' {
		d.pos++
	}
	first := d.pos
	if n := d.digits(); n == 0 || n > 1 && d.in[first] == '0' {
		return nil, errSyntax
	}
	if d.pos < len(d.in) && d.in[d.pos] == '.' {
		d.pos++
		if d.digits() == 0 {
			return nil, errSyntax
		}
	}
	if d.pos < len(d.in) && (d.in[d.pos] == 'e' || d.in[d.pos] == 'E') {
		d.pos++
		if d.pos < len(d.in) && (d.in[d.pos] == '+' || d.in[d.pos] == '-') {
			d.pos++
		}
		if d.digits() == 0 {
			return nil, errSyntax
		}
	}
	return d.in[from:d.pos], nil
}

// digits takes digits and counts them.
func (d *jsonReader) digits() int {
	from := d.pos
	for d.pos < len(d.in) && d.in[d.pos]-'0' <= 9 {
		d.pos++
	}
	return d.pos - from
}

// skip takes a value of any type.
func (d *jsonReader) skip() error {
	var err error
	switch c := d.peek(); c {
	case '"':
		_, err = d.text()
	case '{', '[':
		if err := d.down(); err != nil {
			return err
		}
		defer func() { d.depth-- }()
		if c == '[' {
			return d.list(func() error { return d.skip() })
		}
		return d.object(func([]byte) error { return d.skip() })
	case 't':
		err = d.literal("true")
	case 'f':
		err = d.literal("false")
	case 'n':
		err = d.literal("null")
	default:
		_, err = d.number()
	}
	return err
}

// list takes a list, whose bracket is next; member takes one value.
func (d *jsonReader) list(member func() error) error {
	d.pos++
	if d.peek() == ']' {
		d.pos++
		return nil
	}
	for {
		if err := member(); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			return nil
		default:
			return errSyntax
		}
	}
}

// object takes an object, whose brace is next; member takes the value of a name,
// which is valid until it takes one.
func (d *jsonReader) object(member func(name []byte) error) error {
	d.pos++
	if d.peek() == '}' {
		d.pos++
		return nil
	}
	for {
		if d.peek() != '"' {
			return errSyntax
		}
		name, err := d.text()
		if err != nil {
			return err
		}
		if d.peek() != ':' {
			return errSyntax
		}
		d.pos++
		if err := member(name); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			return nil
		default:
			return errSyntax
		}
	}
}

// validJSON reports whether the body is one JSON object or list.
func validJSON(body []byte) bool {
	d := jsonReader{in: body}
	c := d.peek()
	return (c == '{' || c == '[') && d.skip() == nil && d.peek() == 0 && d.pos == len(body)
}

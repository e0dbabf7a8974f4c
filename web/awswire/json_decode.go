package awswire

import (
	"bytes"
	"math"
	"reflect"
	"strconv"
)

// decodeJSON reads a body into the struct at p. The error is errSyntax or a
// *typeError; one of the syntax goes before one of a type, wherever they are.
func decodeJSON(s *shape, body []byte, p any, home *memory) (*intake, error) {
	d := &jsonReader{in: body}
	d.begin(home)
	err := d.whole(s, p)
	if err != nil && err != errSyntax && !validJSON(body) {
		err = errSyntax
	}
	return &d.intake, err
}

func (d *jsonReader) whole(s *shape, p any) error {
	if c := d.peek(); c != '{' && c != '[' {
		return errSyntax
	}
	if err := d.value(s, p); err != nil {
		return err
	}
	if d.peek() != 0 || d.pos != len(d.in) {
		return errSyntax
	}
	return nil
}

// value reads a value, which may not be null, to a place.
func (d *jsonReader) value(s *shape, p any) error {
	c := d.peek()
	if !expected(s.kind, c) {
		return d.wrong(s.kind, c)
	}
	if s.pointer {
		p = s.target(p)
	}
	switch s.kind {
	case kindString:
		b, err := d.text()
		if err != nil {
			return err
		}
		setText(p, d.keep(b, d.rest()))
		return nil
	case kindBlob:
		return d.blob(p)
	case kindInteger, kindLong:
		b, err := d.number()
		if err == nil {
			s.setInt(p, integer(b))
		}
		return err
	case kindTime:
		return d.moment(p)
	case kindBoolean:
		setBool(p, c == 't')
		if c == 't' {
			return d.literal("true")
		}
		return d.literal("false")
	}
	return d.nested(s, p)
}

// nested reads a list, a map or a struct.
func (d *jsonReader) nested(s *shape, p any) error {
	err := d.down()
	if err != nil {
		return err
	}
	switch s.kind {
	case kindList:
		err = d.members(s, p)
	case kindMap:
		err = d.pairs(s, p)
	default:
		err = d.fields(s, p)
	}
	d.depth--
	return err
}

func (d *jsonReader) moment(p any) error {
	b, err := d.number()
	if err != nil {
		return err
	}
	t, ok := timeOfSeconds(b)
	if !ok {
		return &typeError{quote(string(b)) + " can not be converted to milliseconds since epoch"}
	}
	*p.(*Time) = t
	return nil
}

// expected reports whether a value of the kind may begin with c.
func expected(k kind, c byte) bool {
	switch k {
	case kindString, kindBlob:
		return c == '"'
	case kindInteger, kindLong, kindTime:
		return c == '-' || c-'0' <= 9
	case kindBoolean:
		return c == 't' || c == 'f'
	case kindList:
		return c == '['
	}
	return c == '{'
}

// wrong is the error for a value that begins with c.
func (d *jsonReader) wrong(k kind, c byte) error {
	switch c {
	case '"':
		b, err := d.text()
		if err != nil {
			return err
		}
		return mismatch(k, tokenString, string(b))
	case 't', 'f':
		return mismatch(k, tokenBool, "")
	case '[':
		return mismatch(k, tokenList, "")
	case '{':
		return mismatch(k, tokenObject, "")
	}
	if c == '-' || c-'0' <= 9 {
		return mismatch(k, tokenNumber, "")
	}
	return errSyntax
}

// null takes a null if it is next.
func (d *jsonReader) null() (bool, error) {
	if d.peek() != 'n' {
		return false, nil
	}
	return true, d.literal("null")
}

func (d *jsonReader) fields(s *shape, p any) error {
	places := s.members(p)
	var seen uint64
	next := 0 // Members mostly come in one order.
	return d.object(func(name []byte) error {
		i := s.find(name, next)
		if i < 0 {
			return d.skip()
		}
		next = i + 1
		f := &s.fields[i]
		place := places.at(f)
		d.enter(i)
		if seen&(1<<i) != 0 {
			d.again(place)
		}
		seen |= 1 << i
		if null, err := d.null(); null {
			d.leave()
			return err
		}
		if err := d.value(f.shape, place); err != nil {
			return err
		}
		d.given(f, place)
		d.leave()
		return nil
	})
}

// find is the index of the field of a name, -1 for none; it is looked for from
// next on.
func (s *shape) find(name []byte, next int) int {
	for range s.fields {
		if next >= len(s.fields) {
			next = 0
		}
		if string(name) == s.fields[next].name {
			return next
		}
		next++
	}
	return -1
}

func (d *jsonReader) members(s *shape, p any) error {
	l := listAt(p)
	l.reset(true)
	from, guess := d.pos, 1
	return d.list(func() error {
		n := l.length()
		if n >= s.most { // Too many already: the rest need not be kept.
			return d.skip()
		}
		if n == 1 { // The first tells how long the others may be.
			guess = 1 + d.rest()/max(1, d.pos-from)
		}
		m := l.extend(min(max(guess, n+1), s.most))
		if null, err := d.null(); null {
			return err
		}
		d.enter(n)
		if err := d.value(s.elem, m); err != nil {
			return err
		}
		d.leave()
		return nil
	})
}

func (d *jsonReader) pairs(s *shape, p any) error {
	m := map[string]string{}
	valueAt(p).Set(reflect.ValueOf(m).Convert(s.typ))
	return d.object(func(name []byte) error {
		if len(m) >= s.most {
			return d.skip()
		}
		key := string(name)
		if null, err := d.null(); null {
			delete(m, key)
			return err
		}
		if c := d.peek(); c != '"' {
			return d.wrong(kindString, c)
		}
		b, err := d.text()
		m[key] = string(b)
		return err
	})
}

// smallInt reads an integer of at most 15 digits without fraction and exponent.
func smallInt(b []byte) (n int64, ok bool) {
	digits := b
	if b[0] == '-' {
		digits = b[1:]
	}
	if len(digits) > 15 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(b) {
		n = -n
	}
	return n, true
}

// integer reads a number; fractions are cut off and what is too large is the
// largest, as the service does.
func integer(b []byte) int64 {
	if n, ok := smallInt(b); ok {
		return n
	}
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		return n
	}
	f, _ := strconv.ParseFloat(string(b), 64) // Infinite if out of range.
	return floor(f)
}

// floor is the whole part of f, clamped to 64 bits; 0 of what is no number.
func floor(f float64) int64 {
	switch f = math.Floor(f); {
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	case f != f:
		return 0
	}
	return int64(f)
}

// blob reads base64 straight into the arena.
func (d *jsonReader) blob(p any) error {
	from := d.pos + 1
	n := bytes.IndexByte(d.in[from:], '"')
	if n < 0 {
		return errSyntax
	}
	src := d.in[from : from+n]
	d.pos = from + n + 1
	if d.decode64(p, src) {
		return nil
	}
	// Bad, or written with escapes (some encoders write \/ for /).
	d.pos = from - 1
	text, err := d.text()
	if err != nil {
		return err
	}
	if d.decode64(p, text) {
		return nil
	}
	return blobError(text)
}

func (d *jsonReader) decode64(p any, src []byte) bool {
	if len(src)%4 != 0 {
		return false
	}
	size := len(src) / 4 * 3
	if size > 0 && src[len(src)-1] == '=' {
		size--
		if src[len(src)-2] == '=' {
			size--
		}
	}
	dst := d.arena.blob(size, size+d.rest()/4*3)
	if !decodeBase64(dst, src) {
		return false
	}
	setBytes(p, dst)
	return true
}

// blobError is the service's text for a string that is no base64.
func blobError(b []byte) error {
	text := quote(string(b)) + " can not be converted to a Blob: "
	if len(b)%4 != 0 {
		return &typeError{text + "Base64 encoded length is expected a multiple of 4 bytes but found: " + strconv.Itoa(len(b))}
	}
	pads := len(b) - len(bytes.TrimRight(b, "="))
	for i, c := range b {
		if c == '=' && i >= len(b)-min(pads, 2) {
			break
		}
		if !isBase64(c) {
			return &typeError{text + "Invalid Base64 character: '" + string([]byte{c}) + "'"}
		}
	}
	return &typeError{text + "Invalid last non-pad Base64 character dectected"}
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

package awswire

import (
	"math"
	"unicode/utf8"
)

// cborReader reads one CBOR item (RFC 8949), with lengths or without; nothing
// may follow it. Tags are passed over: the shape says what a value means. Of members with
// the same name the last counts, and text has to be UTF-8, as in [jsonReader].
type cborReader struct {
	intake
	in      []byte
	pos     int
	scratch []byte // of strings in pieces
}

// head is the begin of an item.
type head struct {
	major byte
	info  byte   // the low bits of the first byte
	n     uint64 // length, number, tag or bits of a float; 0 if open
	open  bool   // ends with a break
}

// rest is how many bytes are left to read.
func (d *cborReader) rest() int { return len(d.in) - d.pos }

// head takes the begin of the next item, and the tags before it.
func (d *cborReader) head() (h head, err error) {
	for range maxDepth {
		if h, err = d.bare(); err != nil || h.major != majorTag {
			return h, err
		}
	}
	return h, errSyntax
}

func (d *cborReader) bare() (h head, err error) {
	if d.pos >= len(d.in) {
		return h, errSyntax
	}
	c := d.in[d.pos]
	d.pos++
	h.major, h.info = c&0xe0, c&0x1f
	width := 0
	switch {
	case h.info < 24:
		h.n = uint64(h.info)
		return h, nil
	case h.info < 28:
		width = 1 << (h.info - 24)
	case h.info == 31 && h.major != majorUint && h.major != majorNint && h.major != majorTag:
		h.open = true
		return h, nil
	default:
		return h, errSyntax
	}
	if d.rest() < width {
		return h, errSyntax
	}
	for _, c := range d.in[d.pos : d.pos+width] {
		h.n = h.n<<8 | uint64(c)
	}
	d.pos += width
	return h, nil
}

// end takes a break if it is next.
func (d *cborReader) end() bool {
	if d.pos < len(d.in) && d.in[d.pos] == cborBreak {
		d.pos++
		return true
	}
	return false
}

// isNull reports whether the item is null or undefined.
func (h *head) isNull() bool {
	return h.major == majorOther && (h.info == cborNull&0x1f || h.info == cborUndef&0x1f)
}

// token says what the item is, 0 for what no value can be.
func (h *head) token() token {
	switch h.major {
	case majorUint, majorNint:
		return tokenNumber
	case majorBytes:
		return tokenBlob
	case majorText:
		return tokenString
	case majorList:
		return tokenList
	case majorMap:
		return tokenObject
	}
	switch h.info {
	case 20, 21:
		return tokenBool
	case 25, 26, 27:
		return tokenNumber
	}
	return 0
}

// float is the value of a number of major type 7.
func (h *head) float() float64 {
	switch h.info {
	case 25:
		return half(uint16(h.n))
	case 26:
		return float64(math.Float32frombits(uint32(h.n)))
	}
	return math.Float64frombits(h.n)
}

// half is the value of a 16 bit float (RFC 8949, appendix D).
func half(b uint16) float64 {
	exponent, mantissa := int(b>>10&0x1f), float64(b&0x3ff)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(mantissa, -24)
	case 31:
		f = math.Inf(1)
		if mantissa != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mantissa+1024, exponent-25)
	}
	if b&0x8000 != 0 {
		return -f
	}
	return f
}

// integer is the value of a number, clamped to 64 bits; fractions are cut off.
func (h *head) integer() int64 {
	switch h.major {
	case majorUint:
		return int64(min(h.n, math.MaxInt64))
	case majorNint:
		return ^int64(min(h.n, math.MaxInt64))
	}
	return floor(h.float())
}

// bytes takes what follows the head of a byte string or a text: bytes of the
// body, or of scratch, which the next string overwrites.
func (d *cborReader) bytes(h head) ([]byte, error) {
	if !h.open {
		return d.piece(h)
	}
	out := d.scratch[:0]
	for !d.end() {
		p, err := d.bare()
		if err != nil || p.major != h.major || p.open {
			return nil, errSyntax
		}
		b, err := d.piece(p)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	d.scratch = out
	return out, nil
}

func (d *cborReader) piece(h head) ([]byte, error) {
	if h.n > uint64(d.rest()) {
		return nil, errSyntax
	}
	b := d.in[d.pos : d.pos+int(h.n)]
	d.pos += len(b)
	if h.major == majorText && !utf8.Valid(b) {
		return nil, errSyntax
	}
	return b, nil
}

// each calls item for each item of a list, and for each pair of a map. An item
// has at least a byte, so that a false length ends with the body.
func (d *cborReader) each(h head, item func() error) error {
	for i := uint64(0); h.open || i < h.n; i++ {
		if h.open && d.end() {
			return nil
		}
		if err := item(); err != nil {
			return err
		}
	}
	return nil
}

// skip takes the rest of any item.
func (d *cborReader) skip(h head) error {
	switch h.major {
	case majorBytes, majorText:
		_, err := d.bytes(h)
		return err
	case majorList, majorMap:
		if err := d.down(); err != nil {
			return err
		}
		defer func() { d.depth-- }()
		return d.each(h, func() error {
			if h.major == majorMap {
				if err := d.skipNext(); err != nil {
					return err
				}
			}
			return d.skipNext()
		})
	case majorOther:
		if h.open || h.info == 24 && h.n < 32 { // A break without a begin; a simple value in two bytes that has one.
			return errSyntax
		}
	}
	return nil
}

func (d *cborReader) skipNext() error {
	h, err := d.head()
	if err != nil {
		return err
	}
	return d.skip(h)
}

// validCBOR reports whether the body is one map or list.
func validCBOR(body []byte) bool {
	d := cborReader{in: body}
	h, err := d.head()
	return err == nil && (h.major == majorMap || h.major == majorList) && d.skip(h) == nil && d.rest() == 0
}

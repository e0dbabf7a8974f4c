package awswire

import "reflect"

// decodeCBOR reads a body into the struct at p, with the errors of [decodeJSON].
func decodeCBOR(s *shape, body []byte, p any, home *memory) (*intake, error) {
	d := &cborReader{in: body}
	d.begin(home)
	err := d.whole(s, p)
	if err != nil && err != errSyntax && !validCBOR(body) {
		err = errSyntax
	}
	return &d.intake, err
}

func (d *cborReader) whole(s *shape, p any) error {
	h, err := d.head()
	if err != nil {
		return err
	}
	if h.major != majorMap && h.major != majorList {
		return errSyntax
	}
	if err := d.value(s, p, h); err != nil {
		return err
	}
	if d.rest() != 0 {
		return errSyntax
	}
	return nil
}

// expects says what a value of the kind looks like.
func (k kind) expects() token {
	switch k {
	case kindString:
		return tokenString
	case kindBlob:
		return tokenBlob
	case kindInteger, kindLong, kindTime:
		return tokenNumber
	case kindBoolean:
		return tokenBool
	case kindList:
		return tokenList
	}
	return tokenObject
}

// value reads the rest of a value, which may not be null, to a place.
func (d *cborReader) value(s *shape, p any, h head) error {
	if got := h.token(); got != s.kind.expects() {
		return d.wrong(s.kind, got, h)
	}
	if s.pointer {
		p = s.target(p)
	}
	switch s.kind {
	case kindString:
		b, err := d.bytes(h)
		if err != nil {
			return err
		}
		setText(p, d.keep(b, d.rest()))
		return nil
	case kindBlob:
		return d.blob(p, h)
	case kindInteger, kindLong:
		s.setInt(p, h.integer())
		return nil
	case kindTime:
		return setTime(p, h)
	case kindBoolean:
		setBool(p, h.info == cborTrue&0x1f)
		return nil
	}
	return d.nested(s, p, h)
}

// nested reads the rest of a list, a map or a struct.
func (d *cborReader) nested(s *shape, p any, h head) error {
	err := d.down()
	if err != nil {
		return err
	}
	switch s.kind {
	case kindList:
		err = d.members(s, p, h)
	case kindMap:
		err = d.pairs(s, p, h)
	default:
		err = d.fields(s, p, h)
	}
	d.depth--
	return err
}

// blob leaves the bytes where they are, in the body; those that came in pieces
// are put together.
func (d *cborReader) blob(p any, h head) error {
	b, err := d.bytes(h)
	if err != nil {
		return err
	}
	if h.open || len(b) == 0 {
		b = append([]byte{}, b...) // Present and empty is not absent.
	} else {
		d.shares = true
	}
	setBytes(p, b[:len(b):len(b)])
	return nil
}

func (d *cborReader) wrong(k kind, got token, h head) error {
	switch got {
	case 0:
		return errSyntax
	case tokenString:
		b, err := d.bytes(h)
		if err != nil {
			return err
		}
		return mismatch(k, got, string(b))
	}
	return mismatch(k, got, "")
}

// setTime sets a timestamp: an integer is milliseconds, as the SDKs for Java
// write them, a float is the seconds of the RFC. The tag may be missing.
func setTime(p any, h head) error {
	var t Time
	var ok bool
	if h.major == majorOther {
		t, ok = timeOfFloat(h.float())
	} else {
		t, ok = timeOfMillis(h.integer())
	}
	if !ok {
		return &typeError{"the number can not be converted to milliseconds since epoch"}
	}
	*p.(*Time) = t
	return nil
}

func (d *cborReader) fields(s *shape, p any, h head) error {
	places := s.members(p)
	var seen uint64
	next := 0 // Members mostly come in one order.
	return d.each(h, func() error {
		name, err := d.key()
		if err != nil {
			return err
		}
		i := s.find(name, next)
		if i < 0 {
			return d.skipNext()
		}
		next = i + 1
		f := &s.fields[i]
		place := places.at(f)
		d.enter(i)
		if seen&(1<<i) != 0 {
			d.again(place)
		}
		seen |= 1 << i
		h, err := d.head()
		if err != nil {
			return err
		}
		if !h.isNull() {
			if err := d.value(f.shape, place, h); err != nil {
				return err
			}
			d.given(f, place)
		}
		d.leave()
		return nil
	})
}

// key takes the name of a member, which is valid until the next string.
func (d *cborReader) key() ([]byte, error) {
	h, err := d.head()
	if err != nil {
		return nil, err
	}
	if h.major != majorText {
		return nil, errSyntax
	}
	return d.bytes(h)
}

func (d *cborReader) members(s *shape, p any, h head) error {
	guess := 8
	if !h.open {
		guess = int(min(h.n, uint64(d.rest())))
	}
	l := listAt(p)
	l.reset(true)
	return d.each(h, func() error {
		n := l.length()
		if n >= s.most { // Too many already: the rest need not be kept.
			return d.skipNext()
		}
		m := l.extend(min(max(guess, n+1), s.most))
		h, err := d.head()
		if err != nil || h.isNull() {
			return err
		}
		d.enter(n)
		if err := d.value(s.elem, m, h); err != nil {
			return err
		}
		d.leave()
		return nil
	})
}

func (d *cborReader) pairs(s *shape, p any, h head) error {
	m := map[string]string{}
	valueAt(p).Set(reflect.ValueOf(m).Convert(s.typ))
	return d.each(h, func() error {
		name, err := d.key()
		if err != nil {
			return err
		}
		if len(m) >= s.most {
			return d.skipNext()
		}
		key := string(name)
		h, err := d.head()
		if err != nil {
			return err
		}
		if h.isNull() {
			delete(m, key)
			return nil
		}
		if h.major != majorText {
			return d.wrong(kindString, h.token(), h)
		}
		b, err := d.bytes(h)
		m[key] = string(b)
		return err
	})
}

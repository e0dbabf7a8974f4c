package awswire

import "reflect"

// decodeCBOR reads a body into the struct v, with the errors of [decodeJSON].
func decodeCBOR(s *shape, body []byte, v reflect.Value) (*intake, error) {
	d := &cborReader{in: body}
	err := d.whole(s, v)
	if err != nil && err != errSyntax && !validCBOR(body) {
		err = errSyntax
	}
	return &d.intake, err
}

func (d *cborReader) whole(s *shape, v reflect.Value) error {
	h, err := d.head()
	if err != nil {
		return err
	}
	if h.major != majorMap && h.major != majorList {
		return errSyntax
	}
	if err := d.value(s, v, h); err != nil {
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

// value reads the rest of a value, which may not be null.
func (d *cborReader) value(s *shape, v reflect.Value, h head) error {
	if got := h.token(); got != s.kind.expects() {
		return d.wrong(s.kind, got, h)
	}
	v = s.target(v)
	switch s.kind {
	case kindString:
		b, err := d.bytes(h)
		if err != nil {
			return err
		}
		if d.depth <= 1 { // Members of the request itself are what is kept for long.
			v.SetString(string(b))
		} else {
			v.SetString(d.arena.string(b, d.rest()))
		}
		return nil
	case kindBlob:
		b, err := d.bytes(h)
		if err != nil {
			return err
		}
		dst := d.arena.blob(len(b), len(b)+d.rest())
		copy(dst, b)
		v.SetBytes(dst)
		return nil
	case kindInteger, kindLong:
		s.setInt(v, h.integer())
		return nil
	case kindTime:
		return setTime(v, h)
	case kindBoolean:
		v.SetBool(h.info == cborTrue&0x1f)
		return nil
	}
	if err := d.down(); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	switch s.kind {
	case kindList:
		return d.members(s, v, h)
	case kindMap:
		return d.pairs(s, v, h)
	}
	return d.fields(s, v, h)
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
func setTime(v reflect.Value, h head) error {
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
	*v.Addr().Interface().(*Time) = t
	return nil
}

func (d *cborReader) fields(s *shape, v reflect.Value, h head) error {
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
		fv := v.Field(f.index)
		d.enter(i)
		defer d.leave()
		if seen&(1<<i) != 0 {
			d.again(fv)
		}
		seen |= 1 << i
		h, err := d.head()
		if err != nil || h.isNull() {
			return err
		}
		if err := d.value(f.shape, fv, h); err != nil {
			return err
		}
		d.given(f, fv)
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

func (d *cborReader) members(s *shape, v reflect.Value, h head) error {
	guess := 8
	if !h.open {
		guess = int(min(h.n, uint64(d.rest())))
	}
	v.Set(reflect.MakeSlice(s.typ, 0, 0))
	return d.each(h, func() error {
		n := v.Len()
		if n >= s.most { // Too many already: the rest need not be kept.
			return d.skipNext()
		}
		m := s.room(v, max(guess, n+1))
		h, err := d.head()
		if err != nil || h.isNull() {
			return err
		}
		d.enter(n)
		defer d.leave()
		return d.value(s.elem, m, h)
	})
}

func (d *cborReader) pairs(s *shape, v reflect.Value, h head) error {
	m := map[string]string{}
	v.Set(reflect.ValueOf(m).Convert(s.typ))
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

package awswire

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxMembers is how many members a list or map may have whose tag gives no max.
const MaxMembers = 10000

// maxFields is how many members a struct may have: they are marked in a word.
const maxFields = 64

type kind uint8

const (
	kindString kind = iota + 1
	kindBlob
	kindInteger // 32 bits, clamped
	kindLong
	kindBoolean
	kindTime
	kindText // of answers alone
	kindList
	kindMap // of strings to strings
	kindStruct
)

// String is the service's word in texts of errors.
func (k kind) String() string {
	switch k {
	case kindString:
		return "String"
	case kindBlob:
		return "Blob"
	case kindInteger:
		return "Integer"
	case kindLong:
		return "Long"
	case kindBoolean:
		return "Boolean"
	case kindTime:
		return "Timestamp"
	case kindList:
		return "List"
	case kindMap:
		return "Map"
	}
	return "Structure"
}

// shape is a Go type as the codecs see it.
type shape struct {
	kind    kind
	pointer bool         // the Go type is a pointer to typ
	typ     reflect.Type // without the pointer
	fields  []field      // of a struct
	elem    *shape       // of a list
	most    int          // members of a list or map that are kept; one more than are valid
	direct  bool         // a struct that hands out its places
}

// field is a member of a struct.
type field struct {
	name    string // on the wire
	key     []byte // `"name":`
	cborKey []byte // the name as CBOR writes it
	index   int    // in the Go struct
	shape   *shape
	omit    bool // zero values are left out
	// plain: the Go value does not tell absent from zero.
	plain bool
	rules rules
}

// bounds are the rules that a value can have, or the members of a value.
type bounds struct {
	min, max int64
	hasMin   bool
	hasMax   bool
	pattern  *pattern
	enum     []string
}

func (b *bounds) empty() bool {
	return !b.hasMin && !b.hasMax && b.pattern == nil && b.enum == nil
}

type rules struct {
	bounds
	required bool
	shown    string  // a member of a list of structs, in texts of errors
	each     *bounds // of the members of a list
	key, val *bounds // of the keys and values of a map
}

var (
	timeType   = reflect.TypeFor[Time]()
	directType = reflect.TypeFor[Direct]()
	textType   = reflect.TypeFor[Text]()
	blobType   = reflect.TypeFor[[]byte]()
	stringType = reflect.TypeFor[string]()
)

// compile makes the shape of a struct type.
func (h *Handler) compile(t reflect.Type) (*shape, error) {
	return h.compileWith(t, map[reflect.Type]*shape{})
}

func (h *Handler) compileWith(t reflect.Type, known map[reflect.Type]*shape) (*shape, error) {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct || t == timeType {
		return nil, fmt.Errorf("%v is no struct", t)
	}
	return h.compileType(t, known)
}

// compileInput makes the shape of a struct type that can be decoded.
func (h *Handler) compileInput(t reflect.Type) (*shape, error) {
	known := map[reflect.Type]*shape{}
	s, err := h.compileWith(t, known)
	if err != nil {
		return nil, err
	}
	for _, k := range known {
		for i := range k.fields {
			if f := &k.fields[i]; f.shape.kind == kindText || f.shape.kind == kindList && f.shape.elem.kind == kindText {
				return nil, fmt.Errorf("%v: a member of a request can not be a Text", k.typ)
			}
		}
	}
	return s, nil
}

// compileType makes the shape of any type. Structs under way are in known, so
// that a type may hold itself.
func (h *Handler) compileType(t reflect.Type, known map[reflect.Type]*shape) (*shape, error) {
	s := &shape{typ: t}
	if t.Kind() == reflect.Pointer {
		s.pointer, s.typ = true, t.Elem()
	}
	switch k := s.typ.Kind(); {
	case s.typ == timeType:
		s.kind = kindTime
	case s.typ == blobType:
		s.kind = kindBlob
	case !s.pointer && s.typ.Implements(textType):
		s.kind = kindText
	case k == reflect.String:
		s.kind = kindString
	case k == reflect.Bool:
		s.kind = kindBoolean
	case k == reflect.Int || k == reflect.Int32 || k == reflect.Int64:
		s.kind = kindInteger
	case k == reflect.Slice && !s.pointer:
		s.kind, s.most = kindList, MaxMembers
		var err error
		if s.elem, err = h.compileType(s.typ.Elem(), known); err != nil {
			return nil, err
		}
	case k == reflect.Map && !s.pointer && s.typ.Key() == stringType && s.typ.Elem() == stringType:
		s.kind, s.most = kindMap, MaxMembers
	case k == reflect.Struct:
		return h.compileStruct(s, known)
	default:
		return nil, fmt.Errorf("a field can not be of type %v", t)
	}
	return s, nil
}

func (h *Handler) compileStruct(s *shape, known map[reflect.Type]*shape) (*shape, error) {
	full := reflect.PointerTo(s.typ)
	if !s.pointer {
		full = s.typ
	}
	if k := known[full]; k != nil {
		return k, nil
	}
	s.kind = kindStruct
	known[full] = s
	for i := range s.typ.NumField() {
		sf := s.typ.Field(i)
		tag, ok := sf.Tag.Lookup("aws")
		if !ok {
			return nil, fmt.Errorf("%v.%s has no aws tag", s.typ, sf.Name)
		}
		if !sf.IsExported() {
			return nil, fmt.Errorf("%v.%s is not exported", s.typ, sf.Name)
		}
		f, err := h.compileField(sf, tag, known)
		if err != nil {
			return nil, fmt.Errorf("%v.%s: %w", s.typ, sf.Name, err)
		}
		f.index = i
		for _, other := range s.fields {
			if other.name == f.name {
				return nil, fmt.Errorf("%v has two members %s", s.typ, f.name)
			}
		}
		s.fields = append(s.fields, f)
	}
	if len(s.fields) > maxFields {
		return nil, fmt.Errorf("%v has more than %d members", s.typ, maxFields)
	}
	if s.direct = reflect.PointerTo(s.typ).Implements(directType); s.direct {
		return s, s.checkDirect()
	}
	return s, nil
}

func (h *Handler) compileField(sf reflect.StructField, tag string, known map[reflect.Type]*shape) (field, error) {
	words := strings.Split(tag, ",")
	f := field{name: words[0]}
	if f.name == "" || strings.ContainsAny(f.name, "\"\\") || !utf8.ValidString(f.name) {
		return f, errors.New("its aws tag has no name")
	}
	f.key, f.cborKey = []byte(`"`+f.name+`":`), appendCBORText(nil, f.name)
	s, err := h.compileType(sf.Type, known)
	if err != nil {
		return f, err
	}
	f.shape = s
	f.plain = !s.pointer && s.kind != kindBlob && s.kind != kindList && s.kind != kindMap
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		if err := h.applyWord(&f, name, value); err != nil {
			return f, fmt.Errorf("%s: %w", w, err)
		}
	}
	if (s.kind == kindList || s.kind == kindMap) && f.rules.hasMax {
		s.most = int(f.rules.max) + 1
	}
	return f, nil
}

var errNotHere = errors.New("means nothing here")

// applyWord takes one word of a tag.
func (h *Handler) applyWord(f *field, name, value string) error {
	k := f.shape.kind
	switch name {
	case "required":
		f.rules.required = true
		return nil
	case "omitempty":
		f.omit = true
		return nil
	case "long":
		if k != kindInteger {
			return errNotHere
		}
		f.shape.kind = kindLong
		return nil
	case "shown":
		if k != kindList || f.shape.elem.kind != kindStruct {
			return errNotHere
		}
		f.rules.shown = value
		return nil
	}
	of, rule, member := strings.Cut(name, ".")
	if !member {
		return h.bound(&f.rules.bounds, k, name, value)
	}
	var target **bounds
	memberKind := kindString
	switch {
	case of == "each" && k == kindList:
		target, memberKind = &f.rules.each, f.shape.elem.kind
	case of == "key" && k == kindMap:
		target = &f.rules.key
	case of == "value" && k == kindMap:
		target = &f.rules.val
	}
	if target == nil || memberKind != kindString {
		return errNotHere
	}
	if *target == nil {
		*target = &bounds{}
	}
	return h.bound(*target, memberKind, rule, value)
}

func (h *Handler) bound(b *bounds, k kind, rule, value string) error {
	switch rule {
	case "min", "max":
		if k == kindBoolean || k == kindTime || k == kindStruct {
			return errNotHere
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return err
		}
		if (k == kindList || k == kindMap) && (n < 0 || n > MaxMembers) {
			return fmt.Errorf("more than %d members", MaxMembers)
		}
		if rule == "min" {
			b.min, b.hasMin = n, true
		} else {
			b.max, b.hasMax = n, true
		}
		return nil
	case "pattern":
		if k != kindString {
			return errNotHere
		}
		if b.pattern = h.patterns[value]; b.pattern == nil {
			return errors.New("no such pattern")
		}
		return nil
	case "enum":
		if k != kindString || value == "" {
			return errNotHere
		}
		b.enum = strings.Split(value, "|")
		return nil
	}
	return errors.New("unknown word")
}

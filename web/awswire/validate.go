package awswire

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFailures is how many failed constraints the service names.
const maxFailures = 10

// validator walks a decoded input and gathers what breaks the rules of its tags.
type validator struct {
	in       *intake
	place    []step // what leads to the struct under way
	failures []string
}

// step leads from a struct to the next: through a field and, when it is a list,
// one of its members.
type step struct {
	field  *field
	member int // from 1; 0 of no list
}

// validate checks an input; in knows which zero values were given. The texts are
// those of the service.
func validate(s *shape, v reflect.Value, in *intake) *Error {
	c := &validator{in: in}
	in.path = in.path[:0]
	c.fields(s, v)
	switch n := len(c.failures); {
	case n == 0:
		return nil
	case n == 1:
		return &Error{Code: "ValidationException", Message: "1 validation error detected: " + c.failures[0]}
	default:
		return &Error{Code: "ValidationException", Message: strconv.Itoa(n) + " validation errors detected: " + strings.Join(c.failures, "; ")}
	}
}

func (c *validator) fields(s *shape, v reflect.Value) {
	for i := range s.fields {
		if len(c.failures) >= maxFailures {
			return
		}
		f := &s.fields[i]
		fv := v.Field(f.index)
		c.in.enter(i)
		if c.given(f, fv) {
			c.value(f, fv)
		} else if f.rules.required {
			c.fail(f, "null", "Member must not be null")
		}
		c.in.leave()
	}
}

// given reports whether the request had the member.
func (c *validator) given(f *field, v reflect.Value) bool {
	if !v.IsZero() {
		return true
	}
	if !f.plain || len(c.in.zeros) == 0 {
		return false
	}
	_, ok := c.in.zeros[string(c.in.path)]
	return ok
}

// value checks a member that is present.
func (c *validator) value(f *field, v reflect.Value) {
	if f.shape.pointer {
		v = v.Elem()
	}
	if !f.rules.empty() {
		c.bounds(f, v)
	}
	switch f.shape.kind {
	case kindStruct:
		c.place = append(c.place, step{f, 0})
		c.fields(f.shape, v)
		c.place = c.place[:len(c.place)-1]
	case kindList:
		c.list(f, v)
	case kindMap:
		c.pairs(f, v)
	}
}

// bounds checks the rules of the value itself, in the service's order.
func (c *validator) bounds(f *field, v reflect.Value) {
	b := &f.rules.bounds
	n, unit := size(f.shape.kind, v)
	if f.shape.kind == kindString {
		if b.pattern != nil && !b.pattern.match(v.String()) {
			c.failValue(f, v, b.patternWords())
		}
		if b.enum != nil && !b.inEnum(v.String()) {
			c.failValue(f, v, b.enumWords())
		}
	}
	if b.hasMin && n < b.min {
		c.failValue(f, v, fmt.Sprintf("Member must have %s greater than or equal to %d", unit, b.min))
	}
	if b.hasMax && n > b.max {
		c.failValue(f, v, fmt.Sprintf("Member must have %s less than or equal to %d", unit, b.max))
	}
}

// size is what min and max are about.
func size(k kind, v reflect.Value) (n int64, unit string) {
	switch k {
	case kindInteger, kindLong:
		return v.Int(), "value"
	case kindString:
		return int64(utf8.RuneCountInString(v.String())), "length"
	case kindBlob, kindList, kindMap:
		return int64(v.Len()), "length"
	}
	return 0, ""
}

func (b *bounds) inEnum(s string) bool {
	for _, e := range b.enum {
		if s == e {
			return true
		}
	}
	return false
}

func (b *bounds) enumWords() string {
	return "Member must satisfy enum value set: [" + strings.Join(b.enum, ", ") + "]"
}

func (b *bounds) patternWords() string {
	return "Member must satisfy regular expression pattern: " + b.pattern.text
}

// holds reports whether a string keeps the rules.
func (b *bounds) holds(s string) bool {
	if b.hasMin || b.hasMax {
		n := int64(utf8.RuneCountInString(s))
		if b.hasMin && n < b.min || b.hasMax && n > b.max {
			return false
		}
	}
	return (b.pattern == nil || b.pattern.match(s)) && (b.enum == nil || b.inEnum(s))
}

// words names all the rules, as the service does for members of lists and maps.
func (b *bounds) words() string {
	var all []string
	if b.hasMax {
		all = append(all, fmt.Sprintf("Member must have length less than or equal to %d", b.max))
	}
	if b.hasMin {
		all = append(all, fmt.Sprintf("Member must have length greater than or equal to %d", b.min))
	}
	if b.pattern != nil {
		all = append(all, b.patternWords())
	}
	if b.enum != nil {
		all = append(all, b.enumWords())
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func (c *validator) list(f *field, v reflect.Value) {
	s := f.shape.elem
	if each := f.rules.each; each != nil {
		for i := range v.Len() {
			if m := v.Index(i); s.absent(m) || !each.holds(s.text(m)) {
				c.failValue(f, v, "Member must satisfy constraint: "+each.words())
				break
			}
		}
	}
	if s.kind != kindStruct {
		return
	}
	for i := range v.Len() {
		if len(c.failures) >= maxFailures {
			return
		}
		m := v.Index(i)
		if s.pointer {
			if m.IsNil() {
				c.failValue(f, v, "Member must satisfy constraint: [Member must not be null]")
				return
			}
			m = m.Elem()
		}
		c.in.enter(i)
		c.place = append(c.place, step{f, i + 1})
		c.fields(s, m)
		c.place = c.place[:len(c.place)-1]
		c.in.leave()
	}
}

// text is the string v or, of a pointer, what it points to.
func (s *shape) text(v reflect.Value) string {
	if s.pointer {
		v = v.Elem()
	}
	return v.String()
}

func (c *validator) pairs(f *field, v reflect.Value) {
	keys, values := true, true
	for i := v.MapRange(); i.Next(); {
		keys = keys && (f.rules.key == nil || f.rules.key.holds(i.Key().String()))
		values = values && (f.rules.val == nil || f.rules.val.holds(i.Value().String()))
	}
	if !keys {
		c.failValue(f, v, "Map keys must satisfy constraint: "+f.rules.key.words())
	}
	if !values {
		c.failValue(f, v, "Map value must satisfy constraint: "+f.rules.val.words())
	}
}

func (c *validator) failValue(f *field, v reflect.Value, constraint string) {
	c.fail(f, quote(f.show(v)), constraint)
}

func (c *validator) fail(f *field, value, constraint string) {
	if len(c.failures) >= maxFailures {
		return
	}
	place := ""
	for _, s := range c.place {
		place += lowerFirst(s.field.name) + "."
		if s.member > 0 {
			place += strconv.Itoa(s.member) + ".member."
		}
	}
	c.failures = append(c.failures, "Value "+value+" at '"+place+lowerFirst(f.name)+"' failed to satisfy constraint: "+constraint)
}

// show is a value as the service shows it in its texts.
func (f *field) show(v reflect.Value) string {
	switch f.shape.kind {
	case kindInteger, kindLong:
		return strconv.FormatInt(v.Int(), 10)
	case kindBlob:
		return fmt.Sprintf("java.nio.HeapByteBuffer[pos=0 lim=%d cap=%d]", v.Len(), v.Len())
	case kindString:
		return v.String()
	}
	var b strings.Builder
	if f.shape.kind == kindMap {
		for i, k := range sortedKeys(v) {
			b.WriteString(separator(i) + k + "=" + v.MapIndex(reflect.ValueOf(k)).String())
		}
		return "{" + b.String() + "}"
	}
	for i := 0; i < v.Len() && b.Len() < maxQuoted; i++ {
		b.WriteString(separator(i))
		switch s := f.shape.elem; {
		case s.absent(v.Index(i)):
			b.WriteString("null")
		case s.kind == kindString:
			b.WriteString(s.text(v.Index(i)))
		case f.rules.shown != "":
			b.WriteString(f.rules.shown)
		default:
			b.WriteString(s.typ.Name())
		}
	}
	return "[" + b.String() + "]"
}

func separator(i int) string {
	if i == 0 {
		return ""
	}
	return ", "
}

// lowerFirst is a name as texts of errors write it: records, streamARN.
func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}

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
func validate(s *shape, p any, in *intake) *Error {
	c := &validator{in: in}
	in.path = in.path[:0]
	c.fields(s, p)
	switch n := len(c.failures); {
	case n == 0:
		return nil
	case n == 1:
		return &Error{Code: "ValidationException", Message: "1 validation error detected: " + c.failures[0]}
	default:
		return &Error{Code: "ValidationException", Message: strconv.Itoa(n) + " validation errors detected: " + strings.Join(c.failures, "; ")}
	}
}

func (c *validator) fields(s *shape, p any) {
	places := s.members(p)
	for i := range s.fields {
		if len(c.failures) >= maxFailures {
			return
		}
		f := &s.fields[i]
		place := places.at(f)
		c.in.enter(i)
		if c.given(f, place) {
			c.value(f, place)
		} else if f.rules.required {
			c.fail(f, "null", "Member must not be null")
		}
		c.in.leave()
	}
}

// given reports whether the request had the member.
func (c *validator) given(f *field, p any) bool {
	if !zero(p) {
		return true
	}
	if !f.plain || len(c.in.zeros) == 0 {
		return false
	}
	_, ok := c.in.zeros[string(c.in.path)]
	return ok
}

// value checks a member that is present.
func (c *validator) value(f *field, p any) {
	if f.shape.pointer {
		p = f.shape.held(p)
	}
	if !f.rules.empty() {
		c.bounds(f, p)
	}
	switch f.shape.kind {
	case kindStruct:
		c.place = append(c.place, step{f, 0})
		c.fields(f.shape, p)
		c.place = c.place[:len(c.place)-1]
	case kindList:
		c.list(f, p)
	case kindMap:
		c.pairs(f, p)
	}
}

// bounds checks the rules of the value itself, in the service's order.
func (c *validator) bounds(f *field, p any) {
	b := &f.rules.bounds
	if f.shape.kind == kindString {
		s := textAt(p)
		if b.pattern != nil && !b.pattern.match(s) {
			c.failValue(f, p, b.patternWords())
		}
		if b.enum != nil && !b.inEnum(s) {
			c.failValue(f, p, b.enumWords())
		}
	}
	if !b.hasMin && !b.hasMax {
		return
	}
	n, unit := size(f.shape.kind, p)
	if b.hasMin && n < b.min {
		c.failValue(f, p, fmt.Sprintf("Member must have %s greater than or equal to %d", unit, b.min))
	}
	if b.hasMax && n > b.max {
		c.failValue(f, p, fmt.Sprintf("Member must have %s less than or equal to %d", unit, b.max))
	}
}

// size is what min and max are about.
func size(k kind, p any) (n int64, unit string) {
	switch k {
	case kindInteger, kindLong:
		return intAt(p), "value"
	case kindString:
		return int64(utf8.RuneCountInString(textAt(p))), "length"
	case kindBlob:
		return int64(len(bytesAt(p))), "length"
	case kindList:
		return int64(listAt(p).length()), "length"
	case kindMap:
		return int64(valueAt(p).Len()), "length"
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

func (c *validator) list(f *field, p any) {
	s, l := f.shape.elem, listAt(p)
	if each := f.rules.each; each != nil {
		for i := range l.length() {
			if m := s.held(l.at(i)); m == nil || !each.holds(textAt(m)) {
				c.failValue(f, p, "Member must satisfy constraint: "+each.words())
				break
			}
		}
	}
	if s.kind != kindStruct {
		return
	}
	for i := range l.length() {
		if len(c.failures) >= maxFailures {
			return
		}
		m := s.held(l.at(i))
		if m == nil {
			c.failValue(f, p, "Member must satisfy constraint: [Member must not be null]")
			return
		}
		c.in.enter(i)
		c.place = append(c.place, step{f, i + 1})
		c.fields(s, m)
		c.place = c.place[:len(c.place)-1]
		c.in.leave()
	}
}

func (c *validator) pairs(f *field, p any) {
	keys, values := true, true
	for i := valueAt(p).MapRange(); i.Next(); {
		keys = keys && (f.rules.key == nil || f.rules.key.holds(i.Key().String()))
		values = values && (f.rules.val == nil || f.rules.val.holds(i.Value().String()))
	}
	if !keys {
		c.failValue(f, p, "Map keys must satisfy constraint: "+f.rules.key.words())
	}
	if !values {
		c.failValue(f, p, "Map value must satisfy constraint: "+f.rules.val.words())
	}
}

func (c *validator) failValue(f *field, p any, constraint string) {
	c.fail(f, quote(f.show(p)), constraint)
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
func (f *field) show(p any) string {
	switch f.shape.kind {
	case kindInteger, kindLong:
		return strconv.FormatInt(intAt(p), 10)
	case kindBlob:
		return fmt.Sprintf("java.nio.HeapByteBuffer[pos=0 lim=%[1]d cap=%[1]d]", len(bytesAt(p)))
	case kindString:
		return textAt(p)
	}
	var b strings.Builder
	if f.shape.kind == kindMap {
		v := valueAt(p)
		for i, k := range sortedKeys(v) {
			b.WriteString(separator(i) + k + "=" + v.MapIndex(reflect.ValueOf(k)).String())
		}
		return "{" + b.String() + "}"
	}
	l := listAt(p)
	for i := 0; i < l.length() && b.Len() < maxQuoted; i++ {
		b.WriteString(separator(i))
		switch s, m := f.shape.elem, f.shape.elem.held(l.at(i)); {
		case m == nil:
			b.WriteString("null")
		case s.kind == kindString:
			b.WriteString(textAt(m))
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

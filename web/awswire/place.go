package awswire

import (
	"fmt"
	"reflect"
	"slices"
)

// A place is a pointer to a field, a member of a list or a whole struct, as any:
// what the codecs and the validator read and write. The Go types that fields
// mostly have are told apart by a type switch, which takes a few nanoseconds and
// no memory; all others go through package reflect.

// Direct is a struct on the way of records. It hands out its own places, where
// those of other structs are found by reflection: that takes longer than all
// else that is to be done for a member. [New] refuses a method that gives
// anything but what reflection would.
type Direct interface {
	// Member is the place of a field, by its number in the struct: a pointer to it,
	// or [ListAt] of one to a list of structs.
	Member(i int) any
}

// list is a slice of any type at a place.
type list interface {
	length() int
	absent() bool // nil
	// reset leaves an empty list, or none at all.
	reset(present bool)
	// extend makes the list one longer, with room for so many if it has to move, and
	// gives the place of the new member.
	extend(room int) any
	at(i int) any
}

// ListAt is the place of a list of structs, for [Direct].
func ListAt[T any](p *[]T) any { return (*slice[T])(p) }

type slice[T any] []T

func (s *slice[T]) length() int  { return len(*s) }
func (s *slice[T]) absent() bool { return *s == nil }
func (s *slice[T]) at(i int) any { return &(*s)[i] }

func (s *slice[T]) reset(present bool) {
	*s = nil
	if present {
		*s = slice[T]{}
	}
}

func (s *slice[T]) extend(room int) any {
	n := len(*s)
	if n == cap(*s) {
		*s = slices.Grow(*s, max(1, room-n))
	}
	*s = (*s)[:n+1]
	return &(*s)[n]
}

// reflected is a list of a type that this package does not know.
type reflected struct{ v reflect.Value }

func (r reflected) length() int  { return r.v.Len() }
func (r reflected) absent() bool { return r.v.IsNil() }
func (r reflected) at(i int) any { return r.v.Index(i).Addr().Interface() }

func (r reflected) reset(present bool) {
	r.v.SetZero()
	if present {
		r.v.Set(reflect.MakeSlice(r.v.Type(), 0, 0))
	}
}

func (r reflected) extend(room int) any {
	n := r.v.Len()
	if n == r.v.Cap() {
		r.v.Grow(max(1, room-n))
	}
	r.v.SetLen(n + 1)
	return r.at(n)
}

func listAt(p any) list {
	switch p := p.(type) {
	case list:
		return p
	case *[]string:
		return (*slice[string])(p)
	}
	return reflected{valueAt(p)}
}

// valueAt is the value at a place, for what reflection has to do.
func valueAt(p any) reflect.Value { return reflect.ValueOf(p).Elem() }

// members gives the places of a struct's fields.
type members struct {
	direct Direct
	value  reflect.Value
}

func (s *shape) members(p any) members {
	if s.direct {
		return members{direct: p.(Direct)}
	}
	return members{value: valueAt(p)}
}

func (m *members) at(f *field) any {
	if m.direct != nil {
		return m.direct.Member(f.index)
	}
	return m.value.Field(f.index).Addr().Interface()
}

// checkDirect holds the places that a struct hands out to those that there are.
func (s *shape) checkDirect() error {
	fresh := reflect.New(s.typ)
	d := fresh.Interface().(Direct)
	for i := range s.fields {
		f := &s.fields[i]
		want := fresh.Elem().Field(f.index).Addr()
		place := d.Member(f.index)
		got := reflect.ValueOf(place)
		_, isList := place.(list)
		if got.Kind() != reflect.Pointer || got.UnsafePointer() != want.UnsafePointer() ||
			got.Type() != want.Type() && !(isList && want.Type().ConvertibleTo(got.Type())) {
			return fmt.Errorf("%v.Member(%d) is not the place of %s", s.typ, f.index, f.name)
		}
	}
	return nil
}

// target is where a value of the shape goes: p, or what a new pointer at p points
// to.
func (s *shape) target(p any) any {
	if !s.pointer {
		return p
	}
	fresh := reflect.New(s.typ)
	valueAt(p).Set(fresh)
	return fresh.Interface()
}

// held is the place of the value itself: p, or what the pointer at p points to,
// nil where it points nowhere.
func (s *shape) held(p any) any {
	if !s.pointer {
		return p
	}
	switch p := p.(type) {
	case **string:
		return known(*p)
	case **int:
		return known(*p)
	case **int64:
		return known(*p)
	}
	if v := valueAt(p); !v.IsNil() {
		return v.Interface()
	}
	return nil
}

// known keeps a nil pointer from becoming an any that is not nil.
func known[T any](p *T) any {
	if p == nil {
		return nil
	}
	return p
}

func setText(p any, s string) {
	if p, ok := p.(*string); ok {
		*p = s
		return
	}
	valueAt(p).SetString(s)
}

func setBytes(p any, b []byte) {
	if p, ok := p.(*[]byte); ok {
		*p = b
		return
	}
	valueAt(p).SetBytes(b)
}

func setBool(p any, b bool) {
	if p, ok := p.(*bool); ok {
		*p = b
		return
	}
	valueAt(p).SetBool(b)
}

// setInt sets an integer, clamped as the service does.
func (s *shape) setInt(p any, n int64) {
	if s.kind == kindInteger {
		n = min(max(n, -1<<31), 1<<31-1)
	}
	switch p := p.(type) {
	case *int:
		*p = int(n)
	case *int64:
		*p = n
	default:
		v := valueAt(p)
		if v.Kind() == reflect.Int32 {
			n = min(max(n, -1<<31), 1<<31-1)
		}
		v.SetInt(n)
	}
}

func textAt(p any) string {
	if p, ok := p.(*string); ok {
		return *p
	}
	return valueAt(p).String()
}

func bytesAt(p any) []byte {
	if p, ok := p.(*[]byte); ok {
		return *p
	}
	return valueAt(p).Bytes()
}

func boolAt(p any) bool {
	if p, ok := p.(*bool); ok {
		return *p
	}
	return valueAt(p).Bool()
}

func intAt(p any) int64 {
	switch p := p.(type) {
	case *int:
		return int64(*p)
	case *int64:
		return *p
	}
	return valueAt(p).Int()
}

// zero reports whether a place has the zero value of its type.
func zero(p any) bool {
	switch p := p.(type) {
	case *string:
		return *p == ""
	case *[]byte:
		return *p == nil
	case *bool:
		return !*p
	case *int:
		return *p == 0
	case *int64:
		return *p == 0
	case *Time:
		return *p == Time{}
	case list:
		return p.absent()
	case **string:
		return *p == nil
	case **int:
		return *p == nil
	}
	return valueAt(p).IsZero()
}

// wipe puts the zero value at a place.
func wipe(p any) {
	switch p := p.(type) {
	case *string:
		*p = ""
	case *[]byte:
		*p = nil
	case *bool:
		*p = false
	case list:
		p.reset(false)
	default:
		valueAt(p).SetZero()
	}
}

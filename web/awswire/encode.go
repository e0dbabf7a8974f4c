package awswire

import (
	"reflect"
	"slices"
)

// absent reports whether the member of a list is a nil pointer.
func (s *shape) absent(v reflect.Value) bool { return s.pointer && v.IsNil() }

// left reports whether a field is left out of an answer.
func (f *field) left(v reflect.Value) bool {
	switch {
	case f.shape.pointer:
		return v.IsNil()
	case f.shape.kind == kindTime:
		return v.Addr().Interface().(*Time).IsZero()
	case !f.omit:
		return false
	case f.shape.kind == kindList || f.shape.kind == kindMap || f.shape.kind == kindBlob:
		return v.Len() == 0
	}
	return v.IsZero()
}

func millis(v reflect.Value) int64 { return v.Addr().Interface().(*Time).UnixMilli() }

func sortedKeys(v reflect.Value) []string {
	keys := make([]string, 0, v.Len())
	for i := v.MapRange(); i.Next(); {
		keys = append(keys, i.Key().String())
	}
	slices.Sort(keys)
	return keys
}

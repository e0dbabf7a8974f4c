package awswire

import (
	"errors"
	"strings"
)

// maxDepth is how deep lists and structs of a request may be nested.
const maxDepth = 64

// errSyntax is a body that is not of its content type. The service answers it
// without a word.
var errSyntax = errors.New("malformed body")

// typeError is a value of a wrong type; its text is the answer's.
type typeError struct{ text string }

func (e *typeError) Error() string { return e.text }

// intake is what the decoders have in common: where the strings and blobs of a
// request go, and which of its members are present though they are zero.
type intake struct {
	arena
	depth int
	// path leads to the value being read: two bytes for each step, the index of a
	// field or of a member of a list.
	path []byte
	room [16]byte // where path begins
	// zeros are the paths of plain fields that were given as their zero value:
	// absent and zero look alike in Go and not to a validation rule.
	zeros map[string]struct{}
	// shares: blobs lie in the body.
	shares bool
}

// begin gets an intake ready, with what blobs are borrowed of.
func (t *intake) begin(home *memory) { t.home, t.path = home, t.room[:0] }

func (t *intake) enter(i int) { t.path = append(t.path, byte(i>>8), byte(i)) }
func (t *intake) leave()      { t.path = t.path[:len(t.path)-2] }

// down goes one level deeper.
func (t *intake) down() error {
	t.depth++
	if t.depth > maxDepth {
		return errSyntax
	}
	return nil
}

// keep copies what was read of a string. Members of the request itself are what
// is kept for long: they have memory of their own.
func (t *intake) keep(b []byte, rest int) string {
	if t.depth <= 1 {
		return string(b)
	}
	return t.arena.string(b, rest)
}

func (t *intake) markZero() {
	if t.zeros == nil {
		t.zeros = map[string]struct{}{}
	}
	t.zeros[string(t.path)] = struct{}{}
}

// again prepares a field for a second value of the same name: the last one
// counts and nothing of the first may stay.
func (t *intake) again(p any) {
	wipe(p)
	for path := range t.zeros {
		if strings.HasPrefix(path, string(t.path)) {
			delete(t.zeros, path)
		}
	}
}

// given is a field that has got a value.
func (t *intake) given(f *field, p any) {
	if f.plain && zero(p) {
		t.markZero()
	}
}

// token is what stands in a body where a value is expected.
type token uint8

const (
	tokenString token = iota + 1
	tokenNumber
	tokenBool
	tokenList
	tokenObject
	tokenBlob // CBOR alone
)

// mismatch is the service's text for a value of the wrong type. text is the
// value when it is a string.
func mismatch(want kind, got token, text string) error {
	switch {
	case got == tokenList:
		return &typeError{"Start of list found where not expected"}
	case got == tokenObject:
		return &typeError{"Start of structure or map found where not expected."}
	case want == kindList:
		return &typeError{"Expected list or null"}
	case want == kindMap:
		return &typeError{"Expected map or null"}
	case want == kindStruct:
		return &typeError{"Expected null"}
	}
	class := "class java.lang.String"
	switch got {
	case tokenNumber:
		class = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
	case tokenBool:
		class = "class java.lang.Boolean"
	case tokenBlob:
		class = "class java.nio.HeapByteBuffer"
	}
	to := "an " + want.String()
	switch {
	case want == kindBlob:
		to = "a Blob"
	case want == kindTime:
		return &typeError{class + " can not be converted to milliseconds since epoch"}
	case want == kindBoolean && got == tokenString:
		class = quote(strings.ToUpper(text))
	}
	return &typeError{class + " can not be converted to " + to}
}

// maxQuoted is how much of a value is repeated in an error, in bytes: the
// service repeats all of it, and so do we for whatever a person would read.
const maxQuoted = 64 << 10

func quote(s string) string {
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "..."
	}
	return "'" + s + "'"
}

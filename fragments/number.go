package fragments

import (
	"cmp"
	"fmt"
	"strconv"
)

// numberPrefix opens every fragment number, so that a number is never mistaken
// for a time stamp or a sequence number of records.
const numberPrefix = "9134385233"

const (
	epochDigits   = 17
	counterDigits = 20
	// NumberDigits is the length of a fragment number in text.
	NumberDigits = len(numberPrefix) + epochDigits + counterDigits
	// MaxEpoch is the largest epoch a number can carry.
	MaxEpoch = 99_999_999_999_999_999
)

// Number identifies a fragment within its stream and orders it: numbers rise
// strictly in the order in which fragments become visible. In text it is 47
// decimal digits of fixed width, so that text order is number order: a fixed
// prefix, the epoch of the stream's lease (17 digits) and a counter (20).
// The zero Number comes before all others and belongs to no fragment.
type Number struct {
	Epoch   uint64 // raised at each start of recording and at each takeover; at most MaxEpoch
	Counter uint64 // counts from 1 within the epoch
}

// String returns the 47 digits.
func (n Number) String() string {
	b, _ := n.AppendText(make([]byte, 0, NumberDigits))
	return string(b)
}

// AppendText appends the 47 digits to b; it never fails.
func (n Number) AppendText(b []byte) ([]byte, error) {
	b = append(b, numberPrefix...)
	b = appendPadded(b, n.Epoch, epochDigits)
	return appendPadded(b, n.Counter, counterDigits), nil
}

// MarshalText implements encoding.TextMarshaler.
func (n Number) MarshalText() ([]byte, error) {
	return n.AppendText(make([]byte, 0, NumberDigits))
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Number) UnmarshalText(b []byte) error {
	v, err := ParseNumber(string(b))
	if err == nil {
		*n = v
	}
	return err
}

// IsZero reports whether n is the zero Number.
func (n Number) IsZero() bool { return n == Number{} }

// Compare returns -1, 0 or +1 as n comes before, is, or comes after m.
func (n Number) Compare(m Number) int {
	if c := cmp.Compare(n.Epoch, m.Epoch); c != 0 {
		return c
	}
	return cmp.Compare(n.Counter, m.Counter)
}

// Less reports whether n comes before m.
func (n Number) Less(m Number) bool { return n.Compare(m) < 0 }

// ParseNumber reads the 47 digits of a number.
func ParseNumber(s string) (Number, error) {
	if len(s) != NumberDigits || s[:len(numberPrefix)] != numberPrefix {
		return Number{}, fmt.Errorf("fragment number %.60q: want %d digits that begin with %s", s, NumberDigits, numberPrefix)
	}
	rest := s[len(numberPrefix):]
	for i := range len(rest) {
		if rest[i] < '0' || rest[i] > '9' {
			return Number{}, fmt.Errorf("fragment number %q: %q is not a digit", s, rest[i])
		}
	}
	epoch, err := strconv.ParseUint(rest[:epochDigits], 10, 64)
	if err != nil {
		return Number{}, fmt.Errorf("fragment number %q: epoch: %w", s, err)
	}
	counter, err := strconv.ParseUint(rest[epochDigits:], 10, 64)
	if err != nil {
		return Number{}, fmt.Errorf("fragment number %q: counter: %w", s, err)
	}
	return Number{Epoch: epoch, Counter: counter}, nil
}

func appendPadded(b []byte, v uint64, width int) []byte {
	var digits [counterDigits]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + v%10)
		v /= 10
	}
	return append(b, digits[:width]...)
}

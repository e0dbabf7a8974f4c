package awswire

import (
	"bytes"
	"strconv"
	"time"
)

// Time is a timestamp member: seconds since 1970 with milliseconds in JSON, tag
// 1 with an integer of milliseconds in CBOR. (RFC 8949 says seconds; the SDKs
// for Java send and expect milliseconds.) The zero Time is absent.
type Time struct{ time.Time }

// At is the Time of t, to the millisecond, in UTC.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// Text is a member of answers that is a string on the wire and writes itself, so
// that no string is made of it.
type Text interface {
	// AppendTo appends the text: ASCII without quotation marks, backslashes and
	// control characters.
	AppendTo(b []byte) []byte
	// IsZero reports whether omitempty leaves it out.
	IsZero() bool
}

// maxMillis bounds timestamps so that they and the years they mean stay within
// what time.Time computes with: the year 292 000 000.
const maxMillis = 1 << 53

func timeOfMillis(ms int64) (Time, bool) {
	if ms > maxMillis || ms < -maxMillis {
		return Time{}, false
	}
	return Time{time.UnixMilli(ms).UTC()}, true
}

// timeOfSeconds reads the digits of a JSON number, to the nearest millisecond.
func timeOfSeconds(number []byte) (Time, bool) {
	whole, fraction, _ := bytes.Cut(number, []byte("."))
	if n, ok := smallInt(whole); ok {
		if ms, ok := thousandths(fraction); ok && n > -maxMillis/1000 && n < maxMillis/1000 {
			if number[0] == '-' {
				ms = -ms
			}
			return timeOfMillis(n*1000 + ms)
		}
	}
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil {
		return Time{}, false
	}
	return timeOfFloat(f)
}

// thousandths reads the digits after a decimal point; an exponent is not for it.
func thousandths(digits []byte) (n int64, ok bool) {
	for i := range max(4, len(digits)) {
		c := byte('0')
		if i < len(digits) {
			c = digits[i]
		}
		switch {
		case c < '0' || c > '9':
			return 0, false
		case i < 3:
			n = n*10 + int64(c-'0')
		case i == 3 && c >= '5':
			n++
		}
	}
	return n, true
}

func timeOfFloat(seconds float64) (Time, bool) {
	ms := seconds * 1000
	if !(ms > -maxMillis && ms < maxMillis) {
		return Time{}, false
	}
	if ms < 0 {
		return timeOfMillis(int64(ms - 0.5))
	}
	return timeOfMillis(int64(ms + 0.5))
}

// appendSeconds writes milliseconds as seconds with as many decimals as needed.
func appendSeconds(b []byte, ms int64) []byte {
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	rest := ms % 1000
	if rest == 0 {
		return b
	}
	b = append(b, '.', byte('0'+rest/100))
	if rest%100 != 0 {
		b = append(b, byte('0'+rest/10%10))
	}
	if rest%10 != 0 {
		b = append(b, byte('0'+rest%10))
	}
	return b
}

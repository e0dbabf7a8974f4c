package playback

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// ParamError is a request parameter that cannot be used. Its text tells the
// person who wrote the URL what to write instead.
type ParamError struct {
	Name   string // of the parameter
	Value  string // as given; "" when it is missing
	Reason string // what is wrong, and what to write
}

// Error returns the parameter, its value and the reason.
func (e *ParamError) Error() string {
	if e.Value == "" {
		return e.Name + ": " + e.Reason
	}
	return fmt.Sprintf("%s=%.100s: %s", e.Name, e.Value, e.Reason)
}

// Range is a span of time on one of the two clocks of a stream.
type Range struct {
	Clock fragments.Clock
	Start time.Time
	End   time.Time // exclusive; zero: open, up to the newest fragment and on
}

// Open reports whether the range has no end.
func (r Range) Open() bool { return r.End.IsZero() }

// Selector selects the fragments that overlap the range.
func (r Range) Selector() fragments.Selector {
	return fragments.Selector{Clock: r.Clock, Start: r.Start, End: r.End}
}

// ParseRange reads the parameters start, end and time of a URL. Times are
// RFC 3339 or Unix milliseconds; start is required, end is not; time is
// "producer" (the default) or "server". Every error is a *ParamError.
func ParseRange(q url.Values) (Range, error) {
	var r Range
	var err error
	switch v := q.Get("time"); v {
	case "", "producer":
		r.Clock = fragments.ByProducer
	case "server":
		r.Clock = fragments.ByServer
	default:
		return Range{}, &ParamError{"time", v, "write producer (when it was filmed) or server (when it arrived)"}
	}
	if q.Get("start") == "" {
		return Range{}, &ParamError{"start", "", "missing: write " + timeHint}
	}
	if r.Start, err = parseTime("start", q.Get("start")); err != nil {
		return Range{}, err
	}
	if q.Get("end") == "" {
		return r, nil
	}
	if r.End, err = parseTime("end", q.Get("end")); err != nil {
		return Range{}, err
	}
	if !r.End.After(r.Start) {
		return Range{}, &ParamError{"end", q.Get("end"), "must be later than start=" + q.Get("start")}
	}
	return r, nil
}

// AppendQuery appends the parameters that ParseRange reads as the same range,
// as they stand in a URL. Times are cut to milliseconds.
func (r Range) AppendQuery(b []byte) []byte {
	b = append(b, "start="...)
	b = strconv.AppendInt(b, r.Start.UnixMilli(), 10)
	if !r.Open() {
		b = append(b, "&end="...)
		b = strconv.AppendInt(b, r.End.UnixMilli(), 10)
	}
	if r.Clock == fragments.ByServer {
		b = append(b, "&time=server"...)
	}
	return b
}

const timeHint = "a time like 2026-11-23T14:05:00Z (RFC 3339) or 1795442700000 (milliseconds since 1970)"

// Bounds of plausible times. Nanoseconds since 1970 fit an int64 up to 2262,
// and a number below the first bound is taken for seconds given by mistake.
const (
	minMilli = 100_000_000_000   // March 1973
	maxMilli = 9_000_000_000_000 // March 2255
)

// parseTime reads one time. A blank stands for the plus sign of a zone that
// was not escaped in the URL.
func parseTime(name, v string) (time.Time, error) {
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		switch {
		case n <= 0 || n > maxMilli:
			return time.Time{}, &ParamError{name, v, "out of range: write " + timeHint}
		case n < minMilli:
			return time.Time{}, &ParamError{name, v, fmt.Sprintf("too small for milliseconds since 1970; for seconds write %s=%d", name, n*1000)}
		}
		return time.UnixMilli(n).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(v, " ", "+", 1))
	if err != nil {
		return time.Time{}, &ParamError{name, v, "not a time: write " + timeHint}
	}
	if m := t.UnixMilli(); m < minMilli || m > maxMilli {
		return time.Time{}, &ParamError{name, v, "out of range: write " + timeHint}
	}
	return t.UTC(), nil
}

package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// ParseTime reads a time as it stands in queries and bodies: RFC 3339, or
// milliseconds since 1970-01-01 UTC. The error says so.
func ParseTime(s string) (time.Time, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 0 && ms < 1<<50 {
		return time.UnixMilli(ms).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%.40q is no time: write 2026-11-30T08:00:00Z or milliseconds since 1970", s)
	}
	return t.UTC(), nil
}

// QueryTime reads the query parameter of that name; it is zero when absent. The
// error is an [*Error] with status 400.
func QueryTime(r *http.Request, name string) (time.Time, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := ParseTime(v)
	if err != nil {
		return t, &Error{Status: http.StatusBadRequest, Code: "bad_time", Message: name + ": " + err.Error()}
	}
	return t, nil
}

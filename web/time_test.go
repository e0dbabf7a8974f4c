package web

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	at := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"2026-11-30T08:00:00Z":       at,
		"2026-11-30T10:00:00+02:00":  at,
		"2026-11-30T08:00:00.25Z":    at.Add(250 * time.Millisecond),
		"1795939200000":              time.UnixMilli(1795939200000),
		"0":                          time.UnixMilli(0),
		"":                           {},
		"-5":                         {},
		"now":                        {},
		"2026-11-30":                 {},
		"99999999999999999999999999": {},
		"1125899906842624":           {}, // a year of five digits is a slip
		"0001-01-01T00:00:00Z":       {},
	} {
		got, err := ParseTime(in)
		if (err != nil) != want.IsZero() || !got.Equal(want) {
			t.Errorf("%q = %v %v, want %v", in, got, err, want)
		}
	}
}

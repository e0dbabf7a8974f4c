package depacketize

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What goes wrong a thousand times a second is a line now and then, with its count.
func TestWarningsAreCounted(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	w := NewWarnings(slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return now })
	for range 3500 {
		w.Add("packets lost", 2, nil)
		w.Add("packet not read", 1, errors.New("bad"))
		now = now.Add(time.Millisecond)
	}
	w.Flush()
	w.Flush()
	for kind, want := range map[string][]string{
		"packets lost":    {"count=2", "count=2000", "count=4000", "count=998"},
		"packet not read": {"count=1 error=bad", "count=1000 error=bad", "count=2000 error=bad", "count=499 error=bad"},
	} {
		var got []string
		for line := range strings.Lines(out.String()) {
			if _, rest, ok := strings.Cut(strings.TrimSpace(line), kind+"\" "); ok {
				got = append(got, rest)
			}
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}

// What goes on for a day, as sender reports nobody can use, is a line every five
// minutes; what happens again after a while is told at once.
func TestWarningsThatGoOn(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	w := NewWarnings(slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return now })
	lines := func() int { return strings.Count(out.String(), "\n") }
	for range 24 * 720 {
		w.Add("sender report not used", 1, nil)
		now = now.Add(5 * time.Second)
	}
	if n := lines(); n < 288 || n > 300 {
		t.Errorf("%d lines of a day", n)
	}
	before := lines()
	now = now.Add(10 * time.Minute)
	w.Add("sender report not used", 1, nil)
	now = now.Add(2 * time.Second)
	w.Add("sender report not used", 1, nil)
	if n := lines() - before; n != 2 {
		t.Errorf("%d lines of two after a while", n)
	}
}

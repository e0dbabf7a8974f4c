package depacketize

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What goes wrong a thousand times a second is a line a second, with its count.
func TestWarningsAreCounted(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	w := NewWarnings(slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return now })
	for range 2500 {
		w.Add("packets lost", 2, nil)
		w.Add("packet not read", 1, errors.New("bad"))
		now = now.Add(time.Millisecond)
	}
	w.Flush()
	w.Flush()
	for kind, want := range map[string][]string{
		"packets lost":    {"count=2", "count=2000", "count=2000", "count=998"},
		"packet not read": {"count=1 error=bad", "count=1000 error=bad", "count=1000 error=bad", "count=499 error=bad"},
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

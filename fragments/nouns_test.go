package fragments

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseStreamName(t *testing.T) {
	for _, tc := range []struct{ in, hint string }{
		{"front-door", ""},
		{"A_b.9", ""},
		{strings.Repeat("x", 256), ""},
		{"", "empty"},
		{strings.Repeat("x", 257), "at most 256"},
		{"v1", "reserved"},
		{"..", "folder"},
		{"a/b", `"a-b"`},
		{"naïve", "A-Z"},
		{"a b", "A-Z"},
	} {
		got, err := ParseStreamName(tc.in)
		if tc.hint == "" {
			if err != nil || string(got) != tc.in {
				t.Errorf("%q: %q, %v", tc.in, got, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tc.hint) {
			t.Errorf("%q: error %v, want a hint of %q", tc.in, err, tc.hint)
		}
	}
}

func TestNumberText(t *testing.T) {
	for _, n := range []Number{{}, {1, 1}, {MaxEpoch, math.MaxUint64}, {7, 1 << 40}} {
		s := n.String()
		if len(s) != 47 {
			t.Errorf("%v: %d digits", n, len(s))
		}
		back, err := ParseNumber(s)
		if err != nil || back != n {
			t.Errorf("%v: back %v, %v", n, back, err)
		}
	}
	if a, b := (Number{1, math.MaxUint64}), (Number{2, 0}); !a.Less(b) || a.String() >= b.String() {
		t.Error("epochs do not order numbers")
	}
	for _, s := range []string{"", "1", strings.Repeat("9", 47), numberPrefix + strings.Repeat("9", 37), numberPrefix + strings.Repeat("x", 37)} {
		if n, err := ParseNumber(s); err == nil {
			t.Errorf("%q: taken as %v", s, n)
		}
	}
}

func TestTrackHash(t *testing.T) {
	base := Track{ID: 1, Codec: H264, TimeScale: 90000, Width: 640, Height: 480, Params: [][]byte{{1}, {2}}}
	same := base
	same.Reorder = 4
	if base.Hash() != same.Hash() {
		t.Error("reorder changes the hash")
	}
	for name, change := range map[string]func(*Track){
		"id": func(t *Track) { t.ID = 2 }, "codec": func(t *Track) { t.Codec = H265 }, "scale": func(t *Track) { t.TimeScale = 1 },
		"width": func(t *Track) { t.Width++ }, "height": func(t *Track) { t.Height++ }, "rate": func(t *Track) { t.SampleRate++ },
		"channels": func(t *Track) { t.Channels++ }, "depth": func(t *Track) { t.BitDepth++ },
		"params": func(t *Track) { t.Params = [][]byte{{1, 2}} }, "codec id": func(t *Track) { t.CodecID = "V_X" },
	} {
		c := base
		change(&c)
		if c.Hash() == base.Hash() {
			t.Errorf("%s: hash unchanged", name)
		}
	}
}

func TestTicks(t *testing.T) {
	century := 100 * 365 * 24 * time.Hour
	for _, scale := range []int64{1, 8000, 44100, 48000, 90000, 10_000_000} {
		for _, d := range []time.Duration{0, 1, time.Second, century, -century} {
			ticks := scaleTicks(int64(d), scale)
			if diff := ticksDuration(ticks, scale) - d; diff.Abs() > time.Second/time.Duration(scale)+1 {
				t.Errorf("%v at %d: %d ticks, off by %v", d, scale, ticks, diff)
			}
		}
	}
}

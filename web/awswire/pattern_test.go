package awswire

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestPatterns matches short cuts against the expressions that they stand for.
func TestPatterns(t *testing.T) {
	const rounds, seed = 2000, 9
	r := rand.New(rand.NewPCG(seed, seed))
	for _, c := range []struct {
		text   string
		class  bool
		digits int
	}{
		{`[a-zA-Z0-9_.-]+`, true, 0},
		{`0|([1-9]\d{0,38})`, false, 39},
		{`0|([1-9]\d{0,128})`, false, 129},
		{`0|([1-9]\d{0,038})`, false, 0},
		{`0|([1-9]\d{0,3})|x`, false, 0},
		{`[a-z0-9]{20}-[a-z0-9]{3}`, false, 0},
		{`arn:aws.*:kinesis:.*:\d{12}:stream/\S+`, false, 0},
		{`[^a]+`, false, 0},
		{`[0-1]*`, false, 0},
		{`(?i)[k]+`, false, 0},
	} {
		p, err := newPattern(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if (p.class != nil) != c.class || p.digits != c.digits {
			t.Errorf("%s: class %v, digits %d", c.text, p.class != nil, p.digits)
		}
		check := func(s string) {
			if p.match(s) != p.whole.MatchString(s) {
				t.Fatalf("%s: %q: %v", c.text, s, p.match(s))
			}
		}
		for _, s := range []string{"", "0", "00", "01", "a\n", "-", "ü", "\x80", strings.Repeat("9", 39), strings.Repeat("9", 40), strings.Repeat("1", 129), strings.Repeat("1", 130)} {
			check(s)
		}
		letters := "09aZ_.- ü\x00"
		for range rounds {
			s := make([]byte, r.IntN(6))
			for i := range s {
				s[i] = letters[r.IntN(len(letters))]
			}
			check(string(s))
		}
	}
	t.Logf("%d rounds, seed %d", rounds, seed)
}

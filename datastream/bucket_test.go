package datastream

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestTokens(t *testing.T) {
	start := time.Unix(1e9, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	b := newTokens(10, 20)
	for i, c := range []struct {
		ms   int
		what string
		n    float64
		want bool
	}{
		{0, "take", 20, true}, // begins full
		{0, "take", 1, false},
		{100, "take", 1, true},
		{100, "take", 1, false},
		{50, "take", 1, false}, // time that goes back
		{150, "take", 1, false},
		{200, "take", 1, true}, // and does not come twice
		{1000, "take", 9, false},
		{1000, "take", 8, true}, // a refusal took nothing
		{60000, "take", 21, false},
		{59000, "take", 20, true}, // no more than burst, and all of it though time goes back
		{60000, "overdraw", 5, false},
		{60100, "overdraw", 0, true},
		{60100, "overdraw", 31, true}, // owes 30
		{63000, "overdraw", 1, false},
		{63000, "take", 1, false},
		{63101, "overdraw", 1, true},
		{63101, "refund", 500, true},
		{63101, "take", 20, true},
		{63101, "take", 1, false},
	} {
		got := true
		switch c.what {
		case "take":
			got = b.take(c.n, at(c.ms))
		case "overdraw":
			got = b.overdraw(c.n, at(c.ms))
		case "refund":
			b.refund(c.n)
		}
		if got != c.want {
			t.Errorf("%d: %s %v after %d ms: %v", i, c.what, c.n, c.ms, got)
		}
	}
}

// TestTokensNeverExceed: over any stretch no more than burst + rate * time is
// given out, and one who asks patiently gets it all.
func TestTokensNeverExceed(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	const rounds = 200
	for range rounds {
		rate, burst := 1+rng.Float64()*1000, 1+rng.Float64()*100
		b := newTokens(rate, burst)
		start := time.Unix(1e9, 0)
		now, given := start, 0.0
		for range 500 {
			now = now.Add(time.Duration(rng.IntN(20)) * time.Millisecond)
			n := rng.Float64() * burst
			switch {
			case !b.take(n, now):
			case rng.IntN(4) == 0:
				b.refund(n)
			default:
				given += n
			}
			if most := burst + rate*now.Sub(start).Seconds(); given > most+1e-6 {
				t.Fatalf("seed %d: gave %f of %f", seed, given, most)
			}
		}
		if !b.take(burst*0.999, now.Add(time.Duration(burst/rate*float64(time.Second)))) {
			t.Fatalf("seed %d: not full again in time", seed)
		}
	}
	t.Logf("%d rounds, seed %d", rounds, seed)
}

func BenchmarkTokens(b *testing.B) {
	b.ReportAllocs()
	bucket := newTokens(1<<20, 10<<20)
	now := time.Unix(1e9, 0)
	for b.Loop() {
		now = now.Add(time.Microsecond)
		bucket.take(1, now)
	}
}

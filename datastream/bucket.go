package datastream

import "time"

// tokens is a token bucket: rate tokens come per second, burst are kept at
// most. It starts full. It belongs to one owner at a time, under whose lock it
// is used; moments that go back count as no time passed.
type tokens struct {
	rate, burst float64
	level       float64 // below 0 after an overdraw
	at          time.Time
}

func newTokens(rate, burst float64) tokens {
	return tokens{rate: rate, burst: burst, level: burst}
}

// take takes n tokens if they are there, else none. More than burst are never
// there.
func (t *tokens) take(n float64, now time.Time) bool {
	t.fill(now)
	if n > t.level {
		return false
	}
	t.level -= n
	return true
}

// overdraw takes n tokens if there is any, and owes what is missing: for what
// is known to be dear only when it is done, as a read is. A call for 0 asks
// whether there is any.
func (t *tokens) overdraw(n float64, now time.Time) bool {
	t.fill(now)
	if t.level <= 0 {
		return false
	}
	t.level -= n
	return true
}

// refund gives back tokens that were taken for what then did not happen.
func (t *tokens) refund(n float64) { t.level = min(t.burst, t.level+n) }

func (t *tokens) fill(now time.Time) {
	if t.at.IsZero() {
		t.at = now
	}
	if passed := now.Sub(t.at); passed > 0 {
		t.level = min(t.burst, t.level+passed.Seconds()*t.rate)
		t.at = now
	}
}

package peer

import (
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	for _, tc := range []struct {
		name           string
		seqs           []uint16
		asked          bool // whatever comes behind
		expected, lost int
	}{
		{"in order, around the end", []uint16{65534, 65535, 0, 1}, false, 4, 0},
		{"a gap", []uint16{1, 5, 6}, false, 6, 3},
		{"a gap that is sent again", []uint16{1, 4, 2, 3, 5}, true, 5, 2},
		{"late", []uint16{1, 3, 2, 4}, false, 4, 0},
		{"begun anew", []uint16{1, 2, 20_000, 20_001}, false, 4, 0},
	} {
		var got tally
		for _, seq := range tc.seqs {
			got.add(seq, 100, tc.asked)
		}
		if got.expected != tc.expected || got.lost != tc.lost || got.bytes != 100*len(tc.seqs) {
			t.Errorf("%s: %+v, want %d expected, %d lost", tc.name, got, tc.expected, tc.lost)
		}
	}
}

func TestEstimate(t *testing.T) {
	for _, tc := range []struct {
		name           string
		rate           float64
		bits           int // that came in two seconds
		expected, lost int
		want           float64
	}{
		{"all comes, in use", 1e6, 1.8e6, 200, 0, 1.08e6},
		{"all comes, little is sent", 1e6, 0.2e6, 20, 0, 1e6},
		{"a little is lost", 1e6, 1.8e6, 200, 10, 1e6},
		{"half is lost", 3e6, 2e6, 400, 200, 0.75e6},
		{"much of little is lost", 0.5e6, 2e6, 100, 20, 0.45e6},
		{"almost nothing comes", 1e6, 0.01e6, 100, 90, leastRate},
		{"nothing comes", 1e6, 0, 0, 0, 1e6},
	} {
		e := estimate{rate: tc.rate}
		e.take(tally{bytes: tc.bits / 8, expected: tc.expected, lost: tc.lost}, 2*time.Second)
		if d := e.rate - tc.want; d > 1 || d < -1 {
			t.Errorf("%s: %.0f, want %.0f", tc.name, e.rate, tc.want)
		}
	}
}

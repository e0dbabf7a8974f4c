package peer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
)

func packet(seq uint16) *rtp.Packet { return &rtp.Packet{Header: rtp.Header{SequenceNumber: seq}} }

func TestReorder(t *testing.T) {
	const patience = 300 * time.Millisecond
	type step struct {
		seq  uint16
		wait time.Duration // before it
		want []uint16      // comes out, first by time and then by the packet
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"in order, nothing waits", []step{{65534, 0, s(65534)}, {65535, 0, s(65535)}, {0, 0, s(0)}, {1, 0, s(1)}}},
		{"two change places", []step{{1, 0, s(1)}, {3, 0, nil}, {2, 0, s(2, 3)}, {4, 0, s(4)}}},
		{"twice", []step{{1, 0, s(1)}, {1, 0, nil}, {3, 0, nil}, {3, 0, nil}, {2, 0, s(2, 3)}, {2, 0, nil}}},
		{"repaired late", []step{{1, 0, s(1)}, {3, 0, nil}, {4, 250 * time.Millisecond, nil}, {2, 40 * time.Millisecond, s(2, 3, 4)}}},
		{"never repaired", []step{{1, 0, s(1)}, {3, 0, nil}, {4, 299 * time.Millisecond, nil}, {5, time.Millisecond, s(3, 4, 5)}, {2, 0, nil}}},
		{"two gaps have a time each", []step{{1, 0, s(1)}, {3, 0, nil}, {5, 200 * time.Millisecond, nil}, {6, 100 * time.Millisecond, s(3)}, {4, 100 * time.Millisecond, s(4, 5, 6)}}},
		{"starts anew", []step{{1, 0, s(1)}, {3, 0, nil}, {30000, 0, s(3, 30000)}, {30001, 0, s(30001)}}},
		{"starts anew, below", []step{{30000, 0, s(30000)}, {7, 0, s(7)}, {8, 0, s(8)}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, now := reorderer{patience: patience}, time.Unix(1000, 0)
			for i, st := range tc.steps {
				now = now.Add(st.wait)
				got := seqs(r.expire(now))
				got = append(got, seqs(r.push(packet(st.seq), now))...)
				if !slices.Equal(got, st.want) {
					t.Fatalf("step %d: %v, want %v", i, got, st.want)
				}
			}
		})
	}
}

func s(list ...uint16) []uint16 { return list }

func seqs(pkts []*rtp.Packet) (list []uint16) {
	for _, p := range pkts {
		list = append(list, p.SequenceNumber)
	}
	return list
}

// Whatever the network does, packets come out in order, each once, nothing waits
// longer than the patience, and what is missing is asked for.
func TestReorderAnything(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r, now := reorderer{patience: 300 * time.Millisecond}, time.Unix(1000, 0)
		var out []uint16
		base := uint16(rnd.Uint32())
		asked := map[uint16]bool{}
		for n := range 3000 {
			now = now.Add(time.Duration(rnd.IntN(5)) * time.Millisecond)
			seq := base + uint16(n) - uint16(rnd.IntN(1+int(seed%40)))
			out = append(out, seqs(r.expire(now))...)
			if rnd.IntN(20) > 0 {
				out = append(out, seqs(r.push(packet(seq), now))...)
			}
			for _, q := range r.missing(now) {
				asked[q] = true
			}
			if len(r.waiting) > maxWaiting {
				t.Fatalf("seed %d: %d packets wait", seed, len(r.waiting))
			}
			if d := r.deadline(); len(r.waiting) > 0 && (d.IsZero() || d.Sub(now) > r.patience) {
				t.Fatalf("seed %d: the next look is at %v, now is %v", seed, d, now)
			}
		}
		out = append(out, seqs(r.flush())...)
		for i := 1; i < len(out); i++ {
			step := out[i] - out[i-1]
			if step == 0 || step > maxJump {
				t.Fatalf("seed %d: %d after %d", seed, out[i], out[i-1])
			}
		}
		if len(asked) == 0 {
			t.Errorf("seed %d: nothing was asked for", seed)
		}
	}
}

// Missing packets are asked for after a moment, again after a round trip, and no
// more once they are there.
func TestReorderAsks(t *testing.T) {
	r, start := reorderer{patience: 300 * time.Millisecond}, time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	r.push(packet(1), at(0))
	r.push(packet(4), at(0))
	r.push(packet(6), at(1))
	for _, tc := range []struct {
		ms   int
		want []uint16
	}{{5, nil}, {10, s(2, 3, 5)}, {50, nil}, {90, s(2, 3, 5)}} {
		if got := r.missing(at(tc.ms)); !slices.Equal(got, tc.want) {
			t.Errorf("after %d ms: %v, want %v", tc.ms, got, tc.want)
		}
	}
	if got := r.deadline(); !got.Equal(at(170)) {
		t.Errorf("next look %v after the start, want 170ms", got.Sub(start))
	}
	r.push(packet(2), at(100))
	r.push(packet(3), at(100))
	r.push(packet(5), at(100))
	if got := r.missing(at(200)); got != nil || !r.deadline().IsZero() {
		t.Errorf("still asked for: %v", got)
	}
}

func TestKeyClock(t *testing.T) {
	const interval = 2 * time.Second
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	run := func(until int, keys map[int]bool, needed func(ms int) bool) (asked []int) {
		var k keyClock
		var last time.Time
		for ms := 0; ms <= until; ms += 100 {
			if keys[ms] {
				last = at(ms)
			}
			k.seen(last)
			if k.due(at(ms), needed(ms), interval) {
				k.ask(at(ms), 1)
				asked = append(asked, ms)
			}
		}
		return asked
	}
	never := func(int) bool { return false }
	for _, tc := range []struct {
		name   string
		until  int
		keys   []int
		needed func(int) bool
		want   []int
	}{
		{"none comes by itself", 8000, []int{0, 2300, 4600, 6900}, never, []int{2200, 4500, 6800}},
		{"they come as often", 9000, []int{0, 2100, 4000, 6100, 8000}, never, nil},
		{"they come at twice the interval", 16000, []int{0, 2300, 6300, 10300, 14300}, never, []int{2200, 4500, 5000, 5500, 6000, 8500, 9000, 9500, 10000, 12500, 13000, 13500, 14000}},
		{"broken", 1500, []int{0, 900}, func(ms int) bool { return ms >= 300 && ms < 900 }, []int{300, 800}},
		{"not answered", 9000, nil, never, []int{0, 500, 1000, 1500, 2000, 2500, 3000, 5000, 7000, 9000}},
	} {
		keys := map[int]bool{}
		for _, k := range tc.keys {
			keys[k] = true
		}
		if got := run(tc.until, keys, tc.needed); !slices.Equal(got, tc.want) {
			t.Errorf("%s: asked at %v, want %v", tc.name, got, tc.want)
		}
	}
	var k keyClock
	for i := range 8 {
		if n := len(k.ask(at(i), 1)); n != 1 && i < 3 || n != 2 && i >= 3 {
			t.Errorf("request %d has %d packets", i, n)
		}
	}
}

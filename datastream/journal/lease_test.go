package journal

import (
	"testing"
	"time"
)

// FuzzHolding: whatever a lease's key holds, what is taken for a lease can be
// one, and reads the same when it is written again.
func FuzzHolding(f *testing.F) {
	f.Add(Holding{"node 1", 3, time.Second, time.UnixMilli(5)}.Encode(), uint64(7))
	f.Add(Holding{Holder: "ü", TTL: time.Hour, Until: time.UnixMilli(-5)}.Encode(), uint64(7))
	f.Add([]byte(`{"holder":"x","ttl_ms":9223372036854775807,"epoch":9}`), uint64(8))
	f.Add([]byte(`nobody`), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, revision uint64) {
		h, err := ParseHolding(Item{Key: "k", Value: b, Revision: revision})
		if err != nil {
			return
		}
		if h.TTL < MinLeaseTTL || h.TTL > MaxLeaseTTL || h.Epoch > revision {
			t.Fatalf("%q was taken for %+v", b, h)
		}
		again, err := ParseHolding(Item{Key: "k", Value: h.Encode(), Revision: revision})
		if err != nil || again.Epoch != h.Epoch || again.Holder != h.Holder || again.TTL != h.TTL || !again.Until.Equal(h.Until) {
			t.Fatalf("%+v became %+v: %v", h, again, err)
		}
	})
}

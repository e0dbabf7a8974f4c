package datastream

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
)

// bigString is the layout as the service's documents tell it, in the plainest way.
func bigString(n SequenceNumber) string {
	v := big.NewInt(2)
	push := func(value uint64, digits uint) {
		v.Lsh(v, 4*digits)
		v.Or(v, new(big.Int).SetUint64(value))
	}
	push(uint64(n.ShardMade), 9)
	push(uint64(n.Shard&15), 1)
	push(n.Index, 16)
	push(0, 2)
	push(uint64(n.Arrived), 9)
	push(uint64(n.Shard), 8)
	push(2, 1)
	return v.String()
}

func TestSequenceNumber(t *testing.T) {
	const rounds = 20000
	seed := rand.Uint64()
	t.Logf("%d rounds, seed %d", rounds, seed)
	r := rand.New(rand.NewPCG(seed, 1))
	edges := []uint64{0, 1, 15, 16, 1<<16 - 1, 1<<32 - 1, 1<<36 - 1, 1 << 56, EndIndex}
	pick := func(most uint64) uint64 {
		if r.IntN(4) == 0 {
			return min(most, edges[r.IntN(len(edges))])
		}
		return r.Uint64() >> r.IntN(64) & most
	}
	var before SequenceNumber
	for range rounds {
		n := SequenceNumber{
			ShardMade: int64(pick(maxMade - 1)), Shard: uint32(pick(1<<32 - 1)), Index: pick(EndIndex), Arrived: int64(pick(maxMoment)),
		}
		s := n.String()
		if s != bigString(n) {
			t.Fatalf("%+v: %s, want %s", n, s, bigString(n))
		}
		if back, err := ParseSequenceNumber(s); err != nil || back != n {
			t.Fatalf("%+v: %s reads as %+v, %v", n, s, back, err)
		}
		if n.ShardMade == before.ShardMade && n.Shard&15 == before.Shard&15 && (n.Index < before.Index) != (s < before.String()) && n.Index != before.Index {
			t.Fatalf("%+v and %+v do not order by index", n, before)
		}
		before = n
	}
}

func TestParseSequenceNumberRefuses(t *testing.T) {
	good := SequenceNumber{ShardMade: 1700000000, Shard: 3, Index: IndexOf(journal.Position{Frame: 9, Index: 2}), Arrived: 1700000001}
	text := good.String()
	for name, s := range map[string]string{
		"nothing":          "",
		"zero":             "0",
		"leading zero":     "0" + text[1:],
		"a digit short":    text[:55],
		"a digit more":     text + "0",
		"a letter":         text[:30] + "x" + text[31:],
		"a sign":           "-" + text[1:],
		"other version":    add(text, 1),
		"other last digit": add(text, 16), // of the shard, without the nibble that repeats it
		"not zero":         add(text, new(big.Int).Lsh(big.NewInt(1), 72)),
		"top bit of index": add(text, new(big.Int).Lsh(big.NewInt(1), 143)),
		"made in 2477":     SequenceNumber{ShardMade: 16025175000, Index: 1}.String(),
		"187 bits":         "99999999999999999999999999999999999999999999999999999999",
	} {
		if n, err := ParseSequenceNumber(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %s reads as %+v, %v", name, s, n, err)
		}
	}
}

func add(s string, n any) string {
	v, _ := new(big.Int).SetString(s, 10)
	switch n := n.(type) {
	case int:
		return v.Add(v, big.NewInt(int64(n))).String()
	case *big.Int:
		return v.Add(v, n).String()
	}
	return ""
}

func FuzzParseSequenceNumber(f *testing.F) {
	f.Add("49590338271490256608559692538361571095921575989136588898")
	f.Add(SequenceNumber{ShardMade: maxMade - 1, Shard: 1<<32 - 1, Index: EndIndex, Arrived: maxMoment}.String())
	f.Add("0")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSequenceNumber(s)
		if err == nil && n.String() != s {
			t.Errorf("%s reads as %+v, which is %s", s, n, n)
		}
	})
}

func TestHashKeyString(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 10000 {
		h := HashKey{r.Uint64() >> r.IntN(64), r.Uint64() >> r.IntN(64)}
		switch i {
		case 0:
			h = HashKey{}
		case 1:
			h = MaxHashKey
		case 2:
			h = HashKey{0, tenTo18}
		}
		v := new(big.Int).SetUint64(h.Hi)
		v.Or(v.Lsh(v, 64), new(big.Int).SetUint64(h.Lo))
		if h.String() != v.String() {
			t.Fatalf("%v, want %v", h, v)
		}
		if back, err := ParseHashKey(h.String()); err != nil || back != h {
			t.Fatalf("%v reads as %v, %v", h, back, err)
		}
	}
}

func BenchmarkSequenceNumber(b *testing.B) {
	n := SequenceNumber{ShardMade: 1700000000, Shard: 3, Index: IndexOf(journal.Position{Frame: 12345678, Index: 2}), Arrived: 1700000001}
	s := n.String()
	b.Run("String", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = n.String()
		}
	})
	b.Run("Append", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 64)
		for b.Loop() {
			buf = n.Append(buf[:0])
		}
	})
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseSequenceNumber(s); err != nil {
				b.Fatal(err)
			}
		}
	})
}

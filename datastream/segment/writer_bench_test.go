package segment

import (
	"math/rand/v2"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// BenchmarkWriter encodes a table of 64 MiB whose records lie in memory as they
// came, over 16 shards by chance; an operation is a table.
func BenchmarkWriter(b *testing.B) {
	const records, shards, size = 64 << 10, 16, 1024
	rng := rand.New(rand.NewPCG(1, 2))
	var memory []byte
	parts := make([][]Record, shards)
	for i := range records {
		if i%(256<<10/size) == 0 {
			memory = make([]byte, 256<<10)
			for j := range memory {
				memory[j] = byte(rng.Uint32())
			}
		}
		shard := rng.IntN(shards)
		parts[shard] = append(parts[shard], Record{Position: journal.Position{Frame: uint64(i)}, Arrived: 1, Body: memory[:size:size]})
		memory = memory[size:]
	}
	fsys := vfs.NewMemory()
	b.SetBytes(records * size)
	b.ReportAllocs()
	for b.Loop() {
		out, err := fsys.Create("file")
		if err != nil {
			b.Fatal(err)
		}
		w := newWriter(discard{out}, identity{}, sortedFormat, 0)
		for i := range parts {
			if err := w.add(Key{Shard: uint32(i)}, parts[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

// discard is a file that keeps nothing.
type discard struct{ vfs.File }

func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

package datastream

import (
	"fmt"
	"testing"
)

func benchPuts(n int) []Put {
	puts := make([]Put, n)
	for i := range puts {
		puts[i] = Put{PartitionKey: fmt.Sprint("key", i), Data: make([]byte, 1024)}
	}
	return puts
}

// BenchmarkPut measures the engine above a log in memory; the log's share is in
// it, the disk's is not.
func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1, 500} {
		for _, shards := range []int{1, 10000} {
			for _, key := range []string{"", "mine"} {
				name := fmt.Sprintf("records=%d/shards=%d", n, shards)
				if key != "" {
					name += "/sealed"
				}
				b.Run(name, func(b *testing.B) { benchPut(b, n, shards, key) })
			}
		}
	}
}

func benchPut(b *testing.B, n, shards int, key string) {
	g := newGround(b)
	g.lane.(*memoryLane).forget = true
	g.gone = true
	e := g.open(b)
	mustCreate(b, e, "s", shards)
	if key != "" {
		if err := e.Encrypt(b.Context(), "s", key); err != nil {
			b.Fatal(err)
		}
	}
	puts := benchPuts(n)
	b.ReportAllocs()
	b.SetBytes(int64(n) * 1024)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := e.Put(b.Context(), "s", puts, PutOptions{Batch: n > 1}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
}

// BenchmarkRead measures a read of 1,000 records of 1 KiB out of memory.
func BenchmarkRead(b *testing.B) {
	for _, key := range []string{"", "mine"} {
		b.Run(map[string]string{"": "plain", "mine": "sealed"}[key], func(b *testing.B) {
			e := openEngine(b)
			mustCreate(b, e, "s", 1)
			if key != "" {
				if err := e.Encrypt(b.Context(), "s", key); err != nil {
					b.Fatal(err)
				}
			}
			for range 2 {
				if _, err := e.Put(b.Context(), "s", benchPuts(500), PutOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			c := mustSeek(b, e, "s", 0, Start{From: TrimHorizon})
			b.ReportAllocs()
			b.SetBytes(1000 * 1024)
			for b.Loop() {
				if batch, err := e.Read(b.Context(), "s", c, 0, 0); err != nil || len(batch.Records) != 1000 {
					b.Fatal(len(batch.Records), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1000), "ns/record")
		})
	}
}

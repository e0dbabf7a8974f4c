package segment

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

const (
	killRounds  = 24
	killWriters = 6
	killShards  = 4
	killMem     = 48 << 10
	// killStream is kept, killShort and killGone are not: their records, written
	// beside the others, make files that are dropped all the time.
	killStream, killShort, killGone = 1, 2, 3
)

// killRig is of another kind in each round.
func killRig(dir string, round int) *rig {
	r := &rig{dir: dir, fs: vfs.OS{}, mem: killMem, kind: []int64{sorted, inPlace, inPlace, 1 << 10}[round%4]}
	r.set(killShort, 30*time.Millisecond)
	r.set(killGone, -1)
	return r
}

// killKey is where a writer's n-th record goes: a writer has its own shards, so
// that its records there have an order.
func killKey(writer, n int) Key {
	return Key{Stream: killStream, Shard: uint32(writer*killShards + n%killShards)}
}

func killBody(writer, n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(writer), uint64(n)))
	return fmt.Appendf(nil, "%d %d %s", writer, n, bodyOf(rng.Uint64(), rng.IntN(1<<rng.IntN(14))))
}

// storeChild appends until it is killed. A line is an acknowledged record:
// writer, number, frame, index.
func storeChild(dir string, round int) error {
	r := killRig(dir, round)
	if err := r.tryOpen(); err != nil {
		return err
	}
	next := make([]int, killWriters)
	for w := range next {
		for shard := range killShards {
			rs, _, err := r.Read(Key{killStream, uint32(w*killShards + shard)}, journal.Position{}, 1<<30, 1<<40, nil)
			if err != nil {
				return err
			}
			for _, rec := range rs {
				var n int
				fmt.Sscan(string(rec.Body[:min(len(rec.Body), 20)]), new(int), &n)
				next[w] = max(next[w], n+1)
			}
		}
	}
	ledger("ready")
	var all sync.WaitGroup
	for w := range killWriters {
		all.Go(func() { killWriter(r, w, next[w], round%2 == 0, rand.New(rand.NewPCG(uint64(round), uint64(w)))) })
	}
	for {
		time.Sleep(3 * time.Millisecond)
		before := r.Stats().Dropped
		if err := r.Drop(context.Background()); err != nil {
			return err
		}
		if st := r.Stats(); st.Dropped > before {
			ledger("dropped %d %d", st.Dropped-before, st.Seals)
		}
	}
}

// killWriter appends its records and, in some rounds, those of others, without
// which whole tables can stay in place.
func killWriter(r *rig, w, n int, others bool, rng *rand.Rand) {
	for {
		numbers := make([]int, 1+rng.IntN(20))
		for i := range numbers {
			numbers[i] = n + i
		}
		slices.SortStableFunc(numbers, func(a, b int) int { return killKey(w, a).compare(killKey(w, b)) })
		items := make([]Item, len(numbers))
		for i, n := range numbers {
			items[i] = Item{Key: killKey(w, n), Arrived: time.Now().UnixMilli() - rng.Int64N(10), Body: killBody(w, n)}
		}
		if now := time.Now().UnixMilli(); others {
			items = append(items, Item{Key: Key{killShort, 1}, Arrived: now, Body: bodyOf(1, 300)}, Item{Key: Key{killGone, 1}, Arrived: now, Body: bodyOf(1, 300)})
		}
		p := r.Append(items)
		if err := p.Wait(context.Background()); err != nil {
			ledger("error %v", err)
			return
		}
		var b strings.Builder
		for i, n := range numbers {
			at := p.Position(i)
			fmt.Fprintf(&b, "ack %d %d %d %d\n", w, n, at.Frame, at.Index)
		}
		os.Stdout.WriteString(b.String())
		n += len(numbers)
	}
}

type killed struct{ writer, n int }

// TestKill: after SIGKILL at any instant, with sealing and dropping going on all
// the time, every acknowledged record is where it was acknowledged, once, in
// order, as it was written.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := map[killed]journal.Position{}
	total, drops, unlisted := 0, 0, 0
	for round := range killRounds {
		untilKilled(t, dir, round, time.Duration(5+rng.IntN(60))*time.Millisecond, func(f []string) {
			switch f[0] {
			case "ack":
				var k killed
				var p journal.Position
				fmt.Sscan(strings.Join(f[1:], " "), &k.writer, &k.n, &p.Frame, &p.Index)
				acked[k] = p
				total++
			case "dropped":
				drops++
			}
		})
		r := killRig(dir, round+1)
		before := r.segmentFiles(t)
		r.open(t)
		checkKilled(t, r, acked)
		if err := r.Scrub(t.Context()); err != nil {
			t.Error(err)
		}
		for _, name := range before { // those of replay have new numbers
			if _, err := os.Stat(filepath.Join(dir, "segments", name)); err != nil {
				unlisted++
			}
		}
		r.close(t)
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, seed)
		}
	}
	r := killRig(dir, 0)
	r.open(t)
	st, placed := r.Stats(), 0
	for _, f := range r.catalog.files() {
		if f.inPlace() {
			placed++
		}
	}
	r.close(t)
	t.Logf("%d kills, seed %d: %d records acknowledged, %d files of %d records, %d of them in place, %d drops heard of, %d leftovers swept",
		killRounds, seed, total, st.Files, st.Records, placed, drops, unlisted)
	if st.Files < 10 || placed < 2 || placed == st.Files || drops == 0 {
		t.Error("too little was sealed or dropped for this to be a test")
	}
}

func checkKilled(t *testing.T, r *rig, acked map[killed]journal.Position) {
	t.Helper()
	found := map[killed]journal.Position{}
	for shard := range killWriters * killShards {
		k := Key{killStream, uint32(shard)}
		last, arrived := -1, int64(0)
		for _, rec := range r.readAll(t, k, 1000, 1<<20) {
			var w, n int
			fmt.Sscan(string(rec.Body[:min(len(rec.Body), 20)]), &w, &n)
			if killKey(w, n) != k || !bytes.Equal(rec.Body, killBody(w, n)) {
				t.Errorf("%v: record %d of writer %d is not what was written", k, n, w)
			}
			if last >= 0 && n != last+killShards {
				t.Errorf("%v: record %d after %d", k, n, last)
			}
			if rec.Arrived < arrived {
				t.Errorf("%v: arrival went back", k)
			}
			last, arrived = n, rec.Arrived
			found[killed{w, n}] = rec.Position
		}
	}
	for k, p := range acked {
		if at, ok := found[k]; !ok {
			t.Errorf("record %v, acknowledged at %v, is lost", k, p)
		} else if at != p {
			t.Errorf("record %v is at %v, was acknowledged at %v", k, at, p)
		}
	}
}

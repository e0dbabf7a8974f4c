package datastream

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// history drives engines with random calls, one after the other, and knows what
// has to be there.
type history struct {
	t    *testing.T
	r    *rand.Rand
	g    *ground
	e    *Engine
	put  map[string][]Put                // by stream
	last map[string]map[uint32]PutResult // by stream and shard: the last put
	done map[string]int                  // calls that were made, by kind
}

var historyNames = []string{"a", "b", "c"}

// TestHistories runs random histories of streams, shards, puts, reads and
// restarts on files, small enough that records are sealed all the time.
func TestHistories(t *testing.T) {
	seed := rand.Uint64()
	const histories = 4
	total := map[string]int{}
	for i := range histories {
		g := newGround(t)
		g.real, g.mem = true, 16<<10
		h := &history{
			t: t, r: rand.New(rand.NewPCG(seed, uint64(i))), g: g, e: g.open(t),
			put: map[string][]Put{}, last: map[string]map[uint32]PutResult{}, done: map[string]int{},
		}
		for stop := time.Now().Add(500 * time.Millisecond); time.Now().Before(stop) && !t.Failed(); {
			h.step()
		}
		h.restart()
		for name := range h.put {
			h.check(name)
		}
		for k, n := range h.done {
			total[k] += n
		}
		g.close(t)
	}
	t.Logf("%d histories, seed %d: %v", histories, seed, total)
}

func (h *history) step() {
	h.t.Helper()
	name := historyNames[h.r.IntN(len(historyNames))]
	_, exists := h.put[name]
	kind, err := "", error(nil)
	ctx := h.t.Context()
	switch n := h.r.IntN(100); {
	case !exists:
		kind = "create"
		o := CreateOptions{Name: name, Shards: 1 + h.r.IntN(4)}
		if h.r.IntN(4) == 0 {
			o = CreateOptions{Name: name, Mode: OnDemand}
		}
		err = h.e.Create(ctx, o)
		h.put[name], h.last[name] = nil, map[uint32]PutResult{}
	case n < 1:
		kind = "delete"
		err = h.e.Delete(ctx, name, true)
		delete(h.put, name)
	case n < 2:
		kind = "restart"
		h.restart()
	case n < 10:
		kind, err = h.reshard(name)
	case n < 12:
		kind = "encrypt"
		if s, _ := h.e.Stream(name); s.KeyID == "" {
			err = h.e.Encrypt(ctx, name, "mine")
		} else {
			err = h.e.Decrypt(ctx, name, s.KeyID)
		}
	case n < 14:
		kind = "check"
		h.check(name)
	case n < 16:
		kind = "mode"
		err = h.e.SetMode(ctx, name, []Mode{Provisioned, OnDemand}[h.r.IntN(2)], nil)
	default:
		kind = "put"
		err = h.puts(name)
	}
	h.done[kind]++
	if err != nil {
		h.t.Fatalf("%s %s: %v", kind, name, err)
	}
}

func (h *history) puts(name string) error {
	puts := make([]Put, 1+h.r.IntN(1+h.r.IntN(60)))
	for i := range puts {
		puts[i] = Put{PartitionKey: fmt.Sprint("key", h.r.IntN(20)), Data: fmt.Append(nil, len(h.put[name])+i)}
		puts[i].Data = append(puts[i].Data, make([]byte, h.r.IntN(1+h.r.IntN(300)))...)
	}
	var before string
	if len(puts) == 1 {
		h0 := HashOf(puts[0].PartitionKey)
		for _, sh := range mustShards(h.t, h.e, name, ShardsAtLatest) {
			if last, ok := h.last[name][sh.Index]; ok && sh.Range.Has(h0) {
				before = last.Sequence.String()
			}
		}
	}
	rs, err := h.e.Put(h.t.Context(), name, puts, PutOptions{After: before})
	if err != nil {
		return err
	}
	open := map[uint32]Shard{}
	for _, sh := range mustShards(h.t, h.e, name, ShardsAtLatest) {
		open[sh.Index] = sh
	}
	for i, r := range rs {
		if r.Err != nil {
			return r.Err
		}
		if sh, ok := open[r.Shard]; !ok || !sh.Range.Has(HashOf(puts[i].PartitionKey)) {
			return fmt.Errorf("record %d went to shard %d", i, r.Shard)
		}
		if last, ok := h.last[name][r.Shard]; ok && last.Sequence.String() >= r.Sequence.String() {
			return fmt.Errorf("number %v after %v", r.Sequence, last.Sequence)
		}
		h.last[name][r.Shard] = r
	}
	h.put[name] = append(h.put[name], puts...)
	return nil
}

func (h *history) reshard(name string) (string, error) {
	open := mustShards(h.t, h.e, name, ShardsAtLatest)
	s, _ := h.e.Stream(name)
	sh := open[h.r.IntN(len(open))]
	at, ok := middle(sh.Range)
	switch n := h.r.IntN(4); {
	case s.Mode == OnDemand:
		return "warm", h.e.SetWarm(h.t.Context(), name, h.r.IntN(9))
	case n == 0:
		_, err := h.e.SetShardCount(h.t.Context(), name, 1+h.r.IntN(6))
		return "count", err
	case n == 1 && len(open) < 10 && ok:
		return "split", h.e.Split(h.t.Context(), name, sh.Index, at)
	default:
		for _, other := range open {
			if other.Range.Start == sh.Range.End.Add(1) && other.Index != sh.Index && sh.Range.End != MaxHashKey {
				if n == 2 {
					sh, other = other, sh
				}
				return "merge", h.e.Merge(h.t.Context(), name, sh.Index, other.Index)
			}
		}
		return "nothing", nil
	}
}

func (h *history) restart() {
	h.g.close(h.t)
	h.e = h.g.open(h.t)
}

// check reads everything, and goes on from the middle by number.
func (h *history) check(name string) {
	h.t.Helper()
	checkTiles(h.t, h.e, name)
	got := readAll(h.t, h.e, name)
	checkSame(h.t, got, h.put[name])
	if len(got) == 0 {
		return
	}
	i := h.r.IntN(len(got))
	for _, from := range []From{AtSequence, AfterSequence} {
		c := mustSeek(h.t, h.e, name, got[i].Sequence.Shard, Start{From: from, Sequence: got[i].Sequence.String()})
		want := i
		if from == AfterSequence {
			want++
		}
		b, err := h.e.Read(h.t.Context(), name, c, 1+h.r.IntN(20), 1+h.r.IntN(2000))
		if err != nil {
			h.t.Fatal(err)
		}
		for _, r := range b.Records {
			if r.Sequence != got[want].Sequence || string(r.Data) != string(got[want].Data) {
				h.t.Fatalf("%s: %v, want %v", from, r.Sequence, got[want].Sequence)
			}
			want++
		}
		if len(b.Records) == 0 && want < len(got) && got[want].Sequence.Shard == got[i].Sequence.Shard {
			h.t.Fatalf("%s: nothing", from)
		}
	}
}

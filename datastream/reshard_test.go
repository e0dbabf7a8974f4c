package datastream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

// follower reads a stream while its shards change, as a client library does: a
// child only when all its parents are read to their ends.
type follower struct {
	t       *testing.T
	e       *Engine
	mu      sync.Mutex
	waits   map[uint32]int            // parents of a shard not yet read to the end
	started map[uint32]bool           // under mu
	next    map[string]int            // by key: the number that comes next
	seen    map[uint32]SequenceNumber // by shard: the last one
	total   atomic.Int64
	wg      sync.WaitGroup
	ctx     context.Context
}

func (f *follower) start(shard uint32) {
	f.started[shard] = true
	f.wg.Go(func() { f.read(shard) })
}

func (f *follower) read(shard uint32) {
	c, err := f.e.Seek("s", shard, Start{From: TrimHorizon})
	for err == nil {
		var b Batch
		if b, err = f.e.Read(f.ctx, "s", c, 37, 0); err != nil {
			break
		}
		f.take(shard, b.Records)
		if b.End {
			f.ended(b.Children)
			return
		}
		c = b.Next
		err = f.e.Wait(f.ctx, "s", c)
	}
	if !errors.Is(err, context.Canceled) {
		f.t.Errorf("shard %d: %v", shard, err)
	}
}

func (f *follower) take(shard uint32, rs []Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rs {
		n, _ := strconv.Atoi(string(r.Data))
		if want := f.next[r.PartitionKey]; n != want {
			f.t.Errorf("shard %d, key %s: read %d, want %d", shard, r.PartitionKey, n, want)
		}
		f.next[r.PartitionKey] = n + 1
		if last, ok := f.seen[shard]; ok && last.Index >= r.Sequence.Index {
			f.t.Errorf("shard %d: %v after %v", shard, r.Sequence, last)
		}
		f.seen[shard] = r.Sequence
	}
	f.total.Add(int64(len(rs)))
}

func (f *follower) ended(children []Shard) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sh := range children {
		if _, known := f.waits[sh.Index]; !known {
			f.waits[sh.Index] = 1
			if sh.AdjacentParent != NoShard {
				f.waits[sh.Index] = 2
			}
		}
		if f.waits[sh.Index]--; f.waits[sh.Index] == 0 {
			f.start(sh.Index)
		}
	}
}

// TestReshardingReaders wants readers to see every record once and each key's
// in order while shards split and merge all the time.
func TestReshardingReaders(t *testing.T) {
	seed := rand.Uint64()
	e := openEngine(t)
	mustCreate(t, e, "s", 3)
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{t: t, e: e, ctx: ctx, waits: map[uint32]int{}, started: map[uint32]bool{}, next: map[string]int{}, seen: map[uint32]SequenceNumber{}}
	for shard := range uint32(3) {
		f.mu.Lock()
		f.start(shard)
		f.mu.Unlock()
	}
	stop := time.Now().Add(1500 * time.Millisecond)
	var put atomic.Int64
	var writers sync.WaitGroup
	for w := range 6 {
		writers.Go(func() {
			for n := 0; time.Now().Before(stop) && !t.Failed(); n++ {
				puts := make([]Put, 1+w*3)
				for i := range puts {
					puts[i] = Put{PartitionKey: fmt.Sprint(w, "-", i), Data: strconv.AppendInt(nil, int64(n), 10)}
				}
				rs, err := e.Put(ctx, "s", puts, PutOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				for i, r := range rs {
					if r.Err != nil {
						t.Errorf("record %d: %v", i, r.Err)
					}
				}
				put.Add(int64(len(puts)))
				if n%16 == 0 {
					time.Sleep(time.Millisecond) // else memory fills with what nobody has read
				}
			}
		})
	}
	changes := reshardUntil(t, e, stop, rand.New(rand.NewPCG(seed, 2)))
	writers.Wait()
	for deadline := time.Now().Add(20 * time.Second); f.total.Load() < put.Load() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	f.wg.Wait()
	if f.total.Load() != put.Load() {
		t.Errorf("read %d, put %d", f.total.Load(), put.Load())
	}
	checkTiles(t, e, "s")
	t.Logf("%d records, %d changes of shards, seed %d", put.Load(), changes, seed)
}

func reshardUntil(t *testing.T, e *Engine, stop time.Time, r *rand.Rand) (changes int) {
	for time.Now().Before(stop) && !t.Failed() {
		open, err := e.Shards("s", ShardFilter{Kind: ShardsAtLatest, After: NoShard})
		if err != nil {
			t.Error(err)
			return changes
		}
		sh := open[r.IntN(len(open))]
		switch kind := r.IntN(10); {
		case kind == 0:
			_, err = e.SetShardCount(t.Context(), "s", 1+r.IntN(8))
		case kind < 5 && len(open) < 12:
			at, ok := middle(sh.Range)
			if !ok {
				continue
			}
			err = e.Split(t.Context(), "s", sh.Index, at)
		default:
			other := open[r.IntN(len(open))]
			if sh.Range.End.Add(1) != other.Range.Start || sh.Range.End == MaxHashKey {
				continue
			}
			err = e.Merge(t.Context(), "s", sh.Index, other.Index)
		}
		if err != nil {
			t.Error(err)
			return changes
		}
		changes++
		time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
	}
	return changes
}

// TestOrderingAfterSplit wants SequenceNumberForOrdering to hold from parent to
// child at once, and numbers to grow, however fast shards change.
func TestOrderingAfterSplit(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 1)
	last := mustPut(t, e, "s", "k", "0").Sequence.String()
	for i := range 40 {
		if _, err := e.SetShardCount(t.Context(), "s", 1+(i+1)%3); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			rs, err := e.Put(t.Context(), "s", []Put{{PartitionKey: "k"}}, PutOptions{After: last})
			if err != nil {
				t.Fatal(err)
			}
			now := rs[0].Sequence.String()
			if now <= last {
				t.Fatalf("change %d: %s after %s", i, now, last)
			}
			last = now
		}
	}
	for _, sh := range mustShards(t, e, "s", "") { // shards' own numbers can be used too
		if _, err := e.Put(t.Context(), "s", []Put{{PartitionKey: "k"}}, PutOptions{After: sh.First.String()}); err != nil {
			t.Errorf("after the first number of shard %d: %v", sh.Index, err)
		}
	}
}

// TestManyShards keeps a stream of 10,000 shards quick to change and to open.
func TestManyShards(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	began := time.Now()
	mustCreate(t, e, "s", 5000)
	created := time.Since(began)
	began = time.Now()
	if _, err := e.SetShardCount(t.Context(), "s", MaxShards); err != nil {
		t.Fatal(err)
	}
	doubled := time.Since(began)
	bytes := 0
	g.meta.fail = func(_ int, changes []journal.Change) (error, bool) {
		for _, c := range changes {
			bytes += len(c.Value)
		}
		return nil, false
	}
	list := mustShards(t, e, "s", ShardsAtLatest)
	if err := e.Merge(t.Context(), "s", list[0].Index, list[1].Index); err != nil {
		t.Fatal(err)
	}
	if bytes > 40<<10 {
		t.Errorf("a merge rewrites %d bytes", bytes)
	}
	g.close(t)
	began = time.Now()
	e = g.open(t)
	t.Logf("create %v, double %v, a merge writes %d bytes, open %v", created, doubled, bytes, time.Since(began))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("opened in %v", took)
	}
	checkTiles(t, e, "s")
}

// TestScalingWriters puts into a stream that distributes by itself while its
// shards change: nothing lands in a shard that was closed before.
func TestScalingWriters(t *testing.T) {
	e := openEngine(t)
	if err := e.Create(t.Context(), CreateOptions{Name: "s", Mode: OnDemand, AutoDistribution: true}); err != nil {
		t.Fatal(err)
	}
	var put atomic.Int64
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := e.Put(t.Context(), "s", make([]Put, 3), PutOptions{}); err != nil {
					t.Error(err)
					return
				}
				put.Add(3)
			}
		})
	}
	for warm := 5; warm < 60; warm += 3 {
		if err := e.SetWarm(t.Context(), "s", warm); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * time.Millisecond)
	}
	close(stop)
	writers.Wait()
	checkTiles(t, e, "s")
	if got := len(readAll(t, e, "s")); got != int(put.Load()) {
		t.Errorf("read %d, put %d", got, put.Load())
	}
}

// TestManyStreams wants a thousand streams to be made and opened quickly.
func TestManyStreams(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	began := time.Now()
	for i := range 1000 {
		mustCreate(t, e, fmt.Sprintf("stream-%04d", i), 4)
	}
	created := time.Since(began)
	g.close(t)
	began = time.Now()
	e = g.open(t)
	opened := time.Since(began)
	if opened > 2*time.Second {
		t.Errorf("opened in %v", opened)
	}
	ids := map[uint64]bool{}
	list, more := e.Streams("", 1000)
	for i, s := range list {
		if s.Name != fmt.Sprintf("stream-%04d", i) || s.OpenShards != 4 || ids[s.ID] {
			t.Fatalf("%+v", s)
		}
		ids[s.ID] = true
	}
	if len(list) != 1000 || more {
		t.Error(len(list), more)
	}
	t.Logf("created in %v, opened in %v", created, opened)
}

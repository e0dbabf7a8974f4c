package datastream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/datastream/segment"
)

// ground is what an engine stands on; it outlives the engine.
type ground struct {
	dir          string
	real         bool // a lane in files; else in memory
	lane         journal.Journal
	sealed, meta *memoryMeta
	keys         *testKeys
	mem          int64 // segment.Options.MemBytes
	store        *segment.Store
	engine       atomic.Pointer[Engine]
	gone         bool // the store may drop everything
}

func newGround(t testing.TB) *ground {
	return &ground{dir: t.TempDir(), lane: newMemoryLane(), meta: newMemoryMeta(), sealed: newMemoryMeta(), keys: newTestKeys()}
}

// open opens store and engine. Whoever does not close them leaves it to the end
// of the test.
func (g *ground) open(t testing.TB, set ...func(*Options)) *Engine {
	t.Helper()
	if g.real {
		lane, err := wal.Open(filepath.Join(g.dir, "lane"), wal.Options{MaxFileBytes: 4 << 20, ReserveBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		g.lane = lane
	}
	var err error
	g.store, err = segment.Open(context.Background(), segment.Options{
		Lane: g.lane, Meta: g.sealed, Dir: filepath.Join(g.dir, "segments"), Keep: g.keep, MemBytes: g.mem, ScrubEvery: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Log: g.store, Meta: g.meta, Keys: g.keys, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range set {
		f(&o)
	}
	e, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	g.engine.Store(e)
	t.Cleanup(func() { g.close(t) })
	return e
}

func (g *ground) keep(stream uint64) (time.Duration, bool) {
	if e := g.engine.Load(); e != nil && !g.gone {
		return e.Keep(stream)
	}
	if g.gone {
		return 0, false
	}
	return MaxRetentionHours * time.Hour, true
}

func (g *ground) close(t testing.TB) {
	t.Helper()
	e := g.engine.Swap(nil)
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := g.store.Close(ctx); err != nil {
		t.Errorf("close store: %v", err)
	}
	if g.real {
		if err := g.lane.Close(); err != nil {
			t.Errorf("close lane: %v", err)
		}
	}
}

func openEngine(t testing.TB, set ...func(*Options)) *Engine {
	t.Helper()
	return newGround(t).open(t, set...)
}

func mustCreate(t testing.TB, e *Engine, name string, shards int) {
	t.Helper()
	if err := e.Create(context.Background(), CreateOptions{Name: name, Shards: shards}); err != nil {
		t.Fatal(err)
	}
}

func mustPut(t testing.TB, e *Engine, name, key, data string) PutResult {
	t.Helper()
	rs, err := e.Put(context.Background(), name, []Put{{PartitionKey: key, Data: []byte(data)}}, PutOptions{})
	if err == nil {
		err = rs[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return rs[0]
}

func mustSeek(t testing.TB, e *Engine, name string, shard uint32, start Start) Cursor {
	t.Helper()
	c, err := e.Seek(name, shard, start)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustRead(t testing.TB, e *Engine, name string, c Cursor) Batch {
	t.Helper()
	b, err := e.Read(context.Background(), name, c, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustShards(t testing.TB, e *Engine, name, kind string) []Shard {
	t.Helper()
	list, err := e.Shards(name, ShardFilter{Kind: kind, After: NoShard})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func wantKind(t testing.TB, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want kind %v", err, kind)
	}
}

// testKeys is a key ring of which keys can be taken away.
type testKeys struct {
	keys     map[string]byte
	disabled map[string]bool
}

func newTestKeys() *testKeys {
	return &testKeys{keys: map[string]byte{"alias/aws/kinesis": 1, "mine": 2}, disabled: map[string]bool{}}
}

func (k *testKeys) check(id string) error {
	switch {
	case k.keys[id] == 0:
		return fmt.Errorf("%s: %w", id, ErrKeyNotFound)
	case k.disabled[id]:
		return fmt.Errorf("%s: %w", id, ErrKeyDisabled)
	}
	return nil
}

func (k *testKeys) Wrap(id string) (key, wrapped []byte, err error) {
	if err := k.check(id); err != nil {
		return nil, nil, err
	}
	key = make([]byte, 32)
	key[0] = byte(time.Now().UnixNano())
	wrapped = make([]byte, 32)
	for i := range key {
		wrapped[i] = key[i] ^ k.keys[id]
	}
	return key, wrapped, nil
}

func (k *testKeys) Unwrap(id string, wrapped []byte) ([]byte, error) {
	if err := k.check(id); err != nil {
		return nil, err
	}
	key := make([]byte, len(wrapped))
	for i := range key {
		key[i] = wrapped[i] ^ k.keys[id]
	}
	return key, nil
}

func TestPutRead(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 1)
	var last PutResult
	for i := range 10 {
		last = mustPut(t, e, "s", fmt.Sprint("key", i), fmt.Sprint("data", i))
	}
	b := mustRead(t, e, "s", mustSeek(t, e, "s", 0, Start{From: TrimHorizon}))
	if len(b.Records) != 10 || b.Behind != 0 || b.End {
		t.Fatalf("%d records, behind %v, end %v", len(b.Records), b.Behind, b.End)
	}
	for i, r := range b.Records {
		if r.PartitionKey != fmt.Sprint("key", i) || string(r.Data) != fmt.Sprint("data", i) {
			t.Errorf("record %d: %s %s", i, r.PartitionKey, r.Data)
		}
		if i > 0 && r.Sequence.String() <= b.Records[i-1].Sequence.String() {
			t.Errorf("record %d: %v does not grow", i, r.Sequence)
		}
	}
	if b.Records[9].Sequence != last.Sequence {
		t.Errorf("read %v, put %v", b.Records[9].Sequence, last.Sequence)
	}
}

func TestSplitMerge(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 2)
	mustPut(t, e, "s", "a", "before")
	middle, _ := ParseHashKey("85070591730234615865843651857942052864")
	if err := e.Split(t.Context(), "s", 0, middle); err != nil {
		t.Fatal(err)
	}
	wantKind(t, e.Split(t.Context(), "s", 0, middle), ErrInvalid)
	if err := e.Merge(t.Context(), "s", 3, 1); err != nil {
		t.Fatal(err)
	}
	list := mustShards(t, e, "s", "")
	if len(list) != 5 || list[4].Parent != 3 || list[4].AdjacentParent != 1 || list[2].Parent != 0 {
		t.Fatalf("%+v", list)
	}
	b := mustRead(t, e, "s", mustSeek(t, e, "s", 0, Start{From: TrimHorizon}))
	if !b.End || len(b.Children) != 2 {
		t.Errorf("end %v, children %v", b.End, b.Children)
	}
	if s, _ := e.Stream("s"); s.Status != Active || s.OpenShards != 2 {
		t.Errorf("%+v", s)
	}
}

// timeout is a context that ends after so many milliseconds.
func timeout(t testing.TB, ms int) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(ms)*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

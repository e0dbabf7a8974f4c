package datastream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

var errCut = errors.New("the power is cut")

// decisions are calls that decide something in more than one step.
var decisions = []struct {
	name string
	do   func(e *Engine) error
	gone bool // the stream may be gone afterwards
}{
	{"split", func(e *Engine) error { return e.Split(context.Background(), "s", 0, HashKey{1 << 62, 0}) }, false},
	{"merge", func(e *Engine) error { return e.Merge(context.Background(), "s", 1, 0) }, false},
	{"count up", func(e *Engine) error { _, err := e.SetShardCount(context.Background(), "s", 5); return err }, false},
	{"count down", func(e *Engine) error { _, err := e.SetShardCount(context.Background(), "s", 1); return err }, false},
	{"on demand", func(e *Engine) error { w := 7; return e.SetMode(context.Background(), "s", OnDemand, &w) }, false},
	{"retention", func(e *Engine) error { return e.SetRetention(context.Background(), "s", 48, true) }, false},
	{"encrypt", func(e *Engine) error { return e.Encrypt(context.Background(), "s", "mine") }, false},
	{"register", func(e *Engine) error {
		_, err := e.RegisterConsumer(context.Background(), "s", "c2", nil)
		return err
	}, false},
	{"deregister", func(e *Engine) error { return e.DeregisterConsumer(context.Background(), "s", "c1") }, false},
	{"delete", func(e *Engine) error { return e.Delete(context.Background(), "s", true) }, true},
	{"create", func(e *Engine) error {
		return e.Create(context.Background(), CreateOptions{Name: "other", Shards: 3})
	}, false},
}

// TestCrash cuts every decision before and after each of its transactions and
// wants the next opening to find all records and a stream that works.
func TestCrash(t *testing.T) {
	for _, d := range decisions {
		t.Run(d.name, func(t *testing.T) {
			cuts := 0
			for txn := 1; ; txn++ {
				for _, after := range []bool{false, true} {
					if !crashAt(t, d.do, d.gone, txn, after) {
						if cuts == 0 {
							t.Fatal("nothing was cut")
						}
						t.Logf("%d cuts", cuts)
						return
					}
					cuts++
				}
			}
		})
	}
}

// crashAt reports false when the decision has fewer transactions.
func crashAt(t *testing.T, do func(*Engine) error, gone bool, txn int, after bool) bool {
	g := newGround(t)
	e := g.open(t)
	mustCreate(t, e, "s", 2)
	if _, err := e.RegisterConsumer(t.Context(), "s", "c1", nil); err != nil {
		t.Fatal(err)
	}
	var put []Put
	more := func(n int) {
		t.Helper()
		for i := range n {
			p := Put{PartitionKey: fmt.Sprint("k", i%7), Data: fmt.Append(nil, len(put))}
			mustPut(t, e, "s", p.PartitionKey, string(p.Data))
			put = append(put, p)
		}
	}
	more(20)
	from, cut := g.meta.txns, false
	g.meta.fail = func(n int, _ []journal.Change) (error, bool) {
		if n < from+txn {
			return nil, false
		}
		cut = true
		return errCut, after && n == from+txn
	}
	err := do(e)
	if !cut {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if err == nil {
		t.Fatalf("cut at %d, after %v: no error", txn, after)
	}
	// What is put between the cut and the end of the process is kept or refused.
	rs, err := e.Put(t.Context(), "s", []Put{{PartitionKey: "late", Data: []byte("x")}}, PutOptions{})
	if err == nil && rs[0].Err == nil {
		put = append(put, Put{PartitionKey: "late", Data: []byte("x")})
	}
	g.close(t)
	g.meta.fail = nil
	e = g.open(t)
	if _, err := e.Stream("s"); gone && errors.Is(err, ErrNotFound) {
		if g.meta.len() > 1 {
			t.Fatalf("cut at %d, after %v: left %v", txn, after, g.meta.keys)
		}
		mustCreate(t, e, "s", 2)
		put = nil
	}
	checkTiles(t, e, "s")
	checkSame(t, readAll(t, e, "s"), put)
	more(20)
	checkSame(t, readAll(t, e, "s"), put)
	if _, err := e.SetShardCount(t.Context(), "s", 3); err != nil && !errors.Is(err, ErrMode) {
		t.Fatal(err)
	}
	more(20)
	checkTiles(t, e, "s")
	checkSame(t, readAll(t, e, "s"), put)
	g.close(t)
	return true
}

// TestFullDisk wants a change that finds no room to leave the stream working,
// and to be carried out once there is room.
func TestFullDisk(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	mustCreate(t, e, "s", 2)
	from := g.meta.txns
	g.meta.mu.Lock()
	g.meta.fail = func(n int, _ []journal.Change) (error, bool) {
		if n == from+2 { // the children
			return journal.ErrFull, false
		}
		return nil, false
	}
	g.meta.mu.Unlock()
	wantKind(t, e.Split(t.Context(), "s", 0, HashKey{1 << 62, 0}), ErrUnavailable)
	mustPut(t, e, "s", "a", "while the change waits")
	for range 300 {
		if s, _ := e.Stream("s"); s.Status == Active {
			break
		}
		if err := e.Wait(timeout(t, 10), "s", mustSeek(t, e, "s", 1, Start{From: Latest})); err == nil {
			t.Fatal("woken")
		}
	}
	checkTiles(t, e, "s")
	if n := len(mustShards(t, e, "s", "")); n != 4 {
		t.Errorf("%d shards", n)
	}
	mustPut(t, e, "s", "a", "after it")
	if n := len(readAll(t, e, "s")); n != 2 {
		t.Errorf("%d records", n)
	}
}

// TestFullDiskSaysSo: whoever asks for a change hears why it is refused, and the
// change works as soon as there is room.
func TestFullDiskSaysSo(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	mustCreate(t, e, "s", 1)
	if _, err := e.RegisterConsumer(t.Context(), "s", "old", nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func() error
	}{
		{"tag", func() error { return e.Tag(t.Context(), "s", map[string]string{"a": "b"}) }},
		{"create", func() error { return e.Create(t.Context(), CreateOptions{Name: "new", Shards: 1}) }},
		{"register", func() error { _, err := e.RegisterConsumer(t.Context(), "s", "new", nil); return err }},
		{"deregister", func() error { return e.DeregisterConsumer(t.Context(), "s", "old") }},
		{"delete", func() error { return e.Delete(t.Context(), "s", true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			full := func(fail func(int, []journal.Change) (error, bool)) {
				g.meta.mu.Lock()
				defer g.meta.mu.Unlock()
				g.meta.fail = fail
			}
			full(func(int, []journal.Change) (error, bool) { return journal.ErrFull, false })
			err := c.change()
			wantKind(t, err, ErrUnavailable)
			var told *Error
			if !errors.As(err, &told) || !strings.HasSuffix(told.Message, ": the disk is full") {
				t.Errorf("it says %q", err)
			}
			full(nil)
			if err := c.change(); err != nil {
				t.Errorf("with room: %v", err)
			}
		})
	}
}

// TestBroken: when nobody knows what was decided, nothing is put or changed any
// more, and what there is can be read.
func TestBroken(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	mustCreate(t, e, "s", 2)
	mustPut(t, e, "s", "a", "")
	g.meta.fail = func(int, []journal.Change) (error, bool) { return errCut, true }
	wantKind(t, e.Split(t.Context(), "s", 0, HashKey{1 << 62, 0}), ErrUnavailable)
	_, err := e.Put(t.Context(), "s", []Put{{PartitionKey: "a"}}, PutOptions{})
	wantKind(t, err, ErrUnavailable)
	g.meta.fail = nil
	wantKind(t, e.Tag(t.Context(), "s", nil), ErrUnavailable)
	for _, sh := range []uint32{0, 1} {
		mustRead(t, e, "s", mustSeek(t, e, "s", sh, Start{From: TrimHorizon}))
	}
	close(g.meta.fatal)
	select {
	case <-e.Fatal():
	case <-time.After(5 * time.Second):
		t.Error("the engine does not say that it failed")
	}
}

package segment

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

func TestAppendBounds(t *testing.T) {
	r := newRig(t, 64<<20)
	k := Key{Stream: 1}
	r.set(1, 100*365*day) // arrivals below begin with 1970
	if err := r.Append(nil).Wait(t.Context()); err != nil {
		t.Errorf("nothing: %v", err)
	}
	large := bodyOf(1, MaxBody)
	err := r.Append([]Item{{Key: k, Body: []byte("small")}, {Key: k, Body: append(large, 0)}}).Wait(t.Context())
	if !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if rs := r.readAll(t, k, 10, 10); len(rs) != 0 {
		t.Error("a part of a refused call was kept")
	}
	// The largest, several frames of them, an empty one, a negative arrival.
	items := []Item{{Key: k, Arrived: 5, Body: large}, {Key: k, Arrived: -1}, {Key: k, Arrived: 6, Body: large}, {Key: k, Arrived: 6, Body: []byte("x")}}
	positions := r.put(t, items...)
	for range 2 {
		var want []Record
		for i, it := range items {
			want = append(want, Record{Position: positions[i], Arrived: max(it.Arrived, 5), Body: it.Body})
		}
		sameRecords(t, "bounds", r.readAll(t, k, 1, 1), want)
		rs, next, err := r.Read(k, positions[1], 10, MaxBody+1, nil)
		if err != nil || len(rs) != 3 {
			t.Errorf("%d records fit, want 3: %v", len(rs), err)
		}
		if rs, next, err = r.Read(k, next, 10, 10, rs); err != nil || len(rs) != 3 || next != positions[3].Next() {
			t.Errorf("at the end: %d records, next %v, %v", len(rs), next, err)
		}
		r.mem = 20_000 // seals them at the second opening
		r.reopen(t)
		r.sealAll(t)
		if !positions[0].Less(positions[3]) || positions[0].Frame == positions[3].Frame {
			t.Errorf("positions %v: not spread over frames", positions)
		}
	}
	if st := r.Stats(); st.Files == 0 {
		t.Error("nothing was sealed")
	}
	for _, from := range []journal.Position{{Frame: 1 << 50}, {Frame: 1<<64 - 1, Index: 1<<16 - 1}} {
		if rs, next, err := r.Read(k, from, 10, 10, nil); len(rs) != 0 || next != from || err != nil {
			t.Errorf("behind all: %d records, next %v, %v", len(rs), next, err)
		}
	}
	unknown := Key{Stream: 9, Shard: 9}
	if rs, next, err := r.Read(unknown, positions[1], 10, 10, nil); len(rs) != 0 || next != positions[1] || err != nil {
		t.Errorf("unknown shard: %d records, next %v, %v", len(rs), next, err)
	}
	if first, end, at := r.Bounds(unknown); first != end || end != (journal.Position{}) || at != 0 {
		t.Errorf("unknown shard: bounds %v %v %d", first, end, at)
	}
}

// TestArrivalNeverGoesBack: not within a call, nor between calls, nor across
// restarts with the last record in memory or in a file.
func TestArrivalNeverGoesBack(t *testing.T) {
	r := newRig(t, 20_000)
	k := Key{Stream: 1}
	now := time.Now().UnixMilli()
	r.put(t, Item{Key: k, Arrived: now}, Item{Key: k, Arrived: now - 5}, Item{Key: Key{Stream: 2}, Arrived: now - 5})
	r.put(t, Item{Key: k, Arrived: now - 7})
	r.reopen(t)
	r.put(t, Item{Key: k, Arrived: now - 9}, Item{Key: Key{Stream: 2}, Arrived: now, Body: make([]byte, 20_000)})
	r.sealAll(t)
	r.reopen(t)
	if r.Stats().Files == 0 || r.Stats().MemBytes != 0 {
		t.Fatal("not sealed")
	}
	r.put(t, Item{Key: k, Arrived: now - 11}, Item{Key: k, Arrived: now + 1})
	rs := r.readAll(t, k, 100, 100)
	if len(rs) != 6 {
		t.Fatalf("%d records", len(rs))
	}
	for i, rec := range rs {
		if want := now + int64(i/5); rec.Arrived != want {
			t.Errorf("record %d arrived %d, want %d", i, rec.Arrived, want)
		}
	}
	if rs := r.readAll(t, Key{Stream: 2}, 100, 100); rs[0].Arrived != now-5 {
		t.Error("one shard's arrival moved another's")
	}
}

// TestConcurrent: writers, readers that follow them, sealing and dropping at
// once. Each reader sees each writer's records in order, none twice, none
// missing, and as soon as its Append says so.
func TestConcurrent(t *testing.T) {
	const shards, writers, calls = 5, 4, 60
	r := newRig(t, 50_000)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range calls {
				items := make([]Item, 10)
				for i := range items {
					items[i] = Item{
						Key: Key{Stream: 1, Shard: uint32(i % shards)}, Arrived: time.Now().UnixMilli(),
						Body: append([]byte{byte(w), byte(n), byte(i)}, bodyOf(uint64(n), n*10)...),
					}
				}
				p := r.Append(items)
				if err := p.Wait(t.Context()); err != nil {
					t.Error(err)
					return
				}
				for i := range items {
					rs, _, err := r.Read(items[i].Key, p.Position(i), 1, 1, nil)
					if err != nil || len(rs) != 1 || !bytes.Equal(rs[0].Body, items[i].Body) || rs[0].Position != p.Position(i) {
						t.Errorf("acknowledged at %v, not to be read: %v", p.Position(i), err)
					}
				}
			}
		})
	}
	for shard := range shards {
		for reader := range 2 {
			all.Go(func() { follow(t, r, Key{Stream: 1, Shard: uint32(shard)}, writers, calls*2*writers, 1+reader*1000) })
		}
	}
	all.Go(func() {
		for range 20 {
			if err := errors.Join(r.Drop(t.Context()), r.Scrub(t.Context())); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	all.Wait()
	if st := r.Stats(); st.Seals < 5 || st.Appended != calls*writers*10 {
		t.Errorf("%d seals, %d records", st.Seals, st.Appended)
	}
}

// follow reads a shard as it grows until it has seen total records.
func follow(t *testing.T, r *rig, k Key, writers, total, max int) {
	var from journal.Position
	last := make([]int, writers)
	for seen := 0; seen < total; {
		wake := r.Wake(k)
		rs, next, err := r.Read(k, from, max, 1<<20, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if len(rs) == 0 {
			select {
			case <-wake:
			case <-time.After(10 * time.Second):
				t.Errorf("%v: not woken after %d of %d records", k, seen, total)
				return
			}
			continue
		}
		for _, rec := range rs {
			if rec.Position.Less(from) {
				t.Errorf("%v: %v came after %v", k, rec.Position, from)
			}
			from = rec.Position.Next()
			w, n := rec.Body[0], int(rec.Body[1])*100+int(rec.Body[2])+1
			if n <= last[w] {
				t.Errorf("%v: record %d of writer %d after %d", k, n, w, last[w])
			}
			last[w] = n
		}
		seen += len(rs)
		if from != next {
			t.Errorf("%v: next is %v, want %v", k, next, from)
		}
	}
}

// TestClose: what was appended is settled, what comes later is refused, waiters
// are woken, and a second Close is harmless.
func TestClose(t *testing.T) {
	r := newRig(t, 1<<20)
	k := Key{Stream: 1}
	wake := r.Wake(Key{Stream: 2})
	p := r.Append([]Item{{Key: k, Arrived: 1, Body: []byte("a")}})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(gone); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := r.Close(gone); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range 2 {
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Errorf("appended before: %v", err)
	}
	<-wake
	<-r.Wake(k)
	<-r.Wake(Key{Stream: 3})
	if err := r.Append([]Item{{Key: k, Arrived: 1, Body: []byte("b")}}).Wait(t.Context()); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, _, err := r.Read(k, journal.Position{}, 1, 1, nil); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := r.SeekTime(k, 1); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("seek: %v", err)
	}
}

func TestOptions(t *testing.T) {
	r := newRig(t, 1<<20)
	sound := r.Store.opts
	for _, test := range []struct {
		name string
		harm func(o *Options)
	}{
		{"no lane", func(o *Options) { o.Lane = nil }},
		{"no meta", func(o *Options) { o.Meta = nil }},
		{"no keep", func(o *Options) { o.Keep = nil }},
		{"no dir", func(o *Options) { o.Dir = "" }},
		{"negative memory", func(o *Options) { o.MemBytes = -1 }},
		{"negative rate", func(o *Options) { o.ScrubRate = -1 }},
	} {
		o := sound
		test.harm(&o)
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%s: opened", test.name)
		}
	}
}

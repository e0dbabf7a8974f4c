package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
)

// fakeStream is a data stream in memory.
type fakeStream struct {
	mu      sync.Mutex
	made    time.Time
	absent  bool
	failing int // Next fails that many times
	shards  []fakeShard
	changed chan struct{}
	opened  []string // shard and start
}

type fakeShard struct {
	records [][]byte
	closed  bool
}

func newFakeStream(shards int) *fakeStream {
	return &fakeStream{made: day, shards: make([]fakeShard, shards), changed: make(chan struct{})}
}

func (f *fakeStream) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeStream) put(shard int, data ...string) {
	f.change(func() {
		for _, d := range data {
			f.shards[shard].records = append(f.shards[shard].records, []byte(d))
		}
	})
}

func (f *fakeStream) Shards(context.Context, string) ([]datastream.Shard, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.absent {
		return nil, datastream.ErrNotFound
	}
	var list []datastream.Shard
	for i := range f.shards {
		list = append(list, datastream.Shard{Index: uint32(i), Made: f.made})
	}
	return list, nil
}

func (f *fakeStream) Open(_ context.Context, _ string, shard uint32, start datastream.Start) (Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened = append(f.opened, fmt.Sprint(shard, start.From))
	r := &fakeReader{f: f, shard: shard}
	if start.From == datastream.AfterSequence {
		n, err := datastream.ParseSequenceNumber(start.Sequence)
		if err != nil || n.ShardMade != f.made.Unix() {
			return nil, datastream.ErrInvalid
		}
		r.next = int(n.Index) + 1
	}
	return r, nil
}

type fakeReader struct {
	f     *fakeStream
	shard uint32
	next  int
}

func (r *fakeReader) Next(ctx context.Context) (list []datastream.Record, end bool, err error) {
	for {
		r.f.mu.Lock()
		if r.f.absent || int(r.shard) >= len(r.f.shards) {
			r.f.mu.Unlock()
			return nil, false, datastream.ErrNotFound
		}
		if r.f.failing > 0 {
			r.f.failing--
			r.f.mu.Unlock()
			return nil, false, errors.New("a failure")
		}
		s, changed := &r.f.shards[r.shard], r.f.changed
		for len(list) < 3 && r.next < len(s.records) {
			list = append(list, datastream.Record{
				Data:     s.records[r.next],
				Sequence: datastream.SequenceNumber{ShardMade: r.f.made.Unix(), Shard: r.shard, Index: uint64(r.next), Arrived: day.Unix()},
			})
			r.next++
		}
		end = s.closed && r.next == len(s.records)
		r.f.mu.Unlock()
		if len(list) > 0 || end {
			return list, end, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

func newPump(t testing.TB, f Source, s *Store) *Pump {
	t.Helper()
	p, err := NewPump(PumpOptions{Source: f, Store: s, Stream: "d", Poll: time.Millisecond, SaveEvery: time.Millisecond, RetryMin: time.Millisecond, RetryMax: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

func text(t testing.TB, d Detection) string {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// The pump takes detections from all shards, passes over what is none, goes on
// where it was, and over shards that end and streams made anew.
func TestPump(t *testing.T) {
	place := newPlace(t)
	place.setOldest("c", day.Add(-time.Hour))
	s, f := place.open(), newFakeStream(2)
	f.absent = true
	n := 0
	next := func() string {
		n++
		d := seen("c", n, float64(n), "x")
		if n%2 == 0 {
			d.ID = "" // the record's sequence number is its id
		}
		return text(t, d)
	}
	p := newPump(t, f, s)
	time.Sleep(5 * time.Millisecond)
	f.change(func() { f.absent = false })
	f.put(0, next(), `{"v":1,"type":"fragment"}`, next(), "garbage", `{"type":"detection"}`)
	f.put(1, next(), next())
	all := func() bool { return len(found(t, s, Query{})) == n }
	until(t, "the first", all)
	until(t, "the figures", func() bool { return p.Stats().Records == 7 })
	if st := p.Stats(); st.Detections != 4 || st.Others != 2 || st.Bad != 1 || st.LastBad == "" || st.Shards != 2 {
		t.Errorf("%+v", st)
	}
	f.change(func() { f.failing = 3 })
	f.put(0, next())
	until(t, "what came after failures", all)

	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	place.close(s)
	f.put(1, next())
	f.change(func() { f.opened, f.shards[0].closed = nil, true })
	s = place.open()
	p = newPump(t, f, s)
	until(t, "what came meanwhile", all)
	until(t, "the end of shard 0", func() bool { return p.Stats().Shards == 1 })
	if st := p.Stats(); st.Detections != 1 || st.Records != 1 {
		t.Errorf("what was read is read again: %+v", st)
	}
	f.mu.Lock()
	if slices.Sort(f.opened); !slices.Equal(f.opened, []string{"0AFTER_SEQUENCE_NUMBER", "1AFTER_SEQUENCE_NUMBER"}) {
		t.Errorf("opened %v", f.opened)
	}
	f.mu.Unlock()

	// The stream is deleted and made anew, with one shard: its numbers begin anew.
	f.change(func() { f.absent = true })
	until(t, "the readers' end", func() bool { return p.Stats().Shards == 0 })
	f.change(func() { f.absent, f.made, f.shards = false, day.Add(time.Hour), make([]fakeShard, 1) })
	f.put(0, next(), next())
	until(t, "the stream made anew", all)
	until(t, "the cursor of shard 1 to go", func() bool {
		_, _, err := s.meta.Get(p.shardKey(1))
		return errors.Is(err, journal.ErrAbsent)
	})
	p.Close(context.Background())
}

func TestPumpTells(t *testing.T) {
	f := newFakeStream(1)
	s := newPlace(t).open()
	told := make(chan []Detection, 10)
	p, err := NewPump(PumpOptions{Source: f, Store: s, Stream: "d", Seen: func(list []Detection) { told <- list }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	f.put(0, "garbage", text(t, Detection{Camera: "c", Time: day, Label: "person", ID: "1"}))
	if list := <-told; len(list) != 1 || list[0].ID != "1" || list[0].Camera != "c" || !list[0].Time.Equal(day) {
		t.Errorf("told of %+v", list)
	}
}

// What the store cannot take now is tried again, and nothing is passed over.
func TestPumpWaitsForRoom(t *testing.T) {
	place := newPlace(t)
	place.setOldest("c", day.Add(-time.Hour))
	place.o.MemBytes = 1_000
	s, f := place.open(), newFakeStream(1)
	p := newPump(t, f, s)
	place.setAway(true)
	const n = 50
	for i := range n {
		f.put(0, text(t, seen("c", i, float64(i), "x")))
	}
	until(t, "a refusal", func() bool { return p.Stats().Failures > 2 })
	place.setAway(false)
	until(t, "room", func() bool {
		flush(t, s)
		return p.Stats().Detections == n
	})
	if got := found(t, s, Query{}); len(got) != n {
		t.Errorf("%d found", len(got))
	}
	p.Close(context.Background())
}

func TestPumpOptions(t *testing.T) {
	place := newPlace(t)
	good := PumpOptions{Source: newFakeStream(1), Store: place.open(), Stream: "d"}
	for i, change := range []func(*PumpOptions){
		func(o *PumpOptions) { o.Source = nil },
		func(o *PumpOptions) { o.Store = nil },
		func(o *PumpOptions) { o.Stream = "" },
		func(o *PumpOptions) { o.RetryMin, o.RetryMax = 2, 1 },
	} {
		o := good
		change(&o)
		if _, err := NewPump(o); err == nil {
			t.Errorf("options %d are taken", i)
		}
	}
}

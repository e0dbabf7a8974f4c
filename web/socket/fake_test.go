package socket

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
)

// fakeEngine is one stream in memory, named "yard". Records have the frame of
// the lane that they would have.
type fakeEngine struct {
	mu      sync.Mutex
	id      uint64
	gone    bool
	frame   uint64
	shards  []*fakeShard
	changed chan struct{}
	refuse  func(op string) error // when set, asked by each operation
	read    int                   // bytes handed out
	putting int                   // puts under way
	slow    time.Duration         // of a put
}

type fakeShard struct {
	datastream.Shard
	records []fakeRecord
	expired bool
}

type fakeRecord struct {
	datastream.Record
	at journal.Position
}

func newFake(shards int) *fakeEngine {
	e := &fakeEngine{id: 7, changed: make(chan struct{})}
	for i, r := range datastream.SplitEvenly(shards) {
		e.shards = append(e.shards, e.newShard(uint32(i), r, datastream.NoShard, datastream.NoShard))
	}
	return e
}

func (e *fakeEngine) newShard(i uint32, r datastream.HashRange, parent, adjacent uint32) *fakeShard {
	s := &fakeShard{Shard: datastream.Shard{Index: i, Range: r, Parent: parent, AdjacentParent: adjacent, Made: time.Now()}}
	s.First = datastream.SequenceNumber{ShardMade: s.Made.Unix(), Shard: i}
	return s
}

func notFound(what string) error {
	return &datastream.Error{Kind: datastream.ErrNotFound, Stream: "yard", Message: what + " does not exist"}
}

// enter locks; the caller unlocks.
func (e *fakeEngine) enter(op, name string) error {
	e.mu.Lock()
	if e.refuse != nil {
		if err := e.refuse(op); err != nil {
			return err
		}
	}
	if name != "yard" || e.gone {
		return notFound("stream " + name)
	}
	return nil
}

func (e *fakeEngine) wake() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *fakeEngine) Stream(name string) (datastream.Stream, error) {
	err := e.enter("Stream", name)
	defer e.mu.Unlock()
	return datastream.Stream{Name: name, ID: e.id, MaxRecordKiB: 1024}, err
}

func (e *fakeEngine) Shards(name string, f datastream.ShardFilter) ([]datastream.Shard, error) {
	err := e.enter("Shards", name)
	defer e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if f.After != datastream.NoShard || f.Kind != "" {
		return nil, errors.New("the fake knows no such filter")
	}
	var list []datastream.Shard
	for _, s := range e.shards {
		if !s.expired {
			list = append(list, s.Shard)
		}
	}
	return list, nil
}

func (e *fakeEngine) shard(i uint32) (*fakeShard, error) {
	if int64(i) >= int64(len(e.shards)) || e.shards[i].expired {
		return nil, notFound(shardName(i))
	}
	return e.shards[i], nil
}

func (e *fakeEngine) Seek(name string, shard uint32, start datastream.Start) (c datastream.Cursor, err error) {
	err = e.enter("Seek", name)
	defer e.mu.Unlock()
	if err != nil {
		return c, err
	}
	s, err := e.shard(shard)
	if err != nil {
		return c, err
	}
	c = datastream.Cursor{Stream: e.id, Shard: shard}
	switch start.From {
	case datastream.Latest:
		if n := len(s.records); n > 0 {
			c.Next = s.records[n-1].at.Next()
		}
	case datastream.AtTimestamp:
		if start.Time.After(time.Now()) {
			return c, &datastream.Error{Kind: datastream.ErrInvalid, Message: "the time is in the future"}
		}
		for _, r := range s.records {
			if c.Next = r.at; !r.Arrived.Before(start.Time) {
				return c, nil
			}
			c.Next = r.at.Next()
		}
	case datastream.AtSequence, datastream.AfterSequence:
		n, err := datastream.ParseSequenceNumber(start.Sequence)
		if err != nil {
			return c, err
		}
		if c.Next = n.Position(); start.From == datastream.AfterSequence {
			c.Next = c.Next.Next()
		}
	}
	return c, nil
}

func (e *fakeEngine) Read(_ context.Context, name string, c datastream.Cursor, limit, maxBytes int) (b datastream.Batch, err error) {
	err = e.enter("Read", name)
	defer e.mu.Unlock()
	if err != nil {
		return b, err
	}
	s, err := e.shard(c.Shard)
	if err == nil && c.Stream != e.id {
		err = notFound("the cursor's stream")
	}
	if err != nil {
		return b, err
	}
	b.Next = c
	size := 0
	for _, r := range s.records {
		if r.at.Less(c.Next) {
			continue
		}
		if len(b.Records) == limit || size > 0 && size+len(r.Data) > maxBytes {
			b.Behind = time.Since(r.Arrived)
			return b, nil
		}
		b.Records = append(b.Records, r.Record)
		b.Next.Next = r.at.Next()
		size += len(r.Data)
		e.read += len(r.Data)
	}
	if !s.Open() {
		b.End = true
		for _, o := range e.shards {
			if o.Parent == c.Shard || o.AdjacentParent == c.Shard {
				b.Children = append(b.Children, o.Shard)
			}
		}
	}
	return b, nil
}

func (e *fakeEngine) Wait(ctx context.Context, name string, c datastream.Cursor) error {
	for {
		err := e.enter("Wait", name)
		var s *fakeShard
		if err == nil {
			s, err = e.shard(c.Shard)
		}
		if err == nil && c.Stream != e.id {
			err = notFound("the cursor's stream")
		}
		ready := err == nil && (!s.Open() || len(s.records) > 0 && !s.records[len(s.records)-1].at.Less(c.Next))
		changed := e.changed
		e.mu.Unlock()
		if err != nil || ready {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (e *fakeEngine) Put(_ context.Context, name string, puts []datastream.Put, _ datastream.PutOptions) ([]datastream.PutResult, error) {
	err := e.enter("Put", name)
	slow := e.slow
	e.putting++
	e.mu.Unlock()
	time.Sleep(slow)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.putting--
	if err != nil {
		return nil, err
	}
	results := make([]datastream.PutResult, len(puts))
	for i, p := range puts {
		if p.PartitionKey == "" {
			return nil, &datastream.Error{Kind: datastream.ErrInvalid, Stream: name, Message: fmt.Sprintf("record %d has no partition key", i)}
		}
		if p.PartitionKey == "hot" {
			results[i].Err = &datastream.Error{Kind: datastream.ErrThrottled, Stream: name, Message: "Rate exceeded"}
			continue
		}
		h := datastream.HashOf(p.PartitionKey)
		if p.ExplicitHash != nil {
			h = *p.ExplicitHash
		}
		for _, s := range e.shards {
			if s.Open() && s.Range.Has(h) {
				results[i] = e.append(s, p)
			}
		}
	}
	e.wake()
	return results, nil
}

func (e *fakeEngine) append(s *fakeShard, p datastream.Put) datastream.PutResult {
	e.frame++
	at := journal.Position{Frame: e.frame}
	now := time.Now().UTC().Truncate(time.Millisecond)
	n := datastream.SequenceNumber{ShardMade: s.Made.Unix(), Shard: s.Index, Index: datastream.IndexOf(at), Arrived: now.Unix()}
	s.records = append(s.records, fakeRecord{datastream.Record{Sequence: n, PartitionKey: p.PartitionKey, Data: p.Data, Arrived: now}, at})
	return datastream.PutResult{Shard: s.Index, Sequence: n}
}

func (e *fakeEngine) mustPut(key, data string) datastream.PutResult {
	rs, err := e.Put(context.Background(), "yard", []datastream.Put{{PartitionKey: key, Data: []byte(data)}}, datastream.PutOptions{})
	if err != nil || rs[0].Err != nil {
		panic(fmt.Sprint(err, rs))
	}
	return rs[0]
}

// split cuts an open shard in half, merge joins two that are neighbours; both
// return false where it cannot be.
func (e *fakeEngine) split(i uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.shards[i]
	if !s.Open() {
		return false
	}
	from, to := bigOf(s.Range.Start), bigOf(s.Range.End)
	middle, err := datastream.ParseHashKey(from.Add(from, to).Rsh(from, 1).String())
	if err != nil || middle == s.Range.Start {
		return false
	}
	s.Closed = time.Now()
	next := uint32(len(e.shards))
	e.shards = append(e.shards,
		e.newShard(next, datastream.HashRange{Start: s.Range.Start, End: middle.Sub(1)}, i, datastream.NoShard),
		e.newShard(next+1, datastream.HashRange{Start: middle, End: s.Range.End}, i, datastream.NoShard))
	e.wake()
	return true
}

func (e *fakeEngine) merge(i, j uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, b := e.shards[i], e.shards[j]
	if !a.Open() || !b.Open() || b.Range.Start.Compare(a.Range.End) < 0 || a.Range.End.Add(1) != b.Range.Start {
		return false
	}
	a.Closed, b.Closed = time.Now(), time.Now()
	e.shards = append(e.shards, e.newShard(uint32(len(e.shards)), datastream.HashRange{Start: a.Range.Start, End: b.Range.End}, i, j))
	e.wake()
	return true
}

func (e *fakeEngine) do(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
	e.wake()
}

func bigOf(h datastream.HashKey) *big.Int {
	n, _ := new(big.Int).SetString(h.String(), 10)
	return n
}

var (
	_ Engine = (*datastream.Engine)(nil)
	_ Engine = (*fakeEngine)(nil)
)

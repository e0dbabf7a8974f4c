// Package segment is a stand-in, in memory, for the store of records that is
// built beside the engine: it has the names of its contract and nothing of its
// durability. It goes when the store comes.
package segment

import (
	"context"
	"slices"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Key names a shard.
type Key struct {
	Stream uint64
	Shard  uint32
}

// Item is a record to keep.
type Item struct {
	Key     Key
	Arrived int64 // unix ms
	Body    []byte
}

// Record is a record as it is read.
type Record struct {
	Position journal.Position
	Arrived  int64
	Body     []byte
}

// Store keeps records in memory.
type Store struct {
	mu    sync.Mutex
	frame uint64
	keys  map[Key]*list
	fatal chan struct{}
}

type list struct {
	records []Record
	wake    chan struct{}
}

// NewStub makes an empty store.
func NewStub() *Store { return &Store{keys: map[Key]*list{}, fatal: make(chan struct{})} }

// Pending is the outcome of an Append.
type Pending struct {
	frame uint64
}

// Append keeps records.
func (s *Store) Append(items []Item) *Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frame++
	woken := map[*list]bool{}
	for i := range items {
		l := s.list(items[i].Key)
		l.records = append(l.records, Record{journal.Position{Frame: s.frame, Index: uint16(i)}, items[i].Arrived, items[i].Body})
		woken[l] = true
	}
	for l := range woken {
		close(l.wake)
		l.wake = make(chan struct{})
	}
	return &Pending{s.frame}
}

func (s *Store) list(k Key) *list {
	l := s.keys[k]
	if l == nil {
		l = &list{wake: make(chan struct{})}
		s.keys[k] = l
	}
	return l
}

// Wait returns nil.
func (p *Pending) Wait(context.Context) error { return nil }

// Position is where item i lies.
func (p *Pending) Position(i int) journal.Position {
	return journal.Position{Frame: p.frame, Index: uint16(i)}
}

// Read returns records at and after from.
func (s *Store) Read(k Key, from journal.Position, limit, maxBytes int, into []Record) (rs []Record, next journal.Position, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.list(k)
	at, _ := slices.BinarySearchFunc(l.records, from, func(r Record, p journal.Position) int { return r.Position.Compare(p) })
	next = from
	for ; at < len(l.records) && limit > 0; at++ {
		r := l.records[at]
		if maxBytes -= len(r.Body); maxBytes < 0 && len(into) > 0 {
			break
		}
		limit--
		into = append(into, r)
		next = r.Position.Next()
	}
	return into, next, nil
}

// SeekTime finds the first record that arrived at or after a time.
func (s *Store) SeekTime(k Key, unixMs int64) (journal.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.list(k)
	for _, r := range l.records {
		if r.Arrived >= unixMs {
			return r.Position, nil
		}
	}
	if n := len(l.records); n > 0 {
		return l.records[n-1].Position.Next(), nil
	}
	return journal.Position{}, nil
}

// Bounds says what is kept.
func (s *Store) Bounds(k Key) (first, end journal.Position, lastArrived int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.list(k)
	if n := len(l.records); n > 0 {
		return l.records[0].Position, l.records[n-1].Position.Next(), l.records[n-1].Arrived
	}
	return first, end, 0
}

// Wake is closed when the next record comes.
func (s *Store) Wake(k Key) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list(k).wake
}

// Fatal is never closed.
func (s *Store) Fatal() <-chan struct{} { return s.fatal }

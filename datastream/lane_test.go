package datastream

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
)

// memoryLane is a Journal that lives as long as the test: what is appended is
// durable at once.
type memoryLane struct {
	mu      sync.Mutex
	frame   uint64
	entries []journal.Entry
	fatal   chan struct{}
	refuse  error // what Append answers, if set
	forget  bool  // keeps nothing
}

func newMemoryLane() *memoryLane { return &memoryLane{fatal: make(chan struct{})} }

func (l *memoryLane) Append(kind journal.Kind, key string, payload []byte) journal.Future {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		return journal.Failed(l.refuse)
	}
	l.frame++
	c := journal.NewCommit()
	c.Resolve(l.frame, nil)
	if l.forget {
		return c.Future(0)
	}
	l.entries = append(l.entries, journal.Entry{
		Position: journal.Position{Frame: l.frame}, Kind: kind, Key: key, Payload: slices.Clone(payload),
	})
	return c.Future(0)
}

func (l *memoryLane) Read(from journal.Position) iter.Seq2[journal.Entry, error] {
	l.mu.Lock()
	list := l.entries
	l.mu.Unlock()
	return func(yield func(journal.Entry, error) bool) {
		for _, e := range list {
			if !e.Less(from) && !yield(e, nil) {
				return
			}
		}
	}
}

func (l *memoryLane) Wait(context.Context, journal.Position) error {
	return errors.New("nobody waits for this lane")
}

func (l *memoryLane) Trim(before journal.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = slices.DeleteFunc(slices.Clone(l.entries), func(e journal.Entry) bool { return e.Less(before) })
	return nil
}

func (l *memoryLane) Stats() journal.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := journal.Stats{End: journal.Position{Frame: l.frame + 1}, First: journal.Position{Frame: 1}}
	if len(l.entries) > 0 {
		s.First = l.entries[0].Position
	}
	return s
}

func (l *memoryLane) Fatal() <-chan struct{} { return l.fatal }
func (l *memoryLane) Close() error           { return nil }

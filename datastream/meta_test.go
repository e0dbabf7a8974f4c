package datastream

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
)

// memoryMeta is a Meta that lives as long as the test. A test may make it fail
// at a chosen transaction, as a crash or a full disk would.
type memoryMeta struct {
	journal.Watcher // nil, as is Leaser: the engine uses neither
	journal.Leaser

	mu   sync.Mutex
	rev  uint64
	keys map[string]journal.Item
	// fail is asked before each transaction; after says that the change is
	// kept though its caller gets the error.
	fail  func(txn int, changes []journal.Change) (err error, after bool)
	txns  int
	fatal chan struct{}
}

func newMemoryMeta() *memoryMeta {
	return &memoryMeta{keys: map[string]journal.Item{}, fatal: make(chan struct{})}
}

func (m *memoryMeta) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys)
}

func (m *memoryMeta) Get(key string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.keys[key]
	if !ok {
		return nil, 0, fmt.Errorf("%s: %w", key, journal.ErrAbsent)
	}
	return it.Value, it.Revision, nil
}

func (m *memoryMeta) Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	return m.Txn(ctx, journal.Change{Key: key, Value: value, Expect: expect})
}

func (m *memoryMeta) Delete(ctx context.Context, key string, expect uint64) error {
	_, err := m.Txn(ctx, journal.Change{Key: key, Expect: expect, Delete: true})
	return err
}

func (m *memoryMeta) Txn(_ context.Context, changes ...journal.Change) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.txns++
	var failed error
	if m.fail != nil {
		err, after := m.fail(m.txns, changes)
		if err != nil && !after {
			return 0, err
		}
		failed = err
	}
	for _, c := range changes {
		if have := m.keys[c.Key].Revision; have != c.Expect || c.Delete && have == 0 {
			return 0, fmt.Errorf("%s at %d, not %d: %w", c.Key, have, c.Expect, journal.ErrConflict)
		}
	}
	m.rev++
	for _, c := range changes {
		if c.Delete {
			delete(m.keys, c.Key)
		} else {
			m.keys[c.Key] = journal.Item{Key: c.Key, Value: slices.Clone(c.Value), Revision: m.rev}
		}
	}
	return m.rev, failed
}

func (m *memoryMeta) List(prefix string) iter.Seq[journal.Item] {
	m.mu.Lock()
	var list []journal.Item
	for key, it := range m.keys {
		if strings.HasPrefix(key, prefix) {
			list = append(list, it)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(list, func(a, b journal.Item) int { return cmp.Compare(a.Key, b.Key) })
	return slices.Values(list)
}

func (m *memoryMeta) Fatal() <-chan struct{} { return m.fatal }
func (m *memoryMeta) Close() error           { return nil }

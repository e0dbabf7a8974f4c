package consumer

import (
	"bytes"
	"context"
	"sync"
)

// Memory is a Leases for workers of one process. What it keeps is gone when the
// process is.
type Memory struct {
	mu       sync.Mutex
	revision uint64
	apps     map[string]map[string]Item
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{apps: map[string]map[string]Item{}} }

// List returns what the application keeps.
func (m *Memory) List(_ context.Context, app string) ([]Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Item, 0, len(m.apps[app]))
	for _, item := range m.apps[app] {
		list = append(list, item)
	}
	return list, nil
}

// Get returns one entry, or ErrAbsent.
func (m *Memory) Get(_ context.Context, app, key string) (Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	item, ok := m.apps[app][key]
	if !ok {
		return Item{}, ErrAbsent
	}
	return item, nil
}

// Put sets a value if the revision is as expected.
func (m *Memory) Put(_ context.Context, app, key string, value []byte, expect uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.apps[app][key].Revision != expect {
		return 0, ErrConflict
	}
	if m.apps[app] == nil {
		m.apps[app] = map[string]Item{}
	}
	m.revision++
	m.apps[app][key] = Item{key, bytes.Clone(value), m.revision}
	return m.revision, nil
}

// Delete removes a key if the revision is as expected.
func (m *Memory) Delete(_ context.Context, app, key string, expect uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if item, ok := m.apps[app][key]; !ok || item.Revision != expect {
		return ErrConflict
	}
	delete(m.apps[app], key)
	return nil
}

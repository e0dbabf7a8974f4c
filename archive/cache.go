package archive

import (
	"container/list"
	"sync"
)

// blockCache keeps the blocks that were read last, within a bound of memory. A
// block larger than the bound is kept alone.
type blockCache struct {
	mu    sync.Mutex
	limit int64
	used  int64
	order list.List // of *cached, latest first
	byKey map[string]*list.Element
}

type cached struct {
	key   string
	block *block
	cost  int64
}

func newBlockCache(limit int64) *blockCache {
	return &blockCache{limit: limit, byKey: map[string]*list.Element{}}
}

func (c *blockCache) get(key string) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.byKey[key]
	if el == nil {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*cached).block
}

func (c *blockCache) put(key string, b *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	e := &cached{key: key, block: b, cost: b.cost()}
	c.byKey[key] = c.order.PushFront(e)
	c.used += e.cost
	for c.used > c.limit && c.order.Len() > 1 {
		c.drop(c.order.Back())
	}
}

func (c *blockCache) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.byKey[key]; el != nil {
		c.drop(el)
	}
}

// drop removes an element. The caller holds mu.
func (c *blockCache) drop(el *list.Element) {
	e := c.order.Remove(el).(*cached)
	delete(c.byKey, e.key)
	c.used -= e.cost
}

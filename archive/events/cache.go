package events

import (
	"slices"
	"sync"
)

// maxCached bounds the detections that are kept unpacked, for the next page:
// some 15 MB.
const maxCached = 4 * maxBlock

// cache holds the blocks that were read last. Blocks never change.
type cache struct {
	mu    sync.Mutex
	list  []cached // the one used last comes last
	count int
}

type cached struct {
	b    *block
	list []*Detection
}

func (c *cache) get(b *block) ([]*Detection, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.list, func(k cached) bool { return k.b == b })
	if i < 0 {
		return nil, false
	}
	k := c.list[i]
	c.list = append(slices.Delete(c.list, i, i+1), k)
	return k.list, true
}

func (c *cache) put(b *block, list []*Detection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, cached{b, list})
	c.count += len(list)
	for c.count > maxCached && len(c.list) > 1 {
		c.count -= len(c.list[0].list)
		c.list = slices.Delete(c.list, 0, 1)
	}
}

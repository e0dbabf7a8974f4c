package awswire

import (
	"math/bits"
	"sync"
)

// memory is what exchanges borrow buffers of: bodies, blobs and answers. There is
// a pool for each size, four times the one before, so that a small request never
// holds what a large one needed.
type memory struct {
	pools  [memorySizes]sync.Pool
	drafts sync.Pool
}

// The sizes are 4 KiB, 16 KiB and so on to 16 MiB. What is larger is left to the
// collector.
const (
	memoryLeast = 4 << 10
	memorySizes = 7
)

// class is the pool of the smallest buffers that hold n bytes.
func class(n int) int {
	if n <= memoryLeast {
		return 0
	}
	return (bits.Len(uint((n-1)/memoryLeast)) + 1) / 2
}

// spare is an empty buffer of at least n bytes, nil when there is none.
func (m *memory) spare(n int) *[]byte {
	if m == nil || class(n) >= memorySizes {
		return nil
	}
	b, _ := m.pools[class(n)].Get().(*[]byte)
	return b
}

// get is an empty buffer of at least n bytes.
func (m *memory) get(n int) *[]byte {
	if b := m.spare(n); b != nil {
		return b
	}
	if c := class(n); m != nil && c < memorySizes {
		n = memoryLeast << (2 * c)
	}
	b := make([]byte, 0, n)
	return &b
}

// put takes a buffer back, nil for none. Whoever had it has no more to do with
// it.
func (m *memory) put(b *[]byte) {
	if m == nil || b == nil {
		return
	}
	c := class(cap(*b))
	if memoryLeast<<(2*c) > cap(*b) {
		c-- // It has grown to something between two sizes.
	}
	if c < 0 || c >= memorySizes {
		return
	}
	*b = (*b)[:0]
	m.pools[c].Put(b)
}

// draft is an empty draft.
func (m *memory) draft(cbor bool) *draft {
	d, _ := m.drafts.Get().(*draft)
	if d == nil {
		d = &draft{}
	}
	d.cbor = cbor
	return d
}

// putDraft takes a draft back.
func (m *memory) putDraft(d *draft) {
	clear(d.holes) // What was answered is not to be kept.
	d.holes, d.extra = d.holes[:0], 0
	m.drafts.Put(d)
}

// grow moves what is in a buffer to one of at least n bytes.
func (m *memory) grow(b *[]byte, n int) *[]byte {
	large := m.get(n)
	*large = append(*large, *b...)
	m.put(b)
	return large
}

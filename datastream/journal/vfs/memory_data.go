package vfs

import (
	"io"
	"sync"
)

// memoryChunk is the piece in which a file's memory grows: what is there is
// never copied to make room for more.
const memoryChunk = 256 << 10

// memoryData is the content of a file, shared by all who have it open. Bytes
// that no chunk holds are zeros.
type memoryData struct {
	mu     sync.RWMutex
	size   int64
	chunks [][]byte // of memoryChunk bytes, or shorter, or nil; what they lack is zeros
}

func (d *memoryData) readAt(p []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if off >= d.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	var err error
	if int64(len(p)) > d.size-off {
		p, err = p[:d.size-off], io.EOF
	}
	n := len(p)
	for len(p) > 0 {
		at := int(off % memoryChunk)
		part := p[:min(len(p), memoryChunk-at)]
		var chunk []byte
		if i := int(off / memoryChunk); i < len(d.chunks) {
			chunk = d.chunks[i]
		}
		read := 0
		if at < len(chunk) {
			read = copy(part, chunk[at:])
		}
		clear(part[read:])
		p, off = p[len(part):], off+int64(len(part))
	}
	return n, err
}

func (d *memoryData) writeAt(p []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(p) == 0 {
		return
	}
	d.size = max(d.size, off+int64(len(p)))
	for len(p) > 0 {
		at := int(off % memoryChunk)
		n := min(len(p), memoryChunk-at)
		copy(d.chunk(int(off/memoryChunk), at+n)[at:], p[:n])
		p, off = p[n:], off+int64(n)
	}
}

// chunk returns the i-th chunk with at least n bytes. A file's first one grows
// by doubling, so that the many small files stay small.
func (d *memoryData) chunk(i, n int) []byte {
	for len(d.chunks) <= i {
		d.chunks = append(d.chunks, nil)
	}
	chunk := d.chunks[i]
	if len(chunk) >= n {
		return chunk
	}
	size := memoryChunk
	if i == 0 {
		for size = max(512, len(chunk)); size < n; size *= 2 {
		}
	}
	grown := make([]byte, size)
	copy(grown, chunk)
	d.chunks[i] = grown
	return grown
}

func (d *memoryData) truncate(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size < d.size {
		whole, rest := int(size/memoryChunk), int(size%memoryChunk)
		keep := whole
		if rest > 0 {
			keep++
		}
		if keep < len(d.chunks) {
			clear(d.chunks[keep:])
			d.chunks = d.chunks[:keep]
		}
		if whole < len(d.chunks) && rest < len(d.chunks[whole]) {
			clear(d.chunks[whole][rest:])
		}
	}
	d.size = size
}

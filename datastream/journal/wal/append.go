package wal

import (
	"fmt"

	"github.com/kineweir/kineweir/datastream/journal"
)

// batch is a frame being filled: the space of its header, then its entries.
type batch struct {
	buf    []byte
	count  int
	commit *journal.Commit
}

// keptBatches is how many emptied batches are kept: one being filled, one
// being committed and one in between need no new memory.
const keptBatches = 3

// Append encodes the entry into the frame being filled.
func (l *Lane) Append(kind journal.Kind, key string, payload []byte) journal.Future {
	if len(key) > journal.MaxKey || len(payload) > journal.MaxPayload {
		return journal.Failed(fmt.Errorf("append %d bytes of key and %d of payload: %w",
			len(key), len(payload), journal.ErrTooLarge))
	}
	size := maxEntryHead + len(key) + len(payload)
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.refusing == nil && l.queued > 0 && l.queued+size > l.opts.QueueBytes {
		l.room.Wait()
	}
	if l.refusing != nil {
		return journal.Failed(l.refusing)
	}
	b := l.filling
	if b != nil && (len(b.buf)+size > l.opts.FrameBytes || b.count == maxCount) {
		l.full = append(l.full, b)
		b = nil
	}
	if b == nil {
		b = l.newBatch()
		l.filling = b
		l.work.Signal()
	}
	before := len(b.buf)
	b.buf = appendEntry(b.buf, kind, key, payload)
	l.queued += len(b.buf) - before
	future := b.commit.Future(uint16(b.count))
	b.count++
	return future
}

// newBatch takes an emptied one or makes one. The caller holds mu.
func (l *Lane) newBatch() *batch {
	var b *batch
	if n := len(l.emptied); n > 0 {
		b, l.emptied = l.emptied[n-1], l.emptied[:n-1]
	} else {
		b = &batch{buf: make([]byte, headerSize, 64<<10)}
	}
	b.commit = journal.NewCommit()
	return b
}

// reuse empties a batch and keeps it, unless one large entry made its buffer
// too large to hold on to. The caller holds mu.
func (l *Lane) reuse(b *batch) {
	if len(l.emptied) >= keptBatches || cap(b.buf) > 2*l.opts.FrameBytes+headerSize {
		return
	}
	b.buf, b.count, b.commit = b.buf[:headerSize], 0, nil
	l.emptied = append(l.emptied, b)
}

package wal

import (
	"fmt"
	"hash/crc32"
	"runtime"
	"slices"
	"unsafe"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// batch is a frame being filled: the space of its header, then its entries.
type batch struct {
	buf    []byte
	count  int
	commit *journal.Commit
	shared bool   // entries are read where they are: buf is never written over
	paged  bool   // buf begins with a page of memory, and has the rest of its last page
	crc    uint32 // CRC-32C of the body up to summed
	summed int
}

// sumBytes is how much of a body is summed at once: little enough to be in the
// processor's nearest cache still, after it was copied there.
const sumBytes = 8 << 10

// keptBatches is how many emptied batches are kept: one being filled, one
// being committed and one in between need no new memory.
const keptBatches = 3

// Shared batches are cut out of pieces of memory as large as a frame at most
// becomes; what is left of a piece when it is too small to begin a frame in is
// given up.
const leastShared = 64 << 10

var _ journal.Sharer = (*Lane)(nil)

// holdBytes is how much AppendShared appends before it lets the committer, and
// others who append, have their turn.
const holdBytes = 64 << 10

// Append encodes the entry into the frame being filled.
func (l *Lane) Append(kind journal.Kind, key string, payload []byte) journal.Future {
	l.mu.Lock()
	defer l.mu.Unlock()
	future, _ := l.append(kind, key, payload, nil, false)
	return future
}

// AppendShared encodes the entries into the frame being filled, whose memory is
// not used again while anybody reads them.
func (l *Lane) AppendShared(kind journal.Kind, entries []journal.Shared) {
	for len(entries) > 0 {
		entries = entries[l.appendSome(kind, entries):]
	}
}

// appendSome appends the first of the entries, at least one, in one go, and
// returns how many. An unlocking waits for all that was copied before it, which
// for each entry would cost about as much as the copy.
func (l *Lane) appendSome(kind journal.Kind, entries []journal.Shared) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for held := 0; n < len(entries) && held < holdBytes; n++ {
		e := &entries[n]
		e.Future, e.Payload = l.append(kind, e.Key, e.Head, e.Body, true)
		held += len(e.Head) + len(e.Body)
	}
	return n
}

// append encodes an entry, whose payload is head and then body, into the frame
// being filled, and returns the payload there if it is to be shared. The caller
// holds mu.
func (l *Lane) append(kind journal.Kind, key string, head, body []byte, share bool) (journal.Future, []byte) {
	length := len(head) + len(body)
	if len(key) > journal.MaxKey || length > journal.MaxPayload {
		return journal.Failed(fmt.Errorf("append %d bytes of key and %d of payload: %w",
			len(key), length, journal.ErrTooLarge)), nil
	}
	size := maxEntryHead + len(key) + length
	for l.refusing == nil && l.queued > 0 && l.queued+size > l.opts.QueueBytes {
		l.room.Wait()
	}
	if l.refusing != nil {
		return journal.Failed(l.refusing), nil
	}
	b := l.filling
	if b != nil && !b.takes(size, l.opts.FrameBytes, share) {
		l.full = append(l.full, b)
		l.keepRest(b)
		b = nil
	}
	if b == nil {
		b = l.newBatch(size, share)
		l.filling = b
		l.work.Signal()
	}
	before := len(b.buf)
	b.buf = appendEntry(b.buf, kind, key, head, body)
	if len(b.buf)-b.summed >= sumBytes {
		b.sum()
	}
	l.queued += len(b.buf) - before
	future := b.commit.Future(uint16(b.count))
	b.count++
	if !share {
		return future, nil
	}
	return future, b.buf[len(b.buf)-length : len(b.buf) : len(b.buf)]
}

// frame is what is to be written of a batch, whose room is that for padding.
func (b *batch) frame() []byte {
	if b.paged {
		return b.buf
	}
	return slices.Clip(b.buf)
}

// takes reports whether there is room for an entry, which may be shared.
func (b *batch) takes(size, frameBytes int, share bool) bool {
	if share && (!b.shared || len(b.buf)+size > cap(b.buf)) {
		return false
	}
	return len(b.buf)+size <= frameBytes && b.count < maxCount
}

// sum brings the checksum up to date.
func (b *batch) sum() uint32 {
	b.crc = crc32.Update(b.crc, castagnoli, b.buf[b.summed:])
	b.summed = len(b.buf)
	return b.crc
}

// newBatch takes an emptied one or makes one. The caller holds mu.
func (l *Lane) newBatch(size int, share bool) *batch {
	var b *batch
	switch n := len(l.emptied); {
	case share:
		b = l.sharedBatch(headerSize + size)
	case n > 0:
		b, l.emptied = l.emptied[n-1], l.emptied[:n-1]
	default:
		b = &batch{buf: make([]byte, headerSize, 64<<10)}
	}
	b.summed = headerSize
	b.commit = journal.NewCommit()
	return b
}

// sharedBatch is a batch with room for so many bytes. Where the one before was
// large enough to be written directly this one may be as well. The caller holds
// mu.
func (l *Lane) sharedBatch(size int) *batch {
	b := &batch{shared: true, paged: l.paging}
	skip := 0
	if b.paged {
		skip = toPage(l.rest)
	}
	if cap(l.rest)-skip < max(size, leastShared) {
		l.rest, skip = l.newPiece(size), 0
	}
	b.buf = l.rest[skip : skip+headerSize]
	b.paged = b.paged && vfs.Aligned(b.buf)
	l.rest = nil
	return b
}

// newPiece is memory for shared batches. A piece of the usual size comes back
// when nobody reads in it any more, which the garbage collector finds out: memory
// that was used a moment ago costs nothing, where the collector's own way is to
// clear it, or to give it back to the system and ask for it again, page by page.
// What is not needed for a while is let go.
func (l *Lane) newPiece(size int) []byte {
	usual := (l.opts.FrameBytes + pageSize - 1) &^ (pageSize - 1)
	if size > usual {
		return make([]byte, 0, size)
	}
	first, ok := l.unread.Get().(*byte)
	if !ok {
		first = unsafe.SliceData(make([]byte, usual))
	}
	runtime.SetFinalizer(first, func(first *byte) { l.unread.Put(first) })
	return unsafe.Slice(first, usual)[:0]
}

// keepRest keeps the memory behind a shared batch that takes no more entries.
// The caller holds mu.
func (l *Lane) keepRest(b *batch) {
	if !b.shared {
		return
	}
	l.rest = b.buf[len(b.buf):]
	if b.paged { // its padding goes there
		l.rest = l.rest[:min(toPage(l.rest), cap(l.rest))]
		l.rest = l.rest[len(l.rest):]
	}
	l.paging = l.opener != nil && len(b.buf) >= l.opts.DirectBytes
}

// reuse empties a batch and keeps it, unless it is shared, or one large entry
// made its buffer too large to hold on to. The caller holds mu.
func (l *Lane) reuse(b *batch) {
	if b.shared || len(l.emptied) >= keptBatches || cap(b.buf) > 2*l.opts.FrameBytes+headerSize {
		return
	}
	*b = batch{buf: b.buf[:headerSize]}
	l.emptied = append(l.emptied, b)
}

package datastream

import (
	"sync"
	"sync/atomic"
	"time"
)

// What a shard carries, as the service documents it.
const (
	shardInLarge  = 10 << 20 // bytes at once, in a stream with large records
	shardOutBytes = 2 << 20  // a second
	shardReads    = 5        // a second
	shardSeeks    = 5        // a second
)

// meter counts what goes through a shard and, where asked, holds it to the
// service's throughput.
type meter struct {
	inBytes, inRecords, inRefused    atomic.Uint64
	outBytes, outRecords, outRefused atomic.Uint64
	age                              atomic.Int64
	limits                           atomic.Pointer[throttles] // made when first asked
	use                              *watch                    // of an on-demand stream; under the stream's ctl
}

func newMeter() *meter { return &meter{} }

// throttles are the limits of one shard.
type throttles struct {
	mu                           sync.Mutex // guards all
	bytes, records, reads, seeks tokens
	large                        bool      // bytes are for large records
	free                         time.Time // no read before
}

func (m *meter) throttles() *throttles {
	if t := m.limits.Load(); t != nil {
		return t
	}
	m.limits.CompareAndSwap(nil, &throttles{
		bytes: newTokens(shardBytes, shardBytes), records: newTokens(shardRecords, shardRecords),
		reads: newTokens(shardReads, shardReads), seeks: newTokens(shardSeeks, shardSeeks),
	})
	return m.limits.Load()
}

// takeIn reports whether a record of so many bytes may come in now. A stream
// with large records may burst to 10 MiB while it keeps to 1 MiB a second on
// average.
func (m *meter) takeIn(bytes int, large bool, now time.Time) bool {
	t := m.throttles()
	t.mu.Lock()
	defer t.mu.Unlock()
	if large && !t.large {
		t.bytes, t.large = newTokens(shardBytes, shardInLarge), true
	}
	if !t.records.take(1, now) {
		return false
	}
	if !t.bytes.take(float64(bytes), now) {
		t.records.refund(1)
		return false
	}
	return true
}

func (m *meter) takeSeek(now time.Time) bool {
	t := m.throttles()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seeks.take(1, now)
}

// takeRead reports whether a read may begin now; paid tells afterwards how much
// it read.
func (m *meter) takeRead(now time.Time) bool {
	t := m.throttles()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.free) || !t.reads.take(1, now) {
		m.outRefused.Add(1)
		return false
	}
	return true
}

// paid is what a read took: reads are refused until the bytes beyond what a
// second allows are worked off; after 10 MiB that is about 5 s.
func (m *meter) paid(bytes int, now time.Time) {
	t := m.throttles()
	t.mu.Lock()
	t.free = paced(t.free, now, bytes)
	t.mu.Unlock()
}

// paced is when the next bytes may flow, after so many now: at 2 MiB a second,
// with 200 ms, the pause between the reads that a second allows, in hand.
func paced(free, now time.Time, bytes int) time.Time {
	if earliest := now.Add(-time.Second / shardReads); free.Before(earliest) {
		free = earliest
	}
	return free.Add(time.Duration(bytes) * time.Second / shardOutBytes)
}

func (m *meter) countOut(bytes, records int, age time.Duration) {
	m.outBytes.Add(uint64(bytes))
	m.outRecords.Add(uint64(records))
	m.age.Store(int64(age))
}

func (m *meter) figures(index uint32) ShardFigures {
	return ShardFigures{
		Index: index, IncomingBytes: m.inBytes.Load(), IncomingRecords: m.inRecords.Load(),
		OutgoingBytes: m.outBytes.Load(), OutgoingRecords: m.outRecords.Load(), IteratorAgeLast: time.Duration(m.age.Load()),
		WriteProvisionedThroughputExceeded: m.inRefused.Load(), ReadProvisionedThroughputExceeded: m.outRefused.Load(),
	}
}

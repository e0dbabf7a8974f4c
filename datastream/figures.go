package datastream

import (
	"slices"
	"sync/atomic"
	"time"
)

// CallFigures count the calls of one operation.
type CallFigures struct {
	Calls   uint64
	Success uint64        // of them, in which at least one record went well
	Latency time.Duration // all calls together
	Bytes   uint64        // keys and data
	Records uint64        // that went well
}

// StreamFigures are what happened to a stream since the engine was opened,
// named as the service's CloudWatch figures. Everything counts up but the
// fields that end in Last, which are gauges.
type StreamFigures struct {
	IncomingBytes, IncomingRecords uint64
	PutRecord, PutRecords          CallFigures
	PutRecordsTotalRecords         uint64
	PutRecordsFailedRecords        uint64 // could not be kept
	PutRecordsThrottledRecords     uint64
	// WriteProvisionedThroughputExceeded counts refused records, Read... refused calls.
	WriteProvisionedThroughputExceeded, ReadProvisionedThroughputExceeded uint64

	GetRecords        CallFigures
	IteratorAgeLast   time.Duration // how long ago the last record that GetRecords returned had arrived
	IteratorBehind    time.Duration // Batch.Behind of the last GetRecords
	Subscribe         uint64        // SubscribeToShard.Success
	SubscribeRefused  uint64        // SubscribeToShard.RateExceeded
	SubscribeEvent    CallFigures   // SubscribeToShardEvent; Latency is 0
	EventBehindLast   time.Duration // SubscribeToShardEvent.MillisBehindLatest of the last event
	Shards            []ShardFigures
	MonitoredPerShard []string // enhanced monitoring flags that are on
}

// ShardFigures are those of one shard, named as the enhanced monitoring flags.
type ShardFigures struct {
	Index                                                                 uint32
	IncomingBytes, IncomingRecords                                        uint64
	OutgoingBytes, OutgoingRecords                                        uint64
	IteratorAgeLast                                                       time.Duration
	WriteProvisionedThroughputExceeded, ReadProvisionedThroughputExceeded uint64
}

// callCounter is CallFigures under way.
type callCounter struct{ calls, success, latency, bytes, records atomic.Uint64 }

func (c *callCounter) add(ok bool, took time.Duration, bytes, records int) {
	c.calls.Add(1)
	c.latency.Add(uint64(took))
	if ok {
		c.success.Add(1)
		c.bytes.Add(uint64(bytes))
		c.records.Add(uint64(records))
	}
}

func (c *callCounter) figures() CallFigures {
	return CallFigures{
		Calls: c.calls.Load(), Success: c.success.Load(), Latency: time.Duration(c.latency.Load()),
		Bytes: c.bytes.Load(), Records: c.records.Load(),
	}
}

// streamCounters are StreamFigures under way: one atomic addition per call and
// figure, none per record.
type streamCounters struct {
	single, batch                 callCounter // puts
	tried, failed, throttled      atomic.Uint64
	writesThrottled               atomic.Uint64
	reads                         callCounter
	readsThrottled                atomic.Uint64
	age, behind                   atomic.Int64
	subscribes, subscribesRefused atomic.Uint64
	events                        callCounter
	eventBehind                   atomic.Int64
}

func (c *streamCounters) countPut(puts []Put, routes []*shard, results []PutResult, batch bool, took time.Duration) {
	var bytes, records, throttled, failed int
	for i := range results {
		switch r := &results[i]; {
		case r.Err == nil:
			n := len(puts[i].PartitionKey) + len(puts[i].Data)
			bytes += n
			records++
			routes[i].meter.inBytes.Add(uint64(n))
			routes[i].meter.inRecords.Add(1)
		case isThrottled(r.Err):
			throttled++
			routes[i].meter.inRefused.Add(1)
		default:
			failed++
		}
	}
	calls := &c.single
	if batch {
		calls = &c.batch
		c.tried.Add(uint64(len(puts)))
		c.failed.Add(uint64(failed))
		c.throttled.Add(uint64(throttled))
	}
	calls.add(records > 0, took, bytes, records)
	if throttled > 0 {
		c.writesThrottled.Add(uint64(throttled))
	}
}

func isThrottled(err error) bool {
	e, ok := err.(*Error)
	return ok && e.Kind == ErrThrottled
}

func (c *streamCounters) countRead(sh *shard, b *Batch, bytes int, took time.Duration) {
	c.reads.add(true, took, bytes, len(b.Records))
	age := time.Duration(0)
	if n := len(b.Records); n > 0 {
		age = max(0, time.Since(b.Records[n-1].Arrived))
	}
	c.age.Store(int64(age))
	c.behind.Store(int64(b.Behind))
	sh.meter.countOut(bytes, len(b.Records), age)
}

func (c *streamCounters) countPush(sh *shard, b *Batch, bytes int) {
	c.events.add(true, 0, bytes, len(b.Records))
	c.eventBehind.Store(int64(b.Behind))
}

// Figures yields every stream's figures, in the order of their names.
func (e *Engine) Figures(yield func(stream string, f StreamFigures)) {
	streams := slices.SortedFunc(e.all, func(a, b *stream) int { return compareNames(a.name, b.name) })
	for _, s := range streams {
		yield(s.name, s.figuresNow())
	}
}

func (s *stream) figuresNow() StreamFigures {
	c, p := &s.figures, s.now()
	f := StreamFigures{
		PutRecord: c.single.figures(), PutRecords: c.batch.figures(),
		PutRecordsTotalRecords: c.tried.Load(), PutRecordsFailedRecords: c.failed.Load(), PutRecordsThrottledRecords: c.throttled.Load(),
		WriteProvisionedThroughputExceeded: c.writesThrottled.Load(), ReadProvisionedThroughputExceeded: c.readsThrottled.Load(),
		GetRecords: c.reads.figures(), IteratorAgeLast: time.Duration(c.age.Load()), IteratorBehind: time.Duration(c.behind.Load()),
		Subscribe: c.subscribes.Load(), SubscribeRefused: c.subscribesRefused.Load(),
		SubscribeEvent: c.events.figures(), EventBehindLast: time.Duration(c.eventBehind.Load()),
		MonitoredPerShard: slices.Clone(p.record.Monitored),
	}
	f.IncomingBytes = f.PutRecord.Bytes + f.PutRecords.Bytes
	f.IncomingRecords = f.PutRecord.Records + f.PutRecords.Records
	f.Shards = make([]ShardFigures, len(p.shards.all))
	for i, sh := range p.shards.all {
		f.Shards[i] = sh.meter.figures(sh.index)
	}
	return f
}

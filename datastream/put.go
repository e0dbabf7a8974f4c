package datastream

import (
	"context"
	"math/big"
	"slices"
	"time"

	"github.com/kineweir/kineweir/datastream/segment"
)

// Put is one record to keep.
type Put struct {
	PartitionKey string   // 1 to 256 characters; may be "" in a stream with automatic distribution
	ExplicitHash *HashKey // instead of the partition key's hash
	Data         []byte   // the caller's again when Put returns
}

// PutOptions belong to all records of a Put.
type PutOptions struct {
	// After is a sequence number, decimal, of which the records' are to be
	// greater (SequenceNumberForOrdering); "" none.
	After string
	// DryRun checks everything and keeps nothing.
	DryRun bool
	// Batch counts the call as PutRecords, not as PutRecord.
	Batch bool
}

// PutResult is what became of one record.
type PutResult struct {
	Shard     uint32
	Sequence  SequenceNumber
	Encrypted bool
	Err       error // ErrThrottled or ErrUnavailable: it was not kept
}

// Put keeps records, each in the shard on whose range its hash key falls, and
// returns when they are durable and can be read. The error is for the whole
// call, of which then nothing was kept. Once records are on their way to the
// log the end of the context does not call them back.
func (e *Engine) Put(ctx context.Context, name string, puts []Put, o PutOptions) ([]PutResult, error) {
	s, err := e.serving(name)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	p := s.now()
	size, err := checkPuts(s, p, puts)
	if err != nil {
		return nil, err
	}
	if o.After != "" {
		if err := checkAfter(name, o.After, unixMs(began)); err != nil {
			return nil, err
		}
	}
	w := e.workspace(len(puts))
	defer e.giveBack(w)
	routes := w.routes
	if p, err = e.route(ctx, s, puts, routes); err != nil {
		return nil, err
	}
	defer p.gate.leave()
	sealer, err := e.sealer(s, p)
	if err != nil {
		return nil, err
	}
	results := make([]PutResult, len(puts))
	for i, sh := range routes {
		results[i] = PutResult{Shard: sh.index, Encrypted: sealer != nil}
	}
	if o.DryRun {
		return results, nil
	}
	if e.limits.Throttle {
		e.throttlePuts(s, p, puts, routes, results, began)
	}
	e.keep(s, puts, w, results, sealer, size)
	s.figures.countPut(puts, routes, results, o.Batch, time.Since(began))
	return results, nil
}

func checkPuts(s *stream, p *picture, puts []Put) (size int, err error) {
	if len(puts) < 1 || len(puts) > MaxPuts {
		return 0, refuse(ErrInvalid, s.name, "a put has 1 to %d records, not %d", MaxPuts, len(puts))
	}
	most := p.record.MaxRecordKiB << 10
	for i := range puts {
		one := len(puts[i].PartitionKey) + len(puts[i].Data)
		switch {
		case one > most:
			return 0, refuse(ErrInvalid, s.name, "record %d has %d bytes, and at most %d are allowed", i, one, most)
		case puts[i].PartitionKey == "" && !p.record.Auto:
			return 0, refuse(ErrInvalid, s.name, "record %d has no partition key", i)
		case len(puts[i].PartitionKey) > 4*256:
			return 0, refuse(ErrInvalid, s.name, "the partition key of record %d is longer than 256 characters", i)
		}
		size += one
	}
	if size > MaxPutBytes {
		return 0, refuse(ErrInvalid, s.name, "the records have %d bytes together, and at most %d are allowed", size, MaxPutBytes)
	}
	return size, nil
}

// checkAfter holds a SequenceNumberForOrdering to what can have been given out
// by now. Numbers of the service's older versions lie below all of ours.
func checkAfter(stream, text string, now int64) error {
	n, err := ParseSequenceNumber(text)
	if err == nil && n.Arrived*1000 <= now {
		return nil
	}
	if old, ok := new(big.Int).SetString(text, 10); ok && err != nil && len(text) <= 38 && old.Sign() >= 0 && old.BitLen() <= 124 {
		return nil
	}
	return refuse(ErrInvalid, stream, "ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s is invalid.", text, stream)
}

// route finds the shard of each record in a picture whose gate it has entered.
// While one of them is being closed it waits.
func (e *Engine) route(ctx context.Context, s *stream, puts []Put, into []*shard) (*picture, error) {
	for {
		p := s.now()
		if p.broken {
			return nil, broken(s.name)
		}
		if !p.gate.enter() {
			continue // the picture behind it is there already
		}
		if s.routeIn(p, puts, into) {
			return p, nil
		}
		p.gate.leave()
		select {
		case <-p.changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-e.closing:
			return nil, refuse(ErrUnavailable, s.name, "the server is closing")
		}
	}
}

// routeIn reports false when a shard takes no puts just now.
func (s *stream) routeIn(p *picture, puts []Put, into []*shard) bool {
	if p.record.Auto {
		open := p.shards.open
		turn := s.turn.Add(uint64(len(puts)))
		for i := range puts {
			into[i] = open[(turn+uint64(i))%uint64(len(open))]
			if into[i].closing {
				return false
			}
		}
		return true
	}
	for i := range puts {
		h := puts[i].ExplicitHash
		if h == nil {
			hash := HashOf(puts[i].PartitionKey)
			h = &hash
		}
		if into[i] = p.shards.route(*h); into[i].closing {
			return false
		}
	}
	return true
}

func (e *Engine) throttlePuts(s *stream, p *picture, puts []Put, routes []*shard, results []PutResult, now time.Time) {
	large := p.record.MaxRecordKiB > MinRecordKiB
	for i, sh := range routes {
		if !sh.meter.takeIn(len(puts[i].PartitionKey)+len(puts[i].Data), large, now) {
			results[i] = PutResult{Shard: sh.index, Err: refuse(ErrThrottled, s.name, "Rate exceeded for shard shardId-%012d in stream %s.", sh.index, s.name)}
		}
	}
}

// workspace is the memory of one Put, which the log has no part in: it copies
// what it is given.
type workspace struct {
	routes []*shard
	order  []uint64 // of the records in the log: shard<<32 | number of the put
	items  []segment.Item
	slab   []byte // the bodies, or their heads, one behind the other
}

// keptSlab is the largest slab that is kept for the next Put, in bytes.
const keptSlab = 1 << 20

// workspace is room for so many records.
func (e *Engine) workspace(records int) *workspace {
	w, _ := e.workspaces.Get().(*workspace)
	if w == nil || cap(w.routes) < records {
		w = &workspace{routes: make([]*shard, records), items: make([]segment.Item, 0, records)}
	}
	w.routes = w.routes[:records]
	return w
}

// giveBack lets go of what a Put has left in its workspace.
func (e *Engine) giveBack(w *workspace) {
	clear(w.routes)
	clear(w.items)
	w.order, w.items, w.slab = w.order[:0], w.items[:0], w.slab[:0]
	if cap(w.slab) > keptSlab {
		w.slab = nil
	}
	e.workspaces.Put(w)
}

// keep hands what was not throttled to the log and waits for the outcome, however
// long. The records of a shard go there one behind the other: what lies together
// is read together, and a log of long runs need not be written again to be sorted.
func (e *Engine) keep(s *stream, puts []Put, w *workspace, results []PutResult, sealer *sealer, size int) {
	var n *binding
	need := headSize(puts)
	if sealer != nil {
		n, need = new(binding), size+len(puts)*(sealHeader+2+tagSize) // the length of a partition key takes at most two bytes
	}
	routes, items, slab := w.routes, w.items, slices.Grow(w.slab, need)
	w.sort(results)
	for _, o := range w.order {
		i := uint32(o)
		start, item := len(slab), segment.Item{Key: s.segmentKey(routes[i].index)}
		if sealer != nil {
			slab = sealer.seal(slab, n, s.id, routes[i].index, puts[i].PartitionKey, puts[i].Data)
			item.Body = slab[start:]
		} else {
			slab = appendHead(slab, puts[i].PartitionKey)
			item.Head, item.Body = slab[start:], puts[i].Data
		}
		items = append(items, item)
	}
	w.items, w.slab = items, slab
	if len(items) == 0 {
		return
	}
	pending, arrived := e.append(s, items)
	err := pending.Wait(context.Background())
	for item, o := range w.order {
		i := uint32(o)
		if err != nil {
			results[i] = PutResult{Shard: routes[i].index, Err: unkept(s.name, "the record could not be kept", err)}
			continue
		}
		results[i].Sequence = routes[i].number(IndexOf(pending.Position(item)), arrived)
	}
}

// sort orders what was not refused by shard, and within a shard as it came.
func (w *workspace) sort(results []PutResult) {
	for i, sh := range w.routes {
		if results[i].Err == nil {
			w.order = append(w.order, uint64(sh.index)<<32|uint64(i))
		}
	}
	slices.Sort(w.order)
}

// headSize is what all of the puts' heads take, at most.
func headSize(puts []Put) (size int) {
	for i := range puts {
		size += bodyHeader + 2 + len(puts[i].PartitionKey)
	}
	return size
}

// append stamps items and appends them, in one step, so that within a shard
// what comes later never has an earlier stamp.
func (e *Engine) append(s *stream, items []segment.Item) (*segment.Pending, int64) {
	now := unixMs(time.Now())
	s.order.Lock()
	defer s.order.Unlock()
	s.arrived = max(s.arrived, now)
	for i := range items {
		items[i].Arrived = s.arrived
	}
	return e.log.Append(items), s.arrived
}

func (s *stream) segmentKey(shard uint32) segment.Key { return segment.Key{Stream: s.id, Shard: shard} }

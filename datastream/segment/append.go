package segment

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Pending is the outcome, still to come, of one Append.
type Pending struct {
	entries []entry
	one     [1]entry // entries, when there is one
	bytes   int64
	wave    *wave
	done    chan struct{} // of the wave, if there is one
	err     error         // set before done is closed
}

// wave is the calls whose last records share a frame of the lane. They become
// known together, and one channel wakes all who wait for them.
type wave struct {
	last journal.Future // of one of the calls
	done chan struct{}
	left int // calls that are queued or taken and not settled; under Store.mu
}

// entry is a record on its way.
type entry struct {
	shard   *shard
	arrived int64
	body    []byte
	future  journal.Future
}

// Append queues records, in order, behind those of all calls before it. It waits
// only while queues are full: while as much as they may hold is not yet durable,
// or not yet sealed. When sealing can not go on for want of room on the device,
// records are refused with journal.ErrFull until it can.
//
// The items are the caller's again when it returns.
func (s *Store) Append(items []Item) *Pending {
	p := new(Pending)
	if len(items) == 0 {
		return p.refused(nil)
	}
	for i := range items {
		size := items[i].size()
		if size > MaxBody {
			return p.refused(fmt.Errorf("append a record of %d bytes: %w", size, journal.ErrTooLarge))
		}
		p.bytes += int64(size) + recordCost
	}
	p.entries = p.one[:]
	if len(items) > 1 {
		p.entries = make([]entry, len(items))
	}
	s.shards.hold(p.entries, items)

	s.order.Lock()
	defer s.order.Unlock()
	if err := s.admit(p.bytes); err != nil {
		release(p.entries)
		return p.refused(err)
	}
	s.send(p.entries, items)
	s.mu.Lock()
	s.join(p)
	s.queue = append(s.queue, p)
	s.work.Signal()
	s.mu.Unlock()
	return p
}

// join adds a call to the wave of its last record. The caller holds mu.
func (s *Store) join(p *Pending) {
	last := p.last()
	if s.wave == nil || !s.wave.last.Together(last) {
		s.wave = &wave{last: last, done: make(chan struct{})}
	}
	s.wave.left++
	p.wave, p.done = s.wave, s.wave.done
}

// part takes a settled call out of its wave, and returns that if it was the
// last one there: whoever comes later in the same frame makes a new one. The
// caller holds mu.
func (s *Store) part(p *Pending) *wave {
	w := p.wave
	if w.left--; w.left > 0 {
		return nil
	}
	if s.wave == w {
		s.wave = nil
	}
	return w
}

// admit waits until there is room for so many bytes and counts them. The caller
// holds order.
func (s *Store) admit(bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		full := s.active.bytes >= s.opts.MemBytes && len(s.waiting) >= maxWaiting
		switch {
		case s.closing:
			return journal.ErrClosed
		case s.failure != nil:
			return s.failure
		case full && s.noRoom:
			s.count.refused.Add(1)
			return fmt.Errorf("%w: %d tables of records wait to be sealed", journal.ErrFull, len(s.waiting)+1)
		case !full && (s.queued == 0 || s.queued+bytes <= maxQueued):
			s.queued += bytes
			return nil
		}
		s.room.Wait()
	}
}

// send stamps records and puts them into the lane. The caller holds order.
func (s *Store) send(entries []entry, items []Item) {
	for i := range entries {
		sh := entries[i].shard
		sh.stamped = max(sh.stamped, items[i].Arrived)
		entries[i].arrived = sh.stamped
	}
	if s.share == nil {
		s.sendCopies(entries, items)
		return
	}
	// The lane has the only copy of what it shares.
	sending := slices.Grow(s.sending, len(items))[:len(items)]
	heads := s.scratch[:0]
	for i := range items {
		start := len(heads)
		heads = le.AppendUint64(heads, uint64(entries[i].arrived))
		heads = append(heads, items[i].Head...)
		sending[i] = journal.Shared{Key: entries[i].shard.laneKey, Head: heads[start:], Body: items[i].Body}
	}
	s.share.AppendShared(laneRecord, sending)
	for i := range sending {
		entries[i].future = sending[i].Future
		if payload := sending[i].Payload; payload != nil {
			entries[i].body = payload[entryHead:]
		}
	}
	clear(sending)
	s.sending = sending
	s.keepScratch(heads)
}

// sendCopies puts copies into the lane. The caller holds order.
func (s *Store) sendCopies(entries []entry, items []Item) {
	for i := range entries {
		e := &entries[i]
		b := le.AppendUint64(s.scratch[:0], uint64(e.arrived))
		b = append(append(b, items[i].Head...), items[i].Body...)
		e.future = s.lane.Append(laneRecord, e.shard.laneKey, b)
		e.body = slices.Clone(b[entryHead:])
		s.keepScratch(b)
	}
}

// keepScratch keeps a buffer for later, unless one large record made it large.
func (s *Store) keepScratch(b []byte) {
	s.scratch = b
	if cap(b) > flushBytes {
		s.scratch = nil
	}
}

// Wait returns nil when all records of the call are durable and visible, and
// otherwise why one of them is not; the others may be visible then. The errors
// are those of the lane. When the context ends first it returns the context's
// error, and the outcome is unknown.
func (p *Pending) Wait(ctx context.Context) error {
	over := ctx.Done()
	if over == nil { // half the price
		<-p.done
		return p.err
	}
	select {
	case <-p.done:
		return p.err
	default:
	}
	select {
	case <-p.done:
		return p.err
	case <-over:
		return context.Cause(ctx)
	}
}

// Position is where item i lies, once Wait has returned nil.
func (p *Pending) Position(i int) journal.Position {
	position, _ := p.entries[i].future.Outcome()
	return position
}

func (p *Pending) refused(err error) *Pending {
	p.err, p.done = err, make(chan struct{})
	close(p.done)
	return p
}

// publish makes records visible, in the order in which they were appended.
func (s *Store) publish() {
	for {
		batch, ok := s.take()
		if !ok {
			return
		}
		for len(batch) > 0 {
			n := settled(batch)
			s.settle(batch[:n])
			batch = batch[n:]
		}
	}
}

// settled waits until the lane has settled the first of the calls, and returns
// how many it has settled by then: those that share a frame are made visible
// together.
func settled(batch []*Pending) int {
	<-batch[0].last().Done()
	n := 1
	for ; n < len(batch); n++ {
		select {
		case <-batch[n].last().Done():
		default:
			return n
		}
	}
	return n
}

func (p *Pending) last() journal.Future { return p.entries[len(p.entries)-1].future }

// take waits for something to publish, and starts a new table when the active
// one is full: as only the publisher adds to a table, none is sealed half-way.
func (s *Store) take() ([]*Pending, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.rotate()
		if len(s.queue) > 0 {
			batch := s.queue
			s.queue = nil
			return batch, true
		}
		if s.drained {
			return nil, false
		}
		s.work.Wait()
	}
}

// rotate hands a full table to the sealer, if there is a place for it. The
// caller holds mu.
func (s *Store) rotate() {
	if s.active.bytes < s.opts.MemBytes || len(s.waiting) >= maxWaiting {
		return
	}
	s.waiting = append(s.waiting, s.active)
	s.active = s.newTable()
	s.full.Signal()
	s.room.Broadcast()
}

// newTable is an empty table.
func (s *Store) newTable() *table {
	return &table{scattered: s.pieces.lane == nil, most: 1 + int(2*s.opts.MemBytes/s.opts.leastStretch)}
}

// settle makes visible those records of the calls that are durable, and tells
// the callers.
func (s *Store) settle(batch []*Pending) {
	t := s.active
	var visible int
	var bytes, queued int64
	end := t.end
	for _, p := range batch {
		if _, err := p.last().Outcome(); err != nil {
			// A refusal does not wait for what was appended before it.
			for i := range p.entries {
				<-p.entries[i].future.Done()
			}
		}
		for i := range p.entries {
			e := &p.entries[i]
			position, err := e.future.Outcome()
			if err != nil {
				p.err = cmp.Or(p.err, err)
				continue
			}
			t.add(e.shard, Record{Position: position, Arrived: e.arrived, Body: e.body}, s.laneEnd.place(position, len(e.body)))
			end = position.Next()
			visible++
			bytes += int64(len(e.body)) + recordCost
			e.body = nil
		}
		release(p.entries)
		queued += p.bytes
	}
	s.count.appended.Add(uint64(visible))
	s.mu.Lock()
	s.queued -= queued
	t.grow(visible, bytes, end)
	s.rotate()
	s.room.Broadcast()
	over := s.over[:0]
	for _, p := range batch {
		if w := s.part(p); w != nil {
			over = append(over, w)
		}
	}
	s.mu.Unlock()
	for _, w := range over {
		close(w.done)
	}
	clear(over)
	s.over = over
}

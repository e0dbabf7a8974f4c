package datastream

import (
	"context"
	"fmt"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/segment"
)

// Cursor is a place in a shard: the next record is the first at or after Next.
type Cursor struct {
	Stream uint64 // ID
	Shard  uint32
	Next   journal.Position
}

// Batch is what one read returned.
type Batch struct {
	Records []Record
	Next    Cursor
	// Continue is the number after which Next lies: AfterSequence with it goes on.
	Continue SequenceNumber
	// End: the shard is closed and everything in it has been read. Children are
	// then the shards that took over its range, which may be closed by now too.
	End      bool
	Children []Shard
	// Behind is how long ago the next unread record arrived; 0 when there is none.
	Behind time.Duration
}

// Seek returns the cursor of a place in a shard.
func (e *Engine) Seek(name string, index uint32, start Start) (Cursor, error) {
	s, err := e.serving(name)
	if err != nil {
		return Cursor{}, err
	}
	p := s.now()
	sh := p.shards.find(index)
	if sh == nil || sh.expired(p.horizon(time.Now())) {
		return Cursor{}, refuse(ErrNotFound, name, "Shard shardId-%012d in stream %s does not exist", index, name)
	}
	if e.limits.Throttle && !sh.meter.takeSeek(time.Now()) {
		return Cursor{}, refuse(ErrThrottled, name, "Rate exceeded for shard shardId-%012d in stream %s.", index, name)
	}
	c := Cursor{Stream: s.id, Shard: index}
	c.Next, err = e.seek(s, p, sh, start)
	return c, err
}

func (e *Engine) seek(s *stream, p *picture, sh *shard, start Start) (journal.Position, error) {
	k := s.segmentKey(sh.index)
	switch start.From {
	case TrimHorizon:
		return journal.Position{}, nil
	case Latest:
		_, end, _ := e.log.Bounds(k)
		return end, nil
	case AtTimestamp:
		at, now := unixMs(start.Time), unixMs(time.Now())
		if at > now {
			return journal.Position{}, refuse(ErrInvalid, s.name, "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d", at, now)
		}
		return e.log.SeekTime(k, max(at, p.horizon(time.Now())))
	case AtSequence, AfterSequence:
		n, err := ParseSequenceNumber(start.Sequence)
		if err != nil {
			return journal.Position{}, refuse(ErrInvalid, s.name, "StartingSequenceNumber %s is invalid.", start.Sequence)
		}
		if n.Shard != sh.index {
			return journal.Position{}, refuse(ErrInvalid, s.name, "Invalid StartingSequenceNumber. It encodes shardId-%012d, while it was used in a call to a shard with shardId-%012d", n.Shard, sh.index)
		}
		if n.ShardMade != sh.epoch || n.Index != 0 && n.Index < era<<56 {
			return journal.Position{}, refuse(ErrInvalid, s.name, "StartingSequenceNumber %s used on shard shardId-%012d in stream %s is invalid because it did not come from this stream.", start.Sequence, sh.index, s.name)
		}
		at := n.Position()
		if start.From == AfterSequence && n.Index != 0 && n.Index != EndIndex {
			at = at.Next()
		}
		return at, nil
	}
	return journal.Position{}, refuse(ErrInvalid, s.name, "there is no start %q", start.From)
}

// serves finds the stream and shard that a cursor means.
func (e *Engine) serves(name string, c Cursor) (*stream, *picture, *shard, error) {
	s, err := e.serving(name)
	if err != nil {
		return nil, nil, nil, err
	}
	p := s.now()
	sh := p.shards.find(c.Shard)
	if s.id != c.Stream || sh == nil {
		return nil, nil, nil, refuse(ErrNotFound, name, "the cursor's shard is gone")
	}
	return s, p, sh, nil
}

// Read returns records from a cursor on: up to max of them (0 = MaxRead), with
// up to maxBytes (0 = MaxReadBytes) in keys and data unless the first alone has
// more. A cursor can be read from again.
func (e *Engine) Read(_ context.Context, name string, c Cursor, limit, maxBytes int) (Batch, error) {
	s, p, sh, err := e.serves(name, c)
	if err != nil {
		return Batch{}, err
	}
	began := time.Now()
	if e.limits.Throttle && !sh.meter.takeRead(began) {
		s.figures.readsThrottled.Add(1)
		return Batch{}, refuse(ErrThrottled, name, "Rate exceeded for shard shardId-%012d in stream %s.", sh.index, name)
	}
	b, bytes, err := e.read(s, p, sh, c, limit, maxBytes)
	if err != nil {
		return Batch{}, err
	}
	if e.limits.Throttle {
		sh.meter.paid(bytes, began)
	}
	s.figures.countRead(sh, &b, bytes, time.Since(began))
	return b, nil
}

// read gives what Read does, and how many bytes of keys and data that is.
//
// A shard that p shows closed holds all it will ever hold: whether the end was
// reached is decided by that picture, which is older than the look at the log.
func (e *Engine) read(s *stream, p *picture, sh *shard, c Cursor, limit, maxBytes int) (b Batch, bytes int, err error) {
	limit, maxBytes = within(limit, MaxRead), within(maxBytes, MaxReadBytes)
	now := time.Now()
	horizon := p.horizon(now)
	if sh.expired(horizon) {
		return Batch{Next: c, Continue: sh.number(EndIndex, sh.closed), End: true, Children: p.shards.children(sh.index)}, 0, nil
	}
	scratch := e.takeScratch()
	defer e.putScratch(scratch)
	kept, next, err := e.readKept(s.segmentKey(sh.index), c.Next, limit+1, maxBytes, horizon, scratch)
	if err != nil {
		return Batch{}, 0, fmt.Errorf("stream %s, shard %d: %w", s.name, sh.index, err)
	}
	more := len(kept) > limit // the one too many tells how far behind the reader is
	if more {
		b.Behind = behind(now, kept[limit].Arrived)
		next = kept[limit].Position
		kept = kept[:limit]
	}
	if b.Records, bytes, err = e.decodeAll(s, p, sh, kept, scratch); err != nil {
		return Batch{}, 0, err
	}
	b.Next = Cursor{Stream: c.Stream, Shard: c.Shard, Next: next}
	b.Continue = continueAt(sh, &b)
	if more {
		return b, bytes, nil
	}
	if _, end, _ := e.log.Bounds(s.segmentKey(sh.index)); next.Less(end) {
		peek, _, err := e.readKept(s.segmentKey(sh.index), next, 1, 1, horizon, scratch)
		if err != nil {
			return Batch{}, 0, fmt.Errorf("stream %s, shard %d: %w", s.name, sh.index, err)
		}
		if len(peek) > 0 {
			b.Behind = behind(now, peek[0].Arrived)
			return b, bytes, nil
		}
	}
	if sh.closed != 0 {
		b.End, b.Children = true, p.shards.children(sh.index)
	}
	return b, bytes, nil
}

func within(n, most int) int {
	if n <= 0 || n > most {
		return most
	}
	return n
}

func behind(now time.Time, arrived int64) time.Duration {
	return max(0, now.Sub(time.UnixMilli(arrived)))
}

// readKept reads what is not hidden. What lies before the horizon is skipped by
// time, not by reading it.
func (e *Engine) readKept(k segment.Key, from journal.Position, limit, maxBytes int, horizon int64, scratch *scratch) ([]segment.Record, journal.Position, error) {
	rs, next, err := e.log.Read(k, from, limit, maxBytes, scratch.records[:0])
	scratch.records = rs
	if err != nil || len(rs) == 0 || rs[0].Arrived >= horizon {
		return rs, next, err
	}
	seen, err := e.log.SeekTime(k, horizon)
	if err != nil {
		return nil, from, err
	}
	if seen.Less(rs[0].Position) {
		seen = rs[0].Position
	}
	rs, next, err = e.log.Read(k, seen, limit, maxBytes, rs[:0])
	scratch.records = rs
	return rs, next, err
}

// scratch is the memory of one read.
type scratch struct {
	records []segment.Record
	binding binding
}

func (e *Engine) takeScratch() *scratch {
	if s, ok := e.scratches.Get().(*scratch); ok {
		return s
	}
	return new(scratch)
}

func (e *Engine) putScratch(s *scratch) {
	clear(s.records[:cap(s.records)]) // lets go of bodies
	e.scratches.Put(s)
}

// decodeAll turns bodies into records, and counts the bytes of keys and data.
// Plain records share the memory of their bodies; the contents of sealed ones
// share one new piece.
func (e *Engine) decodeAll(s *stream, p *picture, sh *shard, kept []segment.Record, scratch *scratch) (rs []Record, bytes int, err error) {
	sealed := 0
	for i := range kept {
		if is, err := isSealed(kept[i].Body); is && err == nil {
			sealed += max(0, len(kept[i].Body)-sealHeader-tagSize)
		}
	}
	var slab []byte
	if sealed > 0 {
		slab = make([]byte, 0, sealed)
	}
	rs = make([]Record, len(kept))
	for i := range kept {
		if slab, err = e.decode(s, p, sh, &kept[i], &rs[i], slab, &scratch.binding); err != nil {
			return nil, 0, fmt.Errorf("stream %s, shard %d, record at %v: %w", s.name, sh.index, kept[i].Position, err)
		}
		bytes += len(rs[i].PartitionKey) + len(rs[i].Data)
	}
	return rs, bytes, nil
}

// decode sets r to a record; the content of a sealed one is appended to slab.
func (e *Engine) decode(s *stream, p *picture, sh *shard, kept *segment.Record, r *Record, slab []byte, n *binding) ([]byte, error) {
	sealed, err := isSealed(kept.Body)
	if err != nil {
		return slab, err
	}
	content := kept.Body[bodyHeader:]
	if sealed {
		start := len(slab)
		if slab, err = e.unseal(slab, n, s, p, sh.index, kept.Body); err != nil {
			return slab, err
		}
		content = slab[start:len(slab):len(slab)]
	}
	if r.PartitionKey, r.Data, err = parseContent(content); err != nil {
		return slab, err
	}
	r.Sequence = sh.number(IndexOf(kept.Position), kept.Arrived)
	r.Arrived = time.UnixMilli(kept.Arrived).UTC()
	r.Encrypted = sealed
	return slab, nil
}

// continueAt is the number just before the batch's Next.
func continueAt(sh *shard, b *Batch) SequenceNumber {
	if n := len(b.Records); n > 0 {
		return b.Records[n-1].Sequence
	}
	if b.Next.Next == (journal.Position{}) {
		return sh.number(0, sh.made)
	}
	return sh.number(IndexOf(b.Next.Next)-1, sh.made)
}

// Wait returns when Read would return a record or the shard's end.
func (e *Engine) Wait(ctx context.Context, name string, c Cursor) error {
	for {
		s, p, sh, err := e.serves(name, c)
		if err != nil {
			return err
		}
		wake := e.log.Wake(s.segmentKey(sh.index))
		if _, end, _ := e.log.Bounds(s.segmentKey(sh.index)); c.Next.Less(end) || sh.closed != 0 {
			return nil
		}
		select {
		case <-wake:
		case <-p.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-e.closing:
			return refuse(ErrUnavailable, name, "the server is closing")
		}
	}
}

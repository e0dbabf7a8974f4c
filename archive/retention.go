package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// Retention deletes whole objects, oldest first, and never one that is not in
// the bucket. It moves one number per stream, the floor, below which everything
// is deleted, in an order in which a crash at any point leaves nothing to be
// seen that is half gone, and nothing to be raised by a rebuild:
//
//	1  the floor rises in the catalog: the fragments are hidden
//	2  and in stream.json
//	3  objects go, then blocks and the summaries of whole hours
//
// What 2 and 3 did not get to is done by the next look, also after a restart:
// hours keep the floor up to which they were swept.

func (a *Archive) retentionOf(name fragments.StreamName) Retention {
	if a.opts.RetentionOf != nil {
		if r, ok := a.opts.RetentionOf(name); ok {
			return r
		}
	}
	return a.opts.Retention
}

// retain applies retention to all streams and sweeps what is below the floors.
func (a *Archive) retain(ctx context.Context) {
	a.choring.Lock()
	defer a.choring.Unlock()
	now := a.opts.Now()
	for _, s := range a.all() {
		a.retentionFailed(ctx, s.name, s.retain(ctx, a.retentionOf(s.name), now))
	}
	a.retainFree(ctx)
	a.sweepGone(ctx)
}

// retain applies a rule to the stream. It first sweeps what an earlier look left
// behind, for only then the bytes are known.
func (s *stream) retain(ctx context.Context, r Retention, now time.Time) error {
	if err := s.sweep(ctx); err != nil {
		return err
	}
	floor, err := s.floorBy(ctx, r, now)
	if err != nil || !s.floorNow().Less(floor) {
		return err
	}
	return s.raiseAndSweep(ctx, floor)
}

func (s *stream) raiseAndSweep(ctx context.Context, floor fragments.Number) error {
	if err := s.raise(ctx, floor); err != nil {
		return err
	}
	return s.sweep(ctx)
}

func (a *Archive) retentionFailed(ctx context.Context, name fragments.StreamName, err error) {
	if err != nil && ctx.Err() == nil {
		a.log.Warn("retention is not done yet, will try again", "stream", name, "err", err)
	}
}

func (s *stream) floorNow() fragments.Number {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.floor
}

// unit is an object, or a whole hour, as retention sees it.
type unit struct {
	max   fragments.Number
	bytes int64
	end   time.Time // by server time
	goes  bool      // a whole hour, of which it is decided already
}

func unitOf(b *bounds) unit { return unit{max: b.max, bytes: b.bytes, end: b.serverEnd.Time()} }

// floorBy returns the floor that the rule wants, or one that is not above the
// present one.
func (s *stream) floorBy(ctx context.Context, r Retention, now time.Time) (floor fragments.Number, err error) {
	if r.MaxAge <= 0 && r.MaxBytes <= 0 {
		return floor, nil
	}
	s.mu.RLock()
	_, total := s.totals()
	s.mu.RUnlock()
	aged := func(u unit) bool { return r.MaxAge > 0 && now.Sub(u.end) > r.MaxAge }
	// Whole hours first, so that no block is read of those that go anyway.
	whole := func(b *bounds) bool {
		u := unitOf(b)
		if !aged(u) && (r.MaxBytes <= 0 || total-u.bytes < r.MaxBytes) {
			return false
		}
		total -= u.bytes
		return true
	}
	for u, err := range s.oldest(ctx, whole) {
		if err != nil {
			return floor, err
		}
		if !u.goes && !aged(u) && (r.MaxBytes <= 0 || total <= r.MaxBytes) {
			break
		}
		total -= u.bytes
		floor = above(floor, u.max)
	}
	return floor, nil
}

// above returns the least floor that is not below floor and above n.
func above(floor, n fragments.Number) fragments.Number {
	if n.Less(floor) {
		return floor
	}
	n.Counter++
	return n
}

// oldest yields what retention may delete, oldest first: closed hours for which
// whole answers true as one unit, without bytes, other kept objects one by one.
// It ends at the first object that is not in the bucket, or that holds what is
// durable and not yet visible: nothing goes that nobody could have seen.
func (s *stream) oldest(ctx context.Context, whole func(*bounds) bool) iter.Seq2[unit, error] {
	return func(yield func(unit, error) bool) {
		s.mu.RLock()
		closed, floor := slices.Clone(s.closed), s.floor
		open := s.storedObjects()
		s.mu.RUnlock()
		for i := range closed {
			c := &closed[i]
			if c.max.Less(floor) {
				continue
			}
			if whole(&c.bounds) {
				if !yield(unit{max: c.max, end: c.serverEnd.Time(), goes: true}, nil) {
					return
				}
				continue
			}
			b, err := s.a.block(ctx, s, c.hour)
			if err != nil {
				yield(unit{}, err)
				return
			}
			for _, o := range b.objects {
				u := boundsOf(o.entries)
				if u.count > 0 && !u.max.Less(floor) && !yield(unitOf(&u), nil) {
					return
				}
			}
		}
		for _, b := range open {
			if b.count > 0 && !b.max.Less(floor) && !yield(unitOf(&b), nil) {
				return
			}
		}
	}
}

// storedObjects returns the bounds of the open hours' objects, oldest first, up
// to the first that is not in the bucket or holds a fragment that an open number
// holds back. The caller holds mu.
func (s *stream) storedObjects() []bounds {
	objects := make([]*object, 0, len(s.objects))
	for _, o := range s.objects {
		objects = append(objects, o)
	}
	slices.SortFunc(objects, func(x, y *object) int { return x.id.first.Compare(y.id.first) })
	var list []bounds
	for _, o := range objects {
		b := boundsOf(o.entries)
		if o.state != stored || len(s.reserved) > 0 && s.reserved[0].counter <= b.max.Counter && b.max.Epoch == s.epoch {
			break
		}
		list = append(list, b)
	}
	return list
}

// raise raises the floor: in the catalog, then in memory.
func (s *stream) raise(ctx context.Context, floor fragments.Number) error {
	first, err := s.firstAt(ctx, floor)
	if err != nil {
		return err
	}
	s.mu.RLock()
	last := s.last
	s.mu.RUnlock()
	if first == nil {
		last = nil
	}
	s.mu.RLock()
	ends := s.ends(first, last)
	s.mu.RUnlock()
	if err := s.update(ctx, func(r *streamRecord) { r.Floor, r.Ends = floor, ends }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor, s.first, s.settings = floor, first, false
	if s.last != nil && s.last.Number.Less(floor) {
		s.last = nil
	}
	if s.first == nil {
		s.first = s.last // made visible meanwhile
	}
	for _, h := range s.hours {
		if n := firstFrom(h.entries, floor); n > 0 {
			h.entries = h.entries[n:]
			h.bounds = boundsOf(h.entries)
		}
	}
	s.announce()
	return nil
}

// firstAt finds the first entry at or above the floor.
func (s *stream) firstAt(ctx context.Context, floor fragments.Number) (*Entry, error) {
	parts, _ := s.partitions(func(b *bounds) bool { return !b.max.Less(floor) })
	for e, err := range s.a.merge(ctx, s, parts) {
		if err != nil {
			return nil, err
		}
		if !e.Number.Less(floor) {
			return e, nil
		}
	}
	return nil, nil
}

// sweep deletes what lies below the floor.
func (s *stream) sweep(ctx context.Context) error {
	s.mu.RLock()
	floor := s.floor
	closed := slices.DeleteFunc(slices.Clone(s.closed), func(c hourSummary) bool {
		return !c.min.Less(floor) || !c.swept.Less(floor)
	})
	var open []*object
	for _, o := range s.objects {
		if b := boundsOf(o.entries); o.state == stored && b.max.Less(floor) {
			open = append(open, o)
		}
	}
	s.mu.RUnlock()
	if len(closed) == 0 && len(open) == 0 {
		return nil
	}
	if err := s.a.writeSettings(ctx, s, false); err != nil {
		return err
	}
	for i := range closed {
		if err := s.sweepHour(ctx, &closed[i], floor); err != nil {
			return err
		}
	}
	for _, o := range open {
		if err := s.a.retire(ctx, o.id.key); err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.objects, o.id.first)
		s.openHourOf(o.id.hour).objects--
		s.mu.Unlock()
	}
	return nil
}

// retire deletes an object from the bucket.
func (a *Archive) retire(ctx context.Context, key string) error {
	if err := a.bucket.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	a.counters.retired.Add(1)
	return nil
}

// sweepHour deletes the objects of a closed hour that lie below the floor, and
// the hour when none is left.
func (s *stream) sweepHour(ctx context.Context, c *hourSummary, floor fragments.Number) error {
	b, err := s.a.block(ctx, s, c.hour)
	if errors.Is(err, bucket.ErrAbsent) && c.max.Less(floor) {
		return s.dropHour(ctx, c.hour)
	}
	if err != nil {
		return err
	}
	next := hourSummary{hour: c.hour, swept: floor}
	for _, o := range b.objects {
		ob := boundsOf(o.entries)
		if !ob.max.Less(floor) {
			for _, e := range o.entries {
				if !e.Number.Less(floor) {
					next.add(e)
				}
			}
			continue
		}
		if ob.max.Less(c.swept) {
			continue
		}
		if err := s.a.retire(ctx, o.id.key); err != nil {
			return err
		}
	}
	if next.count == 0 {
		return s.dropHour(ctx, c.hour)
	}
	if err := s.a.setKey(ctx, hourKey(s.dir, c.hour), next.encode()); err != nil {
		return err
	}
	s.replaceHour(c.hour, &next)
	return nil
}

// dropHour deletes the block of an hour without objects and forgets the hour.
func (s *stream) dropHour(ctx context.Context, h hour) error {
	key := blockKey(s.dir, h)
	if err := s.a.bucket.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	s.a.cache.forget(key)
	if err := s.a.dropKey(ctx, hourKey(s.dir, h)); err != nil && !errors.Is(err, journal.ErrAbsent) {
		return err
	}
	s.replaceHour(h, nil)
	return nil
}

// replaceHour puts another summary, or none, in the place of that of h.
func (s *stream) replaceHour(h hour, by *hourSummary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.closed, func(c hourSummary) bool { return c.hour == h })
	switch {
	case i < 0:
	case by != nil:
		s.closed = slices.Clone(s.closed)
		s.closed[i] = *by
	default:
		if i == len(s.closed)-1 {
			s.lastClosed = max(s.lastClosed, h)
		}
		s.closed = slices.Delete(slices.Clone(s.closed), i, i+1)
	}
}

// retainFree deletes the oldest objects of all streams while the bucket's disk
// has less room than it should.
func (a *Archive) retainFree(ctx context.Context) {
	if a.opts.MinFree <= 0 {
		return
	}
	free, err := a.opts.Free()
	if err != nil {
		a.log.Warn("free space is not known, the floor of free space is not kept", "err", err)
		return
	}
	need := a.opts.MinFree - free
	if need <= 0 {
		return
	}
	floors := a.oldestOfAll(ctx, need)
	if len(floors) == 0 {
		a.log.Warn("free space is below its floor, and nothing is left to delete", "free", free, "floor", a.opts.MinFree)
	}
	for s, floor := range floors {
		a.retentionFailed(ctx, s.name, s.raiseAndSweep(ctx, floor))
	}
}

// oldestOfAll chooses objects to delete, oldest first, until they make up need
// bytes, and returns the floors that delete them.
func (a *Archive) oldestOfAll(ctx context.Context, need int64) map[*stream]fragments.Number {
	type queue struct {
		s    *stream
		head unit
		next func() (unit, error, bool)
	}
	var queues []*queue
	for _, s := range a.all() {
		next, stop := iter.Pull2(s.oldest(ctx, func(*bounds) bool { return false }))
		defer stop()
		queues = append(queues, &queue{s: s, next: next})
	}
	advance := func(q *queue) (done bool) {
		var err error
		var ok bool
		q.head, err, ok = q.next()
		a.retentionFailed(ctx, q.s.name, err)
		return !ok || err != nil
	}
	queues = slices.DeleteFunc(queues, advance)
	floors := map[*stream]fragments.Number{}
	for need > 0 && len(queues) > 0 {
		i := 0
		for j, q := range queues {
			if q.head.end.Before(queues[i].head.end) {
				i = j
			}
		}
		q := queues[i]
		floors[q.s] = above(floors[q.s], q.head.max)
		need -= q.head.bytes
		if advance(q) {
			queues = slices.Delete(queues, i, i+1)
		}
	}
	return floors
}

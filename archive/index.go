package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
)

// serverEnd is when the fragment closed, by server time and its duration.
func (e *Entry) serverEnd() fragments.ServerTimestamp {
	return e.Server + fragments.ServerTimestamp(e.Duration)
}

// span is a half-open span of unix nanoseconds.
type span struct{ start, end int64 }

const (
	beginning int64 = -1 << 63
	forever   int64 = 1<<63 - 1
)

// spanOf is the span of a selector. Times beyond what nanoseconds can say are
// the beginning and for ever.
func spanOf(sel fragments.Selector) span {
	nanos := func(t time.Time, zero int64) int64 {
		if t.IsZero() {
			return zero
		}
		switch y := t.UTC().Year(); {
		case y < 1700:
			return beginning
		case y > 2200:
			return forever
		}
		return t.UnixNano()
	}
	return span{nanos(sel.Start, beginning), nanos(sel.End, forever)}
}

// overlaps reports whether something from start to end lies in s, for a part of
// it. What has no length lies at its start.
func (s span) overlaps(start, end int64) bool {
	return start < s.end && (end > s.start || start >= s.start)
}

func (s span) takes(e *Entry, c fragments.Clock) bool {
	if c == fragments.ByServer {
		return s.overlaps(int64(e.Server), int64(e.serverEnd()))
	}
	return s.overlaps(int64(e.Producer), int64(e.End()))
}

// touches reports whether something within b may be taken: also something
// without length at its very end.
func (s span) touches(b *bounds, c fragments.Clock) bool {
	if c == fragments.ByServer {
		return int64(b.serverStart) < s.end && int64(b.serverEnd) >= s.start
	}
	return int64(b.producerStart) < s.end && int64(b.producerEnd) >= s.start
}

// partition is an hour as a reader sees it: entries in memory, or a block to be
// read.
type partition struct {
	min, max fragments.Number
	entries  []*Entry
	hour     hour
	inBlock  bool
}

// partitions takes the hours that keep accepts, in the order of their first
// numbers, and the floor.
func (s *stream) partitions(keep func(*bounds) bool) ([]partition, fragments.Number) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []partition
	for i := range s.closed {
		if c := &s.closed[i]; !c.max.Less(s.floor) && keep(&c.bounds) {
			list = append(list, partition{min: c.min, max: c.max, hour: c.hour, inBlock: true})
		}
	}
	for _, h := range s.hours {
		if h.count > 0 && keep(&h.bounds) {
			list = append(list, partition{min: h.min, max: h.max, hour: h.hour, entries: h.entries})
		}
	}
	slices.SortStableFunc(list, func(x, y partition) int { return x.min.Compare(y.min) })
	return list, s.floor
}

// Fragments yields the visible fragments of the stream that overlap the span of
// the selector, in the order of their numbers, as they were when the iteration
// began. It reads only the blocks of hours that the span touches; an error,
// such as ErrNoStream or a bucket that is away, is yielded once, last, with a
// nil entry. What retention deletes meanwhile is left out.
func (a *Archive) Fragments(ctx context.Context, name fragments.StreamName, sel fragments.Selector) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		s, err := a.stream(name)
		if err != nil {
			yield(nil, err)
			return
		}
		sp := spanOf(sel)
		parts, floor := s.partitions(func(b *bounds) bool { return sp.touches(b, sel.Clock) })
		for e, err := range a.merge(ctx, s, parts) {
			if err == nil && (e.Number.Less(floor) || !sp.takes(e, sel.Clock)) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// merge yields the entries of the partitions in the order of their numbers.
// Hours follow each other but for a few numbers that were committed late, so
// nearly always one partition at a time is open.
func (a *Archive) merge(ctx context.Context, s *stream, parts []partition) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		var open [][]*Entry // the rest of each open partition, none empty
		for len(parts) > 0 || len(open) > 0 {
			least := -1
			for i := range open {
				if least < 0 || open[i][0].Number.Less(open[least][0].Number) {
					least = i
				}
			}
			if least < 0 || len(parts) > 0 && !open[least][0].Number.Less(parts[0].min) {
				entries, err := a.entriesOf(ctx, s, &parts[0])
				if err != nil {
					yield(nil, err)
					return
				}
				parts = parts[1:]
				if len(entries) > 0 {
					open = append(open, entries)
				}
				continue
			}
			e := open[least][0]
			if open[least] = open[least][1:]; len(open[least]) == 0 {
				open = slices.Delete(open, least, least+1)
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// entriesOf returns the entries of a partition, by number.
func (a *Archive) entriesOf(ctx context.Context, s *stream, p *partition) ([]*Entry, error) {
	if !p.inBlock {
		return p.entries, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	b, err := a.block(ctx, s, p.hour)
	if errors.Is(err, bucket.ErrAbsent) {
		s.mu.RLock()
		deleted := s.deleted || p.max.Less(s.floor)
		s.mu.RUnlock()
		if deleted {
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: index of %s: %w", s.name, p.hour.start().Format(time.RFC3339), err)
	}
	return b.entries, nil
}

// maxBlock bounds the bytes of an hour block that is read.
const maxBlock = 256 << 20

// block returns the block of a closed hour, from the cache or the bucket.
func (a *Archive) block(ctx context.Context, s *stream, h hour) (*block, error) {
	key := blockKey(s.dir, h)
	if b := a.cache.get(key); b != nil {
		return b, nil
	}
	data, err := a.readAll(ctx, key, maxBlock)
	if err != nil {
		return nil, err
	}
	b, err := decodeBlock(data)
	if err == nil && (b.name != s.name || b.hour != h) {
		err = errSense
	}
	if err != nil {
		return nil, &DamagedError{Object: key, Err: err}
	}
	a.counters.blocksRead.Add(1)
	a.cache.put(key, b)
	return b, nil
}

// Entry returns a visible fragment by its number, or ErrNoFragment.
func (a *Archive) Entry(ctx context.Context, name fragments.StreamName, n fragments.Number) (*Entry, error) {
	s, err := a.stream(name)
	if err != nil {
		return nil, err
	}
	parts, floor := s.partitions(func(b *bounds) bool { return !n.Less(b.min) && !b.max.Less(n) })
	if !n.Less(floor) {
		for i := range parts {
			entries, err := a.entriesOf(ctx, s, &parts[i])
			if err != nil {
				return nil, err
			}
			if e := find(entries, n); e != nil {
				return e, nil
			}
		}
	}
	return nil, s.wrap(n, ErrNoFragment)
}

// firstFrom returns the first entry at or after n in entries.
func firstFrom(entries []*Entry, n fragments.Number) int {
	return sort.Search(len(entries), func(i int) bool { return !entries[i].Number.Less(n) })
}

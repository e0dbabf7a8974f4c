package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

const (
	// maxAge is how long something waits in memory at most: the lane has to be
	// trimmed.
	maxAge = 2 * time.Hour
	// retainEvery is how many ticks lie between looks at retention.
	retainEvery = 12
	// margin is how much earlier than its video a detection may be.
	margin = time.Minute
)

// runChores does the chores at every tick, and when woken.
func (s *Store) runChores(ctx context.Context) {
	tick := time.NewTicker(s.o.Tick)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.kick:
		}
		err := s.flush(ctx)
		if n%retainEvery == 0 {
			err = errors.Join(err, s.retain(ctx))
		}
		if err != nil && ctx.Err() == nil {
			s.stats.failures.Add(1)
			s.o.Log.Warn("detections are not in the bucket yet, will try again", "err", err)
		}
	}
}

// due is an hour of a camera that is to be written.
type due struct {
	name fragments.StreamName
	hour hour
	t    *table
}

// flush writes the hours that are due, and trims the lane.
func (s *Store) flush(ctx context.Context) error {
	s.choring.Lock()
	defer s.choring.Unlock()
	var errs []error
	list := s.due(s.o.Now())
	for _, d := range list {
		if err := s.write(ctx, d); err != nil {
			errs = append(errs, fmt.Errorf("camera %s, hour %s: %w", d.name, d.hour.start().Format("2006-01-02T15"), err))
			if ctx.Err() != nil {
				break
			}
		}
	}
	errs = append(errs, s.sweep(ctx))
	if len(list) > 0 {
		errs = append(errs, s.trim(ctx))
	}
	return errors.Join(errs...)
}

// due chooses what is to be written: hours that have ended and settled, what is
// old or large, what holds up the trimming of a long lane, and, while there is too
// much in memory, the largest.
func (s *Store) due(now time.Time) (list []due) {
	behind := s.behind()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var rest []due
	left := s.bytes
	for name, c := range s.cameras {
		for h, t := range c.hours {
			d := due{name, h, t}
			ended := now.After((h + 1).start()) && now.Sub(t.touched) >= s.o.Settle
			if ended || now.Sub(t.first) >= maxAge || len(t.items) >= maxBlock || t.before(behind) {
				list = append(list, d)
				left -= t.bytes
			} else {
				rest = append(rest, d)
			}
		}
	}
	slices.SortFunc(rest, func(a, b due) int { return int(b.t.bytes - a.t.bytes) })
	for _, d := range rest {
		if left <= s.o.MemBytes/2 || s.bytes <= s.o.MemBytes {
			break
		}
		list = append(list, d)
		left -= d.t.bytes
	}
	return list
}

// behind is the position before which nothing should be in memory alone: a start
// reads the lane from there. A camera that has a detection an hour would hold up
// those of all others.
func (s *Store) behind() journal.Position {
	st := s.journal.Stats()
	if st.Bytes <= s.o.LaneBytes || st.End.Frame <= st.First.Frame {
		return journal.Position{}
	}
	return journal.Position{Frame: st.First.Frame + (st.End.Frame-st.First.Frame)/2}
}

// before reports whether one of the items lies in the lane before a position.
func (t *table) before(at journal.Position) bool {
	return at != journal.Position{} && slices.ContainsFunc(t.items, func(i *item) bool { return i.at.Less(at) })
}

// write writes what is in memory of an hour into the bucket, together with the
// last block of the hour if that has room.
func (s *Store) write(ctx context.Context, d due) error {
	s.mu.RLock()
	items := d.t.items
	var last *block
	if c := s.cameras[d.name]; c != nil {
		last = lastOf(c.blocks, d.hour)
	}
	s.mu.RUnlock()
	list := make([]*Detection, len(items))
	for i := range items {
		list[i] = items[i].Detection
	}
	sequence := 1
	var old *block
	if last != nil {
		sequence = last.sequence + 1
		if last.Count < maxBlock/2 {
			old = last
			before, err := s.read(ctx, old)
			if err != nil && !errors.Is(err, bucket.ErrAbsent) {
				return err
			}
			list = merge(before, list)
		}
	}
	var made []*block
	var changes []journal.Change
	for chunk := range chunks(list) {
		b, data, err := encodeBlock(chunk, d.hour, sequence)
		if err != nil {
			return err
		}
		sequence++
		if _, err := s.o.Bucket.Put(ctx, b.objectKey(), bytes.NewReader(data), int64(len(data)), bucket.PutOptions{ContentType: "application/gzip"}); err != nil {
			return fmt.Errorf("block: %w", err)
		}
		value, err := json.Marshal(b)
		if err != nil {
			return fmt.Errorf("summary: %w", err)
		}
		made, changes = append(made, b), append(changes, journal.Change{Key: b.metaKey(), Value: value})
	}
	if err := s.enter(ctx, changes, made, old); err != nil {
		return err
	}
	s.replace(d, items, made, old)
	return nil
}

// enter makes meta say what is so now.
func (s *Store) enter(ctx context.Context, changes []journal.Change, made []*block, old *block) error {
	if old != nil {
		changes = append(changes, old.leave(s.meta)...)
	}
	// Not ended by ctx: what meta says must be known.
	revision, err := s.meta.Txn(context.WithoutCancel(ctx), changes...)
	if err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	for _, b := range made {
		b.revision = revision
	}
	return nil
}

// leave are the changes that take a block out of the index and mark its object.
func (b *block) leave(m journal.Meta) []journal.Change {
	mark := journal.Change{Key: gonePrefix + b.objectKey(), Value: []byte("{}")}
	if _, revision, err := m.Get(mark.Key); err == nil {
		mark.Expect = revision
	}
	return []journal.Change{{Key: b.metaKey(), Expect: b.revision, Delete: true}, mark}
}

// replace makes memory say what meta says: the blocks that were made are there,
// the old one is not, and the items that are in them are not in memory.
func (s *Store) replace(d due, items []*item, made []*block, old *block) {
	written := make(map[*item]bool, len(items))
	for _, i := range items {
		written[i] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cameras[d.name]
	c.blocks = append(without(c.blocks, old), made...)
	slices.SortFunc(c.blocks, func(a, b *block) int {
		if a.hour != b.hour {
			return int(a.hour - b.hour)
		}
		return a.sequence - b.sequence
	})
	s.drop(c, d.hour, func(i *item) bool { return written[i] })
	s.stats.blocks.Add(uint64(len(made)))
}

// without returns the blocks but for one, in a slice of its own.
func without(list []*block, old *block) []*block {
	return slices.DeleteFunc(slices.Clone(list), func(b *block) bool { return b == old })
}

// drop takes items of an hour out of memory. The caller holds mu.
func (s *Store) drop(c *camera, h hour, which func(*item) bool) {
	t := c.hours[h]
	var kept []*item
	for _, i := range t.items {
		if which(i) {
			t.bytes -= i.bytes
			s.bytes -= i.bytes
		} else {
			kept = append(kept, i)
		}
	}
	if t.items = kept; len(kept) == 0 {
		delete(c.hours, h)
	} else {
		t.first = s.o.Now()
	}
}

// lastOf is the last block of an hour, or nil.
func lastOf(blocks []*block, h hour) (last *block) {
	for _, b := range blocks {
		if b.hour == h {
			last = b
		}
	}
	return last
}

// merge merges two sorted lists; of two that are one the newer is kept.
func merge(older, newer []*Detection) []*Detection {
	list := slices.Concat(newer, older)
	slices.SortStableFunc(list, byKey)
	return slices.CompactFunc(list, func(a, b *Detection) bool { return a.key() == b.key() })
}

// chunks cuts a list into what fits a block each.
func chunks(list []*Detection) func(yield func([]*Detection) bool) {
	return func(yield func([]*Detection) bool) {
		start, size := 0, 0
		for i, d := range list {
			// A letter may take six bytes in JSON.
			n := 512 + 6*(len(d.ID)+len(d.Label)+len(d.Source)) + len(d.Camera) + len(d.Attributes)
			if i > start && (i-start >= maxBlock || size+n > maxBlockBytes) {
				if !yield(list[start:i]) {
					return
				}
				start, size = i, 0
			}
			size += n
		}
		if start < len(list) {
			yield(list[start:])
		}
	}
}

// read reads a block. What it returns is shared.
func (s *Store) read(ctx context.Context, b *block) ([]*Detection, error) {
	if list, ok := s.cache.get(b); ok {
		return list, nil
	}
	r, err := s.o.Bucket.Get(ctx, b.objectKey(), 0, bucket.ToEnd)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", b.objectKey(), err)
	}
	defer r.Close()
	s.stats.reads.Add(1)
	list, err := decodeBlock(r)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", b.objectKey(), err)
	}
	s.cache.put(b, list)
	return list, nil
}

// sweep deletes the objects that are not needed any more.
func (s *Store) sweep(ctx context.Context) error {
	var list []journal.Item
	for i := range s.meta.List(gonePrefix) {
		list = append(list, i)
	}
	needed := map[string]bool{}
	if len(list) > 0 {
		s.mu.RLock()
		for _, c := range s.cameras {
			for _, b := range c.blocks {
				needed[b.objectKey()] = true
			}
		}
		s.mu.RUnlock()
	}
	for _, i := range list {
		object := strings.TrimPrefix(i.Key, gonePrefix)
		if !needed[object] { // a number may have been given again
			if err := s.o.Bucket.Delete(ctx, object); err != nil {
				return fmt.Errorf("delete %s: %w", object, err)
			}
		}
		if err := s.meta.Delete(ctx, i.Key, i.Revision); err != nil {
			return fmt.Errorf("delete %s: %w", i.Key, err)
		}
	}
	return nil
}

// trim gives up the lane before the first detection that is in memory alone.
func (s *Store) trim(ctx context.Context) error {
	s.adding.Lock()
	before := s.journal.Stats().End
	s.mu.RLock()
	for _, c := range s.cameras {
		for _, t := range c.hours {
			for _, i := range t.items {
				if i.at.Less(before) {
					before = i.at
				}
			}
		}
	}
	s.mu.RUnlock()
	s.adding.Unlock()
	_, revision, err := s.meta.Get(replayKey)
	if err != nil && !errors.Is(err, journal.ErrAbsent) {
		return err
	}
	if _, err := s.meta.Put(ctx, replayKey, []byte(before.String()), revision); err != nil {
		return err
	}
	return s.journal.Trim(before)
}

// retain deletes what is older than its video.
func (s *Store) retain(ctx context.Context) error {
	s.choring.Lock()
	defer s.choring.Unlock()
	var errs []error
	for _, name := range s.Cameras() {
		if err := s.retainOne(ctx, name, s.oldest(name)); err != nil {
			errs = append(errs, fmt.Errorf("camera %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, s.sweep(ctx))...)
}

// oldest is the time before which nothing is kept of a camera.
func (s *Store) oldest(name fragments.StreamName) time.Time {
	info, err := s.o.Videos.Stream(name)
	switch {
	case err == nil && info.First != nil:
		return info.First.Producer.Time().Add(-margin)
	case err != nil && !errors.Is(err, archive.ErrNoStream):
		return time.Time{}
	}
	return s.o.Now().Add(-s.o.Orphans)
}

func (s *Store) retainOne(ctx context.Context, name fragments.StreamName, oldest time.Time) error {
	s.mu.RLock()
	var old []*block
	for _, b := range s.cameras[name].blocks {
		if b.Last < oldest.UnixNano() {
			old = append(old, b)
		}
	}
	s.mu.RUnlock()
	for _, b := range old {
		if _, err := s.meta.Txn(context.WithoutCancel(ctx), b.leave(s.meta)...); err != nil {
			return fmt.Errorf("summary: %w", err)
		}
		s.mu.Lock()
		c := s.cameras[name]
		c.blocks = without(c.blocks, b)
		s.mu.Unlock()
		s.stats.retired.Add(uint64(b.Count))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cameras[name]
	for h := range c.hours {
		if (h + 1).start().Before(oldest) {
			s.drop(c, h, func(*item) bool { s.stats.retired.Add(1); return true })
		}
	}
	if len(c.hours) == 0 && len(c.blocks) == 0 {
		delete(s.cameras, name)
	}
	return nil
}

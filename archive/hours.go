package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/datastream/journal"
)

// hourGrace is how long after its end an hour is closed at the earliest, so
// that fragments that were open at its end are in.
const hourGrace = 30 * time.Second

// closeHours writes the blocks of the hours that have ended and are in the
// bucket, and trims the journal.
func (a *Archive) closeHours(ctx context.Context, now time.Time) {
	closed := false
	for _, s := range a.all() {
		for {
			ok, err := s.closeHour(ctx, now)
			if err != nil && ctx.Err() == nil {
				a.log.Warn("hour of the index is not closed yet, will try again", "stream", s.name, "err", err)
			}
			if !ok {
				break
			}
			closed = true
		}
	}
	if closed {
		a.trim()
	}
}

// closeHour closes the earliest open hour of the stream if it can be.
func (s *stream) closeHour(ctx context.Context, now time.Time) (bool, error) {
	h, objects := s.closable(now)
	if h == nil {
		return false, nil
	}
	sum := hourSummary{hour: h.hour, bounds: h.bounds}
	if h.count > 0 {
		data := encodeBlock(s.name, s.created, h.hour, objects)
		_, err := s.a.bucket.Put(ctx, blockKey(s.dir, h.hour), bytes.NewReader(data), int64(len(data)), bucket.PutOptions{})
		if err != nil {
			return false, fmt.Errorf("hour block: %w", err)
		}
		if err := s.catalogHour(ctx, &sum); err != nil {
			return false, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return false, nil
	}
	s.hours = s.hours[1:]
	if h.count > 0 {
		s.closed = append(s.closed, sum)
	}
	for _, o := range objects {
		delete(s.objects, o.id.first)
	}
	return true, nil
}

// closable returns the earliest open hour with its objects if it has ended,
// takes no more fragments and is in the bucket whole. From then on it takes no
// more objects.
func (s *stream) closable(now time.Time) (*openHour, []blockObject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.hours) == 0 || s.deleted {
		return nil, nil
	}
	h := s.hours[0]
	if now.Before((h.hour + 1).start().Add(hourGrace)) || s.holdsBackIn(h.hour) {
		return nil, nil
	}
	var objects []blockObject
	for _, o := range s.objects {
		if o.id.hour != h.hour {
			continue
		}
		if o.state != stored {
			return nil, nil
		}
		kept := slices.DeleteFunc(slices.Clone(o.entries), func(e *Entry) bool { return e.Number.Less(s.floor) })
		objects = append(objects, blockObject{id: o.id, entries: kept})
	}
	h.closing = true
	return h, objects
}

// catalogHour enters a closed hour into the catalog, and the ends of what is
// kept beside it.
func (s *stream) catalogHour(ctx context.Context, sum *hourSummary) error {
	s.mu.RLock()
	ends := s.ends(s.first, s.last)
	s.mu.RUnlock()
	key := hourKey(s.dir, sum.hour)
	_, revision, err := s.a.meta.Get(key)
	if err != nil && !errors.Is(err, journal.ErrAbsent) {
		return err
	}
	return s.update(ctx, func(r *streamRecord) { r.Ends = ends },
		journal.Change{Key: key, Value: sum.encode(), Expect: revision})
}

// ends encodes two entries for the catalog.
func (s *stream) ends(first, last *Entry) []byte {
	if first == nil || last == nil {
		return nil
	}
	objects := []blockObject{{id: s.identify(first), entries: []*Entry{first}}}
	if last != first {
		objects = append(objects, blockObject{id: s.identify(last), entries: []*Entry{last}})
	}
	return encodeBlock(s.name, s.created, 0, objects)
}

// identify makes an object's identity from an entry alone, as far as the entry
// needs it. The caller holds mu.
func (s *stream) identify(e *Entry) *objectID {
	k := parseKey(e.Object)
	id := &objectID{dir: s.dir, key: e.Object, created: s.created, first: k.first, hour: k.hour, opened: e.Server, base: e.Base}
	for i := range e.Runs {
		t := s.tracks[e.Runs[i].Config]
		id.tracks = append(id.tracks, trackRef{Track: t, hash: e.Runs[i].Config})
	}
	return id
}

// trim gives up the journal before the first frame of the earliest object that
// is still open.
func (a *Archive) trim() {
	before := a.journal.Stats().End
	for _, s := range a.all() {
		s.mu.RLock()
		for _, o := range s.objects {
			if o.at.Less(before) {
				before = o.at // zero, for one whose frame is under way: nothing is trimmed
			}
		}
		s.mu.RUnlock()
	}
	if err := a.journal.Trim(before); err != nil {
		a.log.Warn("index journal is not trimmed", "before", before, "err", err)
	}
}

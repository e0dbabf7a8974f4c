package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// maintain drops what has expired, every minute.
func (s *Store) maintain() {
	ticker := time.NewTicker(dropEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.life.Done():
			return
		}
		if err := s.Drop(s.life); err != nil && s.life.Err() == nil {
			s.log.Warn("expired records could not be dropped; it is tried again", "dir", s.opts.Dir, "error", err)
		}
	}
}

// longestKeep is the longest that any stream keeps its records, in the service as
// here; a file of which it is not known what was in it is kept for so long.
const longestKeep = 365 * 24 * time.Hour

// retention asks Keep once per stream.
type retention struct {
	keep     func(stream uint64) (time.Duration, bool)
	now      time.Time
	horizons map[uint64]horizon
}

type horizon struct {
	deleted bool
	since   int64
}

func (r *retention) of(stream uint64) horizon {
	h, ok := r.horizons[stream]
	if !ok {
		keep, exists := r.keep(stream)
		h = horizon{deleted: !exists, since: r.now.Add(-keep).UnixMilli()}
		r.horizons[stream] = h
	}
	return h
}

// expired reports whether nothing in a file is kept any more.
func (r *retention) expired(f *file) bool {
	if f.unknown && f.lastArrived >= r.now.Add(-longestKeep).UnixMilli() {
		return false
	}
	for _, l := range f.streams {
		if h := r.of(l.stream); !h.deleted && l.arrived >= h.since {
			return false
		}
	}
	return true
}

// Drop removes the sealed files of which nothing is kept any more: every stream
// in them was deleted, or its last record there is older than it is kept. First
// a file is taken off the list, then readers are moved past it, then it is
// removed; who is reading it ends undisturbed. Shards of deleted streams of which
// nothing is left are forgotten.
func (s *Store) Drop(ctx context.Context) error {
	s.dropping.Lock()
	defer s.dropping.Unlock()
	r := retention{keep: s.opts.Keep, now: time.Now(), horizons: make(map[uint64]horizon)}
	var dropped []*file
	var failed error
	for _, f := range s.catalog.files() {
		if !r.expired(f) {
			continue
		}
		if failed = context.Cause(ctx); failed != nil {
			break
		}
		if failed = s.catalog.remove(context.WithoutCancel(ctx), f); failed != nil {
			failed = fmt.Errorf("drop %s: %w", f.name, failed)
			break
		}
		f.dropped.Store(true)
		dropped = append(dropped, f)
	}
	if len(dropped) > 0 {
		failed = errors.Join(failed, s.removeFiles(dropped))
	}
	s.shards.letGo(func(stream uint64) bool { return r.of(stream).deleted })
	return failed
}

// removeFiles gives the room of dropped files back.
func (s *Store) removeFiles(dropped []*file) error {
	for _, sh := range s.shards.all() {
		sh.forget()
	}
	var errs []error
	for _, f := range dropped {
		if err := s.fs.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err) // swept away at the next opening
		}
		if f.inPlace() {
			errs = append(errs, s.pieces.letGo(f.uses))
		}
		s.count.dropped.Add(1)
	}
	s.log.Info("dropped expired records", "dir", s.opts.Dir, "files", len(dropped))
	if err := s.fs.SyncDir(s.opts.Dir); err != nil {
		errs = append(errs, err)
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return errors.Join(errs...)
}

package wal

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/kineweir/kineweir/datastream/journal"
)

// keptDeletions is how many of the last deletions a store remembers at least,
// for watchers that come late; twice as many at most.
const keptDeletions = 1024

// deletion is a key that went, and with which revision.
type deletion struct {
	key      string
	revision uint64
}

// forgetting notes a deletion. Pictures share the memory of the list: only the
// newest one's is appended to, behind what the older ones see.
func (s *state) forgetting(key string, revision uint64) {
	if len(s.deleted) >= 2*keptDeletions {
		old := len(s.deleted) - keptDeletions
		s.forgotten = s.deleted[old-1].revision
		s.deleted = append(make([]deletion, 0, 2*keptDeletions), s.deleted[old:]...)
	}
	s.deleted = append(s.deleted, deletion{key, revision})
}

// since is what became of the keys with a prefix after a revision.
func (s *state) since(prefix string, from uint64) journal.Update {
	u := journal.Update{Revision: s.revision}
	if from == 0 || from < s.forgotten || from > s.revision {
		u.Whole, from = true, 0
	}
	s.tree.since(prefix, from, func(it *item) {
		u.Items = append(u.Items, journal.Item{Key: it.key, Value: it.value, Revision: it.revision})
	})
	if u.Whole {
		return u
	}
	for i := len(s.deleted) - 1; i >= 0 && s.deleted[i].revision > from; i-- {
		if key := s.deleted[i].key; strings.HasPrefix(key, prefix) && s.tree.get(key) == nil {
			u.Deleted = append(u.Deleted, key)
		}
	}
	slices.Sort(u.Deleted)
	u.Deleted = slices.Compact(u.Deleted)
	return u
}

// Watch compares the present picture with the revision the caller knows, over
// and over: it holds nothing but that revision while the caller is busy.
func (s *Store) Watch(ctx context.Context, prefix string, from uint64) iter.Seq2[journal.Update, error] {
	return func(yield func(journal.Update, error) bool) {
		from := from // of this iteration
		step, first := uint64(0), true
		for {
			if err := s.watchable(ctx); err != nil {
				yield(journal.Update{}, err)
				return
			}
			st := s.state.Load()
			u := st.since(prefix, from)
			u.Merged = !first && st.step > step+1 || first && !u.Whole
			if first || len(u.Items)+len(u.Deleted) > 0 || u.Whole && from > 0 {
				if !yield(u, nil) {
					return
				}
			}
			from, step, first = st.revision, st.step, false
			if err := s.awaitChange(ctx, st); err != nil {
				yield(journal.Update{}, err)
				return
			}
		}
	}
}

// watchable says why nothing can be watched, or nil.
func (s *Store) watchable(ctx context.Context) error {
	if s.closed.Load() {
		return journal.ErrClosed
	}
	return context.Cause(ctx)
}

// awaitChange returns when there is a picture after st.
func (s *Store) awaitChange(ctx context.Context, st *state) error {
	s.mu.Lock()
	if s.state.Load() != st || s.closed.Load() {
		s.mu.Unlock()
		return nil
	}
	if s.stirred == nil {
		s.stirred = make(chan struct{})
	}
	stirred := s.stirred
	s.mu.Unlock()
	select {
	case <-stirred:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.lane.Fatal():
		return fmt.Errorf("watch: %w", s.lane.Stats().Err)
	}
}

// stir wakes who waits for a change. The caller holds mu.
func (s *Store) stir() {
	if s.stirred != nil {
		close(s.stirred)
		s.stirred = nil
	}
}

package archive

import (
	"context"
	"iter"
	"sync"

	"github.com/kineweir/kineweir/fragments"
)

// What a follower of the index needs, who deals with every fragment once and
// keeps in a cursor of its own, durably, how far it has come: a fragment's
// number is the cursor. Numbers become visible in ascending order per stream,
// also over a restart, so nothing ever turns up behind a cursor.

// After yields the visible fragments of the stream with numbers above n, in
// ascending order, as they were when the iteration began. Otherwise it is as
// Fragments: it reads the blocks of closed hours only as far as they are needed.
// What is below StreamInfo.Floor is gone and left out without a word.
func (a *Archive) After(ctx context.Context, name fragments.StreamName, n fragments.Number) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		s, err := a.stream(name)
		if err != nil {
			yield(nil, err)
			return
		}
		parts, floor := s.partitions(func(b *bounds) bool { return n.Less(b.max) })
		next := above(floor, n)
		for i := range parts {
			parts[i].entries = parts[i].entries[firstFrom(parts[i].entries, next):]
		}
		for e, err := range a.merge(ctx, s, parts) {
			if err == nil && e.Number.Less(next) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// OnChange has f called with the name of every stream of which fragments become
// visible or are deleted, at that moment, until stop is called. Locks are held
// meanwhile: f must return at once and not call the archive.
func (a *Archive) OnChange(f func(fragments.StreamName)) (stop func()) {
	return a.followers.add(f)
}

// followers are told of changes.
type followers struct {
	mu   sync.RWMutex
	last int
	list map[int]func(fragments.StreamName)
}

func (f *followers) add(fn func(fragments.StreamName)) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.list == nil {
		f.list = map[int]func(fragments.StreamName){}
	}
	f.last++
	id := f.last
	f.list[id] = fn
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.list, id)
	}
}

func (f *followers) tell(name fragments.StreamName) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, fn := range f.list {
		fn(name)
	}
}

package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Store is a journal.Meta in a directory of its own: an ordered map in memory,
// each change an entry of the store's own lane, and from time to time a
// snapshot, after which the lane is trimmed.
//
// A change is decided against what is durable. While a change to a key is under
// way, others to the same key wait for its outcome; changes to different keys
// share syncs. So nothing is ever decided on a change that may yet be refused.
type Store struct {
	dir    string
	opts   Options
	log    *slog.Logger
	ranks  ranks
	lock   io.Closer
	lane   *Lane
	state  atomic.Pointer[state] // durable; replaced under mu
	closed atomic.Bool
	snap   snapshotter
	leases leases
	owned  sync.WaitGroup // the applier, the snapshotter, and deletions of leases that ended
	letGo  func() error   // once

	mu       sync.Mutex
	work     sync.Cond // the applier waits here for changes
	inflight map[string]*change
	queue    []*change     // appended, in the lane's order
	revision uint64        // the last one given out
	leaving  bool          // no change comes any more
	stirred  chan struct{} // closed at the next change; nil if nobody waits
}

// change is a Txn under way.
type change struct {
	edits    []edit
	revision uint64
	size     int
	future   journal.Future
	done     chan struct{}
	err      error // set before done is closed
}

var _ journal.Meta = (*Store)(nil)

// maxValue bounds a value such that its change fits an entry.
const maxValue = journal.MaxPayload - journal.MaxKey - 64

// OpenMeta opens the store in dir, or makes one: it loads the newest snapshot
// and replays the lane from there. Errors are Open's. A damaged snapshot is set
// aside, loudly, if the one before it and the lane still tell everything.
func OpenMeta(dir string, opts Options) (*Store, error) {
	opts.SnapshotBytes = cmp.Or(opts.SnapshotBytes, 16<<20)
	opts.MaxFileBytes = cmp.Or(opts.MaxFileBytes, opts.SnapshotBytes)
	opts.ReserveBytes = cmp.Or(opts.ReserveBytes, 16<<20)
	opts.Epoch = 0
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(opts.FS, dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, opts: opts, log: opts.Logger, ranks: newRanks(), lock: lock, inflight: make(map[string]*change)}
	s.work.L = &s.mu
	s.letGo = sync.OnceValue(s.release)
	s.snap.due = make(chan struct{}, 1)
	s.leases.clock, s.leases.held = opts.Clock, make(map[string]*lease)
	if err := s.load(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.owned.Go(s.apply)
	s.owned.Go(s.takeSnapshots)
	s.loadLeases()
	return s, nil
}

// load restores the state from the newest snapshot and the lane.
func (s *Store) load() error {
	found, err := s.findSnapshot()
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	s.lane, err = recoverLane(s.dir, s.opts, found.floor)
	if err != nil {
		return errors.Join(err, found.damage)
	}
	if err := s.replay(found.state); err != nil {
		return errors.Join(err, found.damage, s.lane.letGo())
	}
	if err := s.setAside(&found); err != nil {
		return errors.Join(fmt.Errorf("open store: %w", err), s.lane.letGo())
	}
	return s.lane.start()
}

// replay takes what the lane holds beyond a snapshot's state.
func (s *Store) replay(st *state) error {
	if first := s.lane.Stats().First.Frame; first > max(st.next.Frame, 1) {
		return &journal.CorruptError{
			File: s.dir, Frame: st.next.Frame,
			Reason: fmt.Sprintf("the snapshot ends here, but the lane begins with frame %d", first),
		}
	}
	next := *st
	for e, err := range s.lane.Read(st.next) {
		if err != nil {
			return err
		}
		if err := next.replay(e, s.ranks); err != nil {
			return &journal.CorruptError{File: s.dir, Frame: e.Frame, Reason: fmt.Sprintf("entry %s: %v", e.Position, err)}
		}
		s.snap.pending += int64(len(e.Payload))
	}
	s.state.Store(&next)
	s.revision = next.revision
	return nil
}

// Get reads from memory.
func (s *Store) Get(key string) ([]byte, uint64, error) {
	if s.closed.Load() {
		return nil, 0, journal.ErrClosed
	}
	it := s.state.Load().tree.get(key)
	if it == nil {
		return nil, 0, fmt.Errorf("%q: %w", key, journal.ErrAbsent)
	}
	return it.value, it.revision, nil
}

// List walks a still picture of the map.
func (s *Store) List(prefix string) iter.Seq[journal.Item] {
	return func(yield func(journal.Item) bool) {
		s.state.Load().tree.from(prefix, func(it *item) bool {
			return strings.HasPrefix(it.key, prefix) &&
				yield(journal.Item{Key: it.key, Value: it.value, Revision: it.revision})
		})
	}
}

// Put is a Txn of one change.
func (s *Store) Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	return s.Txn(ctx, journal.Change{Key: key, Value: value, Expect: expect})
}

// Delete is a Txn of one change.
func (s *Store) Delete(ctx context.Context, key string, expect uint64) error {
	_, err := s.Txn(ctx, journal.Change{Key: key, Expect: expect, Delete: true})
	return err
}

// Txn decides, appends and waits.
func (s *Store) Txn(ctx context.Context, changes ...journal.Change) (uint64, error) {
	if err := checkChanges(changes); err != nil {
		return 0, err
	}
	c, err := s.begin(ctx, changes)
	if err != nil {
		return 0, err
	}
	select {
	case <-c.done:
		return c.revision, c.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// begin decides whether the changes hold against what is durable and appends
// them as one entry.
func (s *Store) begin(ctx context.Context, changes []journal.Change) (*change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		rival := s.rival(changes)
		if rival == nil {
			break
		}
		s.mu.Unlock()
		select {
		case <-rival.done:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
	}
	if s.closed.Load() {
		return nil, journal.ErrClosed
	}
	t := s.state.Load().tree
	for i := range changes {
		if err := decide(t, &changes[i]); err != nil {
			return nil, err
		}
	}
	s.revision++
	payload, edits := encodeChanges(changes, s.revision)
	c := &change{edits: edits, revision: s.revision, size: len(payload), done: make(chan struct{})}
	c.future = s.lane.Append(kindChange, "", payload)
	for i := range edits {
		s.inflight[edits[i].key] = c
	}
	s.queue = append(s.queue, c)
	s.work.Signal()
	return c, nil
}

// rival finds a change under way that touches one of the same keys.
func (s *Store) rival(changes []journal.Change) *change {
	for i := range changes {
		if c := s.inflight[changes[i].Key]; c != nil {
			return c
		}
	}
	return nil
}

// decide compares the expected revision of a change with the present one.
func decide(t tree, c *journal.Change) error {
	var present uint64
	if it := t.get(c.Key); it != nil {
		present = it.revision
	}
	if present != c.Expect || (c.Delete && present == 0) {
		return fmt.Errorf("%q is at revision %d, not %d: %w", c.Key, present, c.Expect, journal.ErrConflict)
	}
	return nil
}

// apply takes over, in the lane's order, what has become durable.
func (s *Store) apply() {
	defer close(s.snap.due)
	for {
		queue := s.takeQueue()
		if queue == nil {
			return
		}
		for len(queue) > 0 {
			<-queue[0].future.Done()
			n := 1
			for n < len(queue) && isDone(queue[n].future) {
				n++
			}
			s.takeOver(queue[:n])
			queue = queue[n:]
		}
	}
}

func (s *Store) takeQueue() []*change {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.leaving {
		s.work.Wait()
	}
	queue := s.queue
	s.queue = nil
	return queue
}

func isDone(f journal.Future) bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

// takeOver makes settled changes visible, all at once, and tells their callers.
func (s *Store) takeOver(settled []*change) {
	next := *s.state.Load()
	next.step++
	for _, c := range settled {
		var at journal.Position
		if at, c.err = c.future.Outcome(); c.err == nil {
			next.take(c.edits, c.revision, at, s.ranks)
			s.snap.pending += int64(c.size)
			s.seeLeases(c)
		}
	}
	s.mu.Lock()
	s.state.Store(&next)
	for _, c := range settled {
		for i := range c.edits {
			delete(s.inflight, c.edits[i].key)
		}
	}
	s.stir()
	s.mu.Unlock()
	for _, c := range settled {
		close(c.done)
	}
	s.snap.ask(s.opts.SnapshotBytes)
}

// Fatal is closed when the store's lane failed.
func (s *Store) Fatal() <-chan struct{} { return s.lane.Fatal() }

// Stats is a picture of the store's lane.
func (s *Store) Stats() journal.Stats { return s.lane.Stats() }

// Close lets the changes under way finish.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed.Store(true)
	s.mu.Unlock()
	return s.letGo()
}

func (s *Store) release() error {
	s.leases.close()
	err := s.lane.Close() // settles every change under way
	s.mu.Lock()
	s.leaving = true
	s.work.Signal()
	s.stir()
	s.mu.Unlock()
	s.owned.Wait()
	return errors.Join(err, s.lock.Close())
}

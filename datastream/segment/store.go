package segment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// Store keeps the records of many shards. Its methods may be called
// concurrently.
type Store struct {
	opts  Options
	lane  journal.Journal
	share journal.Sharer // the lane, if it can
	fs    vfs.FS
	log   *slog.Logger
	life  context.Context // ended by Close
	end   context.CancelFunc
	owned sync.WaitGroup // all goroutines
	fatal chan struct{}  // closed when failure is set
	done  chan struct{}  // closed when all goroutines have ended, after Close
	kick  chan struct{}  // room may have been made: sealing need not wait longer

	order   sync.Mutex       // held by one Append at a time: the order of the lane is that of the queue
	scratch []byte           // an entry, or the heads of some, on their way into the lane; under order
	sending []journal.Shared // empty ones, to be used again; under order

	shards shards

	mu      sync.Mutex
	work    sync.Cond  // the publisher waits here
	full    sync.Cond  // the sealer waits here
	room    sync.Cond  // appenders, and the replay, wait here
	queue   []*Pending // appended and not yet taken by the publisher, in order
	wave    *wave      // of the last call that was queued; nil when it is settled
	queued  int64      // bytes of those that are not yet visible
	active  *table     // takes records
	waiting []*table   // full, oldest first
	noRoom  bool       // the last attempt to seal failed for want of room
	closing bool
	drained bool // no Append is under way or will come
	failure error

	over    []*wave // empty, to be used again; the publisher's
	laneEnd laneEnd // of what was replayed and published; likewise

	pieces pieces

	catalog  catalog
	dropping sync.Mutex // one Drop at a time

	closed atomic.Bool
	count  counters
}

// counters are the parts of Stats that count since the opening.
type counters struct {
	appended, replayed, refused, seals, inPlace, sealed, dropped, scrubbed, damaged, gaps atomic.Uint64
}

const (
	// maxWaiting is how many full tables may wait to be sealed, with the one
	// that is being sealed.
	maxWaiting = 4
	// maxQueued bounds the bytes that are appended and not yet visible.
	maxQueued = 64 << 20
	// recordCost is what a record counts for beside its body.
	recordCost = 64
	// retryRoom is how long sealing waits after it found no room.
	retryRoom = time.Second
	// dropEvery is how often the store looks for expired files.
	dropEvery = time.Minute
)

// Open opens the store, or makes one: it reads the directories of the sealed
// files, removes files that were never finished or dropped, and replays what
// the lane holds and no file does. A sealed file that is missing, or does not
// read as it was written, is said in the log and in Stats, and its records are
// served as far as they are there. A lane that does not fit the list of files is
// a *journal.CorruptError.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: o, lane: o.Lane, fs: o.FS, log: o.Logger,
		fatal: make(chan struct{}), done: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	s.share, _ = o.Lane.(journal.Sharer)
	s.pieces.lane, _ = o.Lane.(journal.Keeper)
	s.pieces.uses = make(map[uint64]int)
	s.active = s.newTable()
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.work.L, s.full.L, s.room.L = &s.mu, &s.mu, &s.mu
	s.shards.byKey = make(map[Key]*shard)
	if err := s.load(ctx); err != nil {
		s.end()
		return nil, fmt.Errorf("open segments %s: %w", o.Dir, err)
	}
	s.owned.Go(s.seal)
	s.owned.Go(s.watch)
	if err := s.replay(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open segments %s: %w", o.Dir, err), s.Close(context.WithoutCancel(ctx)))
	}
	s.owned.Go(s.publish)
	s.owned.Go(s.maintain)
	if o.ScrubEvery > 0 {
		s.owned.Go(s.patrol)
	}
	return s, nil
}

// Fatal is closed when the lane, the Meta or the sealing of files failed:
// nothing more is accepted, what exists can be read. Stats().Err says why. The
// owner should end the process.
func (s *Store) Fatal() <-chan struct{} { return s.fatal }

// fail ends the store for the first reason given, and returns that.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	s.failure = err
	s.log.Error("record store failed; nothing more is accepted", "dir", s.opts.Dir, "error", err)
	close(s.fatal)
	s.full.Signal()
	s.room.Broadcast()
	return err
}

// watch passes on what ends the lane or the Meta.
func (s *Store) watch() {
	select {
	case <-s.lane.Fatal():
		s.fail(fmt.Errorf("the lane failed: %w", s.lane.Stats().Err))
	case <-s.opts.Meta.Fatal():
		s.fail(errors.New("the list of sealed files can not be kept: its store failed"))
	case <-s.fatal:
	case <-s.life.Done():
	}
}

// Stats is a picture of the store.
func (s *Store) Stats() Stats {
	st := Stats{
		Shards:   s.shards.len(),
		Appended: s.count.appended.Load(), Replayed: s.count.replayed.Load(), Refused: s.count.refused.Load(),
		Seals: s.count.seals.Load(), InPlace: s.count.inPlace.Load(), Sealed: s.count.sealed.Load(), Dropped: s.count.dropped.Load(),
		Scrubbed: s.count.scrubbed.Load(), Damaged: s.count.damaged.Load(), Gaps: s.count.gaps.Load(),
	}
	for _, f := range s.catalog.files() {
		st.Files++
		st.FileBytes += f.size + f.held
		st.Records += int64(f.records)
		if lost := f.lost.Load(); lost > 0 {
			st.Broken++
			st.Lost += int64(lost)
		} else if f.mended.Load() != nil {
			st.Mended++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.MemBytes = s.active.bytes
	for _, t := range s.waiting {
		st.MemBytes += t.bytes
	}
	st.Waiting, st.Queued, st.NoRoom, st.Err = len(s.waiting), s.queued, s.noRoom, s.failure
	return st
}

// Close refuses new records, waits until those appended are settled, and for
// all work of the store to end. What is in memory is not sealed: the lane has
// it. Lane and Meta stay open, and are closed after the store. When the context
// ends first, Close returns its error and the store goes on closing. Closing
// twice is harmless.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.full.Signal()
	s.room.Broadcast()
	s.mu.Unlock()
	if first {
		s.closed.Store(true)
		s.end()
		go s.leave()
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave waits for the appends under way and for all goroutines.
func (s *Store) leave() {
	s.order.Lock() // whoever had it has queued; whoever comes is refused
	s.mu.Lock()
	s.drained = true
	s.work.Signal()
	s.mu.Unlock()
	s.order.Unlock()
	s.owned.Wait()
	s.shards.wakeAll()
	close(s.done)
}

// horizon is the arrival before which the records of a stream are hidden: all
// of them when it was deleted.
func (s *Store) horizon(stream uint64) int64 {
	keep, ok := s.opts.Keep(stream)
	if !ok {
		return math.MaxInt64
	}
	return time.Now().Add(-keep).UnixMilli()
}

// met tells of an error of a sealed file if it is damage, and returns it.
func (s *Store) met(f *file, err error) error {
	var damage *journal.CorruptError
	if errors.As(err, &damage) {
		s.count.damaged.Add(1)
		if !f.accused.Swap(true) {
			s.log.Error("sealed records are damaged", "file", damage.File, "offset", damage.Offset, "reason", damage.Reason)
		}
	}
	return err
}

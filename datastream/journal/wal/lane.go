// Package wal keeps the journal's contracts on local files: [Lane] is a
// journal.Journal, [Store] a journal.Meta on a lane of its own with snapshots.
//
// One goroutine per lane commits. It writes what queued while it waited for the
// last sync as one frame, syncs once, and resolves everyone in that frame: the
// slower the device or the more the writers, the larger the frame, without a
// timer. Appending encodes straight into the frame that is being filled, so an
// append costs a copy under a mutex and shares everything else.
//
// What was acknowledged is either read back as it was or reported as damaged,
// with coordinates: FORMAT.md says how the two are told from the end of a log
// that a crash cut short. The package never repairs, never retries a failed
// write or sync, and never looks into an entry.
package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// Options tune a lane. The zero value is right for most.
type Options struct {
	// MaxFileBytes is where a file ends and the next begins; what Trim can give
	// back is whole files. Default 128 MiB.
	MaxFileBytes int64
	// FrameBytes is the size a frame is closed at while the committer is busy.
	// Default 4 MiB, at most 16 MiB; one larger entry makes a larger frame.
	FrameBytes int
	// QueueBytes bounds what is appended and not yet durable; beyond it Append
	// waits. Default 32 MiB.
	QueueBytes int
	// DirectBytes is the size from which on a frame of shared entries is written
	// past the page cache, where FS can: it spares copying it once more. Default
	// 16 KiB; negative for never.
	DirectBytes int
	// SpareFiles is how many trimmed files are kept to be written over, which
	// is faster than letting files grow. They are given back before an entry is
	// refused for want of room. Default 2; negative for none.
	SpareFiles int
	// ReserveBytes is the free room below which appends are refused with
	// ErrFull, so that trims, snapshots and the rest of the machine go on.
	// Default 64 MiB; negative for none.
	ReserveBytes int64
	// SnapshotBytes is how much has to change in a Store before it takes a
	// snapshot; a store larger than that waits for as much as it holds. Default
	// 16 MiB. A Lane has no use for it.
	SnapshotBytes int64
	// Epoch is that of a Lane's owner, greater than any before; 0 for the next
	// one. A Store has no use for it.
	Epoch uint64
	// Clock is the time that a Store's leases run by; default that of the machine.
	Clock journal.Clock
	// FS is the file system; default the real one.
	FS vfs.FS
	// Logger hears of cut tails, of fatal failures, and at opening of a place
	// that is not safe. Default: nowhere.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	o.MaxFileBytes = cmp.Or(o.MaxFileBytes, 128<<20)
	o.FrameBytes = cmp.Or(o.FrameBytes, 4<<20)
	o.QueueBytes = cmp.Or(o.QueueBytes, 32<<20)
	o.DirectBytes = cmp.Or(o.DirectBytes, 16<<10)
	o.SpareFiles = cmp.Or(o.SpareFiles, 2)
	o.ReserveBytes = cmp.Or(o.ReserveBytes, 64<<20)
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Clock == nil {
		o.Clock = journal.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.MaxFileBytes < 0:
		return o, fmt.Errorf("journal: MaxFileBytes is %d, must be positive", o.MaxFileBytes)
	case o.FrameBytes < 0 || o.FrameBytes > maxBody:
		return o, fmt.Errorf("journal: FrameBytes is %d, must be 1 to %d", o.FrameBytes, maxBody)
	case o.QueueBytes < 0:
		return o, fmt.Errorf("journal: QueueBytes is %d, must be positive", o.QueueBytes)
	case o.SnapshotBytes < 0:
		return o, fmt.Errorf("journal: SnapshotBytes is %d, must be positive", o.SnapshotBytes)
	}
	return o, nil
}

// Lane is a journal.Journal in a directory of its own.
type Lane struct {
	dir     string
	opts    Options
	lock    io.Closer        // nil if the directory is locked by the lane's owner
	fatal   chan struct{}    // closed when the lane failed
	closed  chan struct{}    // closed when the lane takes nothing more
	done    chan struct{}    // closed when the committer has ended
	release func() error     // letGo, once
	opener  vfs.DirectOpener // nil: nothing is written directly

	trimming sync.Mutex // one Trim at a time
	unread   sync.Pool  // of *byte: the first of pieces of memory that nobody reads in

	mu       sync.Mutex
	work     sync.Cond        // the committer waits here for something to do
	room     sync.Cond        // appenders wait here while the queue is full
	filling  *batch           // takes entries; nil if none came since it was taken
	usual    int              // entries of the last one that was taken while it was filling
	full     []*batch         // closed batches, in order
	emptied  []*batch         // for reuse
	rest     []byte           // memory for the next shared batch, of no length
	paging   bool             // the next shared batch may become one to write directly
	queued   int              // bytes of entries not yet settled
	refusing error            // what Append answers, once nothing more is accepted
	failure  error            // what ended the lane, if not Close
	closing  bool             // Close was called
	files    []*file          // oldest first
	spares   []spare          // to make the next files of
	keep     map[uint64]bool  // of files, by their first frames, that Trim is to keep
	kept     map[uint64]int64 // bytes of those that it kept
	end      journal.Position // just after the last durable entry
	advanced chan struct{}    // closed at the next commit; nil if nobody waits
	stats    journal.Stats    // the counters of this opening

	// The committer's own.
	active *file    // the last of files
	out    vfs.File // where it is written
	direct vfs.File // the same file, past the page cache; nil if that can not be
	small  []byte   // room for a small frame and the rest of its last page
	zeros  [pageSize]byte
	link   link // the end of the chain
	epoch  uint64
}

var _ journal.Journal = (*Lane)(nil)

// Open opens the lane in dir, or makes one. It checks every frame; an
// unfinished last one, left by a crash, was never acknowledged and is cut off.
// Damage is a *journal.CorruptError, a lane open elsewhere journal.ErrLocked, an
// epoch that is not a new one journal.ErrFenced.
func Open(dir string, opts Options) (*Lane, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(opts.FS, dir)
	if err != nil {
		return nil, err
	}
	l, err := recoverLane(dir, opts, 0)
	if err == nil {
		err = l.start()
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	l.lock = lock
	return l, nil
}

// lockDir makes dir if need be and takes it for this holder alone.
func lockDir(fsys vfs.FS, dir string) (io.Closer, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockName))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("open journal %s: %w", dir, journal.ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return lock, nil
}

// recoverLane reads the lane in a locked directory. Frames up to floor are known
// to have been durable. The lane can be read, but takes nothing until start.
func recoverLane(dir string, opts Options, floor uint64) (*Lane, error) {
	l := &Lane{
		dir: dir, opts: opts,
		fatal: make(chan struct{}), closed: make(chan struct{}), done: make(chan struct{}),
	}
	if opts.DirectBytes > 0 {
		l.opener, _ = opts.FS.(vfs.DirectOpener)
	}
	l.work.L, l.room.L = &l.mu, &l.mu
	l.release = sync.OnceValue(l.letGo)
	if err := l.recover(floor); err != nil {
		return nil, errors.Join(err, l.letGo())
	}
	return l, nil
}

// start takes the lane over, under a new epoch, and starts the committer. A
// lane that can not be taken over is let go.
func (l *Lane) start() error {
	l.openDirect()
	if err := l.takeOver(); err != nil {
		return errors.Join(err, l.letGo())
	}
	l.survey(l.stats.SyncTime)
	go l.run()
	return nil
}

// Fatal is closed when the lane failed.
func (l *Lane) Fatal() <-chan struct{} { return l.fatal }

// Stats is a picture of the lane.
func (l *Lane) Stats() journal.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Epoch = l.epoch
	s.First = journal.Position{Frame: l.files[0].first}
	s.End = l.end
	s.Files = len(l.files)
	for _, f := range l.files {
		s.Bytes += f.size
	}
	for _, sp := range l.spares {
		s.Spare += sp.size
	}
	for _, size := range l.kept {
		s.Kept += size
	}
	s.Queued = l.queued
	s.Err = l.failure
	return s
}

// Close commits what is queued, marks the lane as left in good order, and lets
// it go. It returns what ended the lane, if something had.
func (l *Lane) Close() error {
	l.mu.Lock()
	l.closing = true
	l.refuse(journal.ErrClosed)
	l.mu.Unlock()
	<-l.done
	return l.release()
}

// letGo gives back what the lane holds, once the committer has ended.
func (l *Lane) letGo() error {
	err := l.failure
	if l.out != nil {
		if closeErr := l.out.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("close journal: %w", closeErr)
		}
	}
	if l.direct != nil {
		err = errors.Join(err, l.direct.Close())
	}
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
	}
	return err
}

// refuse makes the lane take nothing more, for the first reason given. The
// caller holds mu.
func (l *Lane) refuse(err error) {
	if l.refusing != nil {
		return
	}
	l.refusing = err
	close(l.closed)
	l.work.Broadcast()
	l.room.Broadcast()
}

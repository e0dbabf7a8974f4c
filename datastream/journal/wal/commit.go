package wal

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// errUsedUp ends a lane before a number of its frames or openings comes again.
var errUsedUp = errors.New("the numbers of its frames are used up")

// run is the committer: the only goroutine that writes to the lane.
func (l *Lane) run() {
	defer close(l.done)
	for {
		b := l.next()
		if b == nil {
			break
		}
		h := header{kind: typeEntries, count: uint16(b.count), bodyCRC: b.sum()}
		l.settle(b, l.commit(b.frame(), h, l.opts.ReserveBytes))
	}
	if !l.hasFailed() {
		l.farewell()
	}
}

func (l *Lane) hasFailed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure != nil
}

// patience is how often the committer lets others go first when a frame is much
// smaller than the one before: those whom that one woke are on their way back,
// and who comes first would have a write and a sync for itself while all others
// wait. Where nobody is on the way it costs next to nothing.
const patience = 3

// next waits for something to commit. It returns nil once the lane takes
// nothing more and all it took is settled.
func (l *Lane) next() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	for waited := 0; ; {
		if l.failure != nil {
			l.abandon()
			return nil
		}
		if len(l.full) > 0 {
			b := l.full[0]
			l.full = slices.Delete(l.full, 0, 1)
			return b
		}
		if b := l.filling; b != nil {
			if waited < patience && b.count < l.usual/4 && l.refusing == nil {
				waited++
				l.mu.Unlock()
				runtime.Gosched()
				l.mu.Lock()
				continue
			}
			l.filling, l.usual = nil, b.count
			l.keepRest(b)
			return b
		}
		if l.refusing != nil {
			return nil
		}
		l.work.Wait()
	}
}

// abandon resolves all that is queued with the lane's failure, in order. The
// caller holds mu.
func (l *Lane) abandon() {
	if l.filling != nil {
		l.full = append(l.full, l.filling)
		l.filling = nil
	}
	for _, b := range l.full {
		b.commit.Resolve(0, l.failure)
	}
	l.full, l.queued = nil, 0
}

// settle makes the outcome of a batch known.
func (l *Lane) settle(b *batch, err error) {
	l.mu.Lock()
	commit := b.commit
	l.queued -= len(b.buf) - headerSize
	if err == nil {
		l.stats.Entries += uint64(b.count)
		l.end = journal.Position{Frame: l.link.number, Index: uint16(b.count)}
		if l.advanced != nil {
			close(l.advanced)
			l.advanced = nil
		}
	} else if errors.Is(err, journal.ErrFull) {
		l.stats.Refused += uint64(b.count)
	}
	l.reuse(b)
	l.room.Broadcast()
	l.mu.Unlock()
	commit.Resolve(l.link.number, err)
}

// commit writes one frame and makes it durable; the first headerSize bytes of
// frame are for its header, of which h says what the frame holds, what room it
// has up to a page is for padding, and reserve is the room to leave free. Before it refuses for want of room it gives up the
// spares. ErrFull leaves the lane as it was; any other error has ended it.
func (l *Lane) commit(frame []byte, h header, reserve int64) error {
	err := l.tryCommit(frame, h, reserve)
	for errors.Is(err, journal.ErrFull) && l.giveBack() {
		err = l.tryCommit(frame, h, reserve)
	}
	return err
}

func (l *Lane) tryCommit(frame []byte, h header, reserve int64) error {
	rotates := l.active.size > fileHeaderSize && l.active.size+int64(len(frame)) > l.opts.MaxFileBytes
	if err := l.checkRoom(int64(len(frame)+l.padding(0, frame)), rotates, reserve); err != nil {
		return err
	}
	if rotates {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.link.number == math.MaxUint64 {
		return l.failed(errUsedUp)
	}
	f := l.active
	h.salt, h.number, h.epoch = f.salt, l.link.number+1, l.epoch
	h.committed, h.chain = l.link.number, l.link.chain
	h.padding = uint32(l.padding(f.size, frame))
	h.sealSummed(frame)
	if err := l.write(frame, int(h.padding)); err != nil {
		return l.cutBack(err)
	}
	start := time.Now()
	if err := l.out.Sync(); err != nil {
		return l.failed(err)
	}
	l.link = link{number: h.number, chain: h.crc, epoch: h.epoch}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.note(&h)
	l.stats.Frames++
	l.stats.Written += uint64(len(frame))
	l.stats.SyncTime += time.Since(start)
	return nil
}

// checkRoom refuses a frame that would take from the device what is reserved. A
// frame that fits what its file already has takes nothing.
func (l *Lane) checkRoom(size int64, rotates bool, reserve int64) error {
	taken := l.active.size + size - l.active.extent
	if rotates {
		taken = fileHeaderSize + size - l.nextSpare()
	}
	if reserve <= 0 || taken <= 0 {
		return nil
	}
	free, err := l.opts.FS.Free(l.dir)
	if err != nil {
		return l.failed(err)
	}
	if free < uint64(reserve)+uint64(taken) {
		return fmt.Errorf("%w: %d bytes free in %s, %d are reserved", journal.ErrFull, free, l.dir, reserve)
	}
	return nil
}

// rotate begins a new file. Everything in the one before is durable already.
func (l *Lane) rotate() error {
	next := fileHeader{first: l.link.number + 1, epoch: l.epoch, chain: l.link.chain}
	f, out, err := l.nextFile(next)
	if vfs.NoRoom(err) {
		return fmt.Errorf("%w: %w", journal.ErrFull, err)
	}
	if err == nil {
		// A name that may or may not be there is no want of room: the frame
		// that the file is named after must not go elsewhere.
		if err = l.opts.FS.SyncDir(l.dir); err != nil {
			err = errors.Join(err, out.Close())
		}
	}
	if err != nil {
		return l.failed(err)
	}
	old, oldDirect := l.out, l.direct
	l.active, l.out = f, out
	l.openDirect()
	l.mu.Lock()
	l.files = append(l.files, f)
	l.mu.Unlock()
	err = old.Close()
	if oldDirect != nil {
		err = errors.Join(err, oldDirect.Close())
	}
	if err != nil {
		return l.failed(err)
	}
	return nil
}

// nextFile makes a file of a spare, or else a new one.
func (l *Lane) nextFile(h fileHeader) (*file, vfs.File, error) {
	sp, ok := l.takeSpare()
	if !ok {
		return createFile(l.opts.FS, l.dir, h)
	}
	f, out, err := reuseFile(l.opts.FS, l.dir, sp, h)
	if !vfs.NoRoom(err) {
		return f, out, err
	}
	// Some file systems never write over what is there.
	if err := l.opts.FS.Remove(sp.name); err != nil {
		return nil, nil, err
	}
	return createFile(l.opts.FS, l.dir, h)
}

// cutBack deals with a failed write. For want of room it takes back what was
// written of the frame, and the lane goes on: nothing in it changed. Any other
// failure ends the lane.
func (l *Lane) cutBack(err error) error {
	if !vfs.NoRoom(err) {
		return l.failed(err)
	}
	cutErr := l.out.Truncate(l.active.size)
	if cutErr == nil {
		// The next frame may begin another file, and a crash then must not
		// bring back what was refused here.
		cutErr = l.out.Sync()
	}
	if cutErr != nil {
		return l.failed(errors.Join(err, cutErr))
	}
	l.active.extent = l.active.size
	return fmt.Errorf("%w: %w", journal.ErrFull, err)
}

// failed ends the lane for good and returns what everyone will be answered.
// Nothing is tried again: after a failed sync the kernel may have dropped the
// pages it could not write, and a second sync would succeed without them.
func (l *Lane) failed(err error) error {
	err = fmt.Errorf("journal %s failed: %w", l.dir, err)
	l.opts.Logger.Error("journal failed; nothing more is accepted", "dir", l.dir, "error", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return l.failure
	}
	l.failure = err
	l.refuse(err)
	close(l.fatal)
	return err
}

// farewell marks a lane left in good order. The frame also says that the one
// before it was durable, so that no later damage to that one passes for the
// work of a crash.
func (l *Lane) farewell() {
	err := l.commit(make([]byte, headerSize), header{kind: typeClose}, 0)
	if errors.Is(err, journal.ErrFull) {
		l.opts.Logger.Warn("no room to mark the journal as closed", "dir", l.dir, "error", err)
	}
}

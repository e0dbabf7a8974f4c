package wal

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// recover reads the lane from its first file to its last, checks every frame
// and every link, and cuts an unfinished last frame off.
func (l *Lane) recover(floor uint64) error {
	names, err := l.opts.FS.List(l.dir)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	firsts, unfinished, spares := laneFiles(names)
	for _, name := range unfinished {
		if err := l.opts.FS.Remove(filepath.Join(l.dir, name)); err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
	}
	if len(firsts) == 0 {
		if err := l.begin(floor, len(spares)+len(keptFiles(names))); err != nil {
			return err
		}
		firsts = []uint64{1}
	}
	// Likewise for names: a rename before this opening may have reached no device.
	if err := l.opts.FS.SyncDir(l.dir); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if err := errors.Join(l.findSpares(spares), l.findKept(names)); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	var w window
	for i, first := range firsts {
		next := noSuccessor
		if i+1 < len(firsts) {
			next = firsts[i+1]
		}
		if err := l.load(first, next, floor, &w); err != nil {
			return err
		}
	}
	if l.link.number < floor {
		return l.active.damage(l.active.size, l.link.number+1,
			fmt.Sprintf("the lane ends before frame %d, which was durable", floor))
	}
	return nil
}

// noSuccessor stands for the first frame of the file after the last one.
const noSuccessor uint64 = 0

// begin makes the first file of a new lane. Spares and kept files, if there are
// any, come of a lane that had more.
func (l *Lane) begin(floor uint64, others int) error {
	if floor > 0 || others > 0 {
		return &journal.CorruptError{File: l.dir, Frame: floor, Reason: "all files of the lane are missing"}
	}
	_, out, err := createFile(l.opts.FS, l.dir, fileHeader{first: 1}) // the directory is synced with the rest
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	return out.Close()
}

// load checks one file and adds it to the lane. The last one, without a next,
// stays open for writing.
func (l *Lane) load(first, next, floor uint64, w *window) error {
	name := fileName(l.dir, first)
	raw, err := l.opts.FS.Open(name)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	l.out = raw // let go by the caller, should anything fail from here on
	size, err := raw.Size()
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	w.reset(raw, size)
	f, err := l.loadHeader(name, first, w)
	if err != nil {
		return err
	}
	s, err := scanFile(f, w, l.link, next)
	if err != nil {
		return err
	}
	l.link = s.link
	if s.lastEntries > 0 {
		l.end = journal.Position{Frame: s.lastEntries, Index: s.lastCount}
	}
	l.files = append(l.files, f)
	l.active = f
	if s.bad != nil {
		if err := l.cutTail(f, raw, w, s, next, floor); err != nil {
			return err
		}
	}
	if next != noSuccessor {
		l.out = nil
		return raw.Close()
	}
	// What can be read may not be durable yet, if only the process before ended
	// and not the machine. From here on it counts as durable.
	if err := raw.Sync(); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	return nil
}

// loadHeader reads a file's header and checks that the file continues the lane.
func (l *Lane) loadHeader(name string, first uint64, w *window) (*file, error) {
	f := newFile(name, fileHeader{first: first}, w.limit)
	b, err := w.at(0, fileHeaderSize)
	if err != nil && !aboutBytes(err) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	f.fileHeader, err = parseFileHeader(b)
	if err != nil {
		return nil, f.damage(0, first, err.Error())
	}
	if len(l.files) == 0 {
		l.link = link{number: f.first - 1, chain: f.chain, epoch: f.epoch}
		if f.first > 1 {
			l.end = journal.Position{Frame: f.first} // what was before has been trimmed
		}
	}
	switch {
	case f.first != first:
		return nil, f.damage(0, first, fmt.Sprintf("the header says that the first frame is %d", f.first))
	case f.first != l.link.number+1:
		return nil, f.damage(0, l.link.number+1, fmt.Sprintf("frames %d to %d are missing before this file", l.link.number+1, f.first-1))
	case f.chain != l.link.chain:
		return nil, f.damage(0, f.first, "the chain does not match the file before")
	}
	return f, nil
}

// cutTail decides what the bytes after the last good frame are. They are cut
// only if they can be what a crash left of a frame that was never acknowledged:
// at the end of the last file, with no later frame behind them, and not known
// to have been durable. In a reused file they may be of a former life as well,
// and stay to be written over.
func (l *Lane) cutTail(f *file, raw vfs.File, w *window, s scanned, next, floor uint64) error {
	expected := s.link.number + 1
	if next != noSuccessor {
		return f.damage(s.end, expected, s.bad.Error())
	}
	if expected <= floor {
		return f.damage(s.end, expected, fmt.Sprintf("%v, and frame %d was durable", s.bad, floor))
	}
	later, off, err := laterFrame(w, s.end, f.salt, expected)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.name, err)
	}
	if later != 0 {
		return f.damage(s.end, expected, fmt.Sprintf("%v, but frame %d follows at byte %d", s.bad, later, off))
	}
	torn := w.limit - s.end
	if f.reused {
		if torn = unfinished(w, s.end, f.salt); torn == 0 {
			return nil
		}
	}
	l.stats.TornTail = torn
	l.opts.Logger.Warn("cut an unfinished frame off the journal", "file", f.name, "offset", s.end,
		"frame", expected, "bytes", torn, "reason", s.bad)
	if f.reused {
		return nil
	}
	f.extent = s.end
	// Synced by the caller.
	if err := raw.Truncate(s.end); err != nil {
		return fmt.Errorf("cut %s: %w", f.name, err)
	}
	return nil
}

// unfinished is how much of a reused file is a frame of its present life that a
// crash left unfinished, as far as its header tells.
func unfinished(w *window, off int64, salt uint64) int64 {
	b, err := w.at(off, headerSize)
	if err != nil {
		return 0
	}
	h, err := parseHeader(b)
	if err != nil || h.salt != salt {
		return 0
	}
	return min(h.size(), w.limit-off)
}

// takeOver makes this opening the lane's owner: it raises the epoch and says so
// in a frame of its own. A device without room gets no such frame, for opening
// has to work where only a trim can help; the epoch then begins with the next
// frame.
func (l *Lane) takeOver() error {
	if l.link.epoch == math.MaxUint64 {
		return fmt.Errorf("open journal %s: %w", l.dir, errUsedUp)
	}
	switch last, epoch := l.link.epoch, l.opts.Epoch; {
	case epoch == 0:
		l.epoch = last + 1
	case epoch > last:
		l.epoch = epoch
	default:
		return fmt.Errorf("open journal %s with epoch %d: it had epoch %d: %w", l.dir, epoch, last, journal.ErrFenced)
	}
	err := l.commit(make([]byte, headerSize), header{kind: typeEpoch}, 0)
	if err != nil && !errors.Is(err, journal.ErrFull) {
		return err
	}
	if err != nil {
		l.opts.Logger.Warn("no room to mark the journal as opened", "dir", l.dir, "error", err)
	}
	return nil
}

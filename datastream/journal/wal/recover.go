package wal

import (
	"errors"
	"fmt"
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
	firsts, unfinished := laneFiles(names)
	for _, name := range unfinished {
		if err := l.opts.FS.Remove(filepath.Join(l.dir, name)); err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
	}
	if len(firsts) == 0 {
		firsts, err = []uint64{1}, l.begin(floor)
		if err != nil {
			return err
		}
	}
	// Likewise for names: a rename before this opening may have reached no device.
	if err := l.opts.FS.SyncDir(l.dir); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	var w window
	for i, first := range firsts {
		if err := l.load(first, i == len(firsts)-1, floor, &w); err != nil {
			return err
		}
	}
	if l.link.number < floor {
		return l.active.damage(l.active.size, l.link.number+1,
			fmt.Sprintf("the lane ends before frame %d, which was durable", floor))
	}
	return nil
}

// begin makes the first file of a new lane.
func (l *Lane) begin(floor uint64) error {
	if floor > 0 {
		return &journal.CorruptError{File: l.dir, Frame: floor, Reason: "all files of the lane are missing"}
	}
	_, out, err := createFile(l.opts.FS, l.dir, fileHeader{first: 1})
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	return out.Close()
}

// load checks one file and adds it to the lane. The last one stays open for
// writing.
func (l *Lane) load(first uint64, last bool, floor uint64, w *window) error {
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
	s, err := scanFile(f, w, l.link)
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
		if err := l.cutTail(f, raw, w, s, last, floor); err != nil {
			return err
		}
	}
	if !last {
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
	f := &file{name: name, size: fileHeaderSize, last: first - 1}
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
// to have been durable.
func (l *Lane) cutTail(f *file, raw vfs.File, w *window, s scanned, last bool, floor uint64) error {
	expected := s.link.number + 1
	if !last {
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
	l.opts.Logger.Warn("cut an unfinished frame off the journal", "file", f.name, "offset", s.end,
		"frame", expected, "bytes", w.limit-s.end, "reason", s.bad)
	l.stats.TornTail = w.limit - s.end
	// Synced by the caller.
	if err := raw.Truncate(s.end); err != nil {
		return fmt.Errorf("cut %s: %w", f.name, err)
	}
	return nil
}

// takeOver makes this opening the lane's owner: it raises the epoch and says so
// in a frame of its own. A device without room gets no such frame, for opening
// has to work where only a trim can help; the epoch then begins with the next
// frame.
func (l *Lane) takeOver() error {
	l.epoch = l.link.epoch + 1
	err := l.commit(make([]byte, headerSize), header{kind: typeEpoch}, 0)
	if err != nil && !errors.Is(err, journal.ErrFull) {
		return err
	}
	if err != nil {
		l.opts.Logger.Warn("no room to mark the journal as opened", "dir", l.dir, "error", err)
	}
	return nil
}

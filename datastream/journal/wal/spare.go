package wal

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// A spare is a file that was trimmed off the lane and is kept, under the name of
// its former life with another suffix, to be written over: a device takes bytes
// faster where the file system has nothing to allocate, and the room they take
// is certain. Nothing in a spare is ever looked at.
//
// Trim makes spares, as many as Options.SpareFiles; a new file of the lane is
// made of one if there is one. A device short of room gets them back before any
// entry is refused.
type spare struct {
	name string
	size int64
}

// spareSuffix follows the suffix of a file of the lane.
const spareSuffix = ".spare"

// fitsSpare reports whether a file of this size is worth keeping, and no burden.
func (l *Lane) fitsSpare(size int64) bool {
	return size >= l.opts.MaxFileBytes/2 && size <= 2*l.opts.MaxFileBytes
}

// wantsSpare reports whether a trimmed file should stay: not where others are
// waiting for its room.
func (l *Lane) wantsSpare(size int64) bool {
	l.mu.Lock()
	n := len(l.spares)
	l.mu.Unlock()
	if n >= l.opts.SpareFiles || !l.fitsSpare(size) {
		return false
	}
	if l.opts.ReserveBytes <= 0 {
		return true
	}
	free, err := l.opts.FS.Free(l.dir)
	return err == nil && free >= uint64(l.opts.ReserveBytes)
}

// vacate takes a file's name away, durably, and makes the file a spare if one is
// wanted. Only when no crash can bring the file back may it be written over.
func (l *Lane) vacate(first uint64, name string, size int64) error {
	sp := spare{name: fileName(l.dir, first) + spareSuffix, size: size}
	wanted := l.wantsSpare(size) && l.opts.FS.Rename(name, sp.name) == nil
	if !wanted {
		if err := l.opts.FS.Remove(name); err != nil {
			return fmt.Errorf("trim journal: %w", err)
		}
	}
	if err := l.opts.FS.SyncDir(l.dir); err != nil {
		return l.failed(fmt.Errorf("trim: %w", err))
	}
	if wanted {
		l.mu.Lock()
		l.spares = append(l.spares, sp)
		l.mu.Unlock()
	}
	return nil
}

// findSpares takes up the spares that earlier openings left, and removes those
// that are not wanted.
func (l *Lane) findSpares(names []string) error {
	for _, name := range names {
		sp := spare{name: filepath.Join(l.dir, name)}
		f, err := l.opts.FS.Open(sp.name)
		if err != nil {
			return err
		}
		sp.size, err = f.Size()
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if len(l.spares) < l.opts.SpareFiles && l.fitsSpare(sp.size) {
			l.spares = append(l.spares, sp)
		} else if err := l.opts.FS.Remove(sp.name); err != nil {
			return err
		}
	}
	return nil
}

// takeSpare takes the spare that the next file is made of off the list.
func (l *Lane) takeSpare() (spare, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.spares) - 1
	if n < 0 {
		return spare{}, false
	}
	sp := l.spares[n]
	l.spares = l.spares[:n]
	return sp, true
}

// nextSpare is the size of what takeSpare would take.
func (l *Lane) nextSpare() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.spares); n > 0 {
		return l.spares[n-1].size
	}
	return 0
}

// giveBack removes a spare for the sake of its room, and reports whether there
// was one. That it comes back after a crash does no harm.
func (l *Lane) giveBack() bool {
	sp, ok := l.takeSpare()
	if !ok {
		return false
	}
	if err := l.opts.FS.Remove(sp.name); err != nil {
		l.opts.Logger.Warn("a spare file of the journal could not be removed", "file", sp.name, "error", err)
	}
	return true
}

// reuseFile makes a spare the file that begins with the given frame. Its header
// is on the device before its name is. The caller syncs the directory.
func reuseFile(fsys vfs.FS, dir string, sp spare, h fileHeader) (*file, vfs.File, error) {
	var err error
	if h.salt, err = newSalt(); err != nil {
		return nil, nil, err
	}
	h.reused = true
	f, err := fsys.Open(sp.name)
	if err != nil {
		return nil, nil, err
	}
	name := fileName(dir, h.first)
	_, err = f.WriteAt(h.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.Rename(sp.name, name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return newFile(name, h, sp.size), f, nil
}

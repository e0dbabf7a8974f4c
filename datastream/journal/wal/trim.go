package wal

import (
	"slices"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Trim removes the files that lie wholly before the given position, or makes
// them spares, or keeps them as they are if that was asked for. The file being
// written to is never one of them.
func (l *Lane) Trim(before journal.Position) error {
	l.trimming.Lock()
	defer l.trimming.Unlock()
	for {
		f, err := l.forget(before)
		if f == nil || err != nil {
			return err
		}
		// One by one: were a later removal to reach the device before an
		// earlier one, a crash would leave a hole in the lane.
		if err := l.retire(f); err != nil {
			return err
		}
	}
}

// forget takes the oldest file off the list if it lies wholly before the given
// position, and returns it.
func (l *Lane) forget(before journal.Position) (*file, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return nil, journal.ErrClosed
	}
	if l.failure != nil {
		return nil, l.failure
	}
	if len(l.files) < 2 || l.files[1].first > before.Frame {
		return nil, nil
	}
	f := l.files[0]
	l.files = l.files[1:]
	return f, nil
}

// remember puts back the oldest file, as it could not be removed.
func (l *Lane) remember(f *file) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files = slices.Insert(l.files, 0, f)
}

// trimmed reports whether a file is no longer part of the lane.
func (l *Lane) trimmed(f *file) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.files[0].first > f.first
}

// retire ends a trimmed file's life in the lane.
func (l *Lane) retire(f *file) error {
	var err error
	if l.mustKeep(f) {
		err = l.setAside(f)
	} else {
		err = l.vacate(f.first, f.name, f.extent)
	}
	if err != nil && !l.hasFailed() { // it has its name still
		l.remember(f)
	}
	return err
}

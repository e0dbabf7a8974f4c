// Package vfs is the seam between the journal and the file system: the few
// calls whose order and failure decide whether what was acknowledged is still
// there after a crash.
//
// It owns the real file system ([OS]) and one in memory ([Memory]); for tests,
// one that fails where it is told to ([Faults]) and one that can be lost at any
// call ([Crash]). It knows nothing of journals and buffers nothing.
package vfs

import (
	"errors"
	"io"
)

// ErrLocked answers Lock when the file is held.
var ErrLocked = errors.New("locked by another holder")

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Truncate sets the length.
	Truncate(size int64) error
	// Sync returns when the data and the length, though not the times, are on
	// the device. After an error nothing is known about what was written since
	// the last success, and calling it again does not help.
	Sync() error
	// Size is the length in bytes.
	Size() (int64, error)
}

// Pusher is a File that can send bytes on their way to the device before Sync
// wants all of them there at once, so that a large file is no burden to those
// who sync small ones meanwhile. It makes nothing durable.
type Pusher interface {
	// Push begins to write out what was written at an offset, and with wait
	// returns when that is done. An error is as final as one of Sync.
	Push(offset, length int64, wait bool) error
}

// FS is a file system. Names are paths.
type FS interface {
	// MkdirAll makes a directory and its parents, durably.
	MkdirAll(dir string) error
	// Create makes an empty file for reading and writing, replacing any.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Rename moves a file over another.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(name string) error
	// List returns the base names in a directory, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(dir string) error
	// Free is the room, in bytes, that an unprivileged writer has left.
	Free(dir string) (uint64, error)
	// Lock takes a file, made if need be, for this holder alone until the
	// closer is closed or the process ends; ErrLocked if someone has it.
	Lock(name string) (io.Closer, error)
}

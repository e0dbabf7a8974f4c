package bucket

import (
	"errors"
	"fmt"
)

var (
	// ErrAbsent: there is no object of that key. Only a store that answered says so.
	ErrAbsent = errors.New("no such object")
	// ErrExists: the key is taken, and IfAbsent was asked.
	ErrExists = errors.New("object exists already")
	// ErrInvalidKey: the key breaks the rule of ValidKey; no store was asked.
	ErrInvalidKey = errors.New("invalid object key")
	// ErrFull: the store has no room. Retrying helps once something was deleted.
	ErrFull = errors.New("object store is full")
	// ErrRefused: the store will go on refusing until someone mends a setting (keys, bucket name, permission,
	// certificate). The message says what to do.
	ErrRefused = errors.New("object store refuses")
	// ErrCorrupt: the store holds, or received, other bytes than it was given.
	ErrCorrupt = errors.New("object is corrupt")
)

// RangeError says that a Get asked for bytes the object does not have.
type RangeError struct {
	Key                  string
	Offset, Length, Size int64
}

// Error names the range and the size of the object.
func (e *RangeError) Error() string {
	if e.Length == ToEnd {
		return fmt.Sprintf("bytes from %d on are outside object %q of %d bytes", e.Offset, e.Key, e.Size)
	}
	return fmt.Sprintf("%d bytes from %d are outside object %q of %d bytes", e.Length, e.Offset, e.Key, e.Size)
}

// CorruptError says what differed between the bytes given and the object stored. It is an ErrCorrupt.
type CorruptError struct {
	Key        string
	What       string // what was compared: "size", "checksum" or "byte N"
	Want, Have string
}

// Error names the object and the difference.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("object %q: %s is %s, want %s", e.Key, e.What, e.Have, e.Want)
}

// Unwrap makes the error an ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// CheckRange is the rule for ranges that every store's Get applies: offset and length must lie within the
// size bytes of the object (an empty range at its very end does). It gives the number of bytes to read.
func CheckRange(key string, size, offset, length int64) (int64, error) {
	n := length
	if length == ToEnd {
		n = size - offset
	}
	if offset < 0 || length < ToEnd || offset > size || n > size-offset {
		return 0, &RangeError{Key: key, Offset: offset, Length: length, Size: size}
	}
	return n, nil
}

package journal

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed answers calls on a lane or store that was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrFull refuses an append for want of room. What exists stays readable,
	// trimming works, and appends succeed again once there is room.
	ErrFull = errors.New("journal is full: the device has no room left")
	// ErrFenced answers an owner whose lane was taken over by a newer epoch.
	ErrFenced = errors.New("journal was taken over by a newer owner")
	// ErrLocked refuses to open what another process, or this one, has open.
	ErrLocked = errors.New("journal is open elsewhere")
	// ErrTooLarge refuses a key or a payload beyond MaxKey or MaxPayload.
	ErrTooLarge = errors.New("entry exceeds the journal's bound")
	// ErrAbsent answers a look at a key that Meta does not hold.
	ErrAbsent = errors.New("no such key")
	// ErrConflict refuses a change whose expected revision is not the present one.
	ErrConflict = errors.New("revision conflict")
)

// CorruptError says that bytes which were once durable no longer read as they
// were written, and where. Nothing is repaired, cut or skipped: what to do is
// for a person, or for a replica, to decide.
type CorruptError struct {
	File   string // path of the damaged file
	Offset int64  // byte offset of the first thing that does not fit
	Frame  uint64 // number of the frame expected there, 0 where none is meant
	Reason string
}

// Error gives the coordinates and the reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: damaged at byte %d (frame %d): %s", e.File, e.Offset, e.Frame, e.Reason)
}

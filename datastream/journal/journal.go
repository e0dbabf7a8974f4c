// Package journal holds the contracts of the durable ground everything else
// stands on: a lane of ordered, durable entries ([Journal]) and a small
// compare-and-set store ([Meta]).
//
// It owns the nouns (Position, Entry, Future), the errors that every
// implementation shares, and how an entry lies in a frame, as some read it there
// (Keeper). Package wal implements all contracts on local files; package
// journaltest is the suite an implementation has to pass. This package does no
// I/O, knows no file format and gives entries no meaning: a kind, a key and a
// payload belong to whoever appended them.
package journal

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"time"
)

// Bounds of one entry. They keep a frame under its 16 MiB bound whatever the
// entry, so that a reader can refuse a length before it allocates for it.
const (
	MaxKey     = 4 << 10  // bytes
	MaxPayload = 15 << 20 // bytes
)

// Position is the place of an entry in its lane: the frame that carries it and
// its index in that frame. Frames count from 1, so the zero Position lies
// before every entry. Positions only grow, and are never used again, but they
// have gaps: a frame without entries, a frame that was never accepted.
type Position struct {
	Frame uint64
	Index uint16
}

// Compare answers -1, 0 or +1 as p lies before, at or after q.
func (p Position) Compare(q Position) int {
	if c := cmp.Compare(p.Frame, q.Frame); c != 0 {
		return c
	}
	return cmp.Compare(p.Index, q.Index)
}

// Less reports whether p lies before q.
func (p Position) Less(q Position) bool { return p.Compare(q) < 0 }

// Next is the smallest position after p: what to read from once the entry at p
// has been dealt with.
func (p Position) Next() Position {
	if p.Index == ^uint16(0) {
		return Position{Frame: p.Frame + 1}
	}
	return Position{Frame: p.Frame, Index: p.Index + 1}
}

// String writes the position as frame.index, for people.
func (p Position) String() string { return fmt.Sprintf("%d.%d", p.Frame, p.Index) }

// Kind says what an entry is, to those who wrote it. The lane keeps it and
// looks no further.
type Kind uint8

// Entry is one durable entry as it is read back.
type Entry struct {
	Position
	Kind    Kind
	Key     string
	Payload []byte
}

// Journal is one lane: an ordered, durable list of entries.
//
// All methods may be called concurrently. Entries appended by one goroutine
// keep their order; entries of different goroutines take the order in which
// the lane accepted them, which is the order everyone reads.
type Journal interface {
	// Append queues an entry and returns at once; it waits only while the
	// lane's bounded queue is full. Key and payload have been copied when it
	// returns. The future resolves when the entry and all before it are
	// durable, in order, or with the error that kept the entry out: ErrTooLarge,
	// ErrFull (nothing was kept, a later append may succeed), ErrClosed,
	// ErrFenced, or the failure that ended the lane.
	Append(kind Kind, key string, payload []byte) Future

	// Read yields, in order, the retained entries at or after from that were
	// durable when the iteration began. A from older than what is retained
	// begins with the oldest. An error (a *CorruptError, an I/O error,
	// ErrClosed) is yielded once, with a zero Entry, and ends the iteration.
	// Payload is lent until the next step; a caller who keeps it copies it.
	Read(from Position) iter.Seq2[Entry, error]

	// Wait returns nil once an entry at or after p is durable, and otherwise
	// the context's error, ErrClosed or the failure that ended the lane.
	Wait(ctx context.Context, p Position) error

	// Trim gives up the entries before the given position. The lane drops them
	// in large pieces, so some of them may stay readable; none at or after it
	// is ever dropped. It works on a full lane.
	Trim(before Position) error

	// Stats is a consistent picture of the lane at this moment.
	Stats() Stats

	// Fatal is closed when a write or a sync failed and the lane ended for
	// good: nothing can be known about the state of the device, so nothing is
	// tried again. Stats().Err says why. The owner should end the process.
	Fatal() <-chan struct{}

	// Close refuses new appends, commits those already queued, and lets the
	// lane go. Closing twice is harmless.
	Close() error
}

// Lanes is a place where lanes are kept, each under a name of its own.
type Lanes interface {
	// Open opens a lane, or makes it, for an owner with an epoch, such as that of
	// a lease: greater than any the lane was opened with before, or else it is
	// ErrFenced and the lane stays as it is. 0 stands for the next one: for a
	// lane that only ever has one owner. Stats().Epoch says which it became.
	//
	// Where the lane ends is Stats().End, and what it holds from a position on
	// is replayed with Read. A former owner that still has the lane open is
	// fenced, and gets ErrFenced from then on; where that can not be done, as on
	// local files, it is ErrLocked until that owner has let go. Damage is a
	// *CorruptError.
	//
	// A name is 1 to 64 of a-z, 0-9, '-' and '_'.
	Open(ctx context.Context, lane string, epoch uint64) (Journal, error)
}

// Sharer is a Journal whose caller may go on reading what it has appended, where
// the journal has it, rather than keep a copy of its own.
type Sharer interface {
	// AppendShared appends entries in their order, each as Append does, and sets
	// Future and Payload of each. It may let those of others in between.
	AppendShared(kind Kind, entries []Shared)
}

// Shared is an entry for AppendShared and what became of it.
type Shared struct {
	Key        string
	Head, Body []byte // the payload is Head and then Body

	Future Future
	// Payload is the payload where the journal keeps it: it may be read from now
	// on and for as long as anybody likes, and is never modified, neither by the
	// journal nor by whoever reads it. It is nil when the future has already
	// resolved with an error. Memory is kept in large pieces, of which one is
	// kept whole while any of its payloads is.
	Payload []byte
}

// Stats describes a lane.
type Stats struct {
	Epoch  uint64   // raised by every opening
	First  Position // the oldest retained entry can not lie before it
	End    Position // just after the last durable entry
	Files  int      // retained pieces
	Bytes  int64    // in them
	Spare  int64    // bytes in files that wait to be written over, not counted in Bytes
	Kept   int64    // bytes in pieces that left the lane and are kept, not counted in Bytes
	Queued int      // bytes appended and not yet durable

	// Since this opening.
	Frames   uint64        // frames made durable
	Entries  uint64        // entries made durable
	Refused  uint64        // entries refused with ErrFull
	Written  uint64        // bytes made durable
	SyncTime time.Duration // spent in waiting for the device, all frames together
	TornTail int64         // bytes of an unfinished last frame cut at opening

	Err error // what ended the lane, or nil
}

package journal

import (
	"io"
	"iter"
)

// Keeper is a Journal whose pieces may outlive their time in the lane, for who
// refers to entries where they lie rather than write them once more.
//
// A piece is what Trim gives up as a whole, named by its first frame. What is
// durable in it does not change until it is released. Who refers to entries of a
// piece keeps it, makes the reference durable, and only then trims; when no
// reference is left, it is released.
//
// Trim takes a piece that is to be kept out of the lane like any other: Read does
// not yield its entries any more, and opening the lane does not look into it. It
// is there until it is released. That a piece which is still part of the lane is
// to be kept is forgotten when the lane is closed: after each opening, and before
// the first Trim, it has to be said anew.
type Keeper interface {
	// Locate says where the body of a durable frame lies that is part of the
	// lane; false where that is not known.
	Locate(frame uint64) (Place, bool)

	// Keep makes Trim leave a piece where it can be opened. Of a piece that is
	// kept already it changes nothing. The error is fs.ErrNotExist where there
	// is no such piece, ErrClosed, or the failure that ended the lane.
	Keep(piece uint64) error

	// Release takes Keep back. A piece that has left the lane is gone, durably,
	// or from then on written over: who has it open may read anything. One that is part
	// of the lane goes with the next Trim, as others do. Errors are those of
	// Keep, and those of the device; the piece may come back with the next
	// opening then.
	Release(piece uint64) error

	// Pieces lists all that can be opened, the oldest first.
	Pieces() []Piece

	// OpenPiece opens a piece for reading, wherever it is; also of a lane that
	// failed. The error is fs.ErrNotExist where there is no such piece, or
	// ErrClosed. Nobody verifies what is read there but who reads it.
	OpenPiece(piece uint64) (PieceReader, error)
}

// Piece describes a piece of a lane.
type Piece struct {
	First uint64 // its first frame
	Name  string // where it lies, for people
	Bytes int64  // up to the end of its frames; of one that left the lane, of all of it
	Kept  bool   // it has left the lane
}

// Place is where the body of a frame lies.
type Place struct {
	Piece  uint64
	Offset int64 // bytes from the beginning of the piece
}

// PieceReader is an open piece. What lies at a Place is the body of a frame: see
// AppendEntryHead.
type PieceReader interface {
	io.ReaderAt
	io.Closer

	// Name is where the piece lies, for people.
	Name() string

	// Entries yields the entries of all frames of the piece that are whole, in
	// order. Where a frame is not, it yields a *CorruptError with a zero
	// entry, and goes on behind it if it can tell where that is; it ends with any
	// other error. Where the frames of a piece end can not be told from
	// damage: after the last comes such an error as well. Payload is lent until the
	// next step.
	Entries() iter.Seq2[PlacedEntry, error]
}

// PlacedEntry is an entry and where it lies in its piece.
type PlacedEntry struct {
	Entry
	Offset int64 // bytes from the beginning of the piece
	Size   int   // bytes
}

package awswire

import "strings"

// Sizes of the pieces that the arena hands out of, in bytes. A blob keeps its
// piece alive, so pieces are small beside what is kept for long; and a blob that
// would waste much of one has memory of its own.
const (
	blobPiece   = 64 << 10
	stringPiece = 4 << 10
)

// arena is where the blobs and the strings of a request are copied to, so that
// its body can be let go: a few pieces instead of one allocation each.
type arena struct {
	blobs   []byte // length = handed out
	strings strings.Builder
}

// blob makes room for n bytes. rest is a bound of what may still follow.
func (a *arena) blob(n, rest int) []byte {
	if n == 0 {
		return []byte{} // Present and empty is not absent.
	}
	if n > cap(a.blobs)-len(a.blobs) {
		if n > blobPiece/4 {
			return make([]byte, n)
		}
		a.blobs = make([]byte, 0, max(n, min(rest, blobPiece)))
	}
	from := len(a.blobs)
	a.blobs = a.blobs[:from+n]
	return a.blobs[from : from+n : from+n]
}

// string copies b. rest is a bound of what may still follow.
func (a *arena) string(b []byte, rest int) string {
	if len(b) > stringPiece/8 {
		return string(b)
	}
	if len(b) > a.strings.Cap()-a.strings.Len() {
		a.strings = strings.Builder{}
		a.strings.Grow(max(len(b), min(rest, stringPiece)))
	}
	from := a.strings.Len()
	a.strings.Write(b) // It fits: what was handed out does not move.
	return a.strings.String()[from:]
}

package awswire

import "strings"

// stringPiece is the size of the pieces that strings are put into, in bytes. A
// string keeps its piece alive, so pieces are small beside what is kept for long.
const stringPiece = 4 << 10

// arena is where the blobs and the strings of a request are copied to, so that
// its body can be let go: a few pieces instead of one allocation each. Strings
// are the operation's to keep. Blobs lie in one borrowed buffer, which goes back
// when the request is answered.
type arena struct {
	home    *memory
	blobs   *[]byte // length = handed out; nil until there is a blob
	strings strings.Builder
}

// blob makes room for n bytes. rest is a bound of what may still follow, so that
// one buffer is enough for all.
func (a *arena) blob(n, rest int) []byte {
	if n == 0 {
		return []byte{} // Present and empty is not absent.
	}
	if a.blobs == nil {
		a.blobs = a.home.get(n + rest)
	}
	b := *a.blobs
	from := len(b)
	if n > cap(b)-from {
		return make([]byte, n) // What was badly written was handed out twice.
	}
	*a.blobs = b[:from+n]
	return b[from : from+n : from+n]
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

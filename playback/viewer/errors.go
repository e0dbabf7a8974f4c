package viewer

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTooMany is returned by Open when Options.MaxViewers are there already.
var ErrTooMany = errors.New("too many viewers: try again later")

// ErrChanged ends viewers of a stream whose publisher came back with other
// codecs: a new offer is needed.
var ErrChanged = errors.New("the stream has changed its codecs: open it again")

// RefusedError says why an offer cannot be answered: another offer may be, or
// another way to play (HTTP 406 or 422).
type RefusedError struct {
	Reason  string
	Offered []string // the codecs of the offer
	Stream  []string // the codecs of the stream
}

// Error returns the reason and what was compared.
func (e *RefusedError) Error() string {
	var b strings.Builder
	b.WriteString(e.Reason)
	if len(e.Stream) > 0 {
		fmt.Fprintf(&b, " (the stream has %s", strings.Join(e.Stream, ", "))
		if len(e.Offered) > 0 {
			fmt.Fprintf(&b, "; offered were %s", strings.Join(e.Offered, ", "))
		}
		b.WriteByte(')')
	}
	return b.String()
}

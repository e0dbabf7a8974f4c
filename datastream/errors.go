package datastream

import (
	"errors"
	"fmt"

	"github.com/kineweir/kineweir/datastream/journal"
)

// What can be wrong with a call. Errors of this package wrap one of these, so
// that errors.Is tells what to do and the text tells the person why.
var (
	ErrNotFound      = errors.New("not found")       // a stream, shard, consumer or tag that does not exist
	ErrInUse         = errors.New("in use")          // exists already, or its state forbids this now
	ErrInvalid       = errors.New("invalid")         // an argument that can never work
	ErrMode          = errors.New("wrong mode")      // not while the stream is in its present mode (provisioned, on demand)
	ErrLimit         = errors.New("limit exceeded")  // more of something than is allowed, or too often
	ErrThrottled     = errors.New("too fast")        // beyond the throughput of a shard; try again
	ErrExpired       = errors.New("expired")         // a cursor, token or subscription that is too old
	ErrKeyNotFound   = errors.New("no such key")     // the encryption key is not in the key ring
	ErrKeyDisabled   = errors.New("key is disabled") // it is there and may not be used
	ErrUnavailable   = errors.New("unavailable")     // the server can not do it now: full disk, failed disk, closing
	ErrSubscriptions = errors.New("taken over")      // a newer subscription of the consumer took the shard
)

// Error is a refusal with the kind, for errors.Is, and the words.
type Error struct {
	Kind    error  // one of the Err values above
	Stream  string // name of the stream it is about, or ""
	Message string // a whole sentence for the caller
}

// Error gives the words.
func (e *Error) Error() string {
	if e.Stream == "" {
		return e.Message
	}
	return "stream " + e.Stream + ": " + e.Message
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Kind }

// unkept refuses a change that the store of decisions did not keep; what says so,
// and the reason is added when it is one that people can mend.
func unkept(stream, what string, err error) error {
	if errors.Is(err, journal.ErrFull) {
		what += ": the disk is full"
	}
	return fmt.Errorf("%w: %w", refuse(ErrUnavailable, stream, "%s", what), err)
}

func refuse(kind error, stream, format string, args ...any) error {
	return &Error{Kind: kind, Stream: stream, Message: fmt.Sprintf(format, args...)}
}

// Package ingest is the way in for video: it gives every publisher, whatever
// its protocol, one [Session] that cuts its access units into fragments, shows
// them live and hands them to the [Sink] that makes them durable.
//
// It owns the sessions of all streams (one publisher per stream, the newest
// wins unless configured otherwise), the clock that maps a publisher's time
// stamps to UTC, and the bounded queue between a publisher and a slow disk. It
// never parses a protocol (its sub-packages do) and never writes a file.
package ingest

import (
	"context"

	"github.com/kineweir/kineweir/fragments"
)

// Sink makes fragments durable. Implementations are safe for concurrent use:
// Begin is called while an earlier fragment of the same lease is being
// committed. Commits of one lease come one after the other, in number order.
type Sink interface {
	// Open takes the lease on recording a stream, creating the stream if need
	// be. An earlier lease on the same stream ends: its Begin and Commit fail.
	Open(ctx context.Context, name fragments.StreamName) (fragments.Lease, error)
	// Begin reserves the number of a fragment that is opening. Numbers rise
	// strictly. Every reserved number is later committed or aborted; fragments
	// become visible in the order of their numbers. It never waits for a disk.
	Begin(l fragments.Lease) (fragments.Number, error)
	// Commit makes f durable and visible; when it returns nil, f survives a crash
	// at any later instant. It does not keep f. After an error the number is still
	// reserved: the caller gives it up, or it holds back those behind it.
	Commit(ctx context.Context, l fragments.Lease, f *fragments.Fragment) error
	// Abort gives a reserved number up.
	Abort(l fragments.Lease, n fragments.Number)
	// Close gives the lease back.
	Close(ctx context.Context, l fragments.Lease) error
}

// Action is what somebody wants to do with a stream.
type Action string

// The actions that rights are given for.
const (
	Publish Action = "publish"
	View    Action = "view"
)

// Authenticator knows users and their rights. The user "" is anybody who gave
// no name.
type Authenticator interface {
	// Password returns the plain password of user, which Digest needs.
	Password(user string) (password string, ok bool)
	// Allowed reports whether user may do a with the stream.
	Allowed(user string, a Action, name fragments.StreamName) bool
}

// Waker starts the publisher of a stream that is published only on demand.
type Waker interface {
	// Wake returns when the stream is live, or an error when it cannot be or ctx
	// ends first. For a stream that is not on demand it returns at once.
	Wake(ctx context.Context, name fragments.StreamName) error
}

package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

// Record is a record of the stream, or a user record of an aggregated one.
// Sequence and Sub name it for good: what must not be done twice can be
// recognised by them.
type Record struct {
	Sequence     string // decimal
	Sub          int64  // place in an aggregated record, from 0
	Aggregated   bool
	PartitionKey string
	ExplicitHash string // decimal, "" for none; known of aggregated records only
	Data         []byte // not to be modified
	Arrived      time.Time
}

// Shard is a shard as the source lists it.
type Shard struct {
	ID      string
	Parents []string // none, one, or two after a merge
	Range   datastream.HashRange
}

// Page is one answer of a source.
type Page struct {
	Records []Record      // as they lie, aggregated or not
	Next    string        // iterator to go on with; "" at the end of a closed shard
	Behind  time.Duration // how far the next record lies behind now; 0 at the tip
}

// Source is a stream to read. Its methods may be called concurrently. Errors
// wrap datastream.ErrExpired for an iterator that is too old, ErrNotFound for a
// shard that is no more; any other is met with a pause and another attempt.
type Source interface {
	// Shards lists all shards that hold records or may get some.
	Shards(ctx context.Context) ([]Shard, error)
	// Iterator is where to begin.
	Iterator(ctx context.Context, shard string, at datastream.Start) (string, error)
	// Records reads at most limit records.
	Records(ctx context.Context, iterator string, limit int) (Page, error)
}

// Errors of Leases.
var (
	// ErrConflict refuses a change whose expected revision is not the present one.
	ErrConflict = errors.New("revision conflict")
	// ErrAbsent answers a look at a key that is not there.
	ErrAbsent = errors.New("no such lease")
)

// Item is an entry of Leases.
type Item struct {
	Key      string // [A-Za-z0-9_.-]{1,128}
	Value    []byte // not to be modified
	Revision uint64 // never 0, greater with each change of the key
}

// Leases is a store of small values with compare-and-set, for many
// applications. All who share an application share a store. Its methods may be
// called concurrently, and a change is seen by every call that begins after
// the change returned.
type Leases interface {
	// List returns what the application keeps at one moment, in any order.
	List(ctx context.Context, app string) ([]Item, error)
	// Get returns one entry, or ErrAbsent.
	Get(ctx context.Context, app, key string) (Item, error)
	// Put sets the value of a key whose present revision is expect, 0 when it
	// is to be absent, and returns the new revision; else ErrConflict. After
	// any other error the outcome is unknown.
	Put(ctx context.Context, app, key string, value []byte, expect uint64) (revision uint64, err error)
	// Delete removes a key whose present revision is expect; else ErrConflict.
	Delete(ctx context.Context, app, key string, expect uint64) error
}

// ShardEnd is the From of the checkpoint of a shard that was handled to its
// end.
const ShardEnd datastream.From = "SHARD_END"

// Checkpoint is how far a shard was handled.
type Checkpoint struct {
	// From is TrimHorizon, Latest (which stands for Time, the moment when the
	// application began) or AtTimestamp before anything was handled,
	// AfterSequence since, ShardEnd at last.
	From datastream.From `json:"from"`
	// Sequence of AfterSequence is that of the last record handled.
	Sequence string `json:"sequence,omitempty"`
	// Sub is there when that record is aggregated and only its user records
	// up to this one were handled.
	Sub  *int64    `json:"sub,omitempty"`
	Time time.Time `json:"time,omitzero"` // of Latest and AtTimestamp
}

// start is where to read on from a checkpoint.
func (c Checkpoint) start() datastream.Start {
	switch {
	case c.From == datastream.AfterSequence && c.Sub != nil:
		return datastream.Start{From: datastream.AtSequence, Sequence: c.Sequence} // its rest is to come
	case c.From == datastream.AfterSequence:
		return datastream.Start{From: c.From, Sequence: c.Sequence}
	case c.From == datastream.TrimHorizon:
		return datastream.Start{From: c.From}
	}
	return datastream.Start{From: datastream.AtTimestamp, Time: c.Time}
}

// Lease is what the application keeps of one shard, as JSON under the shard's
// id.
type Lease struct {
	Owner      string     `json:"owner,omitempty"`  // the worker that reads it; "" = nobody
	Term       uint64     `json:"term"`             // raised with each change of owner
	Counter    uint64     `json:"counter"`          // raised with each change by the owner
	Wanted     string     `json:"wanted,omitempty"` // the worker that asks for it
	Checkpoint Checkpoint `json:"checkpoint"`
	Parents    []string   `json:"parents,omitempty"`
	First      string     `json:"first"` // hash range, decimal
	Last       string     `json:"last"`
}

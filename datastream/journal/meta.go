package journal

import (
	"context"
	"iter"
)

// Meta is a small ordered store of keys and values with compare-and-set: the
// only way in which this program decides who or what holds.
//
// Every change gets a revision greater than that of every change before it,
// over all keys, deleted ones included, so that a revision never means two
// things and can serve as a fencing epoch. All methods may be called
// concurrently; reads are from memory, see only what is durable, and never
// wait for a write.
//
// It tells of changes (Watcher) and gives out leases (Leaser), both on the same
// revisions.
type Meta interface {
	Watcher
	Leaser

	// Get returns the value and its revision, or ErrAbsent. The value is shared:
	// it is not to be modified.
	Get(key string) (value []byte, revision uint64, err error)

	// Put sets the value of a key whose present revision is expect; 0 means
	// that the key must be absent. It returns the new revision once the change
	// is durable. ErrConflict leaves everything as it was, and what it
	// conflicted with can be read. ErrFull and ErrTooLarge leave everything as
	// it was too. After the context's error the outcome is unknown. The value
	// has been copied when Put returns.
	Put(ctx context.Context, key string, value []byte, expect uint64) (revision uint64, err error)

	// Delete removes a key whose present revision is expect. An absent key, and
	// an expect of 0, are an ErrConflict. Otherwise as Put.
	Delete(ctx context.Context, key string, expect uint64) error

	// Txn makes a few changes, each to another key, or none of them, under one
	// revision. Otherwise as Put.
	Txn(ctx context.Context, changes ...Change) (revision uint64, err error)

	// List yields the keys that begin with prefix, in byte order, as they were
	// when the iteration began. Values are shared, as with Get.
	List(prefix string) iter.Seq[Item]

	// Fatal is closed when the store can no longer keep anything, as with
	// Journal.
	Fatal() <-chan struct{}

	// Close lets the changes under way finish, and the store go.
	Close() error
}

// Change is one part of a Txn: a Put, or with Delete set a Delete.
type Change struct {
	Key    string
	Value  []byte
	Expect uint64 // present revision; 0 = absent
	Delete bool
}

// Item is one key of a List.
type Item struct {
	Key      string
	Value    []byte
	Revision uint64
}

package journal

import (
	"context"
	"iter"
)

// Watcher tells of changes, so that nobody has to look again and again.
type Watcher interface {
	// Watch follows the keys that begin with prefix, from a revision on: the
	// Revision of the last Update somebody has dealt with, 0 for one who knows
	// nothing.
	//
	// Each Update takes the caller from one still picture of the keys to a later
	// one: a Txn shows whole or not at all, nothing shows before it is durable,
	// and revisions grow from update to update. The first comes at once, even if
	// there is nothing in it; later ones only when something has changed.
	//
	// Nothing is queued for a slow caller, and nobody waits for one: the updates
	// it has no time for become one, Merged, in which each key has the state it
	// has come to. So what is missed are states that no longer hold, never the
	// last one. Deletions are remembered for so long only: who asks from further
	// back, or from a revision that the store never had, gets an update that is
	// Whole, at any time.
	//
	// An error (the context's, ErrClosed, the failure that ended the store) is
	// yielded once, with a zero Update, and ends the iteration. What had become
	// durable by then may not have been told.
	Watch(ctx context.Context, prefix string, from uint64) iter.Seq2[Update, error]
}

// Update is one step of a Watch.
type Update struct {
	// Revision is up to where the caller now knows everything, over all keys of
	// the store: what to watch from later.
	Revision uint64
	// Whole says that Items are all keys there are: others the caller knows of
	// do not exist any more.
	Whole bool
	// Merged says that this may be several steps in one: a key in it may have
	// changed more than once, of which only the last shows, or have been made
	// and deleted again. Without it, each key has changed once.
	Merged bool
	// Items are the keys that were made or changed, in byte order. Values are
	// shared, as with Get.
	Items []Item
	// Deleted are keys that are gone, in byte order. The caller may never have
	// heard of some.
	Deleted []string
}

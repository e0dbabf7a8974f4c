// Package bucket is the seam between the video archive and the place where its objects lie: a folder on a
// local disk (bucket/dir) or any S3-compatible object store (bucket/minio).
//
// It owns the interface and its contract, the rule for keys, the errors every store speaks, the check that an
// object holds the bytes it should (Ensure, Same) and a decorator that counts (Measure). It does no I/O of its
// own, knows nothing of video, never caches an object and never keeps a list of them.
//
// Every store passes the one conformance suite in bucket/buckettest; what is written in the comments of Bucket
// is what that suite holds.
package bucket

import (
	"context"
	"io"
	"iter"
	"time"
)

// ToEnd as the length of a Get means "to the end of the object".
const ToEnd int64 = -1

// Object is what a store says of one object.
type Object struct {
	// Key is the object's name, as given to Put (ValidKey).
	Key string
	// Size is the length of the body in bytes.
	Size int64
	// ETag changes whenever the content of the key is replaced. It is opaque: never compare those of two stores.
	ETag string
	// Modified is when the object came to be, by the store's clock, to the store's precision.
	Modified time.Time
	// Checksum is a checksum of the whole body which the store itself keeps and attests, in the form of
	// Checksum(), or "" where it attests none. Put and Head fill it, List does not.
	Checksum string
}

// PutOptions says how an object is stored.
type PutOptions struct {
	// IfAbsent stores the object only if the key is free; otherwise Put answers ErrExists. Of several writers
	// racing for a key exactly one wins.
	IfAbsent bool
	// ContentType is the media type the store should answer a plain HTTP reader with, where it can keep one.
	ContentType string
}

// Bucket is a flat, strongly consistent store of immutable objects by key.
//
// All methods may be called at once from any number of goroutines, also for the same key. What a call has
// acknowledged is durable as far as the store can make it so (bucket/dir: synced with its directories) and
// every call begun afterwards sees it. All methods honour their context and return in bounded time when the
// store hangs or is away; the error then wraps neither ErrAbsent nor ErrExists, so that being away is never
// mistaken for an answer. ErrRefused marks what retrying does not mend.
//
// A key must not be a folder of another ("a" beside "a/b"): stores on file systems refuse the second one.
type Bucket interface {
	// Put stores size bytes of body as key: the whole object or nothing, whoever looks and whatever dies
	// meanwhile. It replaces what was there unless opts.IfAbsent. The body may be read several times and
	// from several goroutines, but never once Put has returned; one that ends early is an error. What was
	// stored has been verified (see each store for how far) when Put returns nil. After an error other than
	// ErrExists the object is there whole or not at all: calling again is safe, with IfAbsent through Ensure.
	Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts PutOptions) (Object, error)

	// Get opens length bytes of the object from offset; ToEnd reads what is left. The reader gives exactly
	// those bytes or an error that is not io.EOF; ctx governs it until it is closed, which the caller must do.
	// Absent: ErrAbsent. A range that does not lie within the object: *RangeError. A reader whose object is
	// deleted or replaced meanwhile gives the old bytes or an error, never a mixture.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Head says what the store knows of the object, or ErrAbsent.
	Head(ctx context.Context, key string) (Object, error)

	// List walks the objects whose key begins with prefix (any bytes, not only whole folders) and sorts after
	// after ("" is before all), in ascending byte order of the keys, each once. It holds a page at a time, not
	// the world. An object stored or deleted during the walk may or may not appear. After an error, which
	// comes last and with a zero Object, the walk can be taken up with the last key received.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]

	// Delete removes the object; that it is absent is not an error.
	Delete(ctx context.Context, key string) error
}

// Adopter is what a bucket can do as well when it lies on a local disk: take over a finished file instead of
// copying it. Ask for it with AdopterOf.
type Adopter interface {
	// Adopt makes the closed, synced file at path the object key and removes it from path: a rename where both
	// lie on one file system, otherwise a verified copy. It never replaces another object: ErrExists. Doing it
	// again after a crash at any instant succeeds: where the object is there already with the same bytes, what
	// is left at path is removed, and where path is gone and the object is there, nothing is left to do.
	Adopt(ctx context.Context, path, key string) error
}

// AdopterOf finds the Adopter of a bucket, also behind decorators.
func AdopterOf(b Bucket) (Adopter, bool) {
	if d, ok := b.(interface{ Adopter() (Adopter, bool) }); ok {
		return d.Adopter()
	}
	a, ok := b.(Adopter)
	return a, ok
}

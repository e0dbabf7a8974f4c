// Package segment keeps the durable records of many shards: a journal lane in
// front, memory for everything the lane holds, and sealed files behind.
//
//	Append ─▶ lane (durable) ─▶ table in memory (visible) ─▶ sealed files, one per retention class ─▶ dropped when expired
//	         └─ where they lie there in long stretches, a sealed file is an index of them, and the lane keeps its files
//
// It owns the order of records within a shard, the moment they become visible,
// the format of sealed files (FORMAT.md), what is dropped and when, and the
// search for damage. A record is visible when it is durable, and not before;
// a shard's records become visible in the order of their positions. The lane is
// read from end to end at opening only: what is in it and in no sealed file is in
// memory too, is sealed when it has grown to Options.MemBytes, and the lane is then
// trimmed.
//
// The package knows streams and shards as numbers. It never looks into a
// record, never changes one, never changes a damaged file, and closes neither the
// lane nor the Meta it was given.
package segment

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// MaxBody is the largest body of a record, in bytes.
const MaxBody = journal.MaxPayload - entryHead

// Key names a shard of a stream.
type Key struct {
	Stream uint64
	Shard  uint32
}

// Item is a record to append. What is kept, and read, as its body is Head and
// then Body.
type Item struct {
	Key     Key
	Arrived int64 // unix ms; raised to that of the shard's record before it
	Body    []byte
	Head    []byte // what is to stand before Body, which then need not be copied for it
}

func (it *Item) size() int { return len(it.Head) + len(it.Body) }

// Record is a record as it is read.
type Record struct {
	Position journal.Position
	Arrived  int64  // unix ms; never goes back within a shard
	Body     []byte // shared: not to be modified
}

// Options tune a Store. Lane, Meta, Dir and Keep are required.
type Options struct {
	// Lane takes the records; nobody else appends to it or trims it. If it is a
	// journal.Keeper, tables may be sealed in place. It should
	// refuse records while less than twice MemBytes is free on the device, so that
	// there is always room to seal what it holds and to give its files back.
	Lane journal.Journal
	// Meta keeps the list of sealed files, under keys that begin with "segment/".
	Meta journal.Meta
	// FS is the file system; default the real one.
	FS vfs.FS
	// Dir holds the sealed files and nothing else.
	Dir string
	// MemBytes is the size at which the records in memory are sealed into files;
	// up to four tables of this size may wait for it. A byte of a record counts
	// as one, and each record as 64 more. Default 64 MiB.
	MemBytes int64
	// Keep says how long a stream's records are kept; false says that the stream
	// was deleted, and gives its records up for good. Who can not know yet has to
	// say true. It is called concurrently, also while Open runs, and must not
	// call the store.
	Keep func(stream uint64) (time.Duration, bool)
	// ScrubEvery is the time in which all sealed files are read through once in
	// search of damage. Default 24 hours; negative for never.
	ScrubEvery time.Duration
	// ScrubRate bounds that reading, in bytes per second. Default 8 MiB/s.
	ScrubRate int64
	// Logger hears of damage, of want of room and of failures. Default: nowhere.
	Logger *slog.Logger

	// leastStretch is how long the stretches of a table have to be, in bytes of the
	// lane and on average, for it to be sealed in place.
	leastStretch int64
}

func (o Options) withDefaults() (Options, error) {
	o.MemBytes = cmp.Or(o.MemBytes, 64<<20)
	o.ScrubEvery = cmp.Or(o.ScrubEvery, 24*time.Hour)
	o.ScrubRate = cmp.Or(o.ScrubRate, 8<<20)
	o.leastStretch = cmp.Or(o.leastStretch, 16<<10)
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Lane == nil || o.Meta == nil || o.Keep == nil:
		return o, errors.New("segment: Lane, Meta and Keep are required")
	case o.Dir == "":
		return o, errors.New("segment: Dir is required")
	case o.MemBytes < 0 || o.ScrubRate < 0:
		return o, errors.New("segment: MemBytes and ScrubRate must be positive")
	}
	return o, nil
}

// Stats describes a Store.
type Stats struct {
	Shards    int   // known: with records, or asked for with Wake
	Files     int   // sealed files
	FileBytes int64 // in them, and in the parts of the lane's pieces that they refer to
	Records   int64 // in sealed files
	MemBytes  int64 // in memory, counted as for Options.MemBytes
	Waiting   int   // full tables that wait to be sealed
	Queued    int64 // bytes appended and not yet visible
	Broken    int   // sealed files of which records can not be read
	Lost      int64 // those records; blocks that were found damaged since the opening are not among them
	Mended    int   // sealed files whose index is damaged, and was made anew of their records

	// Since this opening.
	Appended uint64 // records made visible
	Replayed uint64 // records found in the lane at opening
	Refused  uint64 // calls of Append refused for want of room for sealing
	Seals    uint64 // tables sealed
	InPlace  uint64 // of them, those whose records stay where the lane has them
	Sealed   uint64 // bytes written to sealed files; of those in place their indexes only
	Dropped  uint64 // sealed files dropped
	Scrubbed uint64 // bytes verified
	Damaged  uint64 // times that damage was met
	Gaps     uint64 // times that a read went on behind records that can not be read

	NoRoom bool  // sealing waits for room on the device
	Err    error // what ended the store, or nil
}

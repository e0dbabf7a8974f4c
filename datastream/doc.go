// Package datastream is the engine of records: streams cut into shards, each an
// ordered list of durable records with sequence numbers, kept for as long as
// the stream says.
//
// It owns the nouns (Stream, Shard, SequenceNumber, HashKey, Record, Cursor,
// Consumer), the shard map and its changes, what a read sees, the limits, and
// the encryption of what is kept. Records themselves lie in a segment.Store,
// everything that is decided in a journal.Meta. It speaks no protocol: names of
// operations, ARNs, tokens and error texts of services belong to the front
// door.
//
// A stream at one moment is a picture: its settings and its shards, never
// modified. Puts and reads load it without a lock. A change makes the next
// picture durable in Meta and then publishes it; changes of one stream take
// turns, those of different streams do not meet. A change of shards lets puts
// into the parents drain first (gate), so that nothing arrives in a shard that
// is closed, and readers who find a closed shard empty have seen all of it.
package datastream

// Package consumer reads a stream with several processes at once: the shards
// are shared out among the workers of an application, each shard's records are
// handled in order and at least once, and what was handled is remembered.
//
// A worker holds a lease for each shard it reads: an entry of a store with
// compare-and-set ([Leases]) that says who reads the shard and how far it was
// handled. The rules:
//
//   - A lease is renewed three times per failover time. One that was not, as
//     seen on the clock of whoever looks, is free; clocks are never compared.
//     A worker that could not renew stops before its lease is free.
//   - Only the holder moves the checkpoint. Every taking begins a new term, so
//     that one who lost the lease and got it again cannot mistake old for new.
//   - A worker with fewer shards than another asks it for one. The asked worker
//     finishes its batch, writes its checkpoint and hands the lease over.
//   - A shard made by a split or a merge is read when its parents are read to
//     their ends.
//
// So a record is handled twice only after a crash, after a worker was cut off
// or stalled for the failover time, when a Handle outlasts the time it has to
// give a shard away, and when a Handle failed; and none is left out, unless it
// expired before it was read.
//
// Package remote has a [Source] and a [Leases] that speak HTTP with a server.
// This package speaks no protocol, keeps nothing itself, and does not decide
// where records go: it calls Handle.
package consumer

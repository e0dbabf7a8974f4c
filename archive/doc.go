// Package archive keeps the fragments of video streams: it makes them durable,
// finds them again by number or time, and deletes them when their time has
// come.
//
// It owns the segment objects (segment.go), the spool of open ones, the index of
// fragments (codec.go, block.go), the catalog of streams, and retention. It
// never cuts video (the Fragmenter does), never serves a protocol, and never
// rewrites a media byte that it has made durable.
//
// [Open] gives an [Archive]; its [Writer] is the way in, Fragments, Entry,
// ReadRun and OpenRange are the way out. [Verify] and [Rebuild] need nothing but
// the bucket, which describes itself. In the data folder lie
//
//	journal/   the lane of the index: a frame per fragment, until its hour is closed
//	meta/      the catalog
//	spool/     segments that are not in the bucket, a folder per stream; and, named
//	           *.damaged, what was found damaged there and is kept for a person to see
//
// and key.go says what lies in the bucket. DESIGN.md says in which order a
// fragment becomes durable, and what that costs.
package archive

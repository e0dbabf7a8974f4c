// Package archive keeps the fragments of video streams: it makes them durable,
// finds them again by number or time, and deletes them when their time has
// come.
//
// It owns the segment objects, the spool of open ones, the index of fragments,
// the catalog of streams and retention. It never cuts video (the Fragmenter
// does), never serves a protocol, and never rewrites a media byte that it has
// made durable.
package archive

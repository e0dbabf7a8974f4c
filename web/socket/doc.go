// Package socket serves records over WebSocket, for programs and people without
// an AWS SDK:
//
//	GET /ws/streams/<name>
//
// It owns the protocol below, the bounds of a connection, and the order in which
// shards are read while a stream is cut anew. It keeps no records: what a reader
// has not taken yet stays in the stream, and only what is on the wire is in
// memory. It never decides who may do what; it asks, and asks again each minute.
//
// # Where to begin
//
// Parameters of the query:
//
//	from=latest        records that arrive from now on (the default)
//	from=trim_horizon  all records that are kept
//	from=<time>        records that arrived at a time or later: RFC 3339 or unix ms
//	from=<number>      the record of this sequence number and those behind it in
//	                   its shard; from=after:<number> leaves that record out
//	from=none          nothing: the connection only puts
//	shard=<shard>      one shard (shardId-000000000003, or 3) instead of all. It
//	                   ends with the shard
//	resume=<token>     go on behind the message that carried this token; instead
//	                   of from and shard
//	format=json|raw    how records come (json is the default)
//	credit=<n>         send n records, then wait for {"credit":<n>}
//	token=<token>      a session token, for pages of a browser, which can send no
//	                   Authorization header
//
// Reading needs the right to view the stream, putting the right to publish it.
//
// # What the server sends
//
// Text messages, each one JSON object with one of these members. The first is
//
//	{"hello":{"stream":"yard","shards":["shardId-000000000000"]},"resume":"AQ..."}
//
// Records come in the order of their shard, parents before children, several in
// a message:
//
//	{"records":[{"shard":"shardId-000000000000","sequence":"4965...","key":"front-door",
//	  "arrived":"2026-11-23T06:00:00.123Z","json":{"label":"cat"}}],"behind_ms":0,"resume":"AQ..."}
//
// The data of a record is in "json" when it is a JSON object or array (spaces
// around it are lost), in "text" when it is other UTF-8 text, and in "data" as
// base64 when it is neither. With format=raw each record is a binary message
// with its bytes and nothing else, and the text message behind them describes
// them, in their order, without data.
//
// "resume" stands for everything sent so far, that message included. Whoever
// keeps it together with what became of the records, and comes back with
// resume=, misses none and gets none twice, also across a split or merge. It is
// good for as long as the records are kept.
//
//	{"closed":{"shard":"shardId-000000000000","children":["shardId-000000000001"]},"resume":"AQ..."}
//
// says that a shard has ended by a split or merge, and all of it has been sent.
//
//	{"error":{"code":"slow_reader","message":"...","hint":"..."}}
//
// is the last message before the server closes. The close code is 4000 and the
// HTTP status of the like (4404 is a stream that was deleted, 4408 a slow
// reader); 1000 means that there is no more, 1001 that the server stops.
// What is wrong with the request itself is answered as HTTP, before there is a
// WebSocket.
//
// # What a client may send
//
// Text messages, again JSON:
//
//	{"put":[{"key":"front-door","json":{"label":"cat"}}],"id":7}
//
// puts records, up to 500 and 10 MiB; their data is in "json", "text" or "data",
// and "hash" may hold an explicit hash key. The answer comes when they are
// durable; messages are dealt with one after the other:
//
//	{"ack":{"id":7,"records":[{"shard":"shardId-000000000000","sequence":"4965..."}]}}
//
// A record that could not be put has {"error":{"code","message"}} instead; when
// none could, "ack" has "error" instead of "records".
//
//	{"credit":100}
//
// lets the server send 100 records more, on a connection that began with credit=.
//
// # Bounds
//
// The server sends a ping behind each message and never has more than
// [Options.Window] bytes, or one message, on the way that no pong has answered.
// WebSocket libraries answer pings by themselves while a program reads. A reader
// that takes nothing for [Options.Patience] although there is something to take
// is told so and dropped; one that is merely slow is waited for, and falls back
// in the stream. A client that answers nothing for a minute is gone.
package socket

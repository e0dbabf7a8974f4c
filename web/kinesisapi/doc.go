// Package kinesisapi is the front door of Amazon Kinesis Data Streams: every
// operation of the service's API, as its SDKs call them, over the streams of a
// [datastream.Engine].
//
// It owns the names, shapes and error codes of the API, ARNs, shard names, the
// tokens that callers carry (shard iterators, page tokens), the rates of calls
// that only look, and the account's settings. Each operation has a file, whose
// comment says what of the operation is honoured and what is ignored. The texts
// of errors are the service's where they are known.
//
// It keeps no records and no streams, decides nothing about them, and reads no
// bytes of the wire: that is the engine's and awswire's work. There is one
// account and one region; whatever another one's ARN names is not found. StreamId,
// which the service reserves for later, is checked for its form and otherwise
// ignored in every operation.
package kinesisapi

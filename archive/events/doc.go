// Package events keeps what detectors saw: by camera and time, as long as the
// camera's video.
//
// It owns the schema of detections, the store they are kept in and found again,
// and a pump that takes them from a data stream. It never looks at a picture,
// never serves a protocol, and never holds up the data stream's other readers.
//
// # Schema, version 1
//
// A detection is one JSON object in one record of the data stream, in UTF-8, up
// to 64 KiB. Any PutRecord(s) call or the WebSocket brings it in; records that
// are no detections are passed over, so other things may lie in the same stream.
// Members that are not known are ignored.
//
//	{
//	  "v": 1,                                 left out: 1
//	  "type": "detection",                    left out: "detection"; anything else is not for this package
//	  "id": "f3a9-17",                        up to 128 bytes; left out: the record's sequence number
//	  "camera": "front-door",                 the name of the stream
//	  "time": "2026-11-23T16:10:01.480Z",     when it was in front of the lens (producer time): RFC 3339, or unix milliseconds
//	  "end": "2026-11-23T16:10:04.200Z",      when it was gone; left out for a moment
//	  "label": "person",                      what it is, up to 128 bytes
//	  "score": 0.93,                          how sure, 0 to 1; left out or 0: not told
//	  "box": [0.12, 0.30, 0.08, 0.41],        where: left, top, width, height, as parts of the picture; left out: everywhere
//	  "source": "yolo11@edge-3",              who says so, up to 256 bytes
//	  "fragment": "9134385233...",            number of the fragment it was seen in, 47 digits
//	  "attributes": {"colour": "red"}         anything else, an object of up to 8 KiB
//	}
//
// Camera, time and label are needed. Two detections with the same camera, time
// and id are one, and the one put last counts: it is safe to put a record again,
// and a detector may tell of something at once and of its end later.
//
// # Where they lie
//
//	journal/   lane, in the folder on a local disk: what is not in a block yet; an entry per Add, detections as JSON lines
//	meta/      summaries of blocks; how far the pump has come in each shard
//	events/<camera>/2026/11/23/16-000001.jsonl.gz   block, in the bucket: detections of an hour of producer time, sorted, as JSON lines
//
// An hour is written to the bucket when it has ended and nothing more comes for
// it, or earlier when it grows; what comes late is merged. A block is written
// first, then entered in meta, then the lane is trimmed, so that a crash between
// any two leaves every detection to be found, once.
package events

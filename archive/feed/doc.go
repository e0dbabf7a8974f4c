// Package feed puts a record per committed fragment into a data stream, so that
// others learn what was recorded, frame by frame, within moments: who indexes
// video, counts frames, or looks at what a camera does.
//
// It owns the schema of these records and the cursors that say how far each
// stream of the archive has come. It never touches recording: a data stream that
// is slow, full or away makes the feed wait and try again, nothing else.
//
// # Delivery
//
// Records of a stream come in the order of its fragments, at least once: after a
// crash what was put in the last second may be put again. The number is the key
// for those who must not see one twice; the stream's name is the partition key.
// What was recorded before the feed was first used is not fed. What retention
// deletes before it was fed is passed over and counted.
//
// # Schema, version 1
//
// One JSON object per record, in UTF-8. A later version adds members; a change of
// meaning raises v. (Record and its parts are this schema in Go.)
//
//	{
//	  "v": 1,
//	  "type": "fragment",
//	  "stream": "front-door",
//	  "number": "91343852330000000000000000100000000000000000042",   47 digits; unique and rising within the stream
//	  "producer_start": "2026-11-23T16:10:00.123456Z",    capture time of the first picture, by the publisher's clock, UTC
//	  "producer_end": "2026-11-23T16:10:02.123456Z",
//	  "server_start": "2026-11-23T16:10:00.303000Z",      when the fragment began to arrive, by the clock of this server
//	  "server_end": "2026-11-23T16:10:02.303000Z",
//	  "duration_ms": 2000,
//	  "bytes": 524288,                                    as kept
//	  "dependent": true,                                  does not begin with a key frame; left out when it does
//	  "discontinuity": true,                              does not continue the fragment before; left out when it does
//	  "tags": {"k": "v"},                                 of the publisher; left out when there are none
//	  "tracks": [
//	    {
//	      "id": 1, "kind": "video", "codec": "H264",      kind: video, audio or other; codec: as GET /api/streams has it
//	      "width": 1920, "height": 1080,                  of video; "sample_rate" and "channels" of audio
//	      "samples": 50, "bytes": 520000,
//	      "frames": [[0, 52311, 1], [40000, 8123], ...]   in order of decoding
//	    }
//	  ],
//	  "frames_left_out": "size"                           left out when all frames are there
//	}
//
// A frame is [time of presentation in microseconds after producer_start, which
// may be negative; bytes; 1 for a key frame, otherwise left out]. Of sound every
// frame stands alone, and none says so.
//
// A record is at most 1 MiB with its partition key. Where the tables of frames
// would be too large, frames_left_out is "size", and the tables hold the key
// frames of video alone, or, when they too are too many, nothing. Where the media is
// damaged it is "damaged", and the tables hold nothing.
package feed

package fragments

import "time"

// Sample is an access unit as it stands in a part.
type Sample struct {
	Duration uint32 // ticks
	Offset   uint32 // composition offset, PTS - DTS, ticks; never negative
	Key      bool
	Payload  [][]byte // as in AccessUnit
}

// Part is a run of consecutive samples of one track of one fragment, about
// 200 ms long: the smallest thing that is encoded, sent and stored.
type Part struct {
	Track    *Track
	Sequence uint32 // counts the parts of the track, from 1
	// DecodeTime is that of the first sample, in ticks counted from the creation
	// of the stream (not from the publisher's origin).
	DecodeTime int64
	Duration   int64 // ticks
	Samples    []Sample
	// Independent: the first sample is a key frame.
	Independent bool
	// Last: the fragment ends with it, at once.
	Last bool
	// Data is the part encoded, one moof and one mdat box; its tfdt is DecodeTime.
	// Read-only once published.
	Data []byte
}

// Run is what a fragment holds of one track.
type Run struct {
	Track      *Track
	DecodeTime int64 // of the first sample; ticks since the creation of the stream
	Duration   int64 // ticks
	Samples    int
	Bytes      int     // of all Data
	Parts      []*Part // in order; the archive keeps them as they are
}

// Fragment is a self-contained stretch of a stream, a second to some seconds
// long: what is numbered, made durable, acknowledged and selected by time.
type Fragment struct {
	Number   Number
	Producer ProducerTimestamp // capture time of the first presented instant of the leading track
	Server   ServerTimestamp   // when the fragment opened here
	Duration time.Duration     // of the leading track
	// Dependent: it does not begin with a key frame, so that decoding cannot
	// start here.
	Dependent bool
	// Discontinuity: its time line does not continue that of the fragment before.
	Discontinuity bool
	// Runs are the tracks, video before audio, each once; a track that was silent
	// throughout is absent.
	Runs []Run
}

// Bytes returns the number of encoded bytes.
func (f *Fragment) Bytes() int {
	n := 0
	for i := range f.Runs {
		n += f.Runs[i].Bytes
	}
	return n
}

// Lease is the right to record one stream: every number reserved under it
// carries its epoch, and a lease of a higher epoch ends it.
type Lease struct {
	Stream  StreamName
	Epoch   uint64
	Created time.Time // of the stream: the origin of its decode times
}

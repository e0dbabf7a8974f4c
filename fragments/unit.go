package fragments

import "math"

// NoDTS stands for a decode time that the publisher does not give.
const NoDTS = math.MinInt64

// ClockSource says how a capture time was found.
type ClockSource uint8

// The sources of capture times, worst first.
const (
	FromArrival ClockSource = iota // estimated from the arrival of packets
	FromReport                     // from the publisher's own clock: RTCP sender reports, Matroska time codes
)

// AccessUnit is what one instant of one track is made of: a video frame, or
// one or more frames of audio. It is read-only once it has been published:
// any number of subscribers share it and its payload.
type AccessUnit struct {
	Track *Track
	// PTS and DTS are in ticks of Track.TimeScale, counted by the publisher from
	// an origin of its own. DTS is NoDTS when the publisher gives none (RTP).
	PTS int64
	DTS int64
	// Duration is in ticks; 0 when only the next access unit tells.
	Duration int64
	// Key: decoding can start here. Always true for audio.
	Key bool
	// Payload: H264 and H265: NAL units without start codes, with the parameter
	// sets in front in key access units; AV1: OBUs without size fields; every
	// other codec: one slice, the frame.
	Payload [][]byte
	// Capture is the UTC time of PTS.
	Capture ProducerTimestamp
	Source  ClockSource
	// Arrival is when the last byte arrived here.
	Arrival ServerTimestamp
}

// Size returns the number of payload bytes.
func (a *AccessUnit) Size() int {
	n := 0
	for _, p := range a.Payload {
		n += len(p)
	}
	return n
}

package viewer

import (
	"fmt"

	"github.com/kineweir/kineweir/fragments"
)

// order deals with B-frames: frames that are decoded after one that is shown
// later. Receivers of WebRTC decode and show in the order of sending; Chromium
// and what is built on it gives up decoding at the first frame out of order,
// whatever its time stamp. So B-frames that no other frame refers to are left
// out, and a stream in which others do refer to them cannot be shown.
type order struct {
	begun   bool
	newest  int64 // greatest PTS
	highest byte  // H265: greatest temporal identifier
	frames  int   // since the beginning
	left    int   // of them left out
	back    int   // frame of the latest step back to a frame that others refer to; 0: none
}

// enough is how many frames, in order of decoding, show whether a stream has
// B-frames: encoders put at most three in a row by habit.
const enough = 5

// twice is within how many frames a second step back must come for the first not
// to be taken for a stumble of the publisher's clock.
const twice = 16

// known reports whether enough was seen of a stream of t to tell.
func (o *order) known(t *fragments.Track) bool {
	switch {
	case t.Codec != fragments.H264 && t.Codec != fragments.H265, t.Reorder == 0:
		return true
	case t.Codec == fragments.H264 && len(t.Params) > 0 && len(t.Params[0]) > 1 && t.Params[0][1] == 66:
		return true // Baseline has none
	}
	return o.frames >= enough && (o.back == 0 || o.frames > o.back+twice)
}

// pass reports whether au can be sent. The error says that the stream cannot be
// shown at all.
func (o *order) pass(au *fragments.AccessUnit, joint bool) (bool, error) {
	disposable := true
	switch au.Track.Codec {
	case fragments.H264:
		disposable = disposableH264(au.Payload)
	case fragments.H265:
		disposable = o.disposableH265(au.Payload)
	default:
		return true, nil
	}
	o.frames++
	if !o.begun || joint || au.PTS > o.newest {
		o.begun, o.newest = true, au.PTS
		return true, nil
	}
	switch {
	case au.PTS == o.newest, au.Key, au.Track.Reorder == 0:
		o.newest = au.PTS // no order of frames, but a clock that stumbles
		return true, nil
	case !disposable && au.Track.Reorder < 0 && (o.back == 0 || o.frames > o.back+twice):
		o.newest, o.back = au.PTS, o.frames
		return true, nil
	case !disposable:
		return false, &RefusedError{
			Reason: fmt.Sprintf("video %s: it has B-frames that other frames refer to, which WebRTC cannot show; encode without B-frames (or without b-pyramid), or use LL-HLS", au.Track.Codec),
			Stream: []string{string(au.Track.Codec)},
		}
	}
	o.left++
	return false, nil
}

// told says what is left out, as text for people; "" when nothing is.
func (o *order) told(t *fragments.Track) string {
	if o.left == 0 || t == nil {
		return ""
	}
	return fmt.Sprintf("video %s: its B-frames (%d of %d frames so far): WebRTC cannot show them; use LL-HLS for all frames", t.Codec, o.left, o.frames)
}

// disposableH264 reports whether no slice of a frame is referred to: nal_ref_idc
// is 0 (ITU-T H.264 section 7.4.1).
func disposableH264(nalus [][]byte) bool {
	for _, n := range nalus {
		if len(n) > 0 && n[0]&0x1f >= 1 && n[0]&0x1f <= 5 && n[0]&0x60 != 0 {
			return false
		}
	}
	return true
}

// disposableH265 reports whether no slice of a frame is referred to: it is of a
// sub-layer non-reference type, even and below 16 (ITU-T H.265 table 7-1), in the
// highest sub-layer, for frames of a higher one could refer to it.
func (o *order) disposableH265(nalus [][]byte) bool {
	for _, n := range nalus {
		if len(n) < 2 || n[0]>>1&0x3f > 31 {
			continue
		}
		tid := n[1] & 7
		o.highest = max(o.highest, tid)
		if kind := n[0] >> 1 & 0x3f; kind > 14 || kind%2 != 0 || tid < o.highest {
			return false
		}
	}
	return true
}

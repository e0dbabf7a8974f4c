package viewer

import (
	"fmt"

	"github.com/kineweir/kineweir/fragments"
)

// mime returns the media type of a codec in a session description, "" for
// codecs that WebRTC does not carry.
func mime(c fragments.Codec) string {
	switch c {
	case fragments.H264, fragments.H265, fragments.VP8, fragments.VP9, fragments.AV1:
		return "video/" + string(c)
	case fragments.Opus:
		return "audio/opus"
	case fragments.PCMU, fragments.PCMA:
		return "audio/" + string(c)
	}
	return ""
}

// clockOf returns the RTP ticks per second of a track; 0 for none.
func clockOf(t *fragments.Track) int64 {
	switch {
	case t == nil:
		return 0
	case t.Kind() == fragments.KindVideo:
		return 90000
	case t.Codec == fragments.Opus:
		return 48000 // whatever its sample rate is (RFC 7587 section 4.1)
	}
	return 8000
}

// notCarried returns why WebRTC does not carry t, as text for people; "" when it
// does (RFC 7874 section 3 and RFC 7742 name what browsers must know).
func notCarried(t *fragments.Track) string {
	switch {
	case t.Kind() == fragments.KindOther:
		return fmt.Sprintf("track %d (%s): it is neither video nor audio", t.ID, t.CodecID)
	case mime(t.Codec) == "":
		return fmt.Sprintf("%s %s: WebRTC does not carry it; use LL-HLS", t.Kind(), t.Codec)
	case (t.Codec == fragments.PCMU || t.Codec == fragments.PCMA) && (t.SampleRate != 8000 || t.Channels > 1):
		return fmt.Sprintf("%s %s of %d Hz and %d channels: WebRTC carries it with 8000 Hz and one; use LL-HLS", t.Kind(), t.Codec, t.SampleRate, t.Channels)
	}
	return ""
}

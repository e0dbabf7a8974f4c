package viewer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

// maxOffer bounds an offer; browsers send 5 to 20 kB.
const maxOffer = 256 << 10

// offered is one codec of an offer.
type offered struct {
	pt       uint8
	name     string // as in rtpmap
	clock    uint32
	channels uint16
	params   map[string]string // of fmtp, keys in lower case
	line     string            // fmtp as it came
	feedback []webrtc.RTCPFeedback
	rtx      uint8 // payload type of retransmissions (RFC 4588); 0: none
}

// offer is what a viewer's session description says about receiving.
type offer struct {
	video, audio       []offered
	hasVideo, hasAudio bool // a section that wants to receive
}

// parseOffer reads an offer; the error is a *RefusedError.
func parseOffer(text string) (*offer, error) {
	if len(text) > maxOffer {
		return nil, &RefusedError{Reason: fmt.Sprintf("the offer has %d bytes: at most %d are read", len(text), maxOffer)}
	}
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return nil, &RefusedError{Reason: fmt.Sprintf("the offer is no session description: %v", err)}
	}
	o := &offer{}
	for _, m := range desc.MediaDescriptions {
		if !receives(&desc, m) {
			continue
		}
		switch strings.ToLower(m.MediaName.Media) {
		case "video":
			o.hasVideo = true
			o.video = append(o.video, codecsOf(m)...)
		case "audio":
			o.hasAudio = true
			o.audio = append(o.audio, codecsOf(m)...)
		}
	}
	if !o.hasVideo && !o.hasAudio {
		return nil, &RefusedError{Reason: "the offer receives neither video nor audio: add transceivers with the direction recvonly"}
	}
	return o, nil
}

// receives reports whether the sender of m wants to get media. A section with
// port 0 is rejected (RFC 9429 section 5.3.1), unless it is bundled.
func receives(desc *sdp.SessionDescription, m *sdp.MediaDescription) bool {
	if _, bundled := m.Attribute("bundle-only"); m.MediaName.Port.Value == 0 && !bundled {
		return false
	}
	for _, key := range []string{"recvonly", "sendrecv"} {
		if _, ok := m.Attribute(key); ok {
			return true
		}
	}
	for _, key := range []string{"sendonly", "inactive"} {
		if _, ok := m.Attribute(key); ok {
			return false
		}
		if _, ok := desc.Attribute(key); ok {
			return false
		}
	}
	return true // sendrecv is the default (RFC 8866 section 6.7)
}

// codecsOf lists the codecs of a section in order of preference, each with its
// payload type of retransmissions.
func codecsOf(m *sdp.MediaDescription) []offered {
	var list []offered
	rtx := map[uint8]uint8{}
	for _, f := range m.MediaName.Formats {
		n, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		o := codecOf(m, uint8(n))
		if strings.EqualFold(o.name, "rtx") {
			if apt, err := strconv.ParseUint(o.params["apt"], 10, 7); err == nil {
				rtx[uint8(apt)] = o.pt
			}
			continue
		}
		if o.name != "" {
			list = append(list, o)
		}
	}
	for i := range list {
		list[i].rtx = rtx[list[i].pt]
	}
	return list
}

// codecOf reads the attributes of one payload type.
func codecOf(m *sdp.MediaDescription, pt uint8) offered {
	o := offered{pt: pt, params: map[string]string{}}
	for _, a := range m.Attributes {
		id, rest, _ := strings.Cut(a.Value, " ")
		if id != strconv.Itoa(int(pt)) && !(a.Key == "rtcp-fb" && id == "*") {
			continue
		}
		switch a.Key {
		case "rtpmap":
			o.name, rest, _ = strings.Cut(rest, "/")
			clock, channels, _ := strings.Cut(rest, "/")
			n, _ := strconv.ParseUint(clock, 10, 32)
			c, _ := strconv.ParseUint(channels, 10, 16)
			o.clock, o.channels = uint32(n), uint16(c)
		case "fmtp":
			o.line = rest
			for _, p := range strings.Split(rest, ";") {
				k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
				o.params[strings.ToLower(k)] = v
			}
		case "rtcp-fb":
			kind, param, _ := strings.Cut(rest, " ")
			o.feedback = append(o.feedback, webrtc.RTCPFeedback{Type: kind, Parameter: param})
		}
	}
	return o
}

// names lists the codecs of the offer for people.
func (o *offer) names() []string {
	var list []string
	for _, c := range append(slices.Clone(o.video), o.audio...) {
		name := c.name
		if id := c.params["profile-level-id"]; id != "" {
			name += " " + id
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// match returns the codec of the offer that carries t, or why there is none.
func (o *offer) match(t *fragments.Track) (*offered, string) {
	list, has := o.video, o.hasVideo
	if t.Kind() == fragments.KindAudio {
		list, has = o.audio, o.hasAudio
	}
	if !has {
		return nil, fmt.Sprintf("%s %s: the viewer did not ask for %s", t.Kind(), t.Codec, t.Kind())
	}
	name := strings.TrimPrefix(strings.TrimPrefix(mime(t.Codec), "video/"), "audio/")
	var same []*offered
	for i := range list {
		if strings.EqualFold(list[i].name, name) && int64(list[i].clock) == clockOf(t) {
			same = append(same, &list[i])
		}
	}
	if len(same) == 0 {
		return nil, fmt.Sprintf("%s %s: the viewer does not offer it", t.Kind(), t.Codec)
	}
	switch t.Codec {
	case fragments.H264:
		return matchH264(t, same)
	case fragments.H265:
		return matchH265(t, same)
	case fragments.VP9:
		return matchVP9(t, same)
	}
	return same[0], ""
}

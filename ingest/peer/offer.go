package peer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/ingest/depacketize"
)

// known are the codecs that are taken, for people.
const known = "H264 H265 VP8 VP9 AV1 Opus PCMU PCMA"

// RefusedError is an offer that cannot be taken. Its text names what was offered
// and what is known; HTTP says it with status 422 (RFC 9725 section 4.2).
type RefusedError struct {
	Reason string
	// Offered are the formats offered, as "video MP4V-ES/90000".
	Offered []string
}

// Error says why, what was offered and what is known.
func (e *RefusedError) Error() string {
	if len(e.Offered) == 0 {
		return "offer refused: " + e.Reason
	}
	return fmt.Sprintf("offer refused: %s: offered %q; known are %s", e.Reason, e.Offered, known)
}

// plan is what is taken of an offer.
type plan struct {
	sections   []*section
	simulcast  bool // a section has several layers
	undeclared bool // a section does not say which SSRC its packets have
	data       bool // data channels are offered
	measures   bool // by our reports of each packet, how much its way carries (transport-cc)
	remb       bool // cannot, but takes our word for it (goog-remb)
	refused    []string
}

// section is a media section that sends something we know.
type section struct {
	id     int // of the track: its place in the offer
	mid    string
	kind   webrtc.RTPCodecType
	codecs []codec
	rids   []string // of the layers; paused ones are left out
}

// codec is a payload type that is taken, by the offer.
type codec struct {
	payloadType uint8
	name        string // upper case
	rtpmap      string
	fmtp        string
	apt         int // of RTX: the payload type it repairs; else -1
	feedback    []string
}

// readOffer reads an offer and decides what of it is taken. The error is a
// *RefusedError.
func readOffer(offer string) (*plan, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(offer); err != nil {
		return nil, &RefusedError{Reason: fmt.Sprintf("it is no session description: %v", err)}
	}
	const maxSections = 32
	if len(desc.MediaDescriptions) > maxSections {
		return nil, &RefusedError{Reason: fmt.Sprintf("%d media sections; at most %d are read", len(desc.MediaDescriptions), maxSections)}
	}
	p := &plan{}
	var offered []string
	sends := false
	for i, m := range desc.MediaDescriptions {
		switch m.MediaName.Media {
		case "application":
			p.data = true
			continue
		case "audio", "video":
		default:
			// The library would leave the section out of its answer, which no
			// browser accepts.
			return nil, &RefusedError{Reason: fmt.Sprintf("media of kind %q", m.MediaName.Media)}
		}
		s, names := readSection(i+1, m)
		offered = append(offered, names...)
		if !sending(m, &desc) {
			continue
		}
		sends = true
		switch {
		case len(s.codecs) == 0:
			p.refused = append(p.refused, names...)
			continue
		case s.mid == "":
			return nil, &RefusedError{Reason: "a media section without a=mid (RFC 8843)"}
		case len(s.rids) == 0 && primaries(m) > 1:
			return nil, &RefusedError{Reason: "several streams in one media section; a track has a section of its own (Unified Plan), and layers have a=rid"}
		}
		p.add(s, m)
	}
	p.remb = p.remb && !p.measures
	switch {
	case len(p.sections) > 0:
		return p, nil
	case sends:
		return nil, &RefusedError{Reason: "no track of a known codec", Offered: offered}
	}
	return nil, &RefusedError{Reason: "it sends nothing (a publisher's media are a=sendonly or a=sendrecv)", Offered: offered}
}

func (p *plan) add(s *section, m *sdp.MediaDescription) {
	p.sections = append(p.sections, s)
	_, declared := m.Attribute("ssrc")
	for _, c := range s.codecs {
		p.measures = p.measures || slices.Contains(c.feedback, "transport-cc") && extended(m, sdp.TransportCCURI)
		p.remb = p.remb || slices.Contains(c.feedback, "goog-remb")
	}
	switch {
	case len(s.rids) > 0:
		p.simulcast = true
	case !declared:
		p.undeclared = true
	}
}

// extended reports whether a section offers a header extension.
func extended(m *sdp.MediaDescription, uri string) bool {
	return slices.ContainsFunc(m.Attributes, func(a sdp.Attribute) bool {
		f := strings.Fields(a.Value)
		return a.Key == "extmap" && len(f) > 1 && f[1] == uri
	})
}

// primaries counts the SSRCs of a section, without those that repair others
// (RFC 5576 section 4.2).
func primaries(m *sdp.MediaDescription) int {
	count := map[string]bool{}
	for _, a := range m.Attributes {
		if a.Key == "ssrc" {
			ssrc, _, _ := strings.Cut(a.Value, " ")
			count[ssrc] = true
		}
	}
	for _, a := range m.Attributes {
		group := strings.Fields(a.Value)
		if a.Key == "ssrc-group" && len(group) > 2 && (group[0] == "FID" || group[0] == "FEC-FR") {
			for _, ssrc := range group[2:] {
				delete(count, ssrc)
			}
		}
	}
	return len(count)
}

// sending reads the direction of a section (RFC 8866 section 6.7). A section of
// port 0 sends nothing, unless its port is that of its bundle (RFC 9143 section 6).
func sending(m *sdp.MediaDescription, desc *sdp.SessionDescription) bool {
	if _, bundled := m.Attribute("bundle-only"); m.MediaName.Port.Value == 0 && !bundled {
		return false
	}
	for _, attrs := range [][]sdp.Attribute{m.Attributes, desc.Attributes} {
		for _, a := range attrs {
			switch a.Key {
			case "sendrecv", "sendonly":
				return true
			case "recvonly", "inactive":
				return false
			}
		}
	}
	return true
}

// readSection returns what is known of a section, and the names of all it offers.
func readSection(id int, m *sdp.MediaDescription) (s *section, names []string) {
	s = &section{id: id, kind: webrtc.NewRTPCodecType(m.MediaName.Media)}
	s.mid, _ = m.Attribute("mid")
	var rtx []codec
	for _, f := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil || slices.ContainsFunc(s.codecs, func(c codec) bool { return c.payloadType == uint8(pt) }) {
			continue
		}
		c := readCodec(uint8(pt), m)
		switch c.name {
		case "RTX":
			rtx = append(rtx, c)
			continue
		case "RED", "ULPFEC", "FLEXFEC-03", "CN", "TELEPHONE-EVENT":
			continue // ways to repair and to be silent: no offer of a codec
		}
		names = append(names, m.MediaName.Media+" "+c.rtpmap)
		if c.usable(m.MediaName.Media) {
			s.codecs = append(s.codecs, c)
		}
	}
	for _, c := range rtx {
		if slices.ContainsFunc(s.codecs, func(o codec) bool { return int(o.payloadType) == c.apt && o.name != "RTX" }) {
			s.codecs = append(s.codecs, c)
		}
	}
	s.rids = readRids(m)
	return s, names
}

func readCodec(pt uint8, m *sdp.MediaDescription) codec {
	c := codec{payloadType: pt, apt: -1}
	prefix := strconv.Itoa(int(pt)) + " "
	for _, a := range m.Attributes {
		v, ok := strings.CutPrefix(a.Value, prefix)
		if all, found := strings.CutPrefix(a.Value, "* "); found && a.Key == "rtcp-fb" {
			v, ok = all, true
		}
		switch {
		case !ok:
		case a.Key == "rtcp-fb":
			c.feedback = append(c.feedback, strings.TrimSpace(v))
		case a.Key == "rtpmap":
			c.rtpmap = strings.TrimSpace(v)
		case a.Key == "fmtp":
			c.fmtp = strings.TrimSpace(v)
		}
	}
	switch {
	case c.rtpmap == "" && pt == 0: // static types (RFC 3551 table 4)
		c.rtpmap = "PCMU/8000"
	case c.rtpmap == "" && pt == 8:
		c.rtpmap = "PCMA/8000"
	case c.rtpmap == "":
		c.rtpmap = "payload type " + strconv.Itoa(int(pt))
	}
	name, _, _ := strings.Cut(c.rtpmap, "/")
	c.name = strings.ToUpper(name)
	if v, ok := strings.CutPrefix(c.fmtp, "apt="); ok && c.name == "RTX" {
		if n, err := strconv.ParseUint(v, 10, 7); err == nil {
			c.apt = int(n)
		}
	}
	return c
}

// usable reports whether packets of the codec can be read.
func (c *codec) usable(media string) bool {
	switch c.name {
	case "H264", "H265", "VP8", "VP9", "AV1":
		if media != "video" {
			return false
		}
	case "OPUS", "PCMU", "PCMA":
		if media != "audio" {
			return false
		}
	default:
		return false
	}
	_, err := depacketize.ParseFormat(media, c.rtpmap, c.formatParameters())
	return err == nil
}

// formatParameters are those by which the packets are read. Opus may become
// stereo at any packet and says so in each: it counts as stereo throughout.
func (c *codec) formatParameters() string {
	if c.name == "OPUS" {
		return "sprop-stereo=1"
	}
	return c.fmtp
}

// readRids returns the layers of a section (RFC 8853) that are not paused.
func readRids(m *sdp.MediaDescription) (rids []string) {
	paused, _ := m.Attribute("simulcast")
	const maxLayers = 8
	for _, a := range m.Attributes {
		if a.Key != "rid" {
			continue
		}
		id, dir, _ := strings.Cut(a.Value, " ")
		if !strings.HasPrefix(dir, "send") || len(rids) == maxLayers || strings.Contains(paused, "~"+id) {
			continue
		}
		rids = append(rids, id)
	}
	return rids
}

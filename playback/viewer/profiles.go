package viewer

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/kineweir/kineweir/fragments"
)

// h264Profile is a profile of H264 (ITU-T H.264 annex A), as far as decoders
// tell them apart.
type h264Profile struct {
	idc  byte
	name string
	// fits lists profile_idc of decoders that can decode it besides its own.
	fits []byte
}

// h264ProfileOf reads profile_idc and the constraint flags, which a parameter set
// has after its header and profile-level-id in its first two bytes.
func h264ProfileOf(idc, flags byte) h264Profile {
	const set1 = 0x40 // constraint_set1_flag
	switch {
	case idc == 66 && flags&set1 != 0:
		return h264Profile{idc, "Constrained Baseline", []byte{66, 77, 88, 100}}
	case idc == 66:
		return h264Profile{idc, "Baseline", []byte{66}}
	case idc == 77:
		return h264Profile{idc, "Main", []byte{77, 100}}
	case idc == 88:
		return h264Profile{idc, "Extended", []byte{88}}
	case idc == 100:
		return h264Profile{idc, "High", []byte{100}}
	case idc == 110:
		return h264Profile{idc, "High 10", []byte{110, 122, 244}}
	case idc == 122:
		return h264Profile{idc, "High 4:2:2", []byte{122, 244}}
	case idc == 244:
		return h264Profile{idc, "High 4:4:4 Predictive", []byte{244}}
	}
	return h264Profile{idc, fmt.Sprintf("profile %d", idc), []byte{idc}}
}

// matchH264 takes the payload type whose profile is the stream's, else one of a
// decoder that includes it, else any for the 8-bit 4:2:0 profiles: every decoder
// of WebRTC that is in use decodes those, and some browsers that do (Firefox)
// offer Constrained Baseline alone. The level is not compared: what a browser
// offers is a habit (3.1), not its limit. Only packetization mode 1 will do, for
// frames are cut (RFC 6184 section 6.3).
func matchH264(t *fragments.Track, list []*offered) (*offered, string) {
	var p h264Profile
	if len(t.Params) > 0 && len(t.Params[0]) >= 4 {
		p = h264ProfileOf(t.Params[0][1], t.Params[0][2])
	}
	best, rank := (*offered)(nil), 0
	mode := false
	for _, o := range list {
		if o.params["packetization-mode"] != "1" {
			continue
		}
		mode = true
		if r := p.rank(o.params["profile-level-id"]); r > rank {
			best, rank = o, r
		}
	}
	switch {
	case best != nil:
		return best, ""
	case !mode:
		return nil, "video H264: the viewer does not offer packetization-mode=1"
	}
	return nil, fmt.Sprintf("video H264: the viewer does not offer its profile, %s; use LL-HLS", p.name)
}

// rank says how well a decoder of profile-level-id id is made for p: 0 not at
// all, 3 best.
func (p h264Profile) rank(id string) int {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 3 {
		b = []byte{66, 0, 10} // Baseline is what no parameter says (RFC 6184 section 8.1)
	}
	q := h264ProfileOf(b[0], b[1])
	if q.name == p.name {
		return 3
	}
	for _, idc := range p.fits {
		if idc == q.idc {
			return 2
		}
	}
	switch p.idc {
	case 0, 66, 77, 100:
		return 1
	}
	return 0
}

// matchH265 compares the profile (RFC 7798 section 7.1: profile-id, 1 when
// absent). A decoder of Main 10 decodes Main (ITU-T H.265 section A.3.3).
func matchH265(t *fragments.Track, list []*offered) (*offered, string) {
	profile := 1
	for _, n := range t.Params {
		// A sequence parameter set (type 33): two bytes of header, one byte of
		// ids, then profile_space (2 bits), tier (1) and profile_idc (5).
		if len(n) > 3 && n[0]>>1&0x3f == 33 {
			profile = int(n[3] & 0x1f)
		}
	}
	var second *offered
	for _, o := range list {
		id := 1
		if n, err := strconv.Atoi(o.params["profile-id"]); err == nil {
			id = n
		}
		switch {
		case id == profile:
			return o, ""
		case profile == 1 && id == 2:
			second = o
		}
	}
	if second != nil {
		return second, ""
	}
	return nil, fmt.Sprintf("video H265: the viewer does not offer its profile, %d; use LL-HLS", profile)
}

// matchVP9 compares the profile (RFC 9628 section 6: profile-id, 0 when absent).
func matchVP9(t *fragments.Track, list []*offered) (*offered, string) {
	profile := 0
	if len(t.Params) > 0 && len(t.Params[0]) > 0 {
		profile = int(t.Params[0][0])
	}
	for _, o := range list {
		id, _ := strconv.Atoi(o.params["profile-id"])
		if id == profile {
			return o, ""
		}
	}
	return nil, fmt.Sprintf("video VP9: the viewer does not offer its profile, %d; use LL-HLS", profile)
}

package cmaf

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/kineweir/kineweir/fragments"
)

// UnsupportedError names a codec that something cannot be done with, and why.
type UnsupportedError struct {
	Codec  fragments.Codec
	Reason string
}

// Error returns the codec and the reason.
func (e *UnsupportedError) Error() string { return fmt.Sprintf("codec %s: %s", e.Codec, e.Reason) }

// CodecString returns what the CODECS attribute of a playlist and the codecs
// parameter of a MIME type say of t (RFC 6381 and the bindings of each codec).
// It is an *UnsupportedError for a track whose parameter sets, which the string
// is made of, are missing, and for an opaque one.
func CodecString(t *fragments.Track) (string, error) {
	switch t.Codec {
	case fragments.H264:
		sps, _, _ := avcSets(t)
		if len(sps) == 0 {
			return "", &UnsupportedError{t.Codec, "it has no sequence parameter set yet"}
		}
		return fmt.Sprintf("avc1.%02x%02x%02x", sps[0][1], sps[0][2], sps[0][3]), nil
	case fragments.H265:
		if len(hevcSets(t, 33)) == 0 {
			return "", &UnsupportedError{t.Codec, "it has no sequence parameter set yet"}
		}
		return hevcString(hevcFormat(t)), nil
	case fragments.AV1:
		if len(t.Params) == 0 {
			return "", &UnsupportedError{t.Codec, "it has no sequence header yet"}
		}
		return av1String(av1Format(t)), nil
	case fragments.VP8, fragments.VP9:
		return vpString(t), nil
	case fragments.AAC:
		object, ok := aacObject(firstParam(t))
		if !ok {
			return "", &UnsupportedError{t.Codec, "it has no AudioSpecificConfig"}
		}
		return fmt.Sprintf("mp4a.40.%d", object), nil
	}
	if s, ok := plainStrings[t.Codec]; ok {
		return s, nil
	}
	return "", &UnsupportedError{t.Codec, "there is no codecs string for it"}
}

// plainStrings are those that depend on nothing but the codec.
var plainStrings = map[fragments.Codec]string{
	fragments.MP3: "mp4a.6B", fragments.Opus: "opus", fragments.PCMU: "ulaw",
	fragments.PCMA: "alaw", fragments.LPCM: "ipcm", FLAC: "fLaC",
}

// hevcString follows ISO/IEC 14496-15, annex E: profile space and profile, the
// compatibility flags with their bits reversed, tier and level, and the six
// constraint bytes without the zeros at their end.
func hevcString(f hevc) string {
	p := &f.profileTierLevel
	var s strings.Builder
	s.WriteString("hvc1.")
	if space := p[0] >> 6; space > 0 {
		s.WriteByte('A' + space - 1)
	}
	flags := uint32(p[1])<<24 | uint32(p[2])<<16 | uint32(p[3])<<8 | uint32(p[4])
	tier := "LH"[p[0]>>5&1]
	fmt.Fprintf(&s, "%d.%X.%c%d", p[0]&31, bits.Reverse32(flags), tier, p[11])
	constraints := p[5:11]
	for len(constraints) > 0 && constraints[len(constraints)-1] == 0 {
		constraints = constraints[:len(constraints)-1]
	}
	for _, c := range constraints {
		fmt.Fprintf(&s, ".%X", c)
	}
	return s.String()
}

// av1String follows AV1 in ISOBMFF, section 5; the optional fields are left out.
func av1String(c av1Config) string {
	tier := byte('M')
	if c.tier {
		tier = 'H'
	}
	return fmt.Sprintf("av01.%d.%02d%c.%02d", c.profile, c.level, tier, c.bitDepth)
}

// vpString follows the VP Codec ISO Media File Format Binding: profile, level,
// bit depth.
func vpString(t *fragments.Track) string {
	p := defaultVP[:]
	if own := firstParam(t); len(own) >= len(defaultVP) {
		p = own
	}
	name := "vp09"
	if t.Codec == fragments.VP8 {
		name = "vp08"
	}
	return fmt.Sprintf("%s.%02d.%02d.%02d", name, p[0], p[1], p[2]>>4)
}

// aacObject returns the audio object type of an AudioSpecificConfig (ISO/IEC
// 14496-3, 1.6.2.1).
func aacObject(config []byte) (int, bool) {
	if len(config) < 2 {
		return 0, false
	}
	object := int(config[0] >> 3)
	if object == 31 {
		object = 32 + int(config[0]&7)<<3 | int(config[1]>>5)
	}
	return object, object > 0
}

// Playable returns nil when browsers can play t as fragmented MP4, G.711 and
// linear PCM by way of [FLACTrack]. Otherwise it is an *UnsupportedError that
// says why they cannot. (Tried: Chromium Media Source Extensions refuse VP8 and
// MP3 in MP4. H.265 is up to the browser.)
func Playable(t *fragments.Track) error {
	switch t.Codec {
	case fragments.VP8:
		return &UnsupportedError{t.Codec, "browsers do not play it in MP4; publish H.264, VP9 or AV1, or watch over WebRTC"}
	case fragments.MP3:
		return &UnsupportedError{t.Codec, "browsers do not play it in fragmented MP4; publish AAC or Opus"}
	case fragments.PCMU, fragments.PCMA, fragments.LPCM:
		return flacable(t)
	case fragments.H264, fragments.H265, fragments.AV1, fragments.VP9, fragments.AAC, fragments.Opus, FLAC:
		_, err := CodecString(t)
		return err
	}
	name := t.CodecID
	if name == "" {
		name = string(t.Codec)
	}
	return &UnsupportedError{t.Codec, fmt.Sprintf("%q is kept as it came, but not known to any player", name)}
}

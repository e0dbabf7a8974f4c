package cmaf

import (
	"github.com/bluenviron/mediacommon/v2/pkg/bits"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/kineweir/kineweir/fragments"
)

// sampleFormat is how pictures are laid out: chroma_format_idc, and the bit
// depths less 8.
type sampleFormat struct {
	chroma, luma, chromaDepth byte
}

// avcFormat returns what the record of H.264 adds for the profiles above
// extended; ok is false when it adds nothing.
func avcFormat(sps [][]byte) (f sampleFormat, ok bool) {
	if len(sps) == 0 {
		return f, false
	}
	switch sps[0][1] {
	case 66, 77, 88:
		return f, false
	}
	var s h264.SPS
	if err := s.Unmarshal(sps[0]); err != nil {
		return f, false
	}
	return sampleFormat{byte(s.ChromaFormatIdc & 3), byte(s.BitDepthLumaMinus8 & 7), byte(s.BitDepthChromaMinus8 & 7)}, true
}

// hevc is what the record of H.265 repeats from the sequence parameter set.
type hevc struct {
	sampleFormat
	// profileTierLevel is general_profile_space up to general_level_idc.
	profileTierLevel [12]byte
	temporalLayers   byte
	nested           byte
}

// hevcFormat reads the first sequence parameter set of t (H.265, 7.3.2.2) as
// far as it goes; without one it is all zero but 4:2:0.
func hevcFormat(t *fragments.Track) hevc {
	f := hevc{sampleFormat: sampleFormat{chroma: 1}, temporalLayers: 1}
	sets := hevcSets(t, 33)
	if len(sets) == 0 {
		return f
	}
	b := h264.EmulationPreventionRemove(sets[0][2:])
	if len(b) < 1+len(f.profileTierLevel) {
		return f
	}
	subLayers := int(b[0] >> 1 & 7)
	f.temporalLayers, f.nested = byte(subLayers+1)&7, b[0]&1
	copy(f.profileTierLevel[:], b[1:])
	if g, ok := hevcSampleFormat(b[1+len(f.profileTierLevel):], subLayers); ok {
		f.sampleFormat = g
	}
	return f
}

// hevcSampleFormat reads on after general_level_idc.
func hevcSampleFormat(b []byte, subLayers int) (f sampleFormat, ok bool) {
	pos := 0
	if subLayers > 0 {
		present, err := bits.ReadBits(b, &pos, 16) // a profile and a level flag each, for 8 layers
		if err != nil {
			return f, false
		}
		for i := range subLayers {
			pos += 88 * int(present>>(15-2*i)&1)
			pos += 8 * int(present>>(14-2*i)&1)
		}
	}
	read := func() uint32 {
		if pos > len(b)*8 {
			pos = len(b) * 8
		}
		v, err := bits.ReadGolombUnsigned(b, &pos)
		ok = ok && err == nil
		return v
	}
	flag := func() bool {
		v, err := bits.ReadFlag(b, &pos)
		ok = ok && err == nil
		return v
	}
	ok = true
	read() // sps_seq_parameter_set_id
	f.chroma = byte(read() & 3)
	if f.chroma == 3 {
		flag() // separate_colour_plane_flag
	}
	read() // width
	read() // height
	if flag() {
		for range 4 {
			read() // conformance window
		}
	}
	f.luma = byte(read() & 7)
	f.chromaDepth = byte(read() & 7)
	return f, ok
}

// av1Config is what the record of AV1 repeats from the sequence header.
type av1Config struct {
	profile, level           byte
	tier, high, twelve, mono bool
	subX, subY               bool
	position                 byte // of chroma samples
	bitDepth                 int
}

func (c av1Config) flags() byte {
	f := c.position & 3
	for i, set := range [...]bool{c.subY, c.subX, c.mono, c.twelve, c.high, c.tier} {
		if set {
			f |= 1 << (2 + i)
		}
	}
	return f
}

// av1Format reads the sequence header of t; without one it is the main profile,
// 8 bits, 4:2:0.
func av1Format(t *fragments.Track) av1Config {
	c := av1Config{subX: true, subY: true, bitDepth: 8}
	for _, obu := range t.Params {
		if len(obu) == 0 || obuType(obu) != obuSequenceHeader {
			continue
		}
		var h av1.SequenceHeader
		if err := h.Unmarshal(obu); err != nil || len(h.SeqLevelIdx) == 0 || len(h.SeqTier) == 0 {
			return c
		}
		cc := &h.ColorConfig
		return av1Config{
			profile: h.SeqProfile & 7, level: h.SeqLevelIdx[0] & 31, tier: h.SeqTier[0],
			high: cc.HighBitDepth, twelve: cc.TwelveBit, mono: cc.MonoChrome,
			subX: cc.SubsamplingX, subY: cc.SubsamplingY, position: byte(cc.ChromaSamplePosition), bitDepth: cc.BitDepth,
		}
	}
	return c
}

// FrameRate returns the frames per second that the parameter sets of a video
// track declare, 0 when they declare none. Cameras are often wrong about it.
func FrameRate(t *fragments.Track) float64 {
	switch t.Codec {
	case fragments.H264:
		sps, _, _ := avcSets(t)
		var s h264.SPS
		if len(sps) > 0 && s.Unmarshal(sps[0]) == nil && s.VUI != nil && s.VUI.TimingInfo != nil {
			return rate(s.VUI.TimingInfo.TimeScale, 2*uint64(s.VUI.TimingInfo.NumUnitsInTick))
		}
	case fragments.H265:
		sps := hevcSets(t, 33)
		var s h265.SPS
		if len(sps) > 0 && s.Unmarshal(sps[0]) == nil && s.VUI != nil && s.VUI.TimingInfo != nil {
			return rate(s.VUI.TimingInfo.TimeScale, uint64(s.VUI.TimingInfo.NumUnitsInTick))
		}
	case fragments.AV1:
		for _, obu := range t.Params {
			var h av1.SequenceHeader
			if h.Unmarshal(obu) == nil && h.TimingInfo != nil && h.TimingInfo.EqualPictureInterval {
				return rate(h.TimingInfo.TimeScale, uint64(h.TimingInfo.NumUnitsInDisplayTick)*(1+uint64(h.TimingInfo.NumTicksPerPictureMinus1)))
			}
		}
	}
	return 0
}

// rate returns ticks per second over ticks per frame, 0 for what no video has.
func rate(timeScale uint32, ticks uint64) float64 {
	if ticks == 0 || timeScale == 0 {
		return 0
	}
	if r := float64(timeScale) / float64(ticks); r <= 1000 {
		return r
	}
	return 0
}

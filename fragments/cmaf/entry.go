package cmaf

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kineweir/kineweir/fragments"
)

const (
	plainEntrySize  = boxHeader + 8       // SampleEntry
	videoEntrySize  = plainEntrySize + 70 // VisualSampleEntry
	audioEntrySize  = plainEntrySize + 20 // AudioSampleEntry
	objectAAC       = 0x40                // object type indications (ISO/IEC 14496-1, table 5)
	objectMP3       = 0x6b
	objectMP3LSF    = 0x69 // MPEG-2 Audio Part 3
	opusPreSkip     = 312  // samples at 48 kHz: what libopus looks ahead
	opusRate        = 48000
	streamInfoBytes = 34
)

// appendEntry appends the sample entry of t; the caller closes its box.
//
//	avc1 avcC   hvc1 hvcC   av01 av1C   vp08 vpcC   vp09 vpcC
//	mp4a esds   Opus dOps   ulaw        alaw        ipcm pcmC   fLaC dfLa
//	kwrx        see appendExact
func appendEntry(b []byte, t *fragments.Track) ([]byte, error) {
	switch t.Codec {
	case fragments.H264:
		return appendAVC(appendVideoEntry(b, "avc1", t), t)
	case fragments.H265:
		return appendHEVC(appendVideoEntry(b, "hvc1", t), t)
	case fragments.AV1:
		return appendAV1(appendVideoEntry(b, "av01", t), t), nil
	case fragments.VP8:
		return appendVP(appendVideoEntry(b, "vp08", t), t), nil
	case fragments.VP9:
		return appendVP(appendVideoEntry(b, "vp09", t), t), nil
	case fragments.AAC:
		return appendESDS(appendAudioEntry(b, "mp4a", t, 16, t.SampleRate), objectAAC, firstParam(t))
	case fragments.MP3:
		return appendESDS(appendAudioEntry(b, "mp4a", t, 16, t.SampleRate), objectMP3, nil)
	case fragments.Opus:
		return appendDOps(appendAudioEntry(b, "Opus", t, 16, opusRate), t), nil
	case fragments.PCMU:
		return appendAudioEntry(b, "ulaw", t, 16, t.SampleRate), nil
	case fragments.PCMA:
		return appendAudioEntry(b, "alaw", t, 16, t.SampleRate), nil
	case fragments.LPCM:
		b, at := beginBox(appendAudioEntry(b, "ipcm", t, t.BitDepth, t.SampleRate), "pcmC")
		b = append(b, 0, 0, 0, 0, 0, byte(t.BitDepth)) // version, flags, big endian
		endBox(b, at)
		return b, nil
	case FLAC:
		return appendDfLa(appendAudioEntry(b, "fLaC", t, t.BitDepth, t.SampleRate), t)
	}
	b, _ = beginBox(b, opaqueEntry)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 1), nil
}

func firstParam(t *fragments.Track) []byte {
	if len(t.Params) == 0 {
		return nil
	}
	return t.Params[0]
}

func appendVideoEntry(b []byte, typ string, t *fragments.Track) []byte {
	b, _ = beginBox(b, typ)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 1)
	b = append(b, make([]byte, 16)...)
	b = binary.BigEndian.AppendUint16(b, fitUint16(t.Width))
	b = binary.BigEndian.AppendUint16(b, fitUint16(t.Height))
	b = append(b, "\x00\x48\x00\x00\x00\x48\x00\x00\x00\x00\x00\x00\x00\x01"...) // 72 dpi, one frame per sample
	b = append(b, make([]byte, 32)...)                                           // compressor name
	return append(b, 0, 24, 0xff, 0xff)
}

func appendAudioEntry(b []byte, typ string, t *fragments.Track, bits, rate int) []byte {
	b, _ = beginBox(b, typ)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 1)
	b = append(b, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint16(b, fitUint16(t.Channels))
	b = binary.BigEndian.AppendUint16(b, fitUint16(bits))
	b = append(b, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, uint32(fitUint16(rate))<<16)
}

// fitUint16 returns v, or 0, for "not said here", when v does not fit.
func fitUint16(v int) uint16 {
	if v < 0 || v > math.MaxUint16 {
		return 0
	}
	return uint16(v)
}

// appendSets appends parameter sets, each after its 16-bit length.
func appendSets(b []byte, sets [][]byte) ([]byte, error) {
	for _, s := range sets {
		if len(s) > math.MaxUint16 {
			return nil, fmt.Errorf("parameter set of %d bytes: at most %d fit", len(s), math.MaxUint16)
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b, nil
}

// appendAVC appends an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3).
func appendAVC(b []byte, t *fragments.Track) ([]byte, error) {
	sps, pps, ext := avcSets(t)
	if len(sps) > 31 || len(pps) > 255 || len(ext) > 255 {
		return nil, fmt.Errorf("%d sequence and %d picture parameter sets: at most 31 and 255 fit", len(sps), len(pps))
	}
	b, at := beginBox(b, "avcC")
	head := [4]byte{1, 0, 0, 0}
	if len(sps) > 0 {
		copy(head[1:], sps[0][1:4])
	}
	b = append(b, head[:]...)
	b = append(b, 0xff, 0xe0|byte(len(sps))) // 4-byte lengths
	b, err := appendSets(b, sps)
	if err != nil {
		return nil, err
	}
	if b, err = appendSets(append(b, byte(len(pps))), pps); err != nil {
		return nil, err
	}
	if format, ok := avcFormat(sps); ok {
		b = append(b, 0xfc|format.chroma, 0xf8|format.luma, 0xf8|format.chromaDepth, byte(len(ext)))
		if b, err = appendSets(b, ext); err != nil {
			return nil, err
		}
	}
	endBox(b, at)
	return b, nil
}

// avcSets sorts the parameter sets; what is too short to be one is left out.
func avcSets(t *fragments.Track) (sps, pps, ext [][]byte) {
	for _, p := range t.Params {
		switch {
		case len(p) < 2:
		case p[0]&31 == 7 && len(p) >= 4:
			sps = append(sps, p)
		case p[0]&31 == 8:
			pps = append(pps, p)
		case p[0]&31 == 13:
			ext = append(ext, p)
		}
	}
	return sps, pps, ext
}

// hevcTypes are the parameter sets of H.265 in the order of the record.
var hevcTypes = [...]byte{32, 33, 34} // VPS, SPS, PPS

func hevcSets(t *fragments.Track, typ byte) [][]byte {
	var sets [][]byte
	for _, p := range t.Params {
		if len(p) > 2 && p[0]>>1&63 == typ {
			sets = append(sets, p)
		}
	}
	return sets
}

// appendHEVC appends an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3).
func appendHEVC(b []byte, t *fragments.Track) ([]byte, error) {
	f := hevcFormat(t)
	b, at := beginBox(b, "hvcC")
	b = append(b, 1)
	b = append(b, f.profileTierLevel[:]...)
	b = append(b, 0xf0, 0, 0xfc, 0xfc|f.chroma, 0xf8|f.luma, 0xf8|f.chromaDepth, 0, 0)
	b = append(b, f.temporalLayers<<3|f.nested<<2|3) // 4-byte lengths
	counted := len(b)
	b = append(b, 0)
	for _, typ := range hevcTypes {
		sets := hevcSets(t, typ)
		if len(sets) == 0 {
			continue
		}
		b[counted]++
		b = append(b, 0x80|typ) // complete, as hvc1 demands
		b = binary.BigEndian.AppendUint16(b, uint16(len(sets)))
		var err error
		if b, err = appendSets(b, sets); err != nil {
			return nil, err
		}
	}
	endBox(b, at)
	return b, nil
}

// appendAV1 appends an AV1CodecConfigurationRecord (AV1 in ISOBMFF, 2.3.3).
func appendAV1(b []byte, t *fragments.Track) []byte {
	f := av1Format(t)
	b, at := beginBox(b, "av1C")
	b = append(b, 0x81, f.profile<<5|f.level, f.flags(), 0)
	for _, obu := range t.Params {
		if len(obu) > 0 {
			b = appendSizedOBU(b, obu)
		}
	}
	endBox(b, at)
	return b
}

// defaultVP is the configuration of a VP8 or VP9 track that says nothing:
// profile 0, level 1, 8 bits, 4:2:0, colours unspecified.
var defaultVP = [8]byte{0, 10, 0x82, 2, 2, 2, 0, 0}

// appendVP appends a VPCodecConfigurationRecord (VP Codec ISO Media File Format
// Binding, 1.0).
func appendVP(b []byte, t *fragments.Track) []byte {
	b, at := beginBox(b, "vpcC")
	b = append(b, 1, 0, 0, 0)
	if p := firstParam(t); len(p) >= len(defaultVP) {
		b = append(b, p...)
	} else {
		b = append(b, defaultVP[:]...)
	}
	endBox(b, at)
	return b
}

// appendESDS appends an ES descriptor (ISO/IEC 14496-1, 7.2.6.5), with a
// decoder configuration when there is one.
func appendESDS(b []byte, object byte, config []byte) ([]byte, error) {
	if len(config) > math.MaxUint16 {
		return nil, fmt.Errorf("decoder configuration of %d bytes: at most %d fit", len(config), math.MaxUint16)
	}
	const tag = 5 // bytes of a descriptor's tag and length
	specific := 0
	if len(config) > 0 {
		specific = tag + len(config)
	}
	b, at := beginBox(b, "esds")
	b = append(b, 0, 0, 0, 0)
	b = appendTag(b, 3, 3+tag+13+specific+tag+1) // ES_Descriptor
	b = append(b, 0, 0, 0)
	b = appendTag(b, 4, 13+specific)      // DecoderConfigDescriptor
	b = append(b, object, 0x15)           // audio stream
	b = append(b, make([]byte, 3+4+4)...) // buffer size, bit rates: not known
	if specific > 0 {
		b = append(appendTag(b, 5, len(config)), config...) // DecoderSpecificInfo
	}
	b = append(appendTag(b, 6, 1), 2) // SLConfigDescriptor: as MP4 has it
	endBox(b, at)
	return b, nil
}

// appendTag appends the tag of a descriptor and its length in four bytes of
// seven bits.
func appendTag(b []byte, tag byte, n int) []byte {
	return append(b, tag, 0x80|byte(n>>21), 0x80|byte(n>>14&127), 0x80|byte(n>>7&127), byte(n&127))
}

// opusStreams are the streams and coupled streams, and the order of channels,
// of Vorbis channel layouts (RFC 7845, 5.1.1.2), for 3 to 8 channels.
var opusStreams = [...]string{
	"\x02\x01\x00\x02\x01",
	"\x02\x02\x00\x01\x02\x03",
	"\x03\x02\x00\x04\x01\x02\x03",
	"\x04\x02\x00\x04\x01\x02\x03\x05",
	"\x04\x03\x00\x04\x01\x02\x03\x05\x06",
	"\x05\x03\x00\x06\x01\x02\x03\x04\x05\x07",
}

// appendDOps appends an OpusSpecificBox (Encapsulation of Opus in ISO Base
// Media File Format, 4.3.2).
func appendDOps(b []byte, t *fragments.Track) []byte {
	b, at := beginBox(b, "dOps")
	b = append(b, 0, byte(t.Channels))
	b = binary.BigEndian.AppendUint16(b, opusPreSkip)
	b = binary.BigEndian.AppendUint32(b, opusRate)
	b = append(b, 0, 0) // output gain
	switch {
	case t.Channels <= 2:
		b = append(b, 0)
	case t.Channels <= 8:
		b = append(append(b, 1), opusStreams[t.Channels-3]...)
	default: // streams of one channel each, in no known order
		b = append(b, 255, byte(t.Channels), 0)
		for i := range min(t.Channels, 255) {
			b = append(b, byte(i))
		}
	}
	endBox(b, at)
	return b
}

// appendDfLa appends a FLACSpecificBox (Encapsulation of FLAC in ISO Base Media
// File Format, 3.3.2) with the STREAMINFO block alone.
func appendDfLa(b []byte, t *fragments.Track) ([]byte, error) {
	info := firstParam(t)
	if len(info) != streamInfoBytes {
		return nil, fmt.Errorf("flac stream info of %d bytes: want %d", len(info), streamInfoBytes)
	}
	b, at := beginBox(b, "dfLa")
	b = append(b, 0, 0, 0, 0, 0x80, 0, 0, streamInfoBytes) // version, flags; last block, STREAMINFO, length
	b = append(b, info...)
	endBox(b, at)
	return b, nil
}

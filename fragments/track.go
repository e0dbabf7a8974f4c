package fragments

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Codec names a coding of video or audio.
type Codec string

// The codecs the project knows. Any other is carried as Opaque.
const (
	H264   Codec = "H264"
	H265   Codec = "H265"
	AV1    Codec = "AV1"
	VP8    Codec = "VP8"
	VP9    Codec = "VP9"
	AAC    Codec = "AAC"  // MPEG-4 audio, one raw_data_block per access unit
	Opus   Codec = "Opus" // one Opus packet per access unit
	PCMU   Codec = "PCMU" // G.711 mu-law
	PCMA   Codec = "PCMA" // G.711 A-law
	LPCM   Codec = "LPCM" // signed big-endian linear PCM, interleaved
	MP3    Codec = "MP3"  // MPEG-1/2 audio, one frame per access unit
	Opaque Codec = "opaque"
)

// Kind is what a track carries.
type Kind uint8

// The kinds of tracks.
const (
	KindOther Kind = iota
	KindVideo
	KindAudio
)

// String returns "video", "audio" or "other".
func (k Kind) String() string {
	switch k {
	case KindVideo:
		return "video"
	case KindAudio:
		return "audio"
	}
	return "other"
}

// Kind returns what c carries; Opaque is KindOther.
func (c Codec) Kind() Kind {
	switch c {
	case H264, H265, AV1, VP8, VP9:
		return KindVideo
	case AAC, Opus, PCMU, PCMA, LPCM, MP3:
		return KindAudio
	}
	return KindOther
}

// Track is the configuration of one track at one time. A Track is never
// changed once an access unit refers to it: a change of parameters is a new
// Track with the same ID.
type Track struct {
	ID        int    // 1-based, unique in the stream; the track_ID in MP4
	Codec     Codec  //
	TimeScale uint32 // ticks per second of PTS, DTS and durations
	Width     int    // video: pixels; 0 when not known
	Height    int    //
	// Reorder is how many frames a decoder of this video must hold back to put
	// them into order of presentation; -1 when the stream does not say.
	Reorder    int
	SampleRate int // audio: samples per second
	Channels   int // audio
	BitDepth   int // LPCM: bits per sample
	// Params are the parameter sets, out of band: H264 SPS, PPS; H265 VPS, SPS,
	// PPS; AV1 the sequence header OBU (without size field); VP9 the body of its
	// VPCodecConfigurationRecord (8 bytes, without version and flags); AAC the
	// AudioSpecificConfig; Opaque the CodecPrivate.
	Params [][]byte
	// CodecID is the Matroska CodecID of an Opaque track.
	CodecID string
}

// Kind returns what the track carries.
func (t *Track) Kind() Kind { return t.Codec.Kind() }

// ConfigHash identifies a track configuration by its content.
type ConfigHash [16]byte

// String returns the hash as 32 hexadecimal digits.
func (h ConfigHash) String() string { return hex.EncodeToString(h[:]) }

// Hash returns the hash of everything that an initialisation segment of the
// track depends on: all fields but Reorder.
func (t *Track) Hash() ConfigHash {
	h := sha256.New()
	num := func(v int) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(v))
		h.Write(b[:])
	}
	text := func(b []byte) { num(len(b)); h.Write(b) }
	text([]byte(t.Codec))
	text([]byte(t.CodecID))
	for _, v := range [...]int{t.ID, int(t.TimeScale), t.Width, t.Height, t.SampleRate, t.Channels, t.BitDepth, len(t.Params)} {
		num(v)
	}
	for _, p := range t.Params {
		text(p)
	}
	return ConfigHash(h.Sum(nil)[:16])
}

package cmaf

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/kineweir/kineweir/fragments"
)

// FLAC is the codec of the tracks that [FLACTrack] makes. No publisher sends
// it and the archive never holds it.
const FLAC fragments.Codec = "FLAC"

// PlaysAsFLAC reports whether t is of a codec that browsers play only as FLAC:
// G.711 and linear PCM.
func PlaysAsFLAC(t *fragments.Track) bool {
	switch t.Codec {
	case fragments.PCMU, fragments.PCMA, fragments.LPCM:
		return true
	}
	return false
}

// FLACTrack returns the track that FLACRun writes for t: one of codec FLAC with
// the identifier and the time scale of t. Its Params are the body of a
// STREAMINFO block (RFC 9639, 8.2). It is an *UnsupportedError for a track
// that FLAC cannot carry.
func FLACTrack(t *fragments.Track) (*fragments.Track, error) {
	if err := flacable(t); err != nil {
		return nil, err
	}
	depth := flacDepth(t)
	info := make([]byte, streamInfoBytes) // sizes of frames, length and MD5 are 0: not known
	binary.BigEndian.PutUint16(info, 16)
	binary.BigEndian.PutUint16(info[2:], uint16(maxBlock(t.SampleRate)))
	binary.BigEndian.PutUint64(info[10:], uint64(t.SampleRate)<<44|uint64(t.Channels-1)<<41|uint64(depth-1)<<36)
	return &fragments.Track{
		ID: t.ID, Codec: FLAC, TimeScale: t.TimeScale,
		SampleRate: t.SampleRate, Channels: t.Channels, BitDepth: depth, Params: [][]byte{info},
	}, nil
}

// FLACInit returns the initialisation segment of the track that FLACRun writes
// for t. Errors are as of FLACTrack.
func FLACInit(t *fragments.Track) ([]byte, error) {
	track, err := FLACTrack(t)
	if err != nil {
		return nil, err
	}
	return InitSegment(track)
}

// flacable returns an *UnsupportedError when FLAC cannot carry t.
func flacable(t *fragments.Track) error {
	switch {
	case !PlaysAsFLAC(t):
		return &UnsupportedError{t.Codec, "it is not converted to FLAC"}
	case t.Channels < 1 || t.Channels > 8:
		return &UnsupportedError{t.Codec, fmt.Sprintf("FLAC has 1 to 8 channels, not %d", t.Channels)}
	case t.SampleRate < 1 || t.SampleRate > 655350: // the most a frame header says
		return &UnsupportedError{t.Codec, fmt.Sprintf("FLAC has no sample rate of %d Hz", t.SampleRate)}
	case t.Codec == fragments.LPCM && t.BitDepth != 8 && t.BitDepth != 16 && t.BitDepth != 24:
		return &UnsupportedError{t.Codec, fmt.Sprintf("linear PCM of %d bits is not converted to FLAC", t.BitDepth)}
	}
	return nil
}

// flacDepth returns the bits per sample after decoding.
func flacDepth(t *fragments.Track) int {
	if t.Codec == fragments.LPCM {
		return t.BitDepth
	}
	return 16
}

// maxBlock returns the most samples of a channel in one FLAC frame, the limit
// of the streamable subset (RFC 9639, 7).
func maxBlock(sampleRate int) int {
	if sampleRate <= 48000 {
		return 4608
	}
	return 16384
}

// FLACRun appends the parts of run, a track t of G.711 or linear PCM, to dst as
// parts of the track FLACTrack(t): as many parts, with the same sequence
// numbers, decode times and durations. Equal input gives equal bytes, and parts
// converted one by one are those converted together, so that a low-latency
// part is a stretch of the segment it ends up in. Every FLAC frame can be
// decoded by itself.
//
// The samples of a part are gathered into frames at their bounds, each carrying
// the duration of what it holds: audio stays where the archive has it, however
// the clock of its publisher drifts. Errors are as of FLACTrack and Parts; then
// dst is returned as it was.
func FLACRun(dst []byte, t *fragments.Track, run []byte) ([]byte, error) {
	track, err := FLACTrack(t)
	if err != nil {
		return dst, err
	}
	g := gatherer{source: t, enc: flacEncoder{rate: t.SampleRate, depth: flacDepth(t)}, max: maxBlock(t.SampleRate)}
	g.pcm = make([][]int32, t.Channels)
	out := dst
	for p, err := range Parts(run) {
		if err != nil {
			return dst, err
		}
		g.start(p.DecodeTime)
		for i := range p.Samples {
			g.add(&p.Samples[i])
		}
		g.flush()
		out = AppendPart(out, track, p.Sequence, p.DecodeTime, g.samples())
	}
	return out, nil
}

// gatherer gathers the samples of one part into FLAC frames.
type gatherer struct {
	source *fragments.Track
	max    int
	enc    flacEncoder

	pcm      [][]int32 // of each channel, not yet in a frame
	decode   int64     // ticks: when pcm begins
	duration int64     // ticks: of pcm, and of what held no sample
	frames   []byte    // all frames of the part
	ends     []int     // of each in frames
	lasts    []uint32  // duration of each, ticks
	out      []fragments.Sample
	payloads [][]byte
}

func (g *gatherer) start(decodeTime int64) {
	g.decode, g.duration = decodeTime, 0
	g.frames, g.ends, g.lasts = g.frames[:0], g.ends[:0], g.lasts[:0]
}

// width is the number of bytes of one sample of all channels.
func (g *gatherer) width() int {
	if g.source.Codec == fragments.LPCM {
		return g.source.Channels * g.source.BitDepth / 8
	}
	return g.source.Channels
}

// add takes one stored sample: many samples of audio. One that lasts longer or
// shorter than its audio, because some was lost, ends its frame, so that the
// hole stays where it is.
func (g *gatherer) add(s *Sample) {
	width := g.width()
	n := len(s.Data) / width
	if len(g.pcm[0])+n > g.max {
		g.flush()
	}
	data, total, done := s.Data, n, 0
	for n > 0 {
		m := min(n, g.max)
		g.decodePCM(data[:m*width])
		data, n = data[m*width:], n-m
		// Of a stored sample that is split, each piece lasts its share.
		before := mulDiv(int64(s.Duration), done, total)
		done += m
		g.duration += mulDiv(int64(s.Duration), done, total) - before
		if n > 0 {
			g.flush()
		}
	}
	if total == 0 {
		g.duration += int64(s.Duration)
		return
	}
	lasts, sounds := int64(s.Duration)*int64(g.source.SampleRate), int64(total)*int64(g.source.TimeScale)
	if diff := lasts - sounds; diff > sounds/64 || diff < -sounds/64 {
		g.flush()
	}
}

func mulDiv(v int64, num, den int) int64 { return v * int64(num) / int64(den) }

// decodePCM appends the samples in data to those of each channel.
func (g *gatherer) decodePCM(data []byte) {
	channels := g.source.Channels
	for c := range g.pcm {
		pcm := g.pcm[c]
		switch g.source.Codec {
		case fragments.PCMU:
			for i := c; i < len(data); i += channels {
				pcm = append(pcm, muLaw(data[i]))
			}
		case fragments.PCMA:
			for i := c; i < len(data); i += channels {
				pcm = append(pcm, aLaw(data[i]))
			}
		default:
			pcm = appendLinear(pcm, data, g.source.BitDepth/8, c, channels)
		}
		g.pcm[c] = pcm
	}
}

// appendLinear appends channel c of big-endian samples of size bytes.
func appendLinear(pcm []int32, data []byte, size, c, channels int) []int32 {
	for i := c * size; i < len(data); i += channels * size {
		switch size {
		case 1:
			pcm = append(pcm, int32(int8(data[i])))
		case 2:
			pcm = append(pcm, int32(int16(binary.BigEndian.Uint16(data[i:]))))
		default:
			pcm = append(pcm, int32(int8(data[i]))<<16|int32(data[i+1])<<8|int32(data[i+2]))
		}
	}
	return pcm
}

// muLaw expands a sample of G.711 mu-law to 16 bits.
func muLaw(b byte) int32 {
	b = ^b
	v := (int32(b&15)<<3+0x84)<<(b>>4&7) - 0x84
	if b&0x80 != 0 {
		return -v
	}
	return v
}

// aLaw expands a sample of G.711 A-law to 16 bits.
func aLaw(b byte) int32 {
	b ^= 0x55
	v := int32(b&15)<<4 + 8
	if exponent := b >> 4 & 7; exponent > 0 {
		v = (v + 0x100) << (exponent - 1)
	}
	if b&0x80 == 0 {
		return -v
	}
	return v
}

// flush ends the frame. What lasts without a sound is added to the frame
// before, or waits for the next.
func (g *gatherer) flush() {
	if len(g.pcm[0]) == 0 {
		if len(g.lasts) > 0 {
			g.lasts[len(g.lasts)-1] += uint32(g.duration)
			g.decode, g.duration = g.decode+g.duration, 0
		}
		return
	}
	hi, lo := bits.Mul64(uint64(g.decode), uint64(g.source.SampleRate))
	number, _ := bits.Div64(hi%uint64(g.source.TimeScale), lo, uint64(g.source.TimeScale))
	g.frames = g.enc.appendFrame(g.frames, g.pcm, number)
	g.ends = append(g.ends, len(g.frames))
	g.lasts = append(g.lasts, uint32(g.duration))
	g.decode, g.duration = g.decode+g.duration, 0
	for c := range g.pcm {
		g.pcm[c] = g.pcm[c][:0]
	}
}

// samples returns the frames of the part; they are valid until the next start.
func (g *gatherer) samples() []fragments.Sample {
	g.out, g.payloads = g.out[:0], g.payloads[:0]
	start := 0
	for _, end := range g.ends {
		g.payloads = append(g.payloads, g.frames[start:end])
		start = end
	}
	for i := range g.ends {
		g.out = append(g.out, fragments.Sample{Duration: g.lasts[i], Key: true, Payload: g.payloads[i : i+1]})
	}
	return g.out
}

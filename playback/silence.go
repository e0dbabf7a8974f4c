package playback

import (
	"bytes"

	"github.com/kineweir/kineweir/fragments"
)

// Silence is coded silence of one track. Browsers play a moment only when every
// track has it, and some play what comes after a hole in the sound too early:
// so silence is written where audio is missing, in the codec of the track.
type Silence struct {
	Frame []byte // one access unit
	Step  int64  // ticks that it lasts
	unit  int    // bytes per sample of PCM, which can be cut anywhere; else 0
	rate  int    // samples per second of PCM
	scale uint32
}

// SilenceOf returns silence in the configuration t; ok is false when it cannot
// be written.
func SilenceOf(t *fragments.Track) (s Silence, ok bool) {
	frame := func(data []byte, samples, rate int) (Silence, bool) {
		if data == nil || rate <= 0 || t.TimeScale == 0 {
			return Silence{}, false
		}
		return Silence{Frame: data, Step: max(1, int64(samples)*int64(t.TimeScale)/int64(rate)), scale: t.TimeScale}, true
	}
	switch t.Codec {
	case fragments.AAC:
		return frame(silentAAC(t), 1024, t.SampleRate)
	case fragments.Opus:
		return frame(silentOpus(t.Channels), 960, 48000)
	case fragments.PCMU:
		return silentPCM(t, 1, 0xff)
	case fragments.PCMA:
		return silentPCM(t, 1, 0xd5)
	case fragments.LPCM:
		return silentPCM(t, (t.BitDepth+7)/8, 0)
	}
	return Silence{}, false
}

// Cut returns an access unit that lasts so many ticks, at most Step: of PCM the
// part of the frame, of every other codec the frame, for its duration alone
// says how much of it is heard.
func (s Silence) Cut(ticks int64) []byte {
	if s.unit == 0 {
		return s.Frame
	}
	n := int(ticks*int64(s.rate)/int64(s.scale)) * s.unit
	return s.Frame[:min(n, len(s.Frame))]
}

// Samples returns samples that last exactly length ticks.
func (s Silence) Samples(length int64) []fragments.Sample {
	samples := make([]fragments.Sample, 0, length/s.Step+1)
	for left := length; left > 0; left -= s.Step {
		d := min(s.Step, left)
		samples = append(samples, fragments.Sample{Duration: uint32(d), Key: true, Payload: [][]byte{s.Cut(d)}})
	}
	return samples
}

func silentPCM(t *fragments.Track, width int, zero byte) (Silence, bool) {
	unit := width * t.Channels
	if unit <= 0 || t.SampleRate < 50 || t.TimeScale == 0 {
		return Silence{}, false
	}
	n := t.SampleRate / 50
	return Silence{
		Frame: bytes.Repeat([]byte{zero}, n*unit), Step: max(1, int64(n)*int64(t.TimeScale)/int64(t.SampleRate)),
		unit: unit, rate: t.SampleRate, scale: t.TimeScale,
	}, true
}

// silentOpus returns a packet of 20 ms without anything in it (RFC 6716, 3.1:
// CELT, full band, one frame).
func silentOpus(channels int) []byte {
	switch channels {
	case 1:
		return []byte{0xf8, 0xff, 0xfe}
	case 2:
		return []byte{0xfc, 0xff, 0xfe}
	}
	return nil
}

// Syntactic elements of an AAC frame (ISO/IEC 14496-3, table 4.85), and those
// of each channel configuration (table 1.19).
const (
	singleChannel = 0
	channelPair   = 1
	lowFrequency  = 3
	endOfFrame    = 7
)

var aacElements = [...][]byte{
	1: {singleChannel},
	2: {channelPair},
	3: {singleChannel, channelPair},
	4: {singleChannel, channelPair, singleChannel},
	5: {singleChannel, channelPair, channelPair},
	6: {singleChannel, channelPair, channelPair, lowFrequency},
	7: {singleChannel, channelPair, channelPair, channelPair, lowFrequency},
}

// silentAAC returns a raw_data_block without spectral data, nil when t is not
// plain AAC-LC of 1,024 samples per frame.
func silentAAC(t *fragments.Track) []byte {
	if len(t.Params) == 0 || len(t.Params[0]) < 2 {
		return nil
	}
	// AudioSpecificConfig (1.6.2.1): object type 5 bits, frequency index 4,
	// channel configuration 4, frame length flag 1.
	c := uint16(t.Params[0][0])<<8 | uint16(t.Params[0][1])
	object, frequency, channels, short := c>>11, c>>7&15, int(c>>3&15), c>>2&1
	if object != 2 || frequency == 15 || channels == 0 || channels >= len(aacElements) || short != 0 {
		return nil
	}
	var w bitWriter
	var tags [4]uint32
	for _, element := range aacElements[channels] {
		w.write(uint32(element), 3)
		w.write(tags[element], 4)
		tags[element]++
		n := 1
		if element == channelPair {
			w.write(0, 1) // no common window
			n = 2
		}
		for range n {
			w.write(0, 8)  // global gain
			w.write(0, 11) // ics_info: long window, no scale factor bands
			w.write(0, 3)  // no pulses, no noise shaping, no gain control
		}
	}
	w.write(endOfFrame, 3)
	return w.bytes
}

// bitWriter writes bits, the highest first.
type bitWriter struct {
	bytes []byte
	n     int
}

func (w *bitWriter) write(v uint32, bits int) {
	for i := bits - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

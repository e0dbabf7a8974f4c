package hls

import (
	"bytes"
	"fmt"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// Browsers play a moment only when every track has it: a microphone that fails
// for a minute would take the picture away for as long. So silence is written
// where audio is missing, in the codec of the track.

// canFill reports whether silence of t can be written.
func canFill(t *fragments.Track) bool { return silentFrame(t) != nil }

// maxFill is the longest silence of one segment.
const maxFill = maxJoin + time.Minute

func (p *Packager) fill(name fragments.StreamName, r *Request) (*Content, error) {
	t, err := p.playable(name, r.Config)
	if err != nil {
		return nil, err
	}
	if !canFill(t) || r.Length > archive.Ticks(maxFill, t.TimeScale) || r.Start > 1<<60 {
		return nil, fmt.Errorf("stream %s, silence of track %d: %w", name, t.ID, archive.ErrNoFragment)
	}
	data := cmaf.AppendPart(nil, t, 1, r.Start, silence(t, r.Length))
	if cmaf.PlaysAsFLAC(t) {
		if data, err = cmaf.FLACRun(nil, t, data); err != nil {
			return nil, err
		}
	}
	return &Content{mimeType(t.Kind()), fmt.Sprintf(`"%s-%d-%d"`, r.Config, r.Start, r.Length), data}, nil
}

// silence returns samples of exactly the given length in ticks.
func silence(t *fragments.Track, length int64) []fragments.Sample {
	frame := silentFrame(t)
	step := max(1, int64(frame.samples)*int64(t.TimeScale)/int64(frame.rate))
	samples := make([]fragments.Sample, 0, length/step+1)
	for left := length; left > 0; left -= step {
		s := fragments.Sample{Duration: uint32(min(step, left)), Key: true, Payload: [][]byte{frame.data}}
		if n := int(min(step, left) * int64(frame.rate) / int64(t.TimeScale)); frame.unit > 0 {
			s.Payload = [][]byte{frame.data[:n*frame.unit]}
		}
		samples = append(samples, s)
	}
	return samples
}

// quiet is one frame of silence.
type quiet struct {
	data    []byte
	samples int // it lasts
	rate    int // samples per second
	unit    int // bytes per sample, when it can be cut anywhere; else 0
}

func silentFrame(t *fragments.Track) *quiet {
	switch t.Codec {
	case fragments.AAC:
		if data := silentAAC(t); data != nil && t.SampleRate > 0 {
			return &quiet{data: data, samples: 1024, rate: t.SampleRate}
		}
	case fragments.Opus:
		// RFC 6716, 3.1: CELT, full band, 20 ms, one frame; an empty one.
		if t.Channels == 1 {
			return &quiet{data: []byte{0xf8, 0xff, 0xfe}, samples: 960, rate: 48000}
		} else if t.Channels == 2 {
			return &quiet{data: []byte{0xfc, 0xff, 0xfe}, samples: 960, rate: 48000}
		}
	case fragments.PCMU:
		return silentPCM(t, 1, 0xff)
	case fragments.PCMA:
		return silentPCM(t, 1, 0xd5)
	case fragments.LPCM:
		return silentPCM(t, (t.BitDepth+7)/8, 0)
	}
	return nil
}

func silentPCM(t *fragments.Track, width int, zero byte) *quiet {
	unit := width * t.Channels
	if cmaf.Playable(t) != nil || unit == 0 {
		return nil
	}
	n := max(t.SampleRate/50, 1)
	return &quiet{data: bytes.Repeat([]byte{zero}, n*unit), samples: n, rate: t.SampleRate, unit: unit}
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

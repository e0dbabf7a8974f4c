package depacketize

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

// packetAudio is the depacketizer of codecs that put one unit into each packet.
type packetAudio struct {
	cur   *fragments.Track
	frame func(payload []byte) (ticks int64, out []byte, err error)
	out   [1]unit
}

func (d *packetAudio) track() *fragments.Track { return d.cur }

func (d *packetAudio) reset() {}

func (d *packetAudio) begins(*rtp.Packet) bool { return true }

func (d *packetAudio) push(pkt *rtp.Packet) ([]unit, error) {
	if len(pkt.Payload) == 0 {
		return nil, nil // some publishers send empty packets to keep paths open
	}
	ticks, frame, err := d.frame(pkt.Payload)
	if err != nil {
		return nil, err
	}
	d.out[0] = unit{track: d.cur, rtp: pkt.Timestamp, duration: ticks, key: true, payload: [][]byte{frame}}
	return d.out[:], nil
}

func newOpus(id int, f *format.Opus) depacketizer {
	return &packetAudio{
		cur: &fragments.Track{
			ID: id, Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000,
			Channels: max(f.ChannelCount, 1),
		},
		frame: func(p []byte) (int64, []byte, error) {
			const longest = 5760 // 120 ms (RFC 6716 section 3.2.5)
			ticks := opus.PacketDuration2(p)
			if ticks <= 0 || ticks > longest {
				return 0, nil, fmt.Errorf("opus packet of %d samples", ticks)
			}
			return ticks, p, nil
		},
	}
}

func newG711(id int, f *format.G711) depacketizer {
	codec := fragments.PCMA
	if f.MULaw {
		codec = fragments.PCMU
	}
	channels := f.ChannelCount
	return &packetAudio{
		cur: &fragments.Track{
			ID: id, Codec: codec, TimeScale: uint32(f.SampleRate), SampleRate: f.SampleRate,
			Channels: channels, BitDepth: 8,
		},
		frame: func(p []byte) (int64, []byte, error) { return wholeSamples(p, channels) },
	}
}

func newLPCM(id int, f *format.LPCM) (depacketizer, error) {
	if f.BitDepth != 8 && f.BitDepth != 16 && f.BitDepth != 24 {
		return nil, fmt.Errorf("LPCM of %d bits", f.BitDepth)
	}
	if f.ChannelCount < 1 || f.ChannelCount > 64 {
		return nil, fmt.Errorf("LPCM of %d channels", f.ChannelCount)
	}
	size := f.BitDepth / 8 * f.ChannelCount
	return &packetAudio{
		cur: &fragments.Track{
			ID: id, Codec: fragments.LPCM, TimeScale: uint32(f.SampleRate), SampleRate: f.SampleRate,
			Channels: f.ChannelCount, BitDepth: f.BitDepth,
		},
		frame: func(p []byte) (int64, []byte, error) {
			if f.BitDepth == 8 {
				p = signed(p)
			}
			return wholeSamples(p, size)
		},
	}, nil
}

// wholeSamples checks that p holds whole samples of size bytes over all channels.
func wholeSamples(p []byte, size int) (int64, []byte, error) {
	if len(p)%size != 0 {
		return 0, nil, errors.New("packet ends in the middle of a sample")
	}
	return int64(len(p) / size), p, nil
}

// signed turns the unsigned samples of L8 (RFC 3551 section 4.5.10) into signed
// ones.
func signed(p []byte) []byte {
	out := make([]byte, len(p))
	for i, b := range p {
		out[i] = b ^ 0x80
	}
	return out
}

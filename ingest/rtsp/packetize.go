package rtsp

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// packetizer makes the packets of one track for one receiver.
type packetizer struct {
	media  *description.Media
	encode func(payload [][]byte) ([]*rtp.Packet, error)
	scale  int64  // ticks per second of the track
	clock  int64  // ticks per second of the packets
	base   uint32 // time stamp of PTS 0

	ssrc     uint32
	packets  uint32 // sent
	octets   uint32
	reported time.Time // when the latest sender report was made; zero: none yet
}

// newPacketizer fails for tracks that RTP does not carry, by name.
func newPacketizer(t *fragments.Track, payloadType uint8) (*packetizer, error) {
	f, err := formatOf(t, payloadType)
	if err != nil {
		return nil, err
	}
	p := &packetizer{
		media: &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{f}},
		scale: int64(t.TimeScale), clock: int64(f.ClockRate()),
	}
	if t.Kind() == fragments.KindAudio {
		p.media.Type = description.MediaTypeAudio
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	p.base = binary.BigEndian.Uint32(b[:])
	p.encode, err = encoderOf(f)
	return p, err
}

// formatOf describes a track for a session description.
func formatOf(t *fragments.Track, payloadType uint8) (format.Format, error) {
	param := func(i int) []byte {
		if i < len(t.Params) {
			return t.Params[i]
		}
		return nil
	}
	switch t.Codec {
	case fragments.H264:
		return &format.H264{PayloadTyp: payloadType, PacketizationMode: 1, SPS: param(0), PPS: param(1)}, nil
	case fragments.H265:
		return &format.H265{PayloadTyp: payloadType, VPS: param(0), SPS: param(1), PPS: param(2)}, nil
	case fragments.AV1:
		return &format.AV1{PayloadTyp: payloadType}, nil
	case fragments.VP8:
		return &format.VP8{PayloadTyp: payloadType}, nil
	case fragments.VP9:
		return &format.VP9{PayloadTyp: payloadType}, nil
	case fragments.AAC:
		c := &mpeg4audio.AudioSpecificConfig{}
		if err := c.Unmarshal(param(0)); err != nil {
			return nil, fmt.Errorf("track %d: AAC configuration: %w", t.ID, err)
		}
		return &format.MPEG4Audio{
			PayloadTyp: payloadType, ProfileLevelID: 1, Config: c,
			SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3, // AAC-hbr (RFC 3640 section 3.3.6)
		}, nil
	case fragments.Opus:
		return &format.Opus{PayloadTyp: payloadType, ChannelCount: t.Channels}, nil
	case fragments.PCMU, fragments.PCMA:
		mulaw := t.Codec == fragments.PCMU
		if t.SampleRate == 8000 && t.Channels == 1 {
			payloadType = 8 // the static types (RFC 3551 table 4), which old players insist on
			if mulaw {
				payloadType = 0
			}
		}
		return &format.G711{PayloadTyp: payloadType, MULaw: mulaw, SampleRate: t.SampleRate, ChannelCount: t.Channels}, nil
	case fragments.LPCM:
		return &format.LPCM{PayloadTyp: payloadType, BitDepth: t.BitDepth, SampleRate: t.SampleRate, ChannelCount: t.Channels}, nil
	case fragments.MP3:
		return &format.MPEG1Audio{}, nil
	}
	return nil, fmt.Errorf("track %d: RTP does not carry %s %s", t.ID, t.Codec, t.CodecID)
}

func encoderOf(f format.Format) (func([][]byte) ([]*rtp.Packet, error), error) {
	switch f := f.(type) {
	case *format.H264:
		return listEncoder(f.CreateEncoder())
	case *format.H265:
		return listEncoder(f.CreateEncoder())
	case *format.AV1:
		return listEncoder(f.CreateEncoder())
	case *format.MPEG4Audio:
		return listEncoder(f.CreateEncoder())
	case *format.MPEG1Audio:
		return listEncoder(f.CreateEncoder())
	case *format.VP8:
		return frameEncoder(f.CreateEncoder())
	case *format.VP9:
		return frameEncoder(f.CreateEncoder())
	case *format.G711:
		return frameEncoder(f.CreateEncoder())
	case *format.LPCM:
		encode, err := frameEncoder(f.CreateEncoder())
		if f.BitDepth != 8 {
			return encode, err
		}
		return func(p [][]byte) ([]*rtp.Packet, error) { return encode([][]byte{unsigned(p[0])}) }, err
	case *format.Opus:
		e, err := f.CreateEncoder()
		return func(p [][]byte) ([]*rtp.Packet, error) {
			pkt, err := e.Encode(p[0])
			return []*rtp.Packet{pkt}, err
		}, err
	}
	return nil, fmt.Errorf("no encoder of %s", f.Codec())
}

func listEncoder[E interface {
	Encode(list [][]byte) ([]*rtp.Packet, error)
}](e E, err error,
) (func([][]byte) ([]*rtp.Packet, error), error) {
	return e.Encode, err
}

func frameEncoder[E interface {
	Encode(frame []byte) ([]*rtp.Packet, error)
}](e E, err error,
) (func([][]byte) ([]*rtp.Packet, error), error) {
	return func(p [][]byte) ([]*rtp.Packet, error) { return e.Encode(p[0]) }, err
}

// packetize returns the packets of au.
func (p *packetizer) packetize(au *fragments.AccessUnit) ([]*rtp.Packet, error) {
	if len(au.Payload) == 0 || au.Size() == 0 {
		return nil, nil
	}
	pkts, err := p.encode(au.Payload)
	if err != nil {
		return nil, fmt.Errorf("packetize %s: %w", au.Track.Codec, err)
	}
	ts := p.timestamp(au.PTS)
	for _, pkt := range pkts {
		pkt.Timestamp += ts // the encoder counts from 0 within the unit
		p.packets++
		p.octets += uint32(len(pkt.Payload))
	}
	return pkts, nil
}

func (p *packetizer) timestamp(pts int64) uint32 {
	if p.clock != p.scale {
		q, r := pts/p.scale, pts%p.scale
		pts = q*p.clock + r*p.clock/p.scale
	}
	return p.base + uint32(pts)
}

// report returns a sender report of the instant of au (RFC 3550 section 6.4.1):
// its capture time and its time stamp, so that the mapping is exact whenever it is
// sent.
func (p *packetizer) report(au *fragments.AccessUnit, now time.Time) *rtcp.SenderReport {
	p.reported = now
	return &rtcp.SenderReport{
		SSRC: p.ssrc, NTPTime: ingest.NTP(au.Capture), RTPTime: p.timestamp(au.PTS),
		PacketCount: p.packets, OctetCount: p.octets,
	}
}

// due reports whether it is time for another sender report.
func (p *packetizer) due(now time.Time, every time.Duration) bool {
	return p.reported.IsZero() || now.Sub(p.reported) >= every
}

// unsigned turns the signed samples of a track into the unsigned ones of L8
// (RFC 3551 section 4.5.10).
func unsigned(p []byte) []byte {
	out := make([]byte, len(p))
	for i, b := range p {
		out[i] = b ^ 0x80
	}
	return out
}

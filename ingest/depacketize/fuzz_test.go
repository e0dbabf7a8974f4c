package depacketize

import (
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"
)

// FuzzDepacketize feeds packets of any content: a byte chooses the format, then
// each packet is a byte of flags, a byte of length and the payload.
func FuzzDepacketize(f *testing.F) {
	for i, seed := range [][]byte{sps320, hevc(19, 20), av1Seq, vp8Key, vp9Key, {0, 16, 0, 8, 1}, {0x20, 0}, {0xfc, 1}, {1, 2}, {1, 2}, append([]byte{0, 0, 0, 0}, mp3L3...)} {
		f.Add(append([]byte{byte(i), 3, byte(len(seed))}, seed...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 1 {
			return
		}
		formats := []format.Format{
			&format.H264{PayloadTyp: 96, SPS: sps320, PPS: pps320}, &format.H265{PayloadTyp: 96}, &format.AV1{PayloadTyp: 96},
			&format.VP8{PayloadTyp: 96}, &format.VP9{PayloadTyp: 96},
			&format.MPEG4Audio{PayloadTyp: 97, Config: &mpeg4audio.AudioSpecificConfig{Type: 2, SampleRate: 8000}, SizeLength: 32, IndexLength: 3, IndexDeltaLength: 3},
			&format.MPEG4AudioLATM{PayloadTyp: 97, CPresent: true}, &format.Opus{PayloadTyp: 97},
			&format.G711{PayloadTyp: 0, SampleRate: 8000, ChannelCount: 1}, &format.LPCM{PayloadTyp: 97, BitDepth: 24, SampleRate: 8000, ChannelCount: 2},
			&format.MPEG1Audio{},
		}
		rg := newRig(t, formats[int(in[0])%len(formats)], 0)
		in = in[1:]
		for len(in) > 2 {
			flags, n := in[0], min(int(in[1]), len(in)-2)
			rg.seq += uint16(flags >> 6)
			rg.packet(t, &rtp.Packet{
				Header:  rtp.Header{Version: 2, PayloadType: formats[0].PayloadType(), Marker: flags&1 != 0, Timestamp: uint32(flags>>1&0x1f) * 900},
				Payload: in[2 : 2+n],
			})
			in = in[2+n:]
		}
		for _, u := range rg.units() {
			if len(u.Payload) == 0 || u.Size() == 0 || u.Track == nil || u.Duration < 0 {
				t.Errorf("unit %+v", u)
			}
		}
	})
}

package depacketize

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// Parameter sets and headers made with x264, x265, libvpx and SVT-AV1.
var (
	sps320   = unhex("6764000dacd94141fb011000000300100000030320f1429960") // High, 320x240, two reordered frames
	sps640   = unhex("6742c01ed900a02ff97011000003000100000300320f162e48") // Baseline, 640x360
	pps320   = unhex("68ebe3cb22c0")
	pps640   = unhex("68cb83cb20")
	seiX264  = unhex("0605ffff6ddc45e9bde6d948b7962cd820d923eeef") // user data, cut short
	recovery = unhex("0601040000000006018480")                     // picture timing, then a recovery point
	refresh  = unhex("0606010480")
	vps265   = unhex("40010c01ffff01600000030090000003000003003c959409")
	sps265   = unhex("42010101600000030090000003000003003ca00a080f16595952930bc05a020000030002000003003210")
	pps265   = unhex("4401c073c189")
	av1Seq   = unhex("0a0b000000043cffbcfbf90040") // with its size field
	av1SeqRs = unhex("08000000043cffbcfbf90040")   // without
	vp9Key   = unhex("a2498342e013f00ef60a38241c184a000bc0")
	vp8Key   = unhex("1002009d012a4001f000" + "0011223344")
	mp3L3    = slices.Concat(unhex("fffb9064"), bytes.Repeat([]byte{7}, 413)) // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes
	mp3L3v2  = slices.Concat(unhex("fff36064"), bytes.Repeat([]byte{8}, 152)) // MPEG-2 layer III, 48 kbit/s, 22.05 kHz: 156 bytes
)

func idr(n int) []byte    { return append([]byte{0x65, 0x88}, bytes.Repeat([]byte{0xaa}, n)...) }
func slice(n int) []byte  { return append([]byte{0x41, 0x9a}, bytes.Repeat([]byte{0xbb}, n)...) }
func slice2(n int) []byte { return append([]byte{0x41, 0x1a}, bytes.Repeat([]byte{0xcc}, n)...) } // not the first of its picture
func hevc(typ byte, n int) []byte {
	return append([]byte{typ << 1, 1, 0xaf}, bytes.Repeat([]byte{0xdd}, n)...)
}

// frame is what a publisher sends at one time stamp.
type frame struct {
	at    int64 // ticks
	parts [][]byte
}

// wanted is an access unit expected of it.
type wanted struct {
	pts, duration int64
	key           bool
	payload       [][]byte
	width         int
	samples       int // sample rate, audio
}

func f(at int64, parts ...[]byte) frame { return frame{at, parts} }

func video(pts int64, key bool, width int, payload ...[]byte) wanted {
	return wanted{pts: pts, key: key, width: width, payload: payload}
}

func audio(pts, duration int64, rate int, payload []byte) wanted {
	return wanted{pts: pts, duration: duration, key: true, samples: rate, payload: [][]byte{payload}}
}

// encode packetizes a frame as the library does it.
func encode(t *testing.T, f format.Format) func(parts [][]byte) []*rtp.Packet {
	t.Helper()
	one := func(enc interface {
		Encode([]byte) ([]*rtp.Packet, error)
	}, err error,
	) func([][]byte) []*rtp.Packet {
		fatal(t, err)
		return func(p [][]byte) []*rtp.Packet { return get(t)(enc.Encode(p[0])) }
	}
	many := func(enc interface {
		Encode([][]byte) ([]*rtp.Packet, error)
	}, err error,
	) func([][]byte) []*rtp.Packet {
		fatal(t, err)
		return func(p [][]byte) []*rtp.Packet { return get(t)(enc.Encode(p)) }
	}
	switch f := f.(type) {
	case *format.H264:
		return many(f.CreateEncoder())
	case *format.H265:
		return many(f.CreateEncoder())
	case *format.AV1:
		return many(f.CreateEncoder())
	case *format.VP8:
		return one(f.CreateEncoder())
	case *format.VP9:
		return one(f.CreateEncoder())
	case *format.MPEG4Audio:
		return many(f.CreateEncoder())
	case *format.MPEG4AudioLATM:
		return one(f.CreateEncoder())
	case *format.G711:
		return one(f.CreateEncoder())
	case *format.LPCM:
		return one(f.CreateEncoder())
	case *format.MPEG1Audio:
		return many(f.CreateEncoder())
	case *format.Opus:
		enc, err := f.CreateEncoder()
		fatal(t, err)
		return func(p [][]byte) []*rtp.Packet {
			pkt, err := enc.Encode(p[0])
			fatal(t, err)
			return []*rtp.Packet{pkt}
		}
	}
	t.Fatalf("no encoder of %T", f)
	return nil
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T) func(p []*rtp.Packet, err error) []*rtp.Packet {
	return func(p []*rtp.Packet, err error) []*rtp.Packet {
		t.Helper()
		fatal(t, err)
		return p
	}
}

var aacLC = &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 44100, ChannelConfig: 2}

func latmConfig() *mpeg4audio.StreamMuxConfig {
	return &mpeg4audio.StreamMuxConfig{Programs: []*mpeg4audio.StreamMuxConfigProgram{{
		Layers: []*mpeg4audio.StreamMuxConfigLayer{{AudioSpecificConfig: aacLC, LatmBufferFullness: 255}},
	}}}
}

func latm(t *testing.T, inBand bool, frame []byte) []byte {
	e := mpeg4audio.AudioMuxElement{MuxConfigPresent: inBand, StreamMuxConfig: latmConfig(), Payloads: [][][][]byte{{{frame}}}}
	b, err := e.Marshal()
	fatal(t, err)
	return b
}

func TestDepacketize(t *testing.T) {
	h264SDP := &format.H264{PayloadTyp: 96, SPS: sps320, PPS: pps320, PacketizationMode: 1}
	h264Bare := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	big := bytes.Repeat([]byte{9}, 3000)
	frames := func(n byte) []byte { return bytes.Repeat([]byte{n}, 50+int(n)) }
	for _, tc := range []struct {
		name   string
		format format.Format
		clock  int // by rtpmap; 0: of the format
		send   []frame
		want   []wanted
	}{
		{
			"H264: parameter sets of the description before each key frame", h264SDP, 0,
			[]frame{f(0, idr(5000)), f(3600, slice(20)), f(7200, idr(10))},
			[]wanted{
				video(0, true, 320, sps320, pps320, idr(5000)), video(3600, false, 320, slice(20)),
				video(7200, true, 320, sps320, pps320, idr(10)),
			},
		},
		{
			"H264: parameter sets in the stream, once each", h264Bare, 0,
			[]frame{f(0, sps320, pps320, seiX264, idr(9)), f(3600, sps320, pps320, slice(9))},
			[]wanted{video(0, true, 320, sps320, pps320, seiX264, idr(9)), video(3600, false, 320, slice(9))},
		},
		{
			"H264: parameter sets by themselves", h264Bare, 0,
			[]frame{f(0, sps320), f(0, pps320), f(10, idr(9))},
			[]wanted{video(10, true, 320, sps320, pps320, idr(9))},
		},
		{
			"H264: nothing that cannot be decoded", h264Bare, 0,
			[]frame{f(0, slice(9)), f(3600, idr(9)), f(7200, sps320, pps320, idr(9))},
			[]wanted{video(7200, true, 320, sps320, pps320, idr(9))},
		},
		{
			"H264: parameters change", h264SDP, 0,
			[]frame{f(0, idr(9)), f(3600, sps640, pps640, idr(8)), f(7200, idr(7))},
			[]wanted{
				video(0, true, 320, sps320, pps320, idr(9)), video(3600, true, 640, sps640, pps640, idr(8)),
				video(7200, true, 640, sps640, pps640, idr(7)),
			},
		},
		{
			"H264: several pictures parameter sets", h264SDP, 0,
			[]frame{f(0, unhex("684be3cb22c0"), idr(9))}, // id 1 beside id 0
			[]wanted{video(0, true, 320, sps320, pps320, unhex("684be3cb22c0"), idr(9))},
		},
		{
			"H264: broken parameter set is passed over", h264SDP, 0,
			[]frame{f(0, []byte{0x67, 0xff}, idr(9))},
			[]wanted{video(0, true, 320, sps320, pps320, idr(9))},
		},
		{
			"H264: recovery points of open groups and intra refresh are keys", h264SDP, 0,
			[]frame{f(0, seiX264, slice(9)), f(1, recovery, slice(9)), f(2, refresh, slice(9))},
			[]wanted{
				video(0, false, 320, seiX264, slice(9)), video(1, true, 320, sps320, pps320, recovery, slice(9)),
				video(2, true, 320, sps320, pps320, refresh, slice(9)),
			},
		},
		{
			"H264: delimiters and filler are left out", h264SDP, 0,
			[]frame{f(0, []byte{9, 0xf0}, idr(9), []byte{12, 0xff, 0x80})},
			[]wanted{video(0, true, 320, sps320, pps320, idr(9))},
		},
		{
			"H264: B-frames go back in time", h264SDP, 0,
			[]frame{f(0, idr(9)), f(10800, slice(9)), f(3600, slice(8)), f(7200, slice(7))},
			[]wanted{
				video(0, true, 320, sps320, pps320, idr(9)), video(10800, false, 320, slice(9)),
				video(3600, false, 320, slice(8)), video(7200, false, 320, slice(7)),
			},
		},
		{
			"H265: parameter sets of the description, BLA, CRA and IDR are keys",
			&format.H265{PayloadTyp: 96, VPS: vps265, SPS: sps265, PPS: pps265}, 0,
			[]frame{f(0, hevc(19, 5000)), f(1, hevc(1, 9)), f(2, hevc(21, 9)), f(3, hevc(16, 9)), f(4, hevc(8, 9))},
			[]wanted{
				video(0, true, 320, vps265, sps265, pps265, hevc(19, 5000)), video(1, false, 320, hevc(1, 9)),
				video(2, true, 320, vps265, sps265, pps265, hevc(21, 9)), video(3, true, 320, vps265, sps265, pps265, hevc(16, 9)),
				video(4, false, 320, hevc(8, 9)),
			},
		},
		{
			"H265: parameter sets in the stream", &format.H265{PayloadTyp: 96}, 0,
			[]frame{f(0, hevc(1, 9)), f(3600, vps265, sps265, pps265, hevc(20, 9)), f(7200, hevc(1, 9))},
			[]wanted{video(3600, true, 320, vps265, sps265, pps265, hevc(20, 9)), video(7200, false, 320, hevc(1, 9))},
		},
		{
			"H265: recovery point", &format.H265{PayloadTyp: 96, VPS: vps265, SPS: sps265, PPS: pps265}, 0,
			[]frame{f(0, unhex("4e01060180"), hevc(1, 9))},
			[]wanted{video(0, true, 320, vps265, sps265, pps265, unhex("4e01060180"), hevc(1, 9))},
		},
		{
			"AV1: size fields and delimiters go, keys", &format.AV1{PayloadTyp: 96}, 0,
			[]frame{
				f(0, unhex("3020aabb")), // not decodable yet
				f(3600, unhex("1200"), av1Seq, unhex("320314aabb")), f(7200, append(unhex("3020"), big...)),
			},
			[]wanted{video(3600, true, 320, av1SeqRs, unhex("3014aabb")), video(7200, false, 320, append(unhex("3020"), big...))},
		},
		{
			"VP8", &format.VP8{PayloadTyp: 96}, 0,
			[]frame{f(0, unhex("11020301020304")), f(3600, append(vp8Key[:len(vp8Key):len(vp8Key)], big...)), f(7200, unhex("11020301020304"))},
			[]wanted{video(3600, true, 320, append(vp8Key[:len(vp8Key):len(vp8Key)], big...)), video(7200, false, 320, unhex("11020301020304"))},
		},
		{
			"VP9", &format.VP9{PayloadTyp: 96}, 0,
			[]frame{f(0, unhex("a2498342e013f00ef60a38241c184a000bc0")), f(3600, unhex("8601020304050607"))},
			[]wanted{video(0, true, 320, vp9Key), video(3600, false, 320, unhex("8601020304050607"))},
		},
		{
			"AAC: several frames in a packet", &format.MPEG4Audio{PayloadTyp: 97, Config: aacLC, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}, 0,
			[]frame{f(0, frames(1), frames(2), frames(3)), f(3072, frames(4))},
			[]wanted{
				audio(0, 1024, 44100, frames(1)), audio(1024, 1024, 44100, frames(2)), audio(2048, 1024, 44100, frames(3)),
				audio(3072, 1024, 44100, frames(4)),
			},
		},
		{
			"AAC: one frame over several packets", &format.MPEG4Audio{PayloadTyp: 97, Config: aacLC, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}, 0,
			[]frame{f(0, big), f(1024, frames(4))},
			[]wanted{audio(0, 1024, 44100, big), audio(1024, 1024, 44100, frames(4))},
		},
		{
			"AAC: clock at twice the rate of the frames", &format.MPEG4Audio{PayloadTyp: 97, Config: aacLC, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}, 88200,
			[]frame{f(0, frames(1), frames(2))},
			[]wanted{audio(0, 2048, 44100, frames(1)), audio(2048, 2048, 44100, frames(2))},
		},
		{
			"AAC in LATM, configuration in the description", &format.MPEG4AudioLATM{PayloadTyp: 97, StreamMuxConfig: latmConfig()}, 0,
			[]frame{f(0, latm(t, false, frames(1))), f(1024, latm(t, false, big))},
			[]wanted{audio(0, 1024, 44100, frames(1)), audio(1024, 1024, 44100, big)},
		},
		{
			"AAC in LATM, configuration in the stream", &format.MPEG4AudioLATM{PayloadTyp: 97, CPresent: true}, 0,
			[]frame{f(0, unhex("80000000")), f(90, latm(t, true, frames(1)))},
			[]wanted{audio(90, 2089, 44100, frames(1))},
		},
		{
			"Opus", &format.Opus{PayloadTyp: 97, ChannelCount: 2}, 0,
			[]frame{f(0, unhex("fc0102")), f(960, unhex("fd0102")), f(2880, unhex("e00102"))},
			[]wanted{audio(0, 960, 48000, unhex("fc0102")), audio(960, 1920, 48000, unhex("fd0102")), audio(2880, 120, 48000, unhex("e00102"))},
		},
		{
			"G.711 mu-law", &format.G711{PayloadTyp: 0, MULaw: true, SampleRate: 8000, ChannelCount: 1}, 0,
			[]frame{f(0, frames(1)), f(51, frames(2))},
			[]wanted{audio(0, 51, 8000, frames(1)), audio(51, 52, 8000, frames(2))},
		},
		{
			"G.711 A-law, two channels", &format.G711{PayloadTyp: 97, SampleRate: 16000, ChannelCount: 2}, 0,
			[]frame{f(0, frames(2))},
			[]wanted{audio(0, 26, 16000, frames(2))},
		},
		{
			"LPCM, 16 bits", &format.LPCM{PayloadTyp: 97, BitDepth: 16, SampleRate: 44100, ChannelCount: 2}, 0,
			[]frame{f(0, frames(2)), f(13, frames(6))},
			[]wanted{audio(0, 13, 44100, frames(2)), audio(13, 14, 44100, frames(6))},
		},
		{
			"LPCM, 8 bits, becomes signed", &format.LPCM{PayloadTyp: 97, BitDepth: 8, SampleRate: 8000, ChannelCount: 1}, 0,
			[]frame{f(0, unhex("00807fff"))},
			[]wanted{audio(0, 4, 8000, unhex("8000ff7f"))},
		},
		{
			"MP3", &format.MPEG1Audio{}, 0,
			[]frame{f(0, mp3L3, mp3L3, mp3L3)},
			[]wanted{audio(0, 2351, 44100, mp3L3), audio(2351, 2351, 44100, mp3L3), audio(4702, 2351, 44100, mp3L3)},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			enc := encode(t, tc.format)
			rx := newRig(t, tc.format, tc.clock)
			for _, fr := range tc.send {
				for _, pkt := range enc(fr.parts) {
					pkt.Timestamp += 1_000_000 + uint32(fr.at)
					rx.packet(t, pkt)
				}
			}
			compare(t, rx.units(), tc.want)
		})
	}
}

func compare(t *testing.T, got []*fragments.AccessUnit, want []wanted) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		g, w := got[i], want[i]
		if g.PTS-got[0].PTS != w.pts-want[0].pts || g.Duration != w.duration || g.Key != w.key || g.DTS != fragments.NoDTS {
			t.Errorf("unit %d: PTS %d, duration %d, key %v; want %d, %d, %v", i, g.PTS-got[0].PTS, g.Duration, g.Key, w.pts-want[0].pts, w.duration, w.key)
		}
		if g.Track.Width != w.width || g.Track.SampleRate != w.samples {
			t.Errorf("unit %d: width %d, sample rate %d; want %d, %d", i, g.Track.Width, g.Track.SampleRate, w.width, w.samples)
		}
		if !slices.EqualFunc(g.Payload, w.payload, bytes.Equal) {
			t.Errorf("unit %d: payload %s, want %s", i, short(g.Payload), short(w.payload))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d units, want %d", len(got), len(want))
	}
}

func short(p [][]byte) string {
	var b strings.Builder
	for _, s := range p {
		fmt.Fprintf(&b, "[%d: %.24x]", len(s), s)
	}
	return b.String()
}

// rig is a receiver of one track with a recorder behind it and a clock that moves
// with the packets.
type rig struct {
	rx     *Receiver
	stream *Stream
	rec    *recorder
	at     time.Time
	seq    uint16
}

func newRig(t *testing.T, f format.Format, clock int) *rig {
	t.Helper()
	rg := &rig{rec: &recorder{jitter: map[int]float64{}}, at: time.Unix(1_700_000_000, 0)}
	rg.rx = New(Options{
		Log: logTo(t), MaxSkew: time.Minute,
		Now:  func() time.Time { return rg.at },
		Open: rg.rec.open,
	})
	var err error
	rg.stream, err = rg.rx.Add(f, clock)
	fatal(t, err)
	return rg
}

// packet hands over a packet with the next sequence number.
func (rg *rig) packet(t *testing.T, pkt *rtp.Packet) {
	t.Helper()
	pkt.SequenceNumber = rg.seq
	rg.seq++
	rg.raw(t, pkt)
}

// raw hands over a packet as it would come from the network.
func (rg *rig) raw(t *testing.T, pkt *rtp.Packet) {
	t.Helper()
	b, err := pkt.Marshal()
	fatal(t, err)
	var p rtp.Packet
	fatal(t, p.Unmarshal(b))
	rg.at = rg.at.Add(time.Millisecond)
	rg.stream.Packet(&p)
}

func (rg *rig) units() []*fragments.AccessUnit {
	return rg.rec.units
}

// The library's encoder cannot make these packets.
func TestDepacketizeMP3OfMPEG2(t *testing.T) {
	rg := newRig(t, &format.MPEG1Audio{}, 0)
	send := func(ts uint32, offset byte, data ...[]byte) {
		rg.packet(t, &rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: 14, Timestamp: ts},
			Payload: slices.Concat(append([][]byte{{0, 0, 0, offset}}, data...)...),
		})
	}
	send(0, 0, mp3L3v2, mp3L3v2)
	send(4702, 0, mp3L3v2[:100])
	send(4702, 100, mp3L3v2[100:])
	compare(t, rg.units(), []wanted{audio(0, 2351, 22050, mp3L3v2), audio(2351, 2351, 22050, mp3L3v2), audio(4702, 2351, 22050, mp3L3v2)})
}

// Cameras that set no markers end a frame by changing the time stamp.
func TestDepacketizeH264WithoutMarkers(t *testing.T) {
	fm := &format.H264{PayloadTyp: 96, SPS: sps320, PPS: pps320, PacketizationMode: 1}
	rg, enc := newRig(t, fm, 0), encode(t, fm)
	for i, n := range [][]byte{idr(4000), slice(5000), slice(6000), slice(9)} {
		for _, pkt := range enc([][]byte{n}) {
			pkt.Timestamp, pkt.Marker = uint32(i)*3600, false
			rg.packet(t, pkt)
		}
	}
	compare(t, rg.units(), []wanted{
		video(0, true, 320, sps320, pps320, idr(4000)), video(3600, false, 320, slice(5000)), video(7200, false, 320, slice(6000)),
	})
}

// Whatever packet is lost, the units that lost nothing come whole and no other
// comes at all.
func TestPacketLoss(t *testing.T) {
	h264 := &format.H264{PayloadTyp: 96, SPS: sps320, PPS: pps320, PacketizationMode: 1}
	h265 := &format.H265{PayloadTyp: 96, VPS: vps265, SPS: sps265, PPS: pps265}
	av1Frame := func(first string) []byte { return append(unhex(first), bytes.Repeat([]byte{5}, 4000)...) }
	for _, tc := range []struct {
		name   string
		format format.Format
		frames [][][]byte
	}{
		{"H264 fragments", h264, [][][]byte{{idr(4000)}, {slice(4000)}, {slice(4000)}, {slice(10)}, {slice(11)}}},
		{"H264 slices", h264, [][][]byte{{idr(1000), slice2(1000), slice2(1000)}, {slice(1000), slice2(1000), slice2(1000)}, {slice(1000), slice2(1200)}}},
		{"H264 sets in the stream", h264, [][][]byte{{sps320, pps320, idr(4000)}, {slice(10)}, {sps320, pps320, idr(4000)}}},
		{"H265 fragments", h265, [][][]byte{{hevc(19, 4000)}, {hevc(1, 4000)}, {hevc(1, 10)}, {hevc(21, 4000)}}},
		{"AV1", &format.AV1{PayloadTyp: 96}, [][][]byte{{av1SeqRs, av1Frame("3014")}, {av1Frame("3020")}, {av1SeqRs, av1Frame("3014")}}},
		{"VP8", &format.VP8{PayloadTyp: 96}, [][][]byte{{slices.Concat(vp8Key, idr(4000))}, {append(unhex("1102030102"), idr(4000)...)}, {slices.Concat(vp8Key, idr(10))}}},
		{"VP9", &format.VP9{PayloadTyp: 96}, [][][]byte{{slices.Concat(vp9Key, idr(4000))}, {append(unhex("8601"), idr(4000)...)}, {slices.Concat(vp9Key, idr(10))}}},
		{"AAC", &format.MPEG4Audio{PayloadTyp: 97, Config: aacLC, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}, [][][]byte{{slice(100), slice(101)}, {slice(52)}, {slice(50)}}},
		{"Opus", &format.Opus{PayloadTyp: 97, ChannelCount: 2}, [][][]byte{{unhex("fc01")}, {unhex("fc02")}, {unhex("fc03")}}},
		{"MP3", &format.MPEG1Audio{}, [][][]byte{{mp3L3, mp3L3, mp3L3}, {mp3L3}, {mp3L3, mp3L3}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			whole, owner := lossRun(t, tc.format, tc.frames, -1)
			for lost := range owner {
				got, _ := lossRun(t, tc.format, tc.frames, lost)
				for _, au := range got {
					if !slices.ContainsFunc(whole, func(w *fragments.AccessUnit) bool {
						return slices.EqualFunc(w.Payload, au.Payload, bytes.Equal)
					}) {
						t.Fatalf("packet %d of %d lost: a unit that was never sent: %s", lost, len(owner), short(au.Payload))
					}
				}
				if missing := len(whole) - len(got); missing > perFrame(tc.frames[owner[lost]])+afterLoss(tc.format, lost, owner) {
					t.Errorf("packet %d of %d lost: %d units missing", lost, len(owner), missing)
				}
			}
		})
	}
}

// perFrame is how many units the packet of audio frames holds.
func perFrame(parts [][]byte) int { return len(parts) }

// afterLoss allows the units that cannot be decoded when a first key frame with
// its parameters is lost, and those of a codec whose packets do not tell where a
// unit begins.
func afterLoss(f format.Format, lost int, owner []int) int {
	switch f.(type) {
	case *format.AV1:
		return 1 + len(owner) // may wait for the next key frame
	case *format.VP8, *format.VP9:
		if owner[lost] == 0 {
			return 1
		}
	}
	return 0
}

// lossRun sends the frames without the packet of the given index; it returns the
// units and which frame each packet is of.
func lossRun(t *testing.T, fm format.Format, frames [][][]byte, lost int) (units []*fragments.AccessUnit, owner []int) {
	t.Helper()
	rg, enc := newRig(t, fm, 0), encode(t, fm)
	for i, parts := range frames {
		for _, pkt := range enc(parts) {
			pkt.Timestamp += uint32(i) * 9000
			if len(owner) == lost {
				rg.seq++
			} else {
				rg.packet(t, pkt)
			}
			owner = append(owner, i)
		}
	}
	return rg.units(), owner
}

func TestLossAndJitterAreCounted(t *testing.T) {
	fm := &format.Opus{PayloadTyp: 97, ChannelCount: 1}
	rg, enc := newRig(t, fm, 0), encode(t, fm)
	for i := range 200 {
		pkt := enc([][]byte{unhex("fc01")})[0]
		pkt.Timestamp = uint32(i) * 960
		rg.at = time.Unix(1_700_000_000, 0).Add(time.Duration(i) * 20 * time.Millisecond)
		if i%2 == 1 {
			rg.at = rg.at.Add(10 * time.Millisecond) // every other packet is late
		}
		if i%50 == 49 {
			rg.seq += 3
		}
		rg.packet(t, pkt)
	}
	s := rg.rec
	if s.lost != 12 {
		t.Errorf("%d packets lost, want 12", s.lost)
	}
	if j := s.jitter[1]; j < 0.008 || j > 0.011 {
		t.Errorf("jitter %v s, want about 0.010", j)
	}
}

// A sequence that starts anew is no loss.
func TestSequenceRestart(t *testing.T) {
	fm := &format.Opus{PayloadTyp: 97, ChannelCount: 1}
	rg, enc := newRig(t, fm, 0), encode(t, fm)
	for i := range 20 {
		if i == 10 {
			rg.seq += 40000
		}
		pkt := enc([][]byte{unhex("fc01")})[0]
		pkt.Timestamp = uint32(i) * 960
		rg.packet(t, pkt)
	}
	if s := rg.rec; s.lost != 0 || len(s.units) != 20 {
		t.Errorf("%d lost, %d units; want 0, 20", s.lost, len(s.units))
	}
}

func TestReceiverUsesReports(t *testing.T) {
	fm := &format.H264{PayloadTyp: 96, SPS: sps320, PPS: pps320, PacketizationMode: 1}
	rg, enc := newRig(t, fm, 0), encode(t, fm)
	captured := time.Date(2026, 11, 23, 10, 0, 0, 250_000_000, time.UTC)
	send := func(ts uint32) {
		pkt := enc([][]byte{idr(9)})[0]
		pkt.Timestamp = ts
		rg.packet(t, pkt)
	}
	send(0)
	rg.stream.Report(&rtcp.SenderReport{SSRC: 1, NTPTime: ingest.NTP(fragments.ProducerTime(captured)), RTPTime: 9000})
	send(18000)
	u := rg.units()
	if u[0].Source != fragments.FromArrival || u[1].Source != fragments.FromReport {
		t.Errorf("sources %v, %v", u[0].Source, u[1].Source)
	}
	if got, want := u[1].Capture.Time(), captured.Add(100*time.Millisecond); !got.Equal(want) {
		t.Errorf("captured at %v, want %v", got, want)
	}
}

package viewer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// unhex is for parameter sets in tables.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// nal puts a header before made-up content.
func nal(size int, seed int64, header ...byte) []byte {
	return append(slices.Clone(header), noise(size, seed)...)
}

var h265Params = [][]byte{nal(20, 1, 0x40, 0x01, 0x0c, 0x01), nal(30, 2, 0x42, 0x01, 0x01, 0x01), nal(5, 3, 0x44, 0x01)}

// carried has a row for each codec that a viewer gets.
var carried = []struct {
	name  string
	track fragments.Track
	units [][][]byte // payloads; the first is of a key frame
	mime  string
	fmtp  string
	clock uint32
	chans uint16
}{
	{
		name: "H264", track: fragments.Track{Codec: fragments.H264, TimeScale: 90000, Params: [][]byte{sps, pps}},
		mime: webrtc.MimeTypeH264, clock: 90000, fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		units: [][][]byte{{sps, pps, nal(5, 9, 0x06), nal(20000, 1, 0x65)}, {nal(1, 2, 0x41)}, {nal(900, 3, 0x41), nal(900, 4, 0x41), nal(3000, 5, 0x41), nal(9, 6, 0x41)}},
	},
	{
		name: "H264 units of just the size of a packet", track: fragments.Track{Codec: fragments.H264, TimeScale: 90000, Params: [][]byte{sps, pps}},
		mime: webrtc.MimeTypeH264, clock: 90000, fmtp: "packetization-mode=1;profile-level-id=42e01f",
		units: [][][]byte{{sps, pps, nal(maxPayload-1, 1, 0x65)}, {nal(maxPayload, 2, 0x41)}, {nal(maxPayload-2, 3, 0x41), nal(1, 4, 0x41)}, {nal(maxPayload-5, 5, 0x41)}},
	},
	{
		name: "H265", track: fragments.Track{Codec: fragments.H265, TimeScale: 90000, Params: h265Params},
		mime: webrtc.MimeTypeH265, clock: 90000, fmtp: "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
		units: [][][]byte{append(slices.Clone(h265Params), nal(20000, 1, 0x26, 0x01)), {nal(10, 2, 0x02, 0x01)}, {nal(2000, 3, 0x02, 0x01), nal(20, 4, 0x02, 0x01)}},
	},
	{
		name: "VP8", track: fragments.Track{Codec: fragments.VP8, TimeScale: 90000}, mime: webrtc.MimeTypeVP8, clock: 90000,
		units: [][][]byte{{nal(20000, 1, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a)}, {nal(10, 2, 0x11)}, {nal(2000, 3, 0x11)}},
	},
	{
		name: "VP9", track: fragments.Track{Codec: fragments.VP9, TimeScale: 1000, Width: 640, Height: 360, Params: [][]byte{make([]byte, 8)}},
		mime: webrtc.MimeTypeVP9, clock: 90000, fmtp: "profile-id=0",
		units: [][][]byte{{nal(20000, 1, 0x82)}, {nal(10, 2, 0x86)}, {nal(2000, 3, 0x86)}},
	},
	{
		name: "AV1", track: fragments.Track{Codec: fragments.AV1, TimeScale: 90000, Params: [][]byte{{0x08, 1, 2, 3}}},
		mime: webrtc.MimeTypeAV1, clock: 90000, fmtp: "level-idx=5;profile=0;tier=0",
		units: [][][]byte{{{0x08, 1, 2, 3}, nal(20000, 1, 0x30)}, {nal(10, 2, 0x30)}, {nal(maxPayload-4, 3, 0x30), nal(700, 4, 0x30), nal(2000, 5, 0x30)}},
	},
	{
		name: "Opus", track: fragments.Track{Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000, Channels: 1},
		mime: webrtc.MimeTypeOpus, clock: 48000, chans: 2, fmtp: "minptime=10;useinbandfec=1",
		units: [][][]byte{{noise(80, 1)}, {noise(1, 2)}, {noise(1100, 3)}},
	},
	{
		name: "PCMU", track: fragments.Track{Codec: fragments.PCMU, TimeScale: 8000, SampleRate: 8000, Channels: 1},
		mime: webrtc.MimeTypePCMU, clock: 8000, units: [][][]byte{{noise(160, 1)}, {noise(320, 2)}, {noise(960, 3)}},
	},
	{
		name: "PCMA", track: fragments.Track{Codec: fragments.PCMA, TimeScale: 8000, SampleRate: 8000, Channels: 1},
		mime: webrtc.MimeTypePCMA, clock: 8000, units: [][][]byte{{noise(160, 1)}, {noise(320, 2)}, {noise(960, 3)}},
	},
}

func TestEveryCodecArrivesByteForByte(t *testing.T) {
	for _, row := range carried {
		t.Run(row.name, func(t *testing.T) {
			hub := live.New()
			tr := row.track
			tr.ID = 1
			cam := &camera{pub: hub.Publish("cam", []*fragments.Track{&tr})}
			unit := func(i int) *fragments.AccessUnit {
				au := &fragments.AccessUnit{
					Track: &tr, PTS: int64(i) * int64(tr.TimeScale) / 25, DTS: fragments.NoDTS,
					Key: i == 0 || tr.Kind() == fragments.KindAudio, Payload: row.units[i%len(row.units)],
				}
				cam.write(au)
				return au
			}
			unit(0)
			s := newServer(t, Options{Hub: hub})
			c := open(t, s, "cam", clientOptions{engine: engine(), media: func(m *webrtc.MediaEngine) {
				typ := webrtc.RTPCodecTypeVideo
				if tr.Kind() == fragments.KindAudio {
					typ = webrtc.RTPCodecTypeAudio
				}
				must(t, m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
					MimeType: row.mime, ClockRate: row.clock, Channels: row.chans, SDPFmtpLine: row.fmtp,
				}, PayloadType: 96}, typ))
			}, noAudio: tr.Kind() == fragments.KindVideo, noVideo: tr.Kind() == fragments.KindAudio})
			out := c.video
			if tr.Kind() == fragments.KindAudio {
				out = c.audio
				out = cam.prime(t, &tr, out)
			} else if g := next(t, out); !same(g.payload, row.units[0]) {
				t.Fatal("the key frame is another")
			}
			var last uint32
			for i := 1; i < 3*len(row.units); i++ {
				au := unit(i)
				g := next(t, out)
				if !same(g.payload, au.Payload) {
					t.Fatalf("unit %d is another", i)
				}
				if i > 1 && g.ts-last != row.clock/25 {
					t.Fatalf("time stamp of unit %d is %d ticks after the one before", i, g.ts-last)
				}
				last = g.ts
			}
		})
	}
}

func TestPacketsFit(t *testing.T) {
	for _, row := range carried {
		for i, payload := range row.units {
			packets, err := packetize(&fragments.AccessUnit{Track: &row.track, Key: i == 0, Payload: payload})
			must(t, err)
			for _, p := range packets {
				if len(p.payload) == 0 || len(p.payload) > maxPayload {
					t.Errorf("%s unit %d: payload of %d bytes", row.name, i, len(p.payload))
				}
			}
		}
	}
}

func TestLongG711IsSplit(t *testing.T) {
	samples := noise(8000, 1)
	var got []byte
	for _, p := range packetizeG711(samples) {
		if int(p.offset) != len(got) {
			t.Fatalf("packet at sample %d has time offset %d", len(got), p.offset)
		}
		got = append(got, p.payload...)
	}
	if !bytes.Equal(got, samples) {
		t.Fatal("samples differ")
	}
}

// TestSizesOfUnits sends NAL units of every length around the limits through
// a depacketizer.
func TestSizesOfUnits(t *testing.T) {
	for size := 1; size < 3*maxPayload; size += 7 {
		want := [][]byte{nal(size, 1, 0x65), nal(30, 2, 0x41), nal(size/2, 3, 0x41)}
		decode := decoderOf(t, webrtc.MimeTypeH264)
		packets := packetizeH264(want)
		for i, p := range packets {
			got, err := decode(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Marker: i == len(packets)-1}, Payload: p.payload})
			if i < len(packets)-1 {
				continue
			}
			if err != nil || !same(got, want) {
				t.Fatalf("size %d: %v", size, err)
			}
		}
	}
}

// chromeOffer is what a browser of today offers for receiving.
func offerOf(sections ...string) string {
	return "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" + strings.Join(sections, "")
}

func section(kind string, attributes ...string) string {
	pts := ""
	for _, a := range attributes {
		if pt, ok := strings.CutPrefix(a, "rtpmap:"); ok {
			pt, _, _ = strings.Cut(pt, " ")
			pts += " " + pt
		}
	}
	return "m=" + kind + " 9 UDP/TLS/RTP/SAVPF" + pts + "\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=" + strings.Join(attributes, "\r\na=") + "\r\n"
}

func TestRefusals(t *testing.T) {
	h264 := func(plid string, more ...string) string {
		return section("video", append([]string{"recvonly", "rtpmap:96 H264/90000", "fmtp:96 packetization-mode=1;profile-level-id=" + plid}, more...)...)
	}
	opus := section("audio", "recvonly", "rtpmap:111 opus/48000/2")
	high444 := &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Params: [][]byte{unhex("67f4001f"), pps}}
	high := &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Params: [][]byte{unhex("6764001f"), pps}}
	aac := &fragments.Track{ID: 2, Codec: fragments.AAC, TimeScale: 48000, SampleRate: 48000, Channels: 2}
	h265 := &fragments.Track{ID: 1, Codec: fragments.H265, TimeScale: 90000, Params: h265Params}
	video := h264Track(1)
	for _, row := range []struct {
		name   string
		tracks []*fragments.Track
		offer  string
		refuse string // in the error; empty: taken
		left   string // in LeftOut
	}{
		{"H264 and Opus", []*fragments.Track{video, opusTrack(2)}, offerOf(h264("42e01f"), opus), "", ""},
		{"AAC beside video", []*fragments.Track{video, aac}, offerOf(h264("42e01f"), opus), "", "audio AAC: WebRTC does not carry it; use LL-HLS"},
		{"MP3 beside video", []*fragments.Track{video, {ID: 2, Codec: fragments.MP3, TimeScale: 90000}}, offerOf(h264("42e01f"), opus), "", "audio MP3: WebRTC does not carry it"},
		{"LPCM beside video", []*fragments.Track{video, {ID: 2, Codec: fragments.LPCM, TimeScale: 8000}}, offerOf(h264("42e01f"), opus), "", "audio LPCM: WebRTC does not carry it"},
		{"G.711 of 16 kHz", []*fragments.Track{video, {ID: 2, Codec: fragments.PCMU, TimeScale: 16000, SampleRate: 16000, Channels: 1}}, offerOf(h264("42e01f"), opus), "", "audio PCMU of 16000 Hz"},
		{"a second video", []*fragments.Track{video, h264Track(3)}, offerOf(h264("42e01f")), "", "video H264 (track 3)"},
		{"opaque", []*fragments.Track{video, {ID: 4, Codec: fragments.Opaque, CodecID: "S_TEXT/UTF8"}}, offerOf(h264("42e01f")), "", "S_TEXT/UTF8"},
		{"audio not offered", []*fragments.Track{video, opusTrack(2)}, offerOf(h264("42e01f")), "", "audio Opus: the viewer did not ask for audio"},
		{"Opus not among the offered", []*fragments.Track{video, opusTrack(2)}, offerOf(h264("42e01f"), section("audio", "recvonly", "rtpmap:0 PCMU/8000")), "", "audio Opus: the viewer does not offer it"},
		{"audio alone of a stream with video", []*fragments.Track{video, opusTrack(2)}, offerOf(opus), "", "video H264: the viewer did not ask for video"},
		{"High for who has Constrained Baseline", []*fragments.Track{high}, offerOf(h264("42e01f")), "", ""},
		{"High 4:4:4 not offered", []*fragments.Track{high444}, offerOf(h264("64001f")), "High 4:4:4 Predictive", ""},
		{"High 4:4:4 offered", []*fragments.Track{high444}, offerOf(h264("f4001f")), "", ""},
		{"packetization mode 0 only", []*fragments.Track{video}, offerOf(section("video", "recvonly", "rtpmap:96 H264/90000", "fmtp:96 profile-level-id=42e01f")), "packetization-mode=1", ""},
		{"H265 not offered", []*fragments.Track{h265, opusTrack(2)}, offerOf(h264("42e01f"), opus), "video H265: the viewer does not offer it", ""},
		{"H265 Main for Main 10", []*fragments.Track{h265}, offerOf(section("video", "recvonly", "rtpmap:96 H265/90000", "fmtp:96 profile-id=2")), "", ""},
		{"H265 of another profile", []*fragments.Track{h265}, offerOf(section("video", "recvonly", "rtpmap:96 H265/90000", "fmtp:96 profile-id=4")), "profile, 1", ""},
		{"VP9 of another profile", []*fragments.Track{{ID: 1, Codec: fragments.VP9, TimeScale: 90000, Params: [][]byte{{2, 0, 0, 0, 0, 0, 0, 0}}}}, offerOf(section("video", "recvonly", "rtpmap:98 VP9/90000", "fmtp:98 profile-id=0")), "profile, 2", ""},
		{"AAC alone", []*fragments.Track{aac}, offerOf(h264("42e01f"), opus), "audio AAC: WebRTC does not carry it", ""},
		{"an offer to send", []*fragments.Track{video}, offerOf(section("video", "sendonly", "rtpmap:96 H264/90000")), "recvonly", ""},
		{"no session description", []*fragments.Track{video}, "hello", "no session description", ""},
		{"an offer without media", []*fragments.Track{video}, offerOf(), "receives neither", ""},
		{"a long offer", []*fragments.Track{video}, strings.Repeat("a=x\r\n", maxOffer), "bytes", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			hub := live.New()
			cam := &camera{pub: hub.Publish("cam", row.tracks)}
			for i := range int64(enough) {
				payload := [][]byte{{0x65, 1, 2}}
				if row.tracks[0].Codec == fragments.H265 {
					payload = [][]byte{{0x26, 1, 2}}
				}
				cam.write(&fragments.AccessUnit{Track: row.tracks[0], PTS: i * 3600, DTS: fragments.NoDTS, Key: i == 0 || row.tracks[0].Kind() == fragments.KindAudio, Payload: payload})
			}
			s := newServer(t, Options{Hub: hub})
			c, err := s.Open(t.Context(), "cam", row.offer, "test")
			if row.refuse != "" {
				var refused *RefusedError
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), row.refuse) {
					t.Fatalf("error %v, want a refusal that says %q", err, row.refuse)
				}
				if st := s.Stats(); len(st.Viewers) != 0 {
					t.Fatalf("refused, and yet there: %+v", st)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(nil)
			left := strings.Join(c.LeftOut(), "\n")
			if (row.left == "") != (left == "") || !strings.Contains(left, row.left) {
				t.Fatalf("left out: %q, want %q", left, row.left)
			}
		})
	}
}

func TestProfileOfTheAnswer(t *testing.T) {
	// As Chromium offers them.
	list := []offered{
		{pt: 1, name: "H264", clock: 90000, params: map[string]string{"packetization-mode": "0", "profile-level-id": "42001f"}},
		{pt: 2, name: "H264", clock: 90000, params: map[string]string{"packetization-mode": "1", "profile-level-id": "42001f"}},
		{pt: 3, name: "H264", clock: 90000, params: map[string]string{"packetization-mode": "1", "profile-level-id": "42e01f"}},
		{pt: 4, name: "H264", clock: 90000, params: map[string]string{"packetization-mode": "1", "profile-level-id": "4d001f"}},
		{pt: 5, name: "H264", clock: 90000, params: map[string]string{"packetization-mode": "1", "profile-level-id": "f4001f"}},
		{pt: 6, name: "H264", clock: 90000, params: map[string]string{"packetization-mode": "1", "profile-level-id": "64001f"}},
	}
	for _, row := range []struct {
		sps string
		pt  uint8
	}{
		{"6742001f", 2}, {"6742c01f", 3}, {"6742e01f", 3}, {"674d0028", 4}, {"67640033", 6}, {"67f4001f", 5}, {"676e001f", 5}, {"677a001f", 5},
	} {
		o := &offer{video: list, hasVideo: true}
		got, reason := o.match(&fragments.Track{Codec: fragments.H264, TimeScale: 90000, Params: [][]byte{unhex(row.sps)}})
		if got == nil || got.pt != row.pt {
			t.Errorf("SPS %s: got %+v (%s), want payload type %d", row.sps, got, reason, row.pt)
		}
	}
}

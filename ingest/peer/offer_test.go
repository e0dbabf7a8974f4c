package peer_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/peer"
)

// What stands before the first section, and what every section has.
const (
	sdpHead = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n" +
		"a=fingerprint:sha-256 0F:74:31:25:CB:A2:13:EC:28:6F:6D:2C:61:FF:5D:C2:BC:B9:DB:3D:98:14:8D:1A:BB:EA:33:0C:A4:60:A8:8E\r\na=setup:actpass\r\n"
	sdpICE = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=rtcp-mux\r\n"
)

func section(line string, attrs ...string) string {
	return "m=" + line + "\r\n" + sdpICE + "a=" + strings.Join(attrs, "\r\na=") + "\r\n"
}

// Sections as browsers and encoders write them, shortened.
var (
	chromeAudio = section("audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110", "mid:0", "sendonly", "msid:s a",
		"extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", "extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
		"rtpmap:111 opus/48000/2", "rtcp-fb:111 transport-cc", "fmtp:111 minptime=10;useinbandfec=1", "rtpmap:63 red/48000/2", "fmtp:63 111/111",
		"rtpmap:9 G722/8000", "rtpmap:0 PCMU/8000", "rtpmap:8 PCMA/8000", "rtpmap:13 CN/8000", "rtpmap:110 telephone-event/48000",
		"ssrc:100 cname:x", "ssrc:100 msid:s a")
	chromeVideo = section("video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 39 40 45 46 98 99 49 50 123 124 125", "mid:1", "sendonly", "msid:s v", "bundle-only",
		"rtpmap:96 VP8/90000", "rtcp-fb:96 goog-remb", "rtcp-fb:96 transport-cc", "rtcp-fb:96 ccm fir", "rtcp-fb:96 nack", "rtcp-fb:96 nack pli",
		"rtpmap:97 rtx/90000", "fmtp:97 apt=96",
		"rtpmap:103 H264/90000", "fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f", "rtpmap:104 rtx/90000", "fmtp:104 apt=103",
		"rtpmap:39 H264/90000", "fmtp:39 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=640c1f", "rtpmap:40 rtx/90000", "fmtp:40 apt=39",
		"rtpmap:45 AV1/90000", "fmtp:45 level-idx=5;profile=0;tier=0", "rtpmap:46 rtx/90000", "fmtp:46 apt=45",
		"rtpmap:98 VP9/90000", "fmtp:98 profile-id=1", "rtpmap:99 rtx/90000", "fmtp:99 apt=98",
		"rtpmap:49 H265/90000", "fmtp:49 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST", "rtpmap:50 rtx/90000", "fmtp:50 apt=49",
		"rtpmap:123 red/90000", "rtpmap:124 rtx/90000", "fmtp:124 apt=123", "rtpmap:125 ulpfec/90000",
		"ssrc-group:FID 200 201", "ssrc:200 cname:x", "ssrc:201 cname:x")
	layeredVideo = section("video 9 UDP/TLS/RTP/SAVPF 96", "mid:1", "sendonly", "msid:s v", "extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
		"extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
		"rtpmap:96 VP8/90000", "rid:h send", "rid:l send", "rid:x send", "simulcast:send h;l;~x")
	dataOnly = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" + sdpICE + "a=mid:2\r\na=sctp-port:5000\r\n"
)

func TestOffers(t *testing.T) {
	for _, tc := range []struct {
		name, offer string
		refused     []string // words of the refusal; nil: it is taken
		answered    []string // lines of the answer
		missing     []string // lines that must not be in it
		leftOut     string   // word of it
	}{
		{
			"a browser", sdpHead + chromeAudio + chromeVideo + dataOnly, nil,
			[]string{
				"a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
				"a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 transport-cc", "a=rtcp-fb:96 ccm fir",
				"a=fmtp:96 x-google-start-bitrate=1500\r\n",
				"a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f;x-google-start-bitrate=1500\r\n", "a=fmtp:104 apt=103\r\n",
				"a=fmtp:39 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=640c1f", "a=rtpmap:45 AV1/90000", "a=fmtp:98 profile-id=1",
				"a=fmtp:49 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST", "a=recvonly",
				"a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
			},
			[]string{"red/", "ulpfec", "G722", "telephone-event", "a=fmtp:124", "goog-remb"},
			"data channels",
		},
		{
			"layers", sdpHead + chromeAudio + layeredVideo, nil,
			[]string{"a=rid:h recv", "a=rid:l recv", "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"},
			nil, "",
		},
		{
			"one that cannot measure its way", sdpHead + section("video 9 UDP/TLS/RTP/SAVPF 96 97", "mid:0", "sendonly", "rtcp-fb:* goog-remb", "rtcp-fb:* transport-cc", "rtpmap:96 VP8/90000", "rtpmap:97 VP9/90000"), nil,
			[]string{"a=rtcp-fb:96 goog-remb", "a=rtcp-fb:97 goog-remb"},
			[]string{"x-google"},
			"",
		},
		{"layers beside sound without SSRC", sdpHead + section("audio 9 UDP/TLS/RTP/SAVPF 0", "mid:0", "sendonly") + layeredVideo, nil, []string{"a=rid:h recv"}, nil, "nor an SSRC"},
		{"sound alone", sdpHead + chromeAudio, nil, []string{"a=rtpmap:111 opus/48000/2"}, nil, ""},
		{"static payload types", sdpHead + section("audio 9 UDP/TLS/RTP/SAVPF 0 8", "mid:0", "sendonly", "ssrc:1 cname:x"), nil, []string{"a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000"}, nil, ""},
		{"parameter sets in the offer", sdpHead + section("video 9 UDP/TLS/RTP/SAVPF 96", "mid:0", "sendonly", "rtpmap:96 H264/90000", "fmtp:96 packetization-mode=1;profile-level-id=42c01f;sprop-parameter-sets=Z0LADdoPFiagAAADACAAAAZB4oVc,aM4G4g=="), nil, []string{"a=rtpmap:96 H264/90000"}, nil, ""},
		{"a bundled port", sdpHead + chromeAudio + strings.Replace(chromeVideo, "video 9", "video 0", 1), nil, []string{"a=rtpmap:96 VP8/90000"}, nil, ""},
		{"one track known, one not", sdpHead + chromeAudio + section("video 9 UDP/TLS/RTP/SAVPF 96", "mid:1", "sendonly", "rtpmap:96 MP4V-ES/90000"), nil, []string{"m=video 0"}, nil, "MP4V-ES"},
		{"nothing known", sdpHead + section("video 9 UDP/TLS/RTP/SAVPF 96 97", "mid:1", "sendonly", "rtpmap:96 MP4V-ES/90000", "rtpmap:97 H266/90000"), []string{"MP4V-ES", "H266", "VP9", "H264"}, nil, nil, ""},
		{"packetization mode 2", sdpHead + section("video 9 UDP/TLS/RTP/SAVPF 96", "mid:1", "rtpmap:96 H264/90000", "fmtp:96 packetization-mode=2"), []string{"H264/90000"}, nil, nil, ""},
		{"data alone", sdpHead + dataOnly, []string{"sends nothing"}, nil, nil, ""},
		{"a viewer's", sdpHead + strings.Replace(chromeVideo, "sendonly", "recvonly", 1), []string{"sends nothing", "VP8"}, nil, nil, ""},
		{"inactive", sdpHead + strings.Replace(chromeVideo, "sendonly", "inactive", 1), []string{"sends nothing"}, nil, nil, ""},
		{"a rejected port", sdpHead + strings.Replace(chromeAudio, "audio 9", "audio 0", 1), []string{"sends nothing"}, nil, nil, ""},
		{"text", sdpHead + chromeAudio + section("text 9 UDP/TLS/RTP/SAVPF 96", "mid:2", "rtpmap:96 t140/1000"), []string{`"text"`}, nil, nil, ""},
		{"no mid", sdpHead + strings.Replace(chromeVideo, "a=mid:1\r\n", "", 1), []string{"a=mid"}, nil, nil, ""},
		{"layers by SSRC", sdpHead + chromeVideo + "a=ssrc-group:SIM 200 300\r\na=ssrc:300 cname:x\r\n", []string{"a=rid"}, nil, nil, ""},
		{"no description", "GET / HTTP/1.1", []string{"no session description"}, nil, nil, ""},
		{"empty", "", []string{"sends nothing"}, nil, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, newRecorder(), func(o *peer.Options) { o.StartBitRate = 1_500_000 })
			conn, err := s.Open(context.Background(), "cam", tc.offer, ingest.Source{})
			var refused *peer.RefusedError
			switch {
			case tc.refused == nil && err != nil:
				t.Fatal(err)
			case tc.refused != nil && !errors.As(err, &refused):
				t.Fatalf("error %v, want a refusal", err)
			case tc.refused != nil:
				for _, word := range tc.refused {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("%q does not say %q", err, word)
					}
				}
				return
			}
			answer := answerOf(t, conn, webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: tc.offer}).SDP
			for _, line := range tc.answered {
				if !strings.Contains(answer, line) {
					t.Errorf("the answer lacks %q", line)
				}
			}
			for _, line := range tc.missing {
				if strings.Contains(answer, line) {
					t.Errorf("the answer has %q", line)
				}
			}
			if n, m := strings.Count(tc.offer, "\nm="), strings.Count(answer, "\nm="); n != m {
				t.Errorf("%d sections in the answer to %d", m, n)
			}
			if t.Failed() {
				t.Log(answer)
			}
			if got := strings.Join(conn.LeftOut(), ", "); (got != "") != (tc.leftOut != "") || !strings.Contains(got, tc.leftOut) {
				t.Errorf("left out %q, want %q", got, tc.leftOut)
			}
			conn.Close(nil)
		})
	}
}

// FuzzOffer sees that no offer makes Open, or the library behind it, panic.
func FuzzOffer(f *testing.F) {
	for _, offer := range []string{
		sdpHead + chromeAudio + chromeVideo + dataOnly, sdpHead + chromeAudio + layeredVideo,
		sdpHead + section("audio 9 UDP/TLS/RTP/SAVPF 0 8", "mid:0"), sdpHead + section("video 9 x 96", "mid:0", "rtpmap:96 H265/90000", "fmtp:96 sprop-sps=a"),
		sdpHead + section("video 9 x 96 97", "mid:0", "rtpmap:96 H264/1", "fmtp:97 apt=97", "rtpmap:97 rtx/90000"), "v=0\r\n",
	} {
		f.Add(offer)
	}
	e := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{Writer: discard{}, DefaultLogLevel: logging.LogLevelDisabled}}
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	rec := newRecorder()
	s, err := peer.New(peer.Options{Publish: rec.publish, Engine: e, ConnectTimeout: time.Minute})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, offer string) {
		// A fuzzer does not see that it hangs.
		watchdog := time.AfterFunc(20*time.Second, func() { panic("hangs with " + strconv.Quote(offer)) })
		defer watchdog.Stop()
		conn, err := s.Open(context.Background(), fragments.StreamName("cam"), offer, ingest.Source{})
		var refused *peer.RefusedError
		if err != nil {
			if !errors.As(err, &refused) {
				t.Errorf("error %v is no refusal", err)
			}
			return
		}
		pc := conn.PeerConnection()
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err == nil {
			_, _ = pc.CreateAnswer(nil)
		}
		conn.Close(nil)
	})
}

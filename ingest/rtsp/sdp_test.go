package rtsp

import (
	"slices"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"

	"github.com/kineweir/kineweir/ingest/depacketize"
)

const (
	sdpVideo = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=0\r\n"
	sdpAudio = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:trackID=1\r\n"
)

// A LATM configuration whose second layer uses that of the first makes the
// library dereference nil.
const sdpPanics = "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 MP4A-LATM/44100/2\r\na=fmtp:98 cpresent=0; config=400224203fe3fc\r\n"

func TestRepairDescription(t *testing.T) {
	for _, tc := range []struct {
		name string
		body string
		same bool     // must stay as it is
		want []string // codecs of the tracks; nil: cannot be read
	}{
		{"good", sdpHeader + sdpVideo + sdpAudio, true, []string{"H264", "Opus"}},
		{"back channel beside a track", sdpHeader + sdpVideo + sdpAudio + "a=sendonly\r\n", true, []string{"H264", "Opus back"}},
		{"all tracks marked sendonly", sdpHeader + sdpVideo + "a=sendonly\r\n" + sdpAudio + "a=sendonly\r\n", false, []string{"H264", "Opus"}},
		{"makes the library panic", sdpHeader + sdpVideo + sdpPanics, false, []string{"H264", "unreadable-MP4A-LATM/90000"}},
		{"AAC without configuration", sdpHeader + sdpVideo + "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\n", false, []string{"H264", "unreadable-mpeg4-generic/90000"}},
		{"parameter sets are no base64", sdpHeader + strings.Replace(sdpVideo, "=1", "=1;sprop-parameter-sets=!!,??", 1) + sdpAudio, false, []string{"H264", "Opus"}},
		{"packetization mode is no number", sdpHeader + strings.Replace(sdpVideo, "=1", "=x", 1) + sdpAudio, false, []string{"H264", "Opus"}},
		{"media type meta", sdpHeader + sdpVideo + "m=meta 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n", false, []string{"H264", "vnd.onvif.metadata/90000"}},
		{"malformed c=", strings.Replace(sdpHeader, "c=IN IP4 0.0.0.0", "c=camera", 1) + sdpVideo, false, []string{"H264"}},
		{"malformed o=", strings.Replace(sdpHeader, "o=-", "o=what", 1) + sdpVideo, true, []string{"H264"}},
		{"no o=", "v=0\r\ns=x\r\n" + sdpVideo, true, []string{"H264"}},
		{"unknown line", sdpHeader + "x=1\r\n" + sdpVideo, false, []string{"H264"}},
		{"unknown bandwidth", sdpHeader + sdpVideo + "b=XX:1\r\n", false, []string{"H264"}},
		{"unknown profile", sdpHeader + strings.Replace(sdpVideo, "RTP/AVP", "RTP/FOO", 1), false, []string{"H264"}},
		{"bad key management", sdpHeader + sdpVideo + "a=key-mgmt:foo\r\n", false, []string{"H264"}},
		{"only some tracks have an id", sdpHeader + sdpVideo + "a=mid:1\r\n" + sdpAudio, false, []string{"H264", "Opus"}},
		{"payload type without rtpmap", sdpHeader + sdpVideo + "m=audio 0 RTP/AVP 99\r\n", false, []string{"H264", "unreadable/90000"}},
		{"m= line cut short", sdpHeader + sdpVideo + "m=audio\r\n", false, []string{"H264", "unreadable/90000"}},
		{"NUL at the end", sdpHeader + sdpVideo + "\x00", false, []string{"H264"}},
		{"no tracks", sdpHeader, false, nil},
		{"empty", "", false, nil},
		{"not a description", "<html><body>404</body></html>", false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := repairDescription([]byte(tc.body))
			if tc.same && string(body) != tc.body {
				t.Errorf("was changed to\n%s", body)
			}
			if got := codecs(t, body); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q from\n%s", got, tc.want, body)
			}
		})
	}
}

func TestLibraryStillPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the description no longer makes the library panic: the test of repairDescription proves nothing")
		}
	}()
	codecs(t, []byte(sdpHeader+sdpPanics))
}

func codecs(t *testing.T, body []byte) (names []string) {
	t.Helper()
	if body == nil {
		return nil
	}
	var ssd sdp.SessionDescription
	fatal(t, ssd.Unmarshal(body))
	var desc description.Session
	fatal(t, desc.Unmarshal(&ssd))
	for _, m := range desc.Medias {
		name := depacketize.Name(m.Formats[0])
		if m.IsBackChannel {
			name += " back"
		}
		names = append(names, name)
	}
	return names
}

func TestRTPClock(t *testing.T) {
	body := []byte(sdpHeader + sdpVideo + "m=audio 0 RTP/AVP 97 98\r\na=rtpmap:97 mpeg4-generic/48000/2\r\na=rtpmap:98 x\r\n")
	for _, tc := range []struct {
		track   int
		payload uint8
		want    int
	}{{0, 96, 90000}, {1, 97, 48000}, {1, 98, 0}, {1, 96, 0}, {2, 96, 0}} {
		if got := rtpClock(body, tc.track, tc.payload); got != tc.want {
			t.Errorf("track %d payload %d: %d, want %d", tc.track, tc.payload, got, tc.want)
		}
	}
}

func FuzzRepairDescription(f *testing.F) {
	for _, s := range []string{sdpHeader + sdpVideo + sdpAudio, sdpHeader + sdpPanics, "m=", "m=audio\r\na=fmtp:97 a", "v=0\r\nm=x y z 0 smart/1/90000\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if out := repairDescription(body); out != nil && !readable(out) {
			t.Errorf("cannot be read: %q", out)
		}
	})
}

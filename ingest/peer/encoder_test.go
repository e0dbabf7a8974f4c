package peer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

// encoderCodecs are what an encoder knows: one codec of each kind, as OBS numbers
// them, with the feedback that libdatachannel writes.
func encoderCodecs(m *webrtc.MediaEngine) error {
	for kind, c := range map[webrtc.RTPCodecType]webrtc.RTPCodecParameters{
		webrtc.RTPCodecTypeAudio: {PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
			SDPFmtpLine: "minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1",
		}},
		webrtc.RTPCodecTypeVideo: {PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1",
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "goog-remb"}},
		}},
	} {
		if err := m.RegisterCodec(c, kind); err != nil {
			return err
		}
	}
	return nil
}

// encoderOffer rewrites an offer line by line to what libdatachannel 0.24 sends
// for OBS: no candidates, for it does not wait for them and sends none later; no
// header extensions; a session-wide fingerprint and ICE options of RFC 8445.
func encoderOffer(offer string) string {
	var out strings.Builder
	seen := map[string]bool{}
	for line := range strings.Lines(offer) {
		line = strings.TrimRight(line, "\r\n")
		key, _, _ := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "o="):
			line = "o=rtc 3679183640 0 IN IP4 127.0.0.1"
		case strings.HasPrefix(line, "a=group:BUNDLE"):
			line += "\r\na=group:LS 0 1\r\na=msid-semantic:WMS *\r\na=ice-options:ice2,trickle"
		case key == "a=candidate", key == "a=extmap", key == "a=ice-options", key == "a=extmap-allow-mixed", key == "a=msid-semantic", key == "a=rtcp-rsize",
			line == "a=end-of-candidates", key == "a=fingerprint" && seen[key], key == "a=rtcp-fb" && strings.Contains(line, "transport-cc"):
			continue
		}
		seen[key] = true
		out.WriteString(line + "\r\n")
	}
	return out.String()
}

// An encoder as OBS is one: sound first, key frames when it likes and not when it
// is asked, time stamps of the order in which it made the frames. All of it
// arrives, whether frames refer to later ones or not.
func TestEncoder(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		profile []string
	}{
		{"without B-frames", []string{"-profile:v", "baseline", "-x264-params", "aud=1:scenecut=0"}},
		{"with B-frames", []string{"-profile:v", "high", "-bf", "2", "-x264-params", "aud=1:scenecut=0:b-adapt=0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := encodeWith(t, fragments.H264, 320, append([]string{"-c:v", "libx264", "-preset", "ultrafast", "-g", "1000", "-f", "h264"}, tc.profile...)...)
			rec := newRecorder()
			s := newServer(t, rec, nil)
			c := newClient(t, clientOptions{register: encoderCodecs})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			c.sendSound(ctx)
			sent := c.sendLoop(ctx, m)
			c.mangle = encoderOffer
			c.connect(s, "cam")
			if answer := c.pc.RemoteDescription().SDP; !strings.Contains(answer, "sprop-stereo=1") || strings.Contains(answer, "x-google") {
				t.Errorf("the answer is\n%s", answer)
			}
			session := rec.session(t, 0)
			checkVideo(t, m, sent, session.waitVideo(t, 70))
			checkSound(t, session.all())
			fatal(t, c.pc.Close()) // before it says DELETE
			if err := session.waitClosed(t); err != nil {
				t.Errorf("the session ended with %v, want good order", err)
			}
		})
	}
}

// sendLoop sends m again and again, key frames where it has them.
func (c *client) sendLoop(ctx context.Context, m *movie) *sender {
	c.t.Helper()
	track := c.newTrack(m.codec, "video", "")
	r, err := c.pc.AddTrack(track)
	fatal(c.t, err)
	s := c.newSender(m.codec, track, r)
	c.on.Go(func() {
		if !c.connected(ctx) {
			return
		}
		tick := time.NewTicker(frameTime)
		defer tick.Stop()
		for n := 0; ; n = (n + 1) % movieFrames {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if s.frame(n, m.frames[n]) != nil {
				return
			}
		}
	})
	return s
}

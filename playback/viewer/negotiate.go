package viewer

import (
	"fmt"
	"strings"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

// Header extensions that are used when the viewer offers them.
const (
	absCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	absSendTime    = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
)

// negotiate chooses a codec of the offer for each track. Tracks the viewer does
// not get are told in left. Without any, or without the video of a stream for
// whom asks for video, the offer is refused.
func negotiate(o *offer, tracks [2]*fragments.Track, others []string) (legs []*leg, left []string, err error) {
	var have []string
	for _, t := range tracks {
		if t == nil {
			continue
		}
		have = append(have, string(t.Codec))
		codec, reason := o.match(t)
		if codec == nil {
			left = append(left, reason)
			continue
		}
		legs = append(legs, newLeg(t, codec))
	}
	left = append(left, others...)
	blind := tracks[0] != nil && o.hasVideo && (len(legs) == 0 || legs[0].kind != fragments.KindVideo)
	if len(legs) == 0 || blind {
		reason := "the stream cannot be shown: " + strings.Join(left, "; ")
		if len(left) == 0 {
			reason = "the stream has no tracks yet: try again"
		}
		return nil, nil, &RefusedError{Reason: reason, Offered: o.names(), Stream: have}
	}
	return legs, left, nil
}

// feedback is what a viewer may send about a codec: retransmission and key frame
// requests of video, and the bit rate that it finds its link to have.
func feedback(k fragments.Kind, offered []webrtc.RTCPFeedback) []webrtc.RTCPFeedback {
	if k != fragments.KindVideo {
		return nil
	}
	var list []webrtc.RTCPFeedback
	for _, f := range offered {
		switch f {
		case webrtc.RTCPFeedback{Type: "nack"}, webrtc.RTCPFeedback{Type: "nack", Parameter: "pli"},
			webrtc.RTCPFeedback{Type: "ccm", Parameter: "fir"}, webrtc.RTCPFeedback{Type: "goog-remb"}:
			list = append(list, f)
		}
	}
	return list
}

// register makes known to m exactly what the viewer will get, with the payload
// types of the offer, so that the answer has nothing else.
func register(m *webrtc.MediaEngine, legs []*leg) error {
	for _, l := range legs {
		typ := l.Kind()
		err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: mime(l.codec), ClockRate: l.offered.clock, Channels: l.offered.channels,
				SDPFmtpLine: l.offered.line, RTCPFeedback: feedback(l.kind, l.offered.feedback),
			},
			PayloadType: webrtc.PayloadType(l.offered.pt),
		}, typ)
		if err != nil {
			return fmt.Errorf("register %s: %w", l.codec, err)
		}
		if l.offered.rtx != 0 {
			err := m.RegisterCodec(webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{
					MimeType: webrtc.MimeTypeRTX, ClockRate: l.offered.clock, SDPFmtpLine: fmt.Sprintf("apt=%d", l.offered.pt),
				},
				PayloadType: webrtc.PayloadType(l.offered.rtx),
			}, typ)
			if err != nil {
				return fmt.Errorf("register retransmission of %s: %w", l.codec, err)
			}
		}
		for _, uri := range extensions(l.kind) {
			err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, typ, webrtc.RTPTransceiverDirectionSendonly)
			if err != nil {
				return fmt.Errorf("register header extension: %w", err)
			}
		}
	}
	return nil
}

func extensions(k fragments.Kind) []string {
	if k == fragments.KindVideo {
		return []string{absCaptureTime, absSendTime}
	}
	return []string{absCaptureTime}
}

// connect makes the peer connection with a track for each leg. There are no
// interceptors: reports, retransmissions and rates are made here, without a
// copy of each packet for each viewer.
func (c *Connection) connect(engine webrtc.SettingEngine, servers []webrtc.ICEServer) error {
	m := &webrtc.MediaEngine{}
	if err := register(m, c.legs); err != nil {
		return &RefusedError{Reason: err.Error()}
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(engine), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	pc, err := api.NewPeerConnection(webrtc.Configuration{ICEServers: servers})
	if err != nil {
		return fmt.Errorf("make a peer connection: %w", err)
	}
	for _, l := range c.legs {
		t, err := pc.AddTransceiverFromTrack(l, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			_ = pc.Close()
			return fmt.Errorf("add %s to a peer connection: %w", l.codec, err)
		}
		l.sender = t.Sender()
	}
	c.pc = pc
	return nil
}

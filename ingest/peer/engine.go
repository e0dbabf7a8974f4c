package peer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// absSendTime is the header extension of send times that REMB builds on.
const absSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"

// newAPI returns an API that answers exactly what the plan takes. It is made of
// the offer, not of a list: a profile or a payload type that we did not think of
// is taken when its packets can be read.
func newAPI(p *plan, engine webrtc.SettingEngine) (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	for _, s := range p.sections {
		for _, c := range p.codecsOf(s) {
			if err := m.RegisterCodec(c, s.kind); err != nil {
				return nil, &RefusedError{Reason: fmt.Sprintf("payload type %d: %v", c.PayloadType, err)}
			}
		}
	}
	uris := []string{sdp.TransportCCURI, absSendTime}
	if p.simulcast {
		uris = append(uris, sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI)
	}
	for _, uri := range uris {
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return nil, fmt.Errorf("header extension %s: %w", uri, err)
			}
		}
	}
	r := &interceptor.Registry{}
	// Missing packets are asked for in track.go, which knows what was repaired.
	var reportLog []report.ReceiverOption
	var congestionLog []twcc.Option
	if l := engine.LoggerFactory; l != nil {
		reportLog = append(reportLog, report.WithReceiverLoggerFactory(l))
		congestionLog = append(congestionLog, twcc.WithLoggerFactory(l))
	}
	reports, err := report.NewReceiverInterceptor(reportLog...)
	if err != nil {
		return nil, fmt.Errorf("receiver reports: %w", err)
	}
	congestion, err := twcc.NewSenderInterceptor(congestionLog...)
	if err != nil {
		return nil, fmt.Errorf("congestion reports: %w", err)
	}
	r.Add(reports)
	r.Add(congestion)
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(engine)), nil
}

// codecsOf returns the codecs of a section as the library wants them.
func (p *plan) codecsOf(s *section) (list []webrtc.RTPCodecParameters) {
	for _, c := range s.codecs {
		if c.name == "RTX" && p.undeclared {
			continue // whose packets repair which stream would be guesswork
		}
		list = append(list, c.parameters(s.kind, p.remb))
	}
	return list
}

func (c *codec) parameters(kind webrtc.RTPCodecType, remb bool) webrtc.RTPCodecParameters {
	parts := append(strings.Split(c.rtpmap, "/"), "", "")
	rate, _ := strconv.ParseUint(parts[1], 10, 32)
	channels, _ := strconv.ParseUint(parts[2], 10, 16)
	feedback := []webrtc.RTCPFeedback{{Type: webrtc.TypeRTCPFBTransportCC}, {Type: webrtc.TypeRTCPFBNACK}}
	if kind == webrtc.RTPCodecTypeVideo {
		feedback = append(feedback, webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"},
			webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBCCM, Parameter: "fir"})
	}
	if remb && kind == webrtc.RTPCodecTypeVideo {
		feedback = append(feedback, webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBGoogREMB})
	}
	if c.name == "RTX" {
		feedback = nil
	}
	return webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: kind.String() + "/" + parts[0], ClockRate: uint32(rate), Channels: uint16(channels),
			SDPFmtpLine: c.fmtp, RTCPFeedback: feedback,
		},
		PayloadType: webrtc.PayloadType(c.payloadType),
	}
}

// prefer answers with what browsers cannot know by themselves: stereo for Opus,
// without which they send mono (RFC 7587 section 7.1), and for pictures the bit
// rate to begin with, start in bits per second; 0 is theirs.
func (p *plan) prefer(pc *webrtc.PeerConnection, start int) error {
	for _, s := range p.sections {
		list := p.codecsOf(s)
		for i := range list {
			c := &list[i]
			switch {
			case strings.EqualFold(c.MimeType, webrtc.MimeTypeOpus):
				c.SDPFmtpLine = withParameter(c.SDPFmtpLine, "stereo", 1)
			case s.kind == webrtc.RTPCodecTypeVideo && p.measures && start > 0 && !strings.EqualFold(c.MimeType, webrtc.MimeTypeRTX):
				c.SDPFmtpLine = withParameter(c.SDPFmtpLine, startParameter, max(1, start/1000))
			}
		}
		t, err := pc.AddTransceiverFromKind(s.kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			return fmt.Errorf("%s track: %w", s.kind, err)
		}
		if err := t.SetCodecPreferences(list); err != nil {
			return fmt.Errorf("%s codecs: %w", s.kind, err)
		}
	}
	return nil
}

// startParameter is how Chromium, and what is built on it, is told in kbit/s
// where to begin; nobody else minds. By itself it begins with 300 kbit/s, takes
// away most of the picture for that, and gives it back in steps of seconds: 1280
// pixels became 320, and 640 after seven seconds.
const startParameter = "x-google-start-bitrate"

// withParameter adds a format parameter that is not there.
func withParameter(fmtp, name string, value int) string {
	for p := range strings.SplitSeq(fmtp, ";") {
		if strings.HasPrefix(strings.TrimSpace(p), name+"=") {
			return fmtp
		}
	}
	return strings.TrimPrefix(fmtp+";"+name+"="+strconv.Itoa(value), ";")
}

package peer_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/peer"
)

// newServer returns a server whose connections share one UDP and one TCP socket.
func newServer(t *testing.T, rec *recorder, change func(*peer.Options)) *peer.Server {
	t.Helper()
	o := peer.Options{Publish: rec.publish, Engine: muxed(t), Log: logTo(t), KeyInterval: 500 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	s, err := peer.New(o)
	fatal(t, err)
	t.Cleanup(s.Close)
	return s
}

func muxed(t *testing.T) (e webrtc.SettingEngine) {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	fatal(t, err)
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	fatal(t, err)
	quiet := &logging.DefaultLoggerFactory{Writer: discard{}, DefaultLogLevel: logging.LogLevelDisabled}
	udpMux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: udp, Logger: quiet.NewLogger("ice")})
	tcpMux := ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: tcp, ReadBufferSize: 64, Logger: quiet.NewLogger("ice")})
	t.Cleanup(func() { _ = udpMux.Close(); _ = tcpMux.Close() })
	e.LoggerFactory = quiet
	e.SetICEUDPMux(udpMux)
	e.SetICETCPMux(tcpMux)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4})
	e.SetIncludeLoopbackCandidate(true)
	e.SetICETimeouts(2*time.Second, 4*time.Second, 500*time.Millisecond)
	return e
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// client is a publisher: it does what a browser does, with what an encoder made.
type client struct {
	t  *testing.T
	pc *webrtc.PeerConnection
	on *sync.WaitGroup

	conn   *peer.Connection
	gate   context.Context           // nothing is sent before it ends; nil: at once
	mangle func(offer string) string // nil: as it is
	plis   atomic.Int64
	rates  chan float32 // that REMB told
}

type clientOptions struct {
	interceptors []interceptor.Factory // before the answering of NACK
	network      webrtc.NetworkType
	cable        *net.UDPConn                      // nil: one of its own
	register     func(m *webrtc.MediaEngine) error // codecs; nil: the defaults
}

func newClient(t *testing.T, o clientOptions) *client {
	t.Helper()
	m := &webrtc.MediaEngine{}
	if o.register == nil {
		o.register = (*webrtc.MediaEngine).RegisterDefaultCodecs
	}
	fatal(t, o.register(m))
	r := &interceptor.Registry{}
	for _, f := range o.interceptors {
		r.Add(f)
	}
	responder, err := nack.NewResponderInterceptor()
	fatal(t, err)
	r.Add(responder)
	fatal(t, webrtc.ConfigureSimulcastExtensionHeaders(m))
	fatal(t, webrtc.ConfigureTWCCHeaderExtensionSender(m, r))
	var e webrtc.SettingEngine
	e.LoggerFactory = &logging.DefaultLoggerFactory{Writer: discard{}, DefaultLogLevel: logging.LogLevelDisabled}
	if o.network == 0 {
		o.network = webrtc.NetworkTypeUDP4
	}
	e.SetNetworkTypes([]webrtc.NetworkType{o.network})
	e.SetIncludeLoopbackCandidate(true)
	e.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	if o.cable != nil {
		e.SetICEUDPMux(cableOf(o.cable))
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(e)).
		NewPeerConnection(webrtc.Configuration{})
	fatal(t, err)
	c := &client{t: t, pc: pc, on: &sync.WaitGroup{}, rates: make(chan float32, 100)}
	t.Cleanup(c.close)
	return c
}

func (c *client) close() {
	_ = c.pc.GracefulClose()
	c.on.Wait()
}

// connect does what WHIP does on both sides.
func (c *client) connect(s *peer.Server, name fragments.StreamName) *peer.Connection {
	c.t.Helper()
	offer, err := c.pc.CreateOffer(nil)
	fatal(c.t, err)
	gathered := webrtc.GatheringCompletePromise(c.pc)
	fatal(c.t, c.pc.SetLocalDescription(offer))
	<-gathered
	local := *c.pc.LocalDescription()
	if c.mangle != nil {
		local.SDP = c.mangle(local.SDP)
	}
	conn, err := s.Open(context.Background(), name, local.SDP, ingest.Source{Protocol: "whip", Remote: "test"})
	fatal(c.t, err)
	answer := answerOf(c.t, conn, local)
	fatal(c.t, c.pc.SetRemoteDescription(answer))
	c.conn = conn
	return conn
}

func answerOf(t *testing.T, conn *peer.Connection, offer webrtc.SessionDescription) webrtc.SessionDescription {
	t.Helper()
	pc := conn.PeerConnection()
	fatal(t, pc.SetRemoteDescription(offer))
	answer, err := pc.CreateAnswer(nil)
	fatal(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	fatal(t, pc.SetLocalDescription(answer))
	<-gathered
	return *pc.LocalDescription()
}

var mimes = map[fragments.Codec]string{
	fragments.H264: webrtc.MimeTypeH264, fragments.H265: webrtc.MimeTypeH265, fragments.VP8: webrtc.MimeTypeVP8,
	fragments.VP9: webrtc.MimeTypeVP9, fragments.AV1: webrtc.MimeTypeAV1, fragments.Opus: webrtc.MimeTypeOpus,
}

// sender sends the packets of one track, or of one layer, with sender reports
// that are exact.
type sender struct {
	c     *client
	track *webrtc.TrackLocalStaticRTP
	rtp   *webrtc.RTPSender
	pack  rtp.Packetizer
	clock int
	base  time.Time // of time stamp 0
	asked chan struct{}
	off   *atomic.Bool // nothing is sent while it is set; may be nil

	mu   sync.Mutex
	sent []sentFrame
}

type sentFrame struct {
	n  int
	at time.Time
}

func (c *client) newTrack(codec fragments.Codec, id, rid string) *webrtc.TrackLocalStaticRTP {
	c.t.Helper()
	var opts []func(*webrtc.TrackLocalStaticRTP)
	if rid != "" {
		opts = append(opts, webrtc.WithRTPStreamID(rid))
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mimes[codec]}, id, "stream", opts...)
	fatal(c.t, err)
	return track
}

func (c *client) newSender(codec fragments.Codec, track *webrtc.TrackLocalStaticRTP, r *webrtc.RTPSender) *sender {
	clock := 90000
	var p rtp.Payloader
	switch codec {
	case fragments.H264:
		p = &codecs.H264Payloader{}
	case fragments.H265:
		p = &codecs.H265Payloader{}
	case fragments.VP8:
		p = &codecs.VP8Payloader{EnablePictureID: true}
	case fragments.VP9:
		p = &codecs.VP9Payloader{}
	case fragments.AV1:
		p = &codecs.AV1Payloader{}
	default:
		p, clock = &codecs.OpusPayloader{}, 48000
	}
	s := &sender{
		c: c, track: track, rtp: r, clock: clock, base: time.Now().Add(-time.Hour), asked: make(chan struct{}, 1),
		pack: rtp.NewPacketizer(1200, 0, 0, p, rtp.NewRandomSequencer(), uint32(clock)),
	}
	c.on.Go(s.watch)
	return s
}

// watch notes when a key frame is asked for.
func (s *sender) watch() {
	for {
		pkts, _, err := s.readRTCP()
		if err != nil {
			return
		}
		for _, p := range pkts {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication:
				s.c.plis.Add(1)
				select {
				case s.asked <- struct{}{}:
				default:
				}
			case *rtcp.ReceiverEstimatedMaximumBitrate:
				select {
				case s.c.rates <- p.Bitrate:
				default:
				}
			}
		}
	}
}

func (s *sender) readRTCP() ([]rtcp.Packet, interceptor.Attributes, error) {
	if rid := s.track.RID(); rid != "" {
		return s.rtp.ReadSimulcastRTCP(rid)
	}
	return s.rtp.ReadRTCP()
}

func (s *sender) stamp(at time.Time) uint32 {
	return uint32(at.Sub(s.base).Seconds() * float64(s.clock))
}

// frame sends frame n, captured now.
func (s *sender) frame(n int, data []byte) error {
	now := time.Now()
	s.mu.Lock()
	s.sent = append(s.sent, sentFrame{n, now})
	report := len(s.sent)%6 == 1
	s.mu.Unlock()
	for _, pkt := range s.pack.Packetize(data, 0) {
		pkt.Timestamp = s.stamp(now)
		if err := s.label(pkt); err != nil {
			return err
		}
		if err := s.track.WriteRTP(pkt); err != nil {
			return err
		}
	}
	if !report {
		return nil
	}
	return s.c.pc.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{
		SSRC: s.ssrc(), NTPTime: ingest.NTP(fragments.ProducerTime(now)), RTPTime: s.stamp(now),
	}})
}

func (s *sender) ssrc() uint32 {
	for _, e := range s.rtp.GetParameters().Encodings {
		if e.RID == s.track.RID() {
			return uint32(e.SSRC)
		}
	}
	return 0
}

// capturedAt returns when the frame n was sent that was sent closest to at.
func (s *sender) capturedAt(n int, at time.Time) (closest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.sent {
		if f.n == n && f.at.Sub(at).Abs() < closest.Sub(at).Abs() {
			closest = f.at
		}
	}
	return closest
}

const frameTime = time.Second / 30

// sendVideo sends m at 30 frames a second until ctx ends: a key frame at first and
// whenever one is asked for, and never else.
func (c *client) sendVideo(ctx context.Context, m *movie) *sender {
	c.t.Helper()
	track := c.newTrack(m.codec, "video", "")
	r, err := c.pc.AddTrack(track)
	fatal(c.t, err)
	s := c.newSender(m.codec, track, r)
	c.on.Go(func() { s.play(ctx, m) })
	return s
}

func (s *sender) play(ctx context.Context, m *movie) {
	if !s.c.connected(ctx) {
		return
	}
	if s.c.gate != nil {
		<-s.c.gate.Done()
	}
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case <-s.asked:
			n = 0
		default:
			if n == movieFrames {
				n = 1 // never the key frame by itself
			}
		}
		if s.off != nil && s.off.Load() {
			continue
		}
		if s.frame(n, m.frames[n]) != nil {
			return
		}
	}
}

func (c *client) connected(ctx context.Context) bool {
	for c.pc.ConnectionState() != webrtc.PeerConnectionStateConnected {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}

func (c *client) sendSound(ctx context.Context) {
	c.t.Helper()
	track := c.newTrack(fragments.Opus, "audio", "")
	r, err := c.pc.AddTrack(track)
	fatal(c.t, err)
	packets, err := sound()
	fatal(c.t, err)
	s := c.newSender(fragments.Opus, track, r)
	c.on.Go(func() {
		if !c.connected(ctx) {
			return
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n = (n + 1) % len(packets) {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if s.frame(n, packets[n]) != nil {
				return
			}
		}
	})
}

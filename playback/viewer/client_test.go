package viewer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// engine returns settings for peers on one machine.
func engine() webrtc.SettingEngine {
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	e.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	return e
}

// got is an access unit as a client has received it.
type got struct {
	ts      uint32
	payload [][]byte
	at      time.Time
}

// client is a viewer of the library, as a browser would be.
type client struct {
	t     testing.TB
	pc    *webrtc.PeerConnection
	conn  *Connection
	video chan got
	audio chan got

	mu      sync.Mutex
	reports []*rtcp.SenderReport
	packets []*rtp.Packet // headers of video
}

type clientOptions struct {
	engine       webrtc.SettingEngine
	media        func(*webrtc.MediaEngine) // default: the library's codecs
	interceptors func(*interceptor.Registry)
	config       webrtc.Configuration
	room         int // units that wait to be read; given: the caller closes the connection
	noAudio      bool
	noVideo      bool
}

// decoder makes payloads out of packets; nil until one is complete.
type decoder func(*rtp.Packet) ([][]byte, error)

// open makes a client watch name. The exchange is done as package web/whip does it.
func open(t testing.TB, s *Server, name fragments.StreamName, o clientOptions) *client {
	t.Helper()
	c, err := tryOpen(t, s, name, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryOpen(t testing.TB, s *Server, name fragments.StreamName, o clientOptions) (*client, error) {
	t.Helper()
	c := newClient(t, o)
	offer, err := c.offer()
	if err != nil {
		return nil, err
	}
	conn, err := s.Open(context.Background(), name, offer, "test")
	if err != nil {
		return nil, err
	}
	c.conn = conn
	answer, err := answerTo(conn.PeerConnection(), offer)
	if err != nil {
		conn.Close(err)
		return nil, err
	}
	return c, c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

func newClient(t testing.TB, o clientOptions) *client {
	t.Helper()
	m := &webrtc.MediaEngine{}
	if o.media == nil {
		o.media = func(m *webrtc.MediaEngine) { must(t, m.RegisterDefaultCodecs()) }
	}
	o.media(m)
	reg := &interceptor.Registry{}
	if o.interceptors != nil {
		o.interceptors(reg)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(o.engine))
	pc, err := api.NewPeerConnection(o.config)
	must(t, err)
	if o.room == 0 {
		o.room = 4096
		t.Cleanup(func() { _ = pc.Close() })
	}
	c := &client{t: t, pc: pc, video: make(chan got, o.room), audio: make(chan got, o.room)}
	recv := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	if !o.noVideo {
		_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, recv)
		must(t, err)
	}
	if !o.noAudio {
		_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, recv)
		must(t, err)
	}
	pc.OnTrack(func(tr *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		go c.readReports(r)
		c.read(tr)
		if tr.Kind() == webrtc.RTPCodecTypeAudio {
			close(c.audio)
		}
	})
	return c
}

func (c *client) offer() (string, error) {
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(offer); err != nil {
		return "", err
	}
	<-gathered
	return c.pc.LocalDescription().SDP, nil
}

func answerTo(pc *webrtc.PeerConnection, offer string) (string, error) {
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

func (c *client) readReports(r *webrtc.RTPReceiver) {
	for {
		pkts, _, err := r.ReadRTCP()
		if err != nil {
			return
		}
		c.mu.Lock()
		for _, p := range pkts {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				c.reports = append(c.reports, sr)
			}
		}
		c.mu.Unlock()
	}
}

func (c *client) read(tr *webrtc.TrackRemote) {
	var out chan<- got = c.video
	if tr.Kind() == webrtc.RTPCodecTypeAudio {
		out = c.audio
	}
	decode := decoderOf(c.t, tr.Codec().MimeType)
	late := map[uint16]*rtp.Packet{} // packets that wait for one that was lost
	want, begun := uint16(0), false
	for {
		p, _, err := tr.ReadRTP()
		if err != nil {
			return
		}
		if !begun {
			want, begun = p.SequenceNumber, true
		}
		late[p.SequenceNumber] = p
		for p := late[want]; p != nil; p = late[want] {
			delete(late, want)
			want++
			c.take(p, decode, out)
		}
	}
}

// source returns the SSRC of video, of which something has come.
func (c *client) source() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packets[0].SSRC
}

// take decodes the next packet of a track.
func (c *client) take(p *rtp.Packet, decode decoder, out chan<- got) {
	if out == (chan<- got)(c.video) {
		c.mu.Lock()
		c.packets = append(c.packets, &rtp.Packet{Header: p.Header.Clone()})
		c.mu.Unlock()
	}
	payload, err := decode(p)
	if err != nil || payload == nil {
		return
	}
	select {
	case out <- got{p.Timestamp, payload, time.Now()}:
	default:
	}
}

// decoderOf uses depacketizers that are not ours.
func decoderOf(t testing.TB, mime string) decoder {
	switch mime {
	case webrtc.MimeTypeH264:
		d, err := (&format.H264{PacketizationMode: 1}).CreateDecoder()
		must(t, err)
		return d.Decode
	case webrtc.MimeTypeH265:
		d, err := (&format.H265{}).CreateDecoder()
		must(t, err)
		return d.Decode
	case webrtc.MimeTypeAV1:
		d, err := (&format.AV1{}).CreateDecoder()
		must(t, err)
		return d.Decode
	case webrtc.MimeTypeVP8:
		d, err := (&format.VP8{}).CreateDecoder()
		must(t, err)
		return one(d.Decode)
	case webrtc.MimeTypeVP9:
		d, err := (&format.VP9{}).CreateDecoder()
		must(t, err)
		return one(d.Decode)
	}
	return func(p *rtp.Packet) ([][]byte, error) { return [][]byte{p.Payload}, nil }
}

func one(decode func(*rtp.Packet) ([]byte, error)) decoder {
	return func(p *rtp.Packet) ([][]byte, error) {
		b, err := decode(p)
		if b == nil {
			return nil, err
		}
		return [][]byte{b}, err
	}
}

// next waits for something received.
func next(t testing.TB, ch <-chan got) got {
	t.Helper()
	select {
	case g := <-ch:
		return g
	case <-time.After(10 * time.Second):
		t.Fatal("nothing received within 10 s")
	}
	return got{}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// camera publishes made-up frames.
type camera struct {
	pub   *live.Publisher
	video *fragments.Track
	audio *fragments.Track
	n     int64 // video frames
	m     int64 // audio frames
	gop   int64
	size  int
	large int // how much more a key frame is
	fps   int64
}

var (
	sps = []byte{0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x06, 0xd0, 0xa1, 0x35}
	pps = []byte{0x68, 0xce, 0x06, 0xe2}
)

func h264Track(id int) *fragments.Track {
	return &fragments.Track{ID: id, Codec: fragments.H264, TimeScale: 90000, Width: 640, Height: 360, Params: [][]byte{sps, pps}}
}

func opusTrack(id int) *fragments.Track {
	return &fragments.Track{ID: id, Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000, Channels: 2}
}

func newCamera(h *live.Hub, name fragments.StreamName) *camera {
	c := &camera{video: h264Track(1), audio: opusTrack(2), gop: 25, size: 3000, fps: 25}
	c.pub = h.Publish(name, []*fragments.Track{c.video, c.audio})
	return c
}

// noise returns n bytes that tell where they come from.
func noise(n int, seed ...int64) []byte {
	b := make([]byte, 0, n+32)
	for i := int64(0); len(b) < n; i++ {
		h := sha256.New()
		_ = binary.Write(h, binary.BigEndian, append(seed, i))
		b = h.Sum(b)
	}
	return b[:n]
}

// frame writes one frame of video, and returns it.
func (c *camera) frame() *fragments.AccessUnit {
	au := &fragments.AccessUnit{Track: c.video, PTS: c.n * 90000 / c.fps, DTS: fragments.NoDTS, Key: c.n%c.gop == 0}
	slice := append([]byte{0x41}, noise(c.size, 1, c.n)...)
	if au.Key {
		slice = append(slice, noise(c.large, 3, c.n)...)
		slice[0] = 0x65
		au.Payload = append(au.Payload, sps, pps)
	}
	au.Payload = append(au.Payload, slice)
	c.n++
	c.write(au)
	return au
}

// sound writes 20 ms of audio.
func (c *camera) sound() *fragments.AccessUnit {
	au := &fragments.AccessUnit{Track: c.audio, PTS: c.m * 960, DTS: fragments.NoDTS, Key: true, Duration: 960, Payload: [][]byte{noise(80, 2, c.m)}}
	c.m++
	c.write(au)
	return au
}

// prime writes audio until some arrives, for it begins at the live edge, and
// returns what comes after.
func (c *camera) prime(t testing.TB, tr *fragments.Track, in <-chan got) chan got {
	primer := [][]byte{noise(40, 99)}
	until(t, "audio", func() bool {
		c.write(&fragments.AccessUnit{Track: tr, PTS: -int64(tr.TimeScale), DTS: fragments.NoDTS, Key: true, Payload: primer})
		return len(in) > 0
	})
	out := make(chan got, cap(in))
	go func() {
		for g := range in {
			if !same(g.payload, primer) {
				out <- g
			}
		}
	}()
	return out
}

func (c *camera) write(au *fragments.AccessUnit) {
	now := time.Now()
	au.Arrival, au.Capture = fragments.ServerTime(now), fragments.ProducerTime(now.Add(-time.Hour))
	c.pub.Write(au)
}

// run writes frames at their time until stop is called.
func (c *camera) run() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(c.fps))
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				c.frame()
				c.sound()
				c.sound()
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Hub == nil {
		o.Hub = live.New()
	}
	o.Engine = engine()
	s, err := New(o)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

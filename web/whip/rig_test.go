package whip

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/kineweir/kineweir/fragments"
)

// fakeConn is a connection as ingest/peer and playback/viewer make them.
type fakeConn struct {
	pc      *webrtc.PeerConnection
	done    chan struct{}
	once    sync.Once
	err     error
	left    []string
	packets atomic.Int64 // media that came
	reason  atomic.Pointer[error]
	closed  atomic.Bool
}

func (c *fakeConn) PeerConnection() *webrtc.PeerConnection { return c.pc }
func (c *fakeConn) Done() <-chan struct{}                  { return c.done }
func (c *fakeConn) LeftOut() []string                      { return c.left }

func (c *fakeConn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

func (c *fakeConn) Close(reason error) {
	c.once.Do(func() {
		c.reason.Store(&reason)
		c.err = reason
		close(c.done)
	})
	_ = c.pc.GracefulClose()
	c.closed.Store(true)
}

// fail ends the connection from its own side.
func (c *fakeConn) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
	})
}

// rig is a handler with its HTTP server, and the connections it had made.
type rig struct {
	t       *testing.T
	h       *Handler
	url     string
	engine  webrtc.SettingEngine // of both sides, but for what a test changes
	refusal error                // of the next openings
	left    []string

	mu    sync.Mutex
	conns []*fakeConn
}

func loopback(t testing.TB) webrtc.SettingEngine {
	t.Helper()
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetIPFilter(func(ip net.IP) bool { return ip.Equal(net.IPv4(127, 0, 0, 1)) })
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	quiet.ScopeLevels = map[string]logging.LogLevel{}
	e.LoggerFactory = quiet
	return e
}

func newRig(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, engine: loopback(t)}
	o := Options{Log: slog.New(slog.DiscardHandler)}
	o.Publish = func(_ context.Context, _ fragments.StreamName, _ string, _ Who) (Connection, error) {
		return r.open(false)
	}
	o.View = func(_ context.Context, _ fragments.StreamName, _ string, _ Who) (Connection, error) {
		return r.open(true)
	}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, route := range h.Routes() {
		mux.Handle(route.Pattern, route.Handler)
	}
	server := httptest.NewServer(mux)
	r.h, r.url = h, server.URL
	t.Cleanup(func() {
		h.Close()
		server.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, c := range r.conns {
			if !c.closed.Load() {
				t.Errorf("connection %d was left open", i)
			}
		}
	})
	return r
}

// open makes a connection: one that counts what comes, or one that sends video.
func (r *rig) open(sends bool) (Connection, error) {
	if r.refusal != nil {
		return nil, r.refusal
	}
	engine := r.engine
	_ = engine.SetAnsweringDTLSRole(webrtc.DTLSRoleServer)
	pc := newPeer(r.t, engine)
	c := &fakeConn{pc: pc, done: make(chan struct{}), left: r.left}
	if sends {
		track := newTrack(r.t)
		if _, err := pc.AddTrack(track); err != nil {
			return nil, err
		}
		go feed(track, c.done)
	}
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := t.ReadRTP(); err != nil {
				return
			}
			c.packets.Add(1)
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, c)
	return c, nil
}

// conn returns the newest connection.
func (r *rig) conn() *fakeConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[len(r.conns)-1]
}

func newPeer(t testing.TB, engine webrtc.SettingEngine) *webrtc.PeerConnection {
	t.Helper()
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

func newTrack(t testing.TB) *webrtc.TrackLocalStaticSample {
	t.Helper()
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", "camera")
	if err != nil {
		t.Fatal(err)
	}
	return track
}

func feed(track *webrtc.TrackLocalStaticSample, done <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_ = track.WriteSample(media.Sample{Data: make([]byte, 200), Duration: 10 * time.Millisecond})
		}
	}
}

// client is a WHIP or WHEP client.
type client struct {
	t       *testing.T
	r       *rig
	pc      *webrtc.PeerConnection
	packets atomic.Int64
	offer   string

	location, etag string
}

// newClient makes a client that publishes or views.
func (r *rig) newClient(publishes bool, engine webrtc.SettingEngine) *client {
	r.t.Helper()
	c := &client{t: r.t, r: r, pc: newPeer(r.t, engine)}
	done := make(chan struct{})
	r.t.Cleanup(func() {
		close(done)
		_ = c.pc.GracefulClose()
	})
	if publishes {
		track := newTrack(r.t)
		if _, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
			r.t.Fatal(err)
		}
		go feed(track, done)
	} else {
		if _, err := c.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			r.t.Fatal(err)
		}
		c.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			for {
				if _, _, err := t.ReadRTP(); err != nil {
					return
				}
				c.packets.Add(1)
			}
		})
	}
	return c
}

// makeOffer sets and returns the offer, with all candidates in it.
func (c *client) makeOffer() string {
	c.t.Helper()
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	<-gathered
	c.offer = c.pc.LocalDescription().SDP
	return c.offer
}

// post sends an offer and takes the answer.
func (c *client) post(path, offer string) *http.Response {
	c.t.Helper()
	res, answer := c.r.send("POST", path, offer, "Content-Type", typeSDP)
	if res.StatusCode != http.StatusCreated {
		c.t.Fatalf("POST %s: %s: %s", path, res.Status, answer)
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		c.t.Fatal(err)
	}
	c.location, c.etag = res.Header.Get("Location"), res.Header.Get("ETag")
	return res
}

// send sends a request and reads its answer; headers come in pairs.
func (r *rig) send(method, path, body string, headers ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, string(text)
}

// eventually waits until what is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

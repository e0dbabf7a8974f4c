package viewer

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// clock is a time that tests move on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// dropping loses every seventh packet, as a network would.
type dropping struct {
	webrtc.TrackLocalWriter
	sent, dropped atomic.Int64
}

func (d *dropping) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	if d.sent.Add(1)%7 == 0 {
		d.dropped.Add(1)
		return len(payload), nil
	}
	return d.TrackLocalWriter.WriteRTP(h, payload)
}

// through puts a writer between a viewer and its connection.
func through(c *Connection, wrap func(webrtc.TrackLocalWriter) webrtc.TrackLocalWriter) {
	l := c.leg(fragments.KindVideo)
	b := *l.bound.Load()
	b.writer = wrap(b.writer)
	l.bound.Store(&b)
}

func TestLossIsMended(t *testing.T) {
	for _, row := range []struct {
		name  string
		media func(t *testing.T, m *webrtc.MediaEngine)
	}{
		{"by a stream of retransmissions", func(t *testing.T, m *webrtc.MediaEngine) { must(t, m.RegisterDefaultCodecs()) }},
		{"in the stream itself", func(t *testing.T, m *webrtc.MediaEngine) {
			must(t, m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "packetization-mode=1;profile-level-id=42e01f",
				RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
			}, PayloadType: 96}, webrtc.RTPCodecTypeVideo))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			hub := live.New()
			cam := newCamera(hub, "cam")
			cam.frame()
			s := newServer(t, Options{Hub: hub})
			lossy := &dropping{}
			c := open(t, s, "cam", clientOptions{
				engine: engine(), noAudio: true,
				media: func(m *webrtc.MediaEngine) { row.media(t, m) },
				interceptors: func(reg *interceptor.Registry) {
					asks, err := nack.NewGeneratorInterceptor(nack.GeneratorInterval(5 * time.Millisecond))
					must(t, err)
					reg.Add(asks)
				},
			})
			next(t, c.video)
			through(c.conn, func(w webrtc.TrackLocalWriter) webrtc.TrackLocalWriter {
				lossy.TrackLocalWriter = w
				return lossy
			})
			// A loss shows when more has come, and the client reads retransmissions
			// between packets of the stream: so time goes on by itself.
			want := make(chan [][]byte, 10000)
			done := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					want <- cam.frame().Payload
					select {
					case <-done:
						return
					case <-time.After(4 * time.Millisecond):
					}
				}
			})
			for range 60 {
				if g := next(t, c.video); !same(g.payload, <-want) {
					t.Errorf("not the next frame, after %d packets lost", lossy.dropped.Load())
					break
				}
			}
			close(done)
			wg.Wait()
			if lossy.dropped.Load() < 5 || s.Stats().Retransmitted < 5 {
				t.Fatalf("%d packets lost, %d sent again: nothing was tested", lossy.dropped.Load(), s.Stats().Retransmitted)
			}
		})
	}
}

// gate is a writer that can be shut.
type gate struct {
	webrtc.TrackLocalWriter
	mu sync.Mutex
}

func (g *gate) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.TrackLocalWriter.WriteRTP(h, payload)
}

func TestSlowViewerDegradesAlone(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.gop = 10
	cam.frame()
	var clk clock
	s := newServer(t, Options{Hub: hub, Now: clk.now})
	good := open(t, s, "cam", clientOptions{engine: engine(), noAudio: true})
	slow := open(t, s, "cam", clientOptions{engine: engine(), noAudio: true})
	next(t, good.video)
	next(t, slow.video)

	g := &gate{}
	through(slow.conn, func(w webrtc.TrackLocalWriter) webrtc.TrackLocalWriter {
		g.TrackLocalWriter = w
		return g
	})
	frame := func() [][]byte {
		want := cam.frame()
		if got := next(t, good.video); !same(got.payload, want.Payload) {
			t.Fatalf("the good viewer misses frame %d", cam.n-1)
		}
		return want.Payload
	}
	g.mu.Lock()
	for range 25 { // 4 s, with two key frames among them
		frame()
		clk.advance(160 * time.Millisecond)
	}
	g.mu.Unlock()
	until(t, "the slow viewer gets key frames only", func() bool { return s.Stats().Thinned == 1 })
	for range 50 {
		frame()
	}
	keys := 0
	for len(slow.video) > 0 || keys == 0 {
		if n := next(t, slow.video); len(n.payload) == 3 {
			keys++
		}
	}
	if st := s.Stats(); st.Skipped < 20 {
		t.Fatalf("%d frames skipped for the slow viewer", st.Skipped)
	}
	clk.advance(thinMin + time.Second)
	for cam.n%cam.gop != 0 {
		frame()
	}
	for len(slow.video) > 0 {
		<-slow.video
	}
	for range 15 {
		want := frame()
		for {
			if n := next(t, slow.video); same(n.payload, want) {
				break
			} else if len(n.payload) != 3 {
				t.Fatal("the slow viewer gets frames that it cannot decode")
			}
		}
	}
}

func TestManyLostMeansKeyFramesOnly(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.frame()
	s := newServer(t, Options{Hub: hub})
	c := open(t, s, "cam", clientOptions{engine: engine(), noAudio: true})
	next(t, c.video)
	ssrc := c.source()
	report := func(fraction uint8) {
		must(t, c.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: ssrc, FractionLost: fraction}}}}))
	}
	report(128)
	report(0)
	report(128)
	cam.frame()
	next(t, c.video)
	if n := s.Stats().Thinned; n != 0 {
		t.Fatal("one report of loss is enough, and should not be")
	}
	report(128)
	until(t, "the viewer gets key frames only", func() bool { return s.Stats().Thinned == 1 })
}

func TestKeyFrameRequest(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	var asked atomic.Int64
	cam.pub.OnKeyRequest(func() { asked.Add(1) })
	key := cam.frame()
	second := cam.frame()
	var clk clock
	s := newServer(t, Options{Hub: hub, Now: clk.now})
	c := open(t, s, "cam", clientOptions{engine: engine(), noAudio: true})
	next(t, c.video)
	before := next(t, c.video)
	must(t, c.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: c.source()}}))
	if g := next(t, c.video); !same(g.payload, key.Payload) || int32(g.ts-before.ts) <= 0 {
		t.Fatalf("not the key frame again, %d ticks later", g.ts-before.ts)
	}
	if g := next(t, c.video); !same(g.payload, second.Payload) {
		t.Fatal("not what followed the key frame")
	}
	if want := cam.frame(); !same(next(t, c.video).payload, want.Payload) {
		t.Fatal("not the live edge")
	}
	if n := s.Stats().KeyRequests; n != 1 {
		t.Fatalf("%d requests counted", n)
	}
	// A group that is too large to be sent again: the publisher is asked.
	cam.size = maxCatch
	cam.frame()
	clk.advance(rewindMin)
	until(t, "the publisher is asked", func() bool {
		must(t, c.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: c.source()}}))
		return asked.Load() > 0
	})
}

func TestLinkRules(t *testing.T) {
	l := &link{rate: 1000000}
	for i, row := range []struct {
		loss uint8
		rtt  time.Duration
		bits float32
		want bool
	}{
		{0, 10 * time.Millisecond, 100000, false},
		{0, 10 * time.Millisecond, 100000, false},
		{0, 10 * time.Millisecond, 100000, false},
		{0, 10 * time.Millisecond, 100000, false}, // an estimate alone is not believed
		{10, 10 * time.Millisecond, 100000, false},
		{10, 10 * time.Millisecond, 100000, false},
		{10, 10 * time.Millisecond, 100000, true},
		{10, 10 * time.Millisecond, 900000, false}, // wide enough: begins anew
		{0, time.Second, 100000, false},
		{0, time.Second, 100000, false},
		{0, time.Second, 100000, true},
	} {
		l.lost(row.loss, row.rtt)
		if got := l.estimate(row.bits); got != row.want {
			t.Errorf("estimate %d: %v", i, got)
		}
	}
	now := time.Now()
	var pauses []time.Duration
	for range 6 {
		if !l.narrowDown(now) || l.narrowDown(now) {
			t.Fatal("narrowed down twice")
		}
		pauses = append(pauses, l.pause)
		now = now.Add(l.pause)
		l.thin, l.ended = false, now
	}
	if want := []time.Duration{4e9, 8e9, 16e9, 32e9, 60e9, 60e9}; !slices.Equal(pauses, want) {
		t.Errorf("pauses %v, want %v", pauses, want)
	}
	now = now.Add(thinForget + 1)
	if l.narrowDown(now); l.pause != thinMin {
		t.Errorf("pause %v after a good while", l.pause)
	}
}

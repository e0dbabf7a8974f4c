package viewer

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	rtcpreport "github.com/pion/interceptor/pkg/report"
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

// dropping loses one packet in nine, any: one that is sent again at the pace at
// which packets are lost would be lost each time.
type dropping struct {
	webrtc.TrackLocalWriter
	seed          uint64
	sent, dropped atomic.Int64
}

func (d *dropping) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	if rand.New(rand.NewPCG(d.seed, uint64(d.sent.Add(1)))).IntN(9) == 0 {
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
			lossy := &dropping{seed: uint64(time.Now().UnixNano())}
			defer func() { t.Logf("%d of %d packets lost, seed %d", lossy.dropped.Load(), lossy.sent.Load(), lossy.seed) }()
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
			for range 90 {
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
	until(t, "frames are skipped for the slow viewer", func() bool { return s.Stats().Skipped >= 20 })
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
	var clk clock
	s := newServer(t, Options{Hub: hub, Now: clk.now})
	c := open(t, s, "cam", clientOptions{engine: engine(), noAudio: true})
	next(t, c.video)
	ssrc := c.source()
	total, highest := uint32(0), uint32(65000)
	// A key frame that is sent again for each report shows that it was read.
	report := func(lost, of uint32) {
		total, highest = total+lost, highest+of
		clk.advance(lossWindow)
		before := s.Stats().KeyRequests
		must(t, c.pc.WriteRTCP([]rtcp.Packet{
			&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: ssrc, FractionLost: uint8(lost * 255 / of), TotalLost: total, LastSequenceNumber: highest}}},
			&rtcp.PictureLossIndication{MediaSSRC: ssrc},
		}))
		until(t, "the report is read", func() bool { return s.Stats().KeyRequests > before })
	}
	report(0, 100)
	report(50, 100)
	report(2, 100)
	report(50, 100)
	report(3, 4) // too few to tell
	report(3, 4)
	if n := s.Stats().Thinned; n != 0 {
		t.Fatal("a window of loss is enough, and should not be")
	}
	report(50, 100)
	until(t, "the viewer gets key frames only", func() bool { return s.Stats().Thinned == 1 })
}

// Reports that come with each packet missed are of a few packets each, most of
// them lost; what counts is the share of a second.
func TestLossIsOfAWindow(t *testing.T) {
	for _, row := range []struct {
		name    string
		lost    uint32 // of every twenty, each told at once and what came before it too
		begin   uint32 // of the count of lost packets
		narrow  bool
		carried int64 // bits per second, at least
	}{
		{"two", 2, 0, false, 2_000_000},
		{"ten", 10, 0, true, 1_100_000},
		{"ten, over the end of the count", 10, 1<<24 - 30, true, 1_100_000},
		{"none", 0, 100, false, 2_300_000},
	} {
		l, now, total, highest, narrow := &link{}, time.Now(), row.begin, uint32(1000), false
		for n := range uint32(1000) { // 250 packets a second, of 1200 bytes
			now = now.Add(4 * time.Millisecond)
			l.sent += 1200
			highest++
			if n%20 >= 20-row.lost {
				total = (total + 1) & (1<<24 - 1)
			}
			if n%20 >= 19-row.lost {
				narrow = narrow || l.lost(loss{total: total, highest: highest, at: now}, 0)
			}
		}
		if narrow != row.narrow || l.carried < row.carried || l.carried > row.carried*5/4 {
			t.Errorf("%s: narrow %v, %d bit/s carried, want %v and %d", row.name, narrow, l.carried, row.narrow, row.carried)
		}
	}
}

// narrowLink lets so many bits through in a second, with a queue of 300 ms before
// it; what does not fit is lost.
type narrowLink struct {
	webrtc.TrackLocalWriter
	rate float64

	mu      sync.Mutex
	free    time.Time
	packets int // of the frame that is under way
	dropped int
	broken  bool // the frame
	whole   int  // key frames that came whole; they have more than 30 packets
}

func (n *narrowLink) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if n.free.Before(now) {
		n.free = now
	}
	if n.packets++; n.free.Sub(now) > 300*time.Millisecond {
		n.dropped++
		n.broken = true
	}
	broken := n.broken
	if h.Marker {
		if n.packets > 30 && !broken {
			n.whole++
		}
		n.packets, n.broken = 0, false
	}
	if broken {
		return len(payload), nil
	}
	n.free = n.free.Add(time.Duration(float64(len(payload)*8) / n.rate * float64(time.Second)))
	return n.TrackLocalWriter.WriteRTP(h, payload)
}

// A viewer whose link is slower than the stream gets key frames whole, though each
// is larger than the queue before the link. Sound goes on meanwhile, and another
// viewer gets all.
func TestNarrowLinkGetsKeyFrames(t *testing.T) {
	t.Parallel()
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.size, cam.large = 10_000, 50_000 // 2.4 Mbit/s; a key frame is half a second of the link
	cam.frame()
	s := newServer(t, Options{Hub: hub})
	good := open(t, s, "cam", clientOptions{engine: engine(), noAudio: true})
	bad := open(t, s, "cam", clientOptions{engine: engine(), interceptors: func(reg *interceptor.Registry) {
		r, err := rtcpreport.NewReceiverInterceptor(rtcpreport.ReceiverInterval(100 * time.Millisecond))
		must(t, err)
		reg.Add(r)
	}})
	next(t, good.video)
	next(t, bad.video)
	network := &narrowLink{rate: 1e6}
	through(bad.conn, func(w webrtc.TrackLocalWriter) webrtc.TrackLocalWriter {
		network.TrackLocalWriter = w
		return network
	})
	stop := cam.run()
	until(t, "the viewer gets key frames only", func() bool { return s.Stats().Thinned == 1 })
	for len(bad.audio) > 0 {
		<-bad.audio
	}
	begun := time.Now()
	until(t, "three key frames", func() bool {
		network.mu.Lock()
		defer network.mu.Unlock()
		return network.whole >= 3
	})
	took := time.Since(begun)
	stop()
	var gap time.Duration
	for last := next(t, bad.audio).at; len(bad.audio) > 0; {
		at := (<-bad.audio).at
		gap, last = max(gap, at.Sub(last)), at
	}
	t.Logf("three key frames in %v; no sound for %v at most", took.Round(time.Millisecond), gap.Round(time.Millisecond))
	if took > 6*time.Second || gap > 350*time.Millisecond {
		t.Errorf("three key frames took %v; no sound for %v", took, gap)
	}
	until(t, "the good viewer has all", func() bool { return int64(len(good.video)) == cam.n-1 })
	network.mu.Lock()
	defer network.mu.Unlock()
	if network.dropped == 0 {
		t.Error("the link was wide enough: nothing was tested")
	}
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
		loss int
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
		{10, 10 * time.Millisecond, 400000, false},
		{10, 10 * time.Millisecond, 300000, false},
		{10, 10 * time.Millisecond, 310000, false}, // rises, as after a spell of key frames
		{0, time.Second, 100000, false},
		{0, time.Second, 100000, false},
		{0, time.Second, 100000, true},
	} {
		l.loss, l.rtt, l.least = row.loss, row.rtt, 10*time.Millisecond
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

package peer_test

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest/peer"
)

// badNetwork drops packets and delays others, so that they come in another order.
type badNetwork struct {
	interceptor.NoOp
	drop, delay float64 // probabilities
	dropped     atomic.Int64
}

func (b *badNetwork) NewInterceptor(string) (interceptor.Interceptor, error) { return b, nil }

func (b *badNetwork) BindLocalStream(_ *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	var mu sync.Mutex // retransmissions come from other goroutines
	var late func()
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if rand.Float64() < b.drop {
			b.dropped.Add(1)
			return len(payload), nil
		}
		mu.Lock()
		defer mu.Unlock()
		if late == nil && rand.Float64() < b.delay {
			h := h.Clone()
			late = func() { _, _ = w.Write(&h, payload, a) }
			return len(payload), nil
		}
		n, err := w.Write(h, payload, a)
		if late != nil {
			late()
			late = nil
		}
		return n, err
	})
}

// What the network loses is asked for and comes; what it puts in another order is
// put right. Not one frame is missing.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	m := movies().get(t, fragments.H264, 320)
	rec := newRecorder()
	s := newServer(t, rec, nil)
	network := &badNetwork{drop: 0.05, delay: 0.1}
	c := newClient(t, clientOptions{interceptors: []interceptor.Factory{network}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sent := c.sendVideo(ctx, m)
	c.connect(s, "cam")
	session := rec.session(t, 0)
	units := session.waitVideo(t, 90)
	checkVideo(t, m, sent, units)
	if network.dropped.Load() < 5 {
		t.Fatalf("the network dropped %d packets: it is too good for this test", network.dropped.Load())
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	// On a machine that stands still longer than packets are waited for, some are.
	if dropped := network.dropped.Load(); session.lost > uint64(dropped/4) {
		t.Errorf("%d packets were lost for good, %d were dropped", session.lost, dropped)
	}
}

// onePacketLost drops one packet of a frame, its retransmissions too.
type onePacketLost struct {
	interceptor.NoOp
	armed atomic.Bool
	seq   atomic.Int64
}

func (b *onePacketLost) NewInterceptor(string) (interceptor.Interceptor, error) { return b, nil }

func (b *onePacketLost) BindLocalStream(_ *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if !h.Marker && b.armed.CompareAndSwap(true, false) {
			b.seq.Store(int64(h.SequenceNumber) + 1<<20)
		}
		if b.seq.Load() == int64(h.SequenceNumber)+1<<20 {
			return len(payload), nil
		}
		return w.Write(h, payload, a)
	})
}

// A frame that cannot be repaired costs a key frame, at once.
func TestLostForGood(t *testing.T) {
	t.Parallel()
	m := movies().get(t, fragments.VP8, 320)
	rec := newRecorder()
	s := newServer(t, rec, func(o *peer.Options) { o.KeyInterval = time.Hour })
	network := &onePacketLost{}
	c := newClient(t, clientOptions{interceptors: []interceptor.Factory{network}, register: withoutRTX})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, m)
	c.connect(s, "cam")
	session := rec.session(t, 0)
	session.waitVideo(t, 20)
	network.armed.Store(true)
	rec.wait(t, "a second key frame", func() bool { return keys(session.units) == 2 })
	units := ofKind(session.all(), fragments.KindVideo)
	key := len(units) - 1
	for !units[key].Key {
		key--
	}
	for i := 20; i < key; i++ {
		if gap := units[i].Capture.Time().Sub(units[i-1].Capture.Time()); gap > frameTime*3/2 {
			if wait := units[key].Capture.Time().Sub(units[i].Capture.Time()); wait > time.Second {
				t.Errorf("the key frame came %v after the loss", wait)
			}
			return
		}
	}
	t.Error("no frame is missing: nothing was lost")
}

func withoutRTX(m *webrtc.MediaEngine) error {
	return m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
		},
		PayloadType: 96,
	}, webrtc.RTPCodecTypeVideo)
}

func keys(units []*fragments.AccessUnit) (n int) {
	for _, u := range ofKind(units, fragments.KindVideo) {
		if u.Key {
			n++
		}
	}
	return n
}

// A publisher whose cable is cut is gone after a while, not before it could have
// found another way.
func TestVanishes(t *testing.T) {
	t.Parallel()
	m := movies().get(t, fragments.H264, 320)
	rec := newRecorder()
	s := newServer(t, rec, func(o *peer.Options) { o.GoneTimeout = 500 * time.Millisecond })
	cable, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	fatal(t, err)
	c := newClient(t, clientOptions{cable: cable})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, m)
	conn := c.connect(s, "cam")
	session := rec.session(t, 0)
	session.waitVideo(t, 5)
	_ = cable.Close()
	if err := session.waitClosed(t); err == nil {
		t.Error("the session ended in good order")
	}
	<-conn.Done()
	if conn.Err() == nil {
		t.Error("the connection ended without a reason")
	}
}

// A publisher that stays and sends nothing ends too.
func TestStalls(t *testing.T) {
	t.Parallel()
	m := movies().get(t, fragments.H264, 320)
	rec := newRecorder()
	s := newServer(t, rec, func(o *peer.Options) { o.StallTimeout = time.Second })
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, m)
	c.connect(s, "cam")
	session := rec.session(t, 0)
	session.waitVideo(t, 5)
	cancel()
	if err := session.waitClosed(t); err == nil {
		t.Error("the session ended in good order")
	}
}

// A publisher that never connects opens no session, and is forgotten.
func TestNeverConnects(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	s := newServer(t, rec, func(o *peer.Options) { o.ConnectTimeout = 300 * time.Millisecond })
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, movies().get(t, fragments.H264, 320))
	offer, err := c.pc.CreateOffer(nil)
	fatal(t, err)
	fatal(t, c.pc.SetLocalDescription(offer))
	conn := open(t, s, offer.SDP)
	answerOf(t, conn, offer)
	<-conn.Done()
	if conn.Err() == nil || len(rec.sessions) != 0 {
		t.Errorf("ended with %v after %d sessions", conn.Err(), len(rec.sessions))
	}
}

func cableOf(conn *net.UDPConn) *ice.UDPMuxDefault {
	quiet := &logging.DefaultLoggerFactory{Writer: discard{}, DefaultLogLevel: logging.LogLevelDisabled}
	return ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn, Logger: quiet.NewLogger("ice")})
}

// withoutTransportCC makes an offer that of a publisher which cannot measure its
// way, but takes our word for it.
func withoutTransportCC(offer string) string {
	var out strings.Builder
	for line := range strings.Lines(offer) {
		if !strings.Contains(line, "transport-cc") && !strings.Contains(line, "transport-wide-cc") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// A publisher that cannot measure its way is told what it carries: as much as to
// begin with where all arrives, less than arrives where much is lost.
func TestRateIsTold(t *testing.T) {
	t.Parallel()
	m := movies().get(t, fragments.VP8, 320)
	for _, tc := range []struct {
		name        string
		drop        float64
		least, most float32
	}{{"a good way", 0, 800_000, 20_000_000}, {"a bad way", 0.4, leastRate, 700_000}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, newRecorder(), func(o *peer.Options) { o.StartBitRate = 800_000 })
			c := newClient(t, clientOptions{interceptors: []interceptor.Factory{&badNetwork{drop: tc.drop}}})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			c.sendVideo(ctx, m)
			c.mangle = withoutTransportCC
			c.connect(s, "cam")
			var rate float32
			for range 2 {
				select {
				case rate = <-c.rates:
				case <-time.After(20 * time.Second):
					t.Fatal("no rate is told")
				}
			}
			if rate < tc.least || rate > tc.most {
				t.Errorf("%.0f bit/s are told, want %.0f to %.0f", rate, tc.least, tc.most)
			}
		})
	}
}

const leastRate = 100_000 // that is told

package rtsp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/conn"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// newTestServer is a server on free loopback ports with a recorder behind it.
func newTestServer(t *testing.T, change func(o *ServerOptions)) (*Server, *recorder) {
	t.Helper()
	rec := newRecorder()
	o := ServerOptions{
		Addr: "127.0.0.1:0", TLSAddr: "127.0.0.1:0", TLSConfig: selfSigned(t), UDPAddr: "127.0.0.1:0",
		Publish: rec.Publish, Hub: rec.hub, Log: logTo(t),
	}
	if change != nil {
		change(&o)
	}
	s, err := NewServer(o)
	fatal(t, err)
	t.Cleanup(s.Close)
	return s, rec
}

func (s *Server) url(path string) string { return "rtsp://" + s.Addr().String() + "/" + path }

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	fatal(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

var (
	videoTrack = &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Width: 320, Height: 240, Params: [][]byte{sps320, pps320}}
	audioTrack = &fragments.Track{ID: 2, Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000, Channels: 2}
)

// movie makes the n-th access unit of a video with a key frame every ten, 25 a
// second, captured from start on.
func movie(n int, start time.Time) *fragments.AccessUnit {
	au := &fragments.AccessUnit{
		Track: videoTrack, PTS: int64(n) * 3600, DTS: fragments.NoDTS,
		Capture: fragments.ProducerTime(start.Add(time.Duration(n) * 40 * time.Millisecond)),
		Payload: [][]byte{slice(20 + n)},
	}
	if n%10 == 0 {
		au.Key, au.Payload = true, [][]byte{sps320, pps320, idr(3000 + n)}
	}
	return au
}

func sound(n int, start time.Time) *fragments.AccessUnit {
	return &fragments.AccessUnit{
		Track: audioTrack, PTS: int64(n) * 960, Duration: 960, DTS: fragments.NoDTS, Key: true,
		Capture: fragments.ProducerTime(start.Add(time.Duration(n) * 20 * time.Millisecond)),
		Payload: [][]byte{{0xfc, byte(n), byte(n >> 8)}},
	}
}

func publish(t *testing.T, url string, change func(o *PublisherOptions)) (*Publisher, error) {
	t.Helper()
	o := PublisherOptions{URL: url, Tracks: []*fragments.Track{videoTrack, audioTrack}, Log: logTo(t)}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p, err := NewPublisher(ctx, o)
	if err == nil {
		t.Cleanup(func() { _ = p.Close() })
	}
	return p, err
}

// What our own publisher sends comes out as it went in, with capture times exact
// to a tick, over every transport.
func TestPushExact(t *testing.T) {
	// As a camera whose clock is a day behind would have it.
	start := time.Now().Add(-24 * time.Hour).Round(time.Microsecond)
	for _, tc := range []struct {
		name   string
		url    func(s *Server) string
		change func(o *PublisherOptions)
	}{
		{"TCP", func(s *Server) string { return s.url("cam") }, nil},
		{"UDP", func(s *Server) string { return s.url("cam") }, func(o *PublisherOptions) { o.Transport = UDP }},
		{"TLS", func(s *Server) string { return "rtsps://" + s.TLSAddr().String() + "/cam" }, func(o *PublisherOptions) {
			o.TLSConfig = &tls.Config{InsecureSkipVerify: true}
		}},
		{"query ignored", func(s *Server) string { return s.url("cam?token=a/b&x") }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, rec := newTestServer(t, nil)
			p, err := publish(t, tc.url(s), tc.change)
			fatal(t, err)
			var sent []*fragments.AccessUnit
			for n := range 30 {
				sent = append(sent, movie(n, start), sound(2*n, start), sound(2*n+1, start))
			}
			session := rec.session(t, 0)
			for i, au := range sent {
				fatal(t, p.Write(au))
				session.waitUnits(t, i+1) // over UDP good-bye would overtake what is still on its way
			}
			fatal(t, p.Close())
			if reason := session.waitClosed(t); reason != nil {
				t.Errorf("ended by %v", reason)
			}
			if session.name != "cam" || session.src.Protocol != "rtsp" || !strings.HasPrefix(session.src.Remote, "127.0.0.1:") {
				t.Errorf("session %q of %+v", session.name, session.src)
			}
			checkSame(t, session.all(), sent, tc.name == "UDP")
		})
	}
}

// checkSame compares track by track: tracks may overtake each other. Over UDP the
// first packets may overtake the first report.
func checkSame(t *testing.T, got, sent []*fragments.AccessUnit, overtaken bool) {
	t.Helper()
	for id := 1; id <= 2; id++ {
		g, w := ofTrack(got, id), ofTrack(sent, id)
		if len(g) != len(w) {
			t.Errorf("track %d: %d units, want %d", id, len(g), len(w))
			continue
		}
		for i := range g {
			if g[i].PTS-g[0].PTS != w[i].PTS-w[0].PTS || g[i].Key != w[i].Key || short(g[i].Payload) != short(w[i].Payload) {
				t.Fatalf("track %d unit %d: %d %v %s, want %d %v %s", id, i, g[i].PTS, g[i].Key, short(g[i].Payload), w[i].PTS, w[i].Key, short(w[i].Payload))
			}
			tick := time.Second / time.Duration(g[i].Track.TimeScale)
			if overtaken && i < 20 {
				continue
			}
			if e := g[i].Capture.Time().Sub(w[i].Capture.Time()).Abs(); e > tick+time.Nanosecond || g[i].Source != fragments.FromReport {
				t.Fatalf("track %d unit %d: capture time %v off, source %v", id, i, e, g[i].Source)
			}
		}
	}
}

func ofTrack(units []*fragments.AccessUnit, id int) (list []*fragments.AccessUnit) {
	for _, au := range units {
		if au.Track.ID == id {
			list = append(list, au)
		}
	}
	return list
}

func TestPublisherRoundTripsEveryCodec(t *testing.T) {
	aac := []byte{0x12, 0x10}
	for _, tc := range []struct {
		track   fragments.Track
		payload [][]byte
	}{
		{fragments.Track{Codec: fragments.H265, TimeScale: 90000, Params: [][]byte{vps265, sps265, pps265}}, [][]byte{vps265, sps265, pps265, hevc(19, 3000)}},
		{fragments.Track{Codec: fragments.AV1, TimeScale: 90000}, [][]byte{av1SeqRs, append(unhex("3014"), idr(3000)...)}},
		{fragments.Track{Codec: fragments.VP8, TimeScale: 90000}, [][]byte{append(vp8Key[:len(vp8Key):len(vp8Key)], idr(3000)...)}},
		{fragments.Track{Codec: fragments.VP9, TimeScale: 90000}, [][]byte{append(vp9Key[:len(vp9Key):len(vp9Key)], idr(3000)...)}},
		{fragments.Track{Codec: fragments.AAC, TimeScale: 44100, Params: [][]byte{aac}}, [][]byte{idr(300)}},
		{fragments.Track{Codec: fragments.Opus, TimeScale: 48000, Channels: 1}, [][]byte{{0xfc, 1}}},
		{fragments.Track{Codec: fragments.PCMU, TimeScale: 8000, SampleRate: 8000, Channels: 1}, [][]byte{idr(158)}},
		{fragments.Track{Codec: fragments.PCMA, TimeScale: 16000, SampleRate: 16000, Channels: 2}, [][]byte{idr(158)}},
		{fragments.Track{Codec: fragments.LPCM, TimeScale: 48000, SampleRate: 48000, Channels: 2, BitDepth: 16}, [][]byte{idr(158)}},
		{fragments.Track{Codec: fragments.LPCM, TimeScale: 8000, SampleRate: 8000, Channels: 1, BitDepth: 8}, [][]byte{idr(158)}},
		{fragments.Track{Codec: fragments.MP3, TimeScale: 90000, SampleRate: 44100, Channels: 2}, [][]byte{mp3L3}},
	} {
		t.Run(fmt.Sprintf("%s-%d", tc.track.Codec, tc.track.BitDepth), func(t *testing.T) {
			s, rec := newTestServer(t, nil)
			tc.track.ID = 1
			p, err := publish(t, s.url("cam"), func(o *PublisherOptions) { o.Tracks = []*fragments.Track{&tc.track} })
			fatal(t, err)
			start := time.Now()
			for n := range 3 {
				fatal(t, p.Write(&fragments.AccessUnit{
					Track: &tc.track, PTS: int64(n) * int64(tc.track.TimeScale), Key: true, Payload: tc.payload,
					Capture: fragments.ProducerTime(start.Add(time.Duration(n) * time.Second)),
				}))
			}
			fatal(t, p.Close())
			session := rec.session(t, 0)
			fatal(t, session.waitClosed(t))
			units := session.all()
			if len(units) != 3 {
				t.Fatalf("%d units, want 3", len(units))
			}
			for n, au := range units {
				if au.Track.Codec != tc.track.Codec || short(au.Payload) != short(tc.payload) || !au.Key {
					t.Errorf("unit %d: %s %v %s", n, au.Track.Codec, au.Key, short(au.Payload))
				}
				if au.PTS-units[0].PTS != int64(n)*int64(tc.track.TimeScale) || au.Capture.Time().Sub(start)-time.Duration(n)*time.Second > time.Millisecond {
					t.Errorf("unit %d: PTS %d, captured after %v", n, au.PTS-units[0].PTS, au.Capture.Time().Sub(start))
				}
			}
		})
	}
}

func TestPushNames(t *testing.T) {
	s, _ := newTestServer(t, nil)
	for _, tc := range []struct{ path, hint string }{
		{"a/b", `try "a-b"`},
		{"", "is empty"},
		{"v1", "reserved"},
		{"caf%C3%A9", "A-Z a-z 0-9"},
		{strings.Repeat("x", 257), "at most 256"},
	} {
		_, err := publish(t, s.url(tc.path), nil)
		if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), tc.hint) {
			t.Errorf("path %.20q: error %v, want 400 and %q", tc.path, err, tc.hint)
		}
	}
	if _, err := publish(t, s.url("A-z_0.9"), nil); err != nil {
		t.Errorf("a good name: %v", err)
	}
}

// users is an Authenticator of a few users: u may publish and view "cam", v may
// only view, anybody may view "open".
type users struct{}

func (users) Password(user string) (string, bool) {
	p, ok := map[string]string{"u": "pass word/1", "v": "v", "e": ""}[user]
	return p, ok
}

func (users) Allowed(user string, a ingest.Action, name fragments.StreamName) bool {
	switch user {
	case "":
		return name == "open" && a == ingest.View
	case "u":
		return name == "cam" || name == "open"
	}
	return name == "cam" && a == ingest.View
}

func TestPushRights(t *testing.T) {
	s, _ := newTestServer(t, func(o *ServerOptions) { o.Auth = users{} })
	at := func(user string) string { return "rtsp://" + user + s.Addr().String() + "/" }
	for _, tc := range []struct{ name, url, want string }{
		{"right password", at("u:pass%20word%2F1@") + "cam", ""},
		{"wrong password", at("u:nope@") + "cam", "401"},
		{"unknown user", at("x:pass@") + "cam", "401"},
		{"unknown user, empty password", at("y:@") + "cam", "401"},
		{"nobody", at("") + "cam", "401"},
		{"nobody, public stream", at("") + "open", "401"},
		{"may only view", at("v:v@") + "cam", "403"},
		{"other stream", at("u:pass%20word%2F1@") + "other", "403"},
	} {
		_, err := publish(t, tc.url, nil)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestNewestPublisherWins(t *testing.T) {
	s, rec := newTestServer(t, nil)
	start := time.Now()
	first, err := publish(t, s.url("cam"), nil)
	fatal(t, err)
	fatal(t, first.Write(movie(0, start)))
	old := rec.session(t, 0)
	old.waitUnits(t, 1)
	second, err := publish(t, s.url("cam"), nil)
	fatal(t, err)
	if reason := old.waitClosed(t); !errors.Is(reason, errTakenOver) {
		t.Errorf("the first ended by %v", reason)
	}
	for n := 0; ; n++ {
		if first.Write(movie(n, start)) != nil {
			break // its connection is closed
		}
		if n > 5000 {
			t.Fatal("the first publisher can still write")
		}
		time.Sleep(time.Millisecond)
	}
	fatal(t, second.Write(movie(0, start)))
	rec.session(t, 1).waitUnits(t, 1)
}

func TestPublishFuncRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		status string
	}{
		{"a publisher already", fmt.Errorf("stream cam: %w", ingest.ErrBusy), "403"},
		{"too many", fmt.Errorf("stream cam: %w", ingest.ErrTooMany), "453"},
		{"a full disk", errors.New("record stream cam: no space left on device"), "503"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := newTestServer(t, func(o *ServerOptions) {
				o.Publish = func(fragments.StreamName, []*fragments.Track, ingest.Source, func(error)) (Session, error) {
					return nil, tc.err
				}
			})
			_, err := publish(t, s.url("cam"), nil)
			if err == nil || !strings.Contains(err.Error(), tc.err.Error()) || !strings.Contains(err.Error(), tc.status) {
				t.Errorf("error %v, want %s and %v", err, tc.status, tc.err)
			}
		})
	}
}

// A session that panics ends its own stream and no other.
func TestPanicStaysInOneStream(t *testing.T) {
	var rec *recorder
	s, rec := newTestServer(t, func(o *ServerOptions) {
		inner := o.Publish
		o.StallTimeout = 200 * time.Millisecond
		o.Publish = func(name fragments.StreamName, tr []*fragments.Track, src ingest.Source, kicked func(error)) (Session, error) {
			sess, err := inner(name, tr, src, kicked)
			if name == "bad" {
				return panicking{sess}, err
			}
			return sess, err
		}
	})
	bad, err := publish(t, s.url("bad"), nil)
	fatal(t, err)
	good, err := publish(t, s.url("good"), nil)
	fatal(t, err)
	fatal(t, bad.Write(movie(0, time.Now())))
	fatal(t, good.Write(movie(0, time.Now())))
	rec.session(t, 1).waitUnits(t, 1)
	if reason := rec.session(t, 0).waitClosed(t); reason == nil {
		t.Error("the session that panics ended without a reason")
	}
}

type panicking struct{ Session }

func (panicking) Write(*fragments.AccessUnit) { panic("out of order") }

// Packets that make no access units do not hold a stream for ever.
func TestStalledPublisherIsEnded(t *testing.T) {
	s, rec := newTestServer(t, func(o *ServerOptions) { o.StallTimeout = 300 * time.Millisecond })
	bare := *videoTrack
	bare.Params = nil
	p, err := publish(t, s.url("cam"), func(o *PublisherOptions) { o.Tracks = []*fragments.Track{&bare} })
	fatal(t, err)
	session := rec.session(t, 0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ { // never a parameter set
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				_ = p.Write(&fragments.AccessUnit{Track: &bare, PTS: int64(n) * 3600, Payload: [][]byte{slice(30)}, Capture: fragments.ProducerTime(time.Now())})
			}
		}
	})
	if reason := session.waitClosed(t); !errors.Is(reason, errStalled) {
		t.Errorf("ended by %v", reason)
	}
	close(stop)
	wg.Wait()
}

// An ANNOUNCE that would make the library panic is answered.
func TestDescriptionThatPanics(t *testing.T) {
	s, _ := newTestServer(t, nil)
	c, err := net.Dial("tcp", s.Addr().String())
	fatal(t, err)
	defer c.Close()
	fatal(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	body := sdpHeader + sdpPanics
	_, err = fmt.Fprintf(c, "ANNOUNCE %s RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", s.url("cam"), len(body), body)
	fatal(t, err)
	res, err := conn.NewConn(c).ReadResponse()
	if err != nil || res.StatusCode != base.StatusUnsupportedMediaType || !strings.Contains(res.StatusMessage, "MP4A-LATM") {
		t.Errorf("answer %v, error %v", res, err)
	}
}

func TestHalfOpenConnectionsAreClosed(t *testing.T) {
	s, rec := newTestServer(t, func(o *ServerOptions) { o.IdleTimeout = 200 * time.Millisecond })
	silent, err := net.Dial("tcp", s.Addr().String())
	fatal(t, err)
	defer silent.Close()
	silentTLS, err := net.Dial("tcp", s.TLSAddr().String())
	fatal(t, err)
	defer silentTLS.Close()
	// A publisher over UDP says nothing on its connection and is kept.
	p, err := publish(t, s.url("cam"), func(o *PublisherOptions) { o.Transport = UDP })
	fatal(t, err)
	begun := time.Now()
	for n := 0; time.Since(begun) < 700*time.Millisecond; n++ {
		fatal(t, p.Write(movie(n, begun)))
		time.Sleep(20 * time.Millisecond)
	}
	if s := rec.session(t, 0); func() bool { rec.mu.Lock(); defer rec.mu.Unlock(); return s.closed }() {
		t.Error("the publisher over UDP was closed")
	}
	for _, c := range []net.Conn{silent, silentTLS} {
		fatal(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the silent connection is still open: %v", err)
		} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("the silent connection is still open: %v", err)
		}
	}
}

func TestBusyPorts(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	defer tcp.Close()
	rtp, rtcp, err := listenUDP("127.0.0.1:0", "")
	fatal(t, err)
	defer rtp.Close()
	defer rtcp.Close()
	for _, tc := range []struct {
		name string
		o    ServerOptions
		port string
		want error
	}{
		{"RTSP", ServerOptions{Addr: tcp.Addr().String()}, tcp.Addr().String(), syscall.EADDRINUSE},
		{"RTSPS", ServerOptions{TLSAddr: tcp.Addr().String(), TLSConfig: &tls.Config{}}, tcp.Addr().String(), syscall.EADDRINUSE},
		{"UDP", ServerOptions{Addr: "127.0.0.1:0", UDPAddr: rtp.LocalAddr().String()}, rtp.LocalAddr().String(), syscall.EADDRINUSE},
		{"not our address", ServerOptions{Addr: "192.0.2.77:8554"}, "192.0.2.77:8554", syscall.EADDRNOTAVAIL},
		{"odd UDP port", ServerOptions{Addr: "127.0.0.1:0", UDPAddr: "127.0.0.1:8001"}, "8001 is odd", nil},
		{"no port", ServerOptions{Addr: "127.0.0.1"}, "127.0.0.1", nil},
	} {
		tc.o.Log = logTo(t)
		s, err := NewServer(tc.o)
		var pe *PortError
		if err == nil || !errors.As(err, &pe) || !strings.Contains(err.Error(), tc.port) || tc.want != nil && (!errors.Is(err, tc.want) || !strings.Contains(err.Error(), "choose")) {
			t.Errorf("%s: %v, want %q and %v", tc.name, err, tc.port, tc.want)
		}
		if err == nil {
			s.Close()
		}
	}
}

// A listener survives that a connection cannot be accepted.
func TestAcceptErrorsPass(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	l := &listener{Listener: &failingListener{Listener: inner}, idle: time.Second, log: slog.New(slog.DiscardHandler)}
	defer l.Close()
	c, err := net.Dial("tcp", inner.Addr().String())
	fatal(t, err)
	defer c.Close()
	got, err := l.Accept()
	fatal(t, err)
	_ = got.Close()
}

type failingListener struct {
	net.Listener
	calls atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.calls.Add(1) <= 3 {
		return nil, syscall.EMFILE
	}
	return l.Listener.Accept()
}

// Publishers that come and go in all ways at once.
func TestChurn(t *testing.T) {
	const publishers, rounds = 4, 6
	t.Logf("%d publishers, %d rounds each", publishers, rounds)
	s, rec := newTestServer(t, nil)
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() {
			for r := range rounds {
				p, err := publish(t, s.url("cam"), func(o *PublisherOptions) {
					if (i+r)%3 == 0 {
						o.Transport = UDP
					}
				})
				if err != nil {
					continue // taken over while connecting
				}
				for n := range 20 {
					if p.Write(movie(n, time.Now())) != nil {
						break
					}
				}
				if r%2 == 0 {
					_ = p.Close()
				}
			}
		})
	}
	wg.Wait()
	s.Close()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for i, session := range rec.sessions {
		if !session.closed {
			t.Errorf("session %d was not closed by the time the server was", i)
		}
	}
	if len(rec.sessions) < publishers {
		t.Errorf("only %d sessions", len(rec.sessions))
	}
}

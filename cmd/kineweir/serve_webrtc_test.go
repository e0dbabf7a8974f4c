package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/peer"
	"github.com/kineweir/kineweir/playback/viewer"
	"github.com/kineweir/kineweir/web"
)

var quietRTC = rtcLog{slog.New(slog.DiscardHandler)}

func listenTestRTC(t *testing.T, addr address) *rtcPort {
	t.Helper()
	p, err := listenRTC(t.Context(), addr, quietRTC.log, quietRTC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// TestListenRTC wants UDP and TCP on one number, whatever it is.
func TestListenRTC(t *testing.T) {
	for _, addr := range []address{"127.0.0.1:0", "localhost:0", ":0", "0.0.0.0:0"} {
		p := listenTestRTC(t, addr)
		if p.port == 0 || len(p.udp) != len(p.addrs) {
			t.Errorf("%s: port %d, %d sockets for %v", addr, p.port, len(p.udp), p.addrs)
		}
		for _, u := range p.udp {
			if got := portOf(u.LocalAddr()); got != int(p.port) || got != portOf(p.tcp.Addr()) {
				t.Errorf("%s: UDP at %s, TCP at %s", addr, u.LocalAddr(), p.tcp.Addr())
			}
		}
		if addr == "0.0.0.0:0" && slices.ContainsFunc(p.addrs, netip.Addr.Is6) {
			t.Errorf("%s offers %v", addr, p.addrs)
		}
		if err := p.check().Up(t.Context()); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		p.close()
		if err := p.check().Up(t.Context()); err == nil {
			t.Errorf("%s: up after it was closed", addr)
		}
	}
	p := listenTestRTC(t, "127.0.0.1:0")
	if _, err := listenRTC(t.Context(), address(p.addr().String()), quietRTC.log, quietRTC); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("twice on one port: %v", err)
	}
	if _, err := listenRTC(t.Context(), "no.such.name.invalid:0", quietRTC.log, quietRTC); err == nil {
		t.Error("a name without address is listened on")
	}
}

// TestBoundedListener closes what is too much, and takes others when there is
// room again.
func TestBoundedListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := &boundedListener{Listener: l, most: 1}
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := b.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	first := <-accepted
	second := dial()
	_ = second.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many reads %v", err)
	}
	_, _ = first.Close(), first.Close() // twice counts once
	dial()
	third := <-accepted
	_ = third.Close()
	if n := b.open.Load(); n != 0 {
		t.Errorf("%d open at the end", n)
	}
}

// candidatesOf gathers those that a connection with this engine offers.
func candidatesOf(t *testing.T, engine webrtc.SettingEngine) (lines []string) {
	t.Helper()
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	if _, err := pc.CreateDataChannel("x", nil); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := setGathered(t.Context(), pc, offer); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(pc.LocalDescription().SDP) {
		if f := strings.Fields(line); strings.HasPrefix(line, "a=candidate:") {
			lines = append(lines, fmt.Sprintf("%s %s:%s %s", f[2], f[4], f[5], f[7]))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// TestEngineCandidates sees that the one port is offered, over UDP and TCP, on
// our own address and on those that are advertised.
func TestEngineCandidates(t *testing.T) {
	p := listenTestRTC(t, "127.0.0.1:0")
	at := func(host string) []string {
		return []string{fmt.Sprintf("tcp %s:%d host", host, p.port), fmt.Sprintf("udp %s:%d host", host, p.port)}
	}
	for _, row := range []struct {
		advertise []netip.Addr
		want      []string
	}{
		{nil, at("127.0.0.1")},
		{[]netip.Addr{netip.MustParseAddr("203.0.113.7")}, append(at("127.0.0.1"), at("203.0.113.7")...)},
		{[]netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("198.51.100.9")}, slices.Concat(at("127.0.0.1"), at("203.0.113.7"), at("198.51.100.9"))},
	} {
		engine, err := rtcEngine(p, "resolve", row.advertise, quietRTC)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(row.want)
		if got := candidatesOf(t, engine); !slices.Equal(got, row.want) {
			t.Errorf("advertising %v offers\n%q, want\n%q", row.advertise, got, row.want)
		}
	}
	full, err := rtcEngine(p, "full", nil, quietRTC)
	if err != nil {
		t.Fatal(err)
	}
	hidden := candidatesOf(t, full)
	if len(hidden) == 0 {
		t.Error("mdns: full offers nothing")
	}
	for _, line := range hidden {
		if !strings.HasPrefix(line, "udp ") || !strings.Contains(line, ".local:"+strconv.Itoa(int(p.port))) {
			t.Errorf("mdns: full offers %q", line)
		}
	}
	if got := advertised(t.Context(), []string{"203.0.113.7", "no.such.name.invalid", "localhost", "127.0.0.1", "203.0.113.7"}, quietRTC.log); !slices.Contains(got, netip.MustParseAddr("203.0.113.7")) || !slices.Contains(got, netip.MustParseAddr("127.0.0.1")) || len(got) > 3 {
		t.Errorf("advertised are %v", got)
	}
}

// whipClient publishes to a server and returns its connection.
func whipClient(t *testing.T, url string, engine webrtc.SettingEngine, c webrtc.Configuration) (*webrtc.PeerConnection, *http.Response) {
	t.Helper()
	engine.LoggerFactory = quietRTC
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(engine)).NewPeerConnection(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := setGathered(t.Context(), pc, offer); err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(url, "application/sdp", strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("POST %s: %s %s", url, res.Status, answer)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		t.Fatal(err)
	}
	return pc, res
}

func waitConnected(t *testing.T, pc *webrtc.PeerConnection) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); pc.ConnectionState() != webrtc.PeerConnectionStateConnected; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not connected: %s, tried %q", pc.ConnectionState(), triedPairs(pc))
		}
	}
}

// TestServeWebRTC connects publishers to a whole server: over UDP, over TCP, and
// through its own TURN server alone.
func TestServeWebRTC(t *testing.T) {
	l, _ := startServerWith(t, t.TempDir(), setting{"webrtc.turn.enabled", "true", "test"}, setting{"webrtc.turn.addr", "127.0.0.1:0", "test"})
	local := netip.MustParseAddr("127.0.0.1")
	for _, network := range []string{"udp", "tcp"} {
		pc, res := whipClient(t, l.HTTP+"/whip/door", clientEngine(local, network, quietRTC), webrtc.Configuration{})
		waitConnected(t, pc)
		if network == "tcp" {
			continue
		}
		links := res.Header.Values("Link")
		if len(links) != 2 || !strings.Contains(links[0], "turn:127.0.0.1:") || !strings.Contains(links[0], `rel="ice-server"`) {
			t.Fatalf("links are %q", links)
		}
		for i, link := range links {
			relay := webrtc.SettingEngine{}
			relay.SetIncludeLoopbackCandidate(true)
			pc, _ := whipClient(t, l.HTTP+"/whip/gate", relay, webrtc.Configuration{ICEServers: []webrtc.ICEServer{iceServerOf(t, link)}, ICETransportPolicy: webrtc.ICETransportPolicyRelay})
			waitConnected(t, pc)
			if pair, err := pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair(); err != nil || pair.Local.Typ != webrtc.ICECandidateTypeRelay {
				t.Errorf("link %d: the pair is %v, %v", i, pair, err)
			}
		}
	}
	metrics := getBody(t, l.HTTP+"/metrics")
	for _, want := range []string{`kineweir_webrtc_opened_total{protocol="whip"} 4`, "kineweir_turn_allocations 2", `kineweir_webrtc_failed_total{protocol="whep",cause="lost"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics does not say %s", want)
		}
	}
	if health := getBody(t, l.HTTP+"/healthz"); !strings.Contains(health, `"webrtc 127.0.0.1:`) || !strings.Contains(health, `"turn 127.0.0.1:`) {
		t.Errorf("/healthz says %s", health)
	}
	if !strings.HasPrefix(l.WebRTC, "127.0.0.1:") {
		t.Errorf("WebRTC is said to be at %q", l.WebRTC)
	}
}

func getBody(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// iceServerOf reads a Link header as a client does.
func iceServerOf(t *testing.T, link string) webrtc.ICEServer {
	t.Helper()
	value := func(after, before string) string {
		_, rest, _ := strings.Cut(link, after)
		v, _, ok := strings.Cut(rest, before)
		if !ok {
			t.Fatalf("no %s in %s", after, link)
		}
		return v
	}
	return webrtc.ICEServer{URLs: []string{value("<", ">")}, Username: value(`username="`, `"`), Credential: value(`credential="`, `"`)}
}

// TestServeWebRTCOff has neither routes nor a port.
func TestServeWebRTCOff(t *testing.T) {
	l, _ := startServerWith(t, t.TempDir(), setting{"webrtc.addr", "", "test"})
	res, err := http.Post(l.HTTP+"/whip/door", "application/sdp", strings.NewReader("v=0"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNotFound || l.WebRTC != "" {
		t.Errorf("%s, WebRTC at %q", res.Status, l.WebRTC)
	}
}

// TestServeWHEPNotLive tells a viewer that comes too early to come again.
func TestServeWHEPNotLive(t *testing.T) {
	l, _ := startServerWith(t, t.TempDir())
	offer := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("AA:", 32), ":") +
		"\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=rtpmap:96 H264/90000\r\n"
	res, err := http.Post(l.HTTP+"/whep/door", "application/sdp", strings.NewReader(offer))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusConflict || res.Header.Get("Retry-After") != "5" || !strings.Contains(string(body), "not_live") {
		t.Errorf("%s %s", res.Status, body)
	}
}

func TestRTCError(t *testing.T) {
	for _, row := range []struct {
		err    error
		status int
	}{
		{&peer.RefusedError{Reason: "x"}, 422},
		{&viewer.RefusedError{Reason: "x"}, 422},
		{fmt.Errorf("stream x: %w", live.ErrNotLive), 409},
		{fmt.Errorf("stream x: %w", ingest.ErrBusy), 409},
		{viewer.ErrTooMany, 503},
		{ingest.ErrTooMany, 503},
		{ingest.ErrClosed, 503},
	} {
		var e *web.Error
		if !errors.As(rtcError(row.err), &e) || e.Status != row.status {
			t.Errorf("%v is told as %+v", row.err, e)
		}
		if row.status != 422 && e.RetryAfter == 0 {
			t.Errorf("%v does not say when to come again", row.err)
		}
	}
	if err := errors.New("disk"); rtcError(err) != err {
		t.Error("a failure of the server has become one of the client")
	}
}

// TestTURNRelaysHereAlone has a client with good credentials try to reach other
// places than the port of WebRTC.
func TestTURNRelaysHereAlone(t *testing.T) {
	port := listenTestRTC(t, "127.0.0.1:0")
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, row := range []struct {
		name    string
		relayTo words
		reached bool
	}{{"by default", nil, false}, {"as configured", words{"127.0.0.0/8"}, true}} {
		t.Run(row.name, func(t *testing.T) {
			s, err := openTURN(t.Context(), TURNConfig{Enabled: true, Addr: "127.0.0.1:0", Realm: "kineweir", RelayTo: row.relayTo}, port, nil, quietRTC.log, quietRTC)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			relay := turnAllocation(t, s)
			if _, err := relay.WriteTo([]byte("out"), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9}); err == nil {
				t.Error("a permission for a strange address was given")
			}
			if _, err := relay.WriteTo([]byte("in"), other.LocalAddr()); err != nil {
				t.Errorf("write: %v", err)
			}
			if !row.reached {
				deadline := time.Now().Add(10 * time.Second)
				for s.refused.Load() == 0 && time.Now().Before(deadline) {
					time.Sleep(5 * time.Millisecond)
				}
				if s.refused.Load() == 0 {
					t.Error("nothing was refused")
				}
			}
			_ = other.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if row.reached {
				_ = other.SetReadDeadline(time.Now().Add(10 * time.Second))
			}
			n, _, err := other.ReadFrom(make([]byte, 100))
			if (err == nil) != row.reached {
				t.Errorf("another port of this machine got %d bytes, %v", n, err)
			}
		})
	}
}

// turnAllocation signs in to a TURN server and returns the relayed socket.
func turnAllocation(t *testing.T, s *turnServer) net.PacketConn {
	t.Helper()
	server, err := s.iceServer()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	password, _ := server.Credential.(string)
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: s.addr.String(), TURNServerAddr: s.addr.String(), Conn: conn, Username: server.Username, Password: password, Realm: "kineweir", LoggerFactory: quietRTC,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := client.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	return relay
}

// TestTURNCredentials refuses made up and ended ones.
func TestTURNCredentials(t *testing.T) {
	port := listenTestRTC(t, "127.0.0.1:0")
	s, err := openTURN(t.Context(), TURNConfig{Enabled: true, Addr: "127.0.0.1:0", Realm: "kineweir"}, port, nil, quietRTC.log, quietRTC)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	good, err := s.iceServer()
	if err != nil {
		t.Fatal(err)
	}
	ended, password, err := turn.GenerateLongTermTURNRESTCredentials(s.secret, "kineweir", -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, user, password string
		ok                   bool
	}{
		{"good", good.Username, good.Credential.(string), true},
		{"wrong password", good.Username, "x", false},
		{"ended", ended, password, false},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		got, err := askICEServer(ctx, webrtc.ICEServer{URLs: good.URLs[:1], Username: row.user, Credential: row.password})
		cancel()
		if (err == nil) != row.ok {
			t.Errorf("%s: %v, %v", row.name, got, err)
		}
	}
}

// TestServeICERestart restarts ICE on a publisher of a whole server, whose
// connection goes on.
func TestServeICERestart(t *testing.T) {
	l, _ := startServerWith(t, t.TempDir())
	pc, res := whipClient(t, l.HTTP+"/whip/door", clientEngine(netip.MustParseAddr("127.0.0.1"), "udp", quietRTC), webrtc.Configuration{})
	waitConnected(t, pc)
	offer, err := pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := setGathered(t.Context(), pc, offer); err != nil {
		t.Fatal(err)
	}
	var fragment, answer strings.Builder
	for line := range strings.Lines(pc.LocalDescription().SDP) {
		if strings.HasPrefix(line, "a=ice-") || strings.HasPrefix(line, "a=candidate:") || strings.HasPrefix(line, "m=") || strings.HasPrefix(line, "a=mid:") {
			fragment.WriteString(line)
		}
	}
	session := l.HTTP + res.Header.Get("Location")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, session, strings.NewReader(fragment.String()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/trickle-ice-sdpfrag")
	req.Header.Set("If-Match", "*")
	patched, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = patched.Body.Close() }()
	body, err := io.ReadAll(patched.Body)
	if err != nil || patched.StatusCode != http.StatusOK || patched.Header.Get("ETag") == res.Header.Get("ETag") {
		t.Fatalf("PATCH: %s %s", patched.Status, body)
	}
	for line := range strings.Lines(pc.RemoteDescription().SDP) {
		if !strings.HasPrefix(line, "a=ice-ufrag") && !strings.HasPrefix(line, "a=ice-pwd") && !strings.HasPrefix(line, "a=candidate:") {
			answer.WriteString(line)
		}
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "a=ice-ufrag") || strings.HasPrefix(line, "a=ice-pwd") || strings.HasPrefix(line, "a=candidate:") {
			answer.WriteString(line)
		}
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.String()}); err != nil {
		t.Fatal(err)
	}
	waitConnected(t, pc)
	req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, session, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	var report string
	for end := time.Now().Add(10 * time.Second); !strings.Contains(report, `"state":"connected"`); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after the restart: %s", report)
		}
		got, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(got.Body)
		_ = got.Body.Close()
		report = string(b)
	}
}

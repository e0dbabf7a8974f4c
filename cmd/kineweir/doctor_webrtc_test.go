package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
)

// TestDoctorWebRTC connects to itself over UDP and TCP, and tries its TURN server.
func TestDoctorWebRTC(t *testing.T) {
	c := quietConfig(t)
	c.WebRTC.TURN = TURNConfig{Enabled: true, Addr: "127.0.0.1:0", Realm: "kineweir", Public: "turn.example"}
	var got []finding
	for _, f := range examineWebRTC(t.Context(), c) {
		if !strings.Contains(f.mend, "sysctl") { // of the machine the test runs on
			got = append(got, f)
		}
	}
	if len(got) != 4 {
		t.Fatalf("got %d findings: %+v", len(got), got)
	}
	expect(t, got[0], verdictOK, "udp and tcp 127.0.0.1:0 are free (webrtc.addr); offered are 127.0.0.1:", "")
	expect(t, got[1], verdictOK, "candidate pair on udp 127.0.0.1:", "")
	expect(t, got[2], verdictOK, "candidate pair on tcp 127.0.0.1:", "")
	expect(t, got[3], verdictOK, "clients are told turn:turn.example:", "")
	c.WebRTC.TURN.Public = ""
	list := examineWebRTC(t.Context(), c)
	expect(t, list[len(list)-1], verdictWarn, "relays over UDP and TCP", "webrtc.turn.addr")
	c.WebRTC.Addr = ""
	if got := examineWebRTC(t.Context(), c); len(got) != 1 || got[0].verdict != verdictOK {
		t.Errorf("off: %+v", got)
	}
}

// TestDoctorWebRTCTaken tells a port that somebody has from one that a server of
// ours has.
func TestDoctorWebRTCTaken(t *testing.T) {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	c := quietConfig(t)
	c.HTTP.Addr = "127.0.0.1:1"
	c.WebRTC.Addr = address(u.LocalAddr().String())
	expect(t, examineWebRTC(t.Context(), c)[0], verdictWarn, "address already in use", "set webrtc.addr to another address")
	c.origin["webrtc.addr"] = origin{text: "flag --webrtc"}
	expect(t, examineWebRTC(t.Context(), c)[0], verdictFail, "address already in use", "set webrtc.addr to another address")
	l, _ := startServer(t, t.TempDir())
	c.HTTP.Addr, c.WebRTC.Addr = address(hostPort(l.HTTP)), address(l.WebRTC)
	expect(t, examineWebRTC(t.Context(), c)[0], verdictOK, "a running server has "+l.WebRTC, "")
}

// TestDropTakenWebRTC takes any port where the usual one is taken, UDP or TCP.
func TestDropTakenWebRTC(t *testing.T) {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	c := quietConfig(t)
	c.WebRTC.Addr = address(u.LocalAddr().String())
	if told := c.dropTaken(t.Context()); c.WebRTC.Addr != "127.0.0.1:0" || len(told) != 1 || !strings.Contains(told[0], "webrtc.addr") {
		t.Errorf("left %q, told %q", c.WebRTC.Addr, told)
	}
	c.WebRTC.Addr = address(u.LocalAddr().String())
	c.origin["webrtc.addr"] = origin{text: "flag"}
	if told := c.dropTaken(t.Context()); c.WebRTC.Addr == "127.0.0.1:0" || len(told) != 0 {
		t.Errorf("asked for: left %q, told %q", c.WebRTC.Addr, told)
	}
}

// TestTryPairFails names the pairs that do not work: the client talks to a
// server that has gone.
func TestTryPairFails(t *testing.T) {
	p := listenTestRTC(t, "127.0.0.1:0")
	engine, err := rtcEngine(p, "off", nil, quietRTC)
	if err != nil {
		t.Fatal(err)
	}
	f := pairFinding(t.Context(), engine, netip.MustParseAddr("192.0.2.77"), p.port, "udp", quietRTC)
	expect(t, f, verdictFail, "udp 192.0.2.77:", "no viewer can connect")
	deaf, err := net.ListenPacket("udp", "127.0.0.1:0") // takes all and answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	engine.SetICEUDPMux(&deafMux{p.udps, deaf.LocalAddr()})
	f = pairFinding(t.Context(), engine, netip.MustParseAddr("127.0.0.1"), p.port, "udp", quietRTC)
	expect(t, f, verdictFail, "udp host "+deaf.LocalAddr().String()+": ", "let UDP to port")
	if !strings.Contains(f.what, " 0 answered, 0 received") {
		t.Errorf("got %q", f.what)
	}
}

// deafMux offers an address that it does not listen on.
type deafMux struct {
	udpMux
	at net.Addr
}

type udpMux interface {
	GetConn(ufrag string, addr net.Addr) (net.PacketConn, error)
	RemoveConnByUfrag(ufrag string)
	GetListenAddresses() []net.Addr
	Close() error
}

func (m *deafMux) GetListenAddresses() []net.Addr { return []net.Addr{m.at} }
func (m *deafMux) GetConn(string, net.Addr) (net.PacketConn, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	return muteConn{conn}, err
}

type muteConn struct{ net.PacketConn }

func (muteConn) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

func TestDoctorICEServers(t *testing.T) {
	port := listenTestRTC(t, "127.0.0.1:0")
	turn, err := openTURN(t.Context(), TURNConfig{Enabled: true, Addr: "127.0.0.1:0", Realm: "kineweir"}, port, nil, quietRTC.log, quietRTC)
	if err != nil {
		t.Fatal(err)
	}
	defer turn.close()
	good, err := turn.iceServer()
	if err != nil {
		t.Fatal(err)
	}
	w := WebRTCConfig{ICEServers: map[string]ICEServer{
		"a": {URL: good.URLs[0], User: good.Username, Credential: good.Credential.(string)},
		"b": {URL: good.URLs[0], User: good.Username, Credential: "wrong"},
	}}
	got := iceServerFindings(t.Context(), w, port)
	expect(t, got[0], verdictOK, "relays for this server at 127.0.0.1", "")
	expect(t, got[1], verdictFail, "webrtc.ice_servers.b", "check url, user and credential of webrtc.ice_servers.b")
	own := []netip.Addr{netip.MustParseAddr("192.0.2.5")}
	srflx := webrtc.ICECandidate{Typ: webrtc.ICECandidateTypeSrflx, Address: "203.0.113.7"}
	expect(t, addressFinding("stun:x", srflx, nil, own), verdictWarn, "behind NAT", "webrtc.advertise: 203.0.113.7")
	expect(t, addressFinding("stun:x", srflx, []string{"203.0.113.7"}, own), verdictOK, "sees this server at 203.0.113.7", "")
	srflx.Address = "192.0.2.5"
	expect(t, addressFinding("stun:x", srflx, nil, own), verdictOK, "sees this server at 192.0.2.5", "")
}

func TestDoctorSmallFindings(t *testing.T) {
	dir := t.TempDir()
	if got := rtcBuffers(dir); got != nil {
		t.Errorf("a system that does not tell: %+v", got)
	}
	for name, text := range map[string]string{"rmem_max": "212992\n", "wmem_max": "8388608\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := rtcBuffers(dir)
	if len(got) != 1 {
		t.Fatalf("small buffers: %+v", got)
	}
	expect(t, got[0], verdictWarn, "small", "sysctl -w net.core.rmem_max=4194304,")
	list := advertiseFindings(t.Context(), []string{"203.0.113.7", "no.such.name.invalid", "localhost"})
	if len(list) != 2 {
		t.Fatalf("advertised: %+v", list)
	}
	expect(t, list[0], verdictWarn, "no.such.name.invalid", "correct the name")
	expect(t, list[1], verdictOK, "localhost is advertised, which is", "")
	expect(t, rtcPortFinding(t.Context(), quietConfig(t), errors.New("x")), verdictWarn, "x", "webrtc.addr")
}

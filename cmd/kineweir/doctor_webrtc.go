package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pion/webrtc/v4"
)

// examineWebRTC tries the port of WebRTC from this machine, on each address that
// would be offered, and the STUN and TURN servers.
func examineWebRTC(ctx context.Context, c *Config) []finding {
	w := c.WebRTC
	if w.Addr == "" {
		return []finding{{verdictOK, "webrtc", "off (webrtc.addr is empty)", ""}}
	}
	log := slog.New(slog.DiscardHandler)
	lf := rtcLog{log}
	port, err := listenRTC(ctx, w.Addr, log, lf)
	if err != nil {
		return []finding{rtcPortFinding(ctx, c, err)}
	}
	defer port.close()
	var texts []string
	for _, a := range port.addrs {
		texts = append(texts, netip.AddrPortFrom(a, port.port).String())
	}
	list := []finding{{verdictOK, "webrtc", fmt.Sprintf("udp and tcp %s are free (webrtc.addr); offered are %s", w.Addr, strings.Join(texts, ", ")), ""}}
	list = append(list, rtcBuffers("/proc/sys/net/core")...)
	list = append(list, advertiseFindings(ctx, w.Advertise)...)
	list = append(list, pairFindings(ctx, port, lf)...)
	list = append(list, iceServerFindings(ctx, w, port)...)
	if w.TURN.Enabled {
		list = append(list, ownTURNFinding(ctx, c, port, lf))
	}
	return list
}

// rtcPortFinding tells of a port that is taken: by a server that runs already and
// says it is well, or by somebody else.
func rtcPortFinding(ctx context.Context, c *Config, err error) finding {
	network := "tcp"
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		network = strings.TrimRight(op.Net, "46")
	}
	if errors.Is(err, syscall.EADDRINUSE) && runningServerHas(ctx, c, "webrtc ") {
		return finding{verdictOK, "webrtc", fmt.Sprintf("a running server has %s, and says that it is up", c.WebRTC.Addr), ""}
	}
	f := finding{verdictFail, "webrtc", err.Error(), listenHint(err, "webrtc.addr", network, c.WebRTC.Addr)}
	if _, given := c.origin["webrtc.addr"]; !given {
		f.verdict = verdictWarn // See dropTaken.
	}
	return f
}

// runningServerHas asks the server at http.addr whether a part is up.
func runningServerHas(ctx context.Context, c *Config, part string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	host, port, _ := net.SplitHostPort(string(c.HTTP.Addr))
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil || c.HTTP.TLS {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	var health struct{ Up []string }
	return json.NewDecoder(http.MaxBytesReader(nil, res.Body, 1<<20)).Decode(&health) == nil &&
		slices.ContainsFunc(health.Up, func(name string) bool { return strings.HasPrefix(name, part) })
}

// rtcBuffers says whether the system lets a socket hold a burst.
func rtcBuffers(dir string) []finding {
	var small []string
	for _, name := range []string{"rmem_max", "wmem_max"} {
		text, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			return nil // Not Linux.
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n < rtcSocketBuffer/2 {
			small = append(small, fmt.Sprintf("net.core.%s=%d", name, rtcSocketBuffer))
		}
	}
	if len(small) == 0 {
		return nil
	}
	return []finding{{
		verdictWarn, "webrtc", "the system keeps the buffers of UDP sockets small: with many viewers packets are lost",
		"run sysctl -w " + strings.Join(small, " ") + ", and write it into /etc/sysctl.d",
	}}
}

func advertiseFindings(ctx context.Context, hosts []string) (list []finding) {
	for _, h := range hosts {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h)
		cancel()
		for i := range found {
			found[i] = found[i].Unmap()
		}
		switch {
		case err != nil:
			list = append(list, finding{verdictWarn, "webrtc", fmt.Sprintf("webrtc.advertise: %v", err), "correct the name; the server starts without it"})
		case found[0].String() != h:
			list = append(list, finding{verdictOK, "webrtc", fmt.Sprintf("%s is advertised, which is %v now", h, found), ""})
		}
	}
	return list
}

// pairTime is how long a pair of candidates on one machine may take.
const pairTime = 4 * time.Second

// pairFindings connects from each address to itself, over UDP and over TCP: what
// fails here fails for everybody.
func pairFindings(ctx context.Context, port *rtcPort, lf rtcLog) []finding {
	engine, err := rtcEngine(port, "off", nil, lf) // the client in this process needs no names
	if err != nil {
		return []finding{{verdictFail, "webrtc", err.Error(), "correct the section webrtc"}}
	}
	list := make([]finding, 2*len(port.addrs))
	var wg sync.WaitGroup
	for i, a := range port.addrs {
		for j, network := range []string{"udp", "tcp"} {
			wg.Go(func() { list[2*i+j] = pairFinding(ctx, engine, a, port.port, network, lf) })
		}
	}
	wg.Wait()
	return list
}

func pairFinding(ctx context.Context, engine webrtc.SettingEngine, a netip.Addr, port uint16, network string, lf rtcLog) finding {
	ctx, cancel := context.WithTimeout(ctx, pairTime)
	defer cancel()
	at := fmt.Sprintf("%s %s", network, netip.AddrPortFrom(a, port))
	took, failed, err := tryPair(ctx, engine, a, network, lf)
	switch {
	case err != nil:
		return finding{verdictFail, "webrtc", fmt.Sprintf("%s: %v", at, err), "no viewer can connect this way; see the words above"}
	case failed != nil:
		return finding{
			verdictFail, "webrtc", fmt.Sprintf("no connection from this machine to %s: %s", at, strings.Join(failed, "; ")),
			fmt.Sprintf("a firewall of this machine drops it: let %s to port %d in and out", strings.ToUpper(network), port),
		}
	}
	return finding{verdictOK, "webrtc", fmt.Sprintf("candidate pair on %s works, connected in %s", at, short(took)), ""}
}

// tryPair connects a client on address a to the server's candidate there. failed
// are the pairs that were tried in vain.
func tryPair(ctx context.Context, engine webrtc.SettingEngine, a netip.Addr, network string, lf rtcLog) (took time.Duration, failed []string, err error) {
	server, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = server.Close() }()
	client, err := webrtc.NewAPI(webrtc.WithSettingEngine(clientEngine(a, network, lf))).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = client.Close() }()
	connected := make(chan struct{})
	var once sync.Once
	client.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	begun := time.Now()
	if err := exchange(ctx, client, server, a, network); err != nil {
		return 0, nil, err
	}
	select {
	case <-connected:
		return time.Since(begun), nil, nil
	case <-ctx.Done():
	}
	return 0, triedPairs(client), nil
}

// exchange lets both agree; the server's candidates on other ways are left out.
func exchange(ctx context.Context, client, server *webrtc.PeerConnection, a netip.Addr, network string) error {
	if _, err := client.CreateDataChannel("doctor", nil); err != nil {
		return err
	}
	offer, err := client.CreateOffer(nil)
	if err != nil {
		return err
	}
	if err := setGathered(ctx, client, offer); err != nil {
		return err
	}
	if err := server.SetRemoteDescription(*client.LocalDescription()); err != nil {
		return err
	}
	answer, err := server.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := setGathered(ctx, server, answer); err != nil {
		return err
	}
	answer = *server.LocalDescription()
	var kept []string
	found := false
	for line := range strings.Lines(answer.SDP) {
		if strings.HasPrefix(line, "a=candidate:") {
			if !strings.Contains(line, " "+network+" ") || !strings.Contains(line, " "+a.String()+" ") {
				continue
			}
			found = true
		}
		kept = append(kept, line)
	}
	if !found {
		return errors.New("the server makes no candidate of this address")
	}
	answer.SDP = strings.Join(kept, "")
	return client.SetRemoteDescription(answer)
}

func setGathered(ctx context.Context, pc *webrtc.PeerConnection, d webrtc.SessionDescription) error {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return err
	}
	select {
	case <-gathered:
		return nil
	case <-ctx.Done():
		return errors.New("the candidates were not gathered in time")
	}
}

// iceServerFindings asks each STUN and TURN server of others for an address.
func iceServerFindings(ctx context.Context, w WebRTCConfig, port *rtcPort) []finding {
	names := slices.Sorted(maps.Keys(w.ICEServers))
	list := make([]finding, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			s := w.ICEServers[name]
			key := "webrtc.ice_servers." + name
			server := webrtc.ICEServer{URLs: []string{s.URL}}
			if s.User != "" {
				server.Username, server.Credential = s.User, s.Credential
			}
			got, err := askICEServer(ctx, server)
			if err != nil {
				list[i] = finding{verdictFail, "webrtc", fmt.Sprintf("%s (%s): %v", s.URL, key, err), "check url, user and credential of " + key + ", and that UDP leaves this network"}
				return
			}
			list[i] = addressFinding(s.URL, got, w.Advertise, port.addrs)
		})
	}
	wg.Wait()
	return list
}

// addressFinding tells what a server has said, and what follows from it.
func addressFinding(url string, got webrtc.ICECandidate, advertise []string, own []netip.Addr) finding {
	if got.Typ == webrtc.ICECandidateTypeRelay {
		return finding{verdictOK, "webrtc", fmt.Sprintf("%s relays for this server at %s", url, got.Address), ""}
	}
	f := finding{verdictOK, "webrtc", fmt.Sprintf("%s sees this server at %s", url, got.Address), ""}
	a, err := netip.ParseAddr(got.Address)
	if err == nil && !slices.Contains(own, a.Unmap()) && !slices.Contains(advertise, got.Address) {
		f.verdict, f.what = verdictWarn, f.what+", which is none of its own addresses: it is behind NAT"
		f.mend = "forward webrtc.addr's port, UDP and TCP, from there, and set webrtc.advertise: " + got.Address
	}
	return f
}

// askICEServer gathers the candidate that a STUN or TURN server gives.
func askICEServer(ctx context.Context, s webrtc.ICEServer) (got webrtc.ICECandidate, err error) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	wanted, policy := webrtc.ICECandidateTypeSrflx, webrtc.ICETransportPolicyAll
	if strings.HasPrefix(s.URLs[0], "turn") {
		wanted, policy = webrtc.ICECandidateTypeRelay, webrtc.ICETransportPolicyRelay
	}
	engine := webrtc.SettingEngine{LoggerFactory: rtcLog{slog.New(slog.DiscardHandler)}}
	engine.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{ICEServers: []webrtc.ICEServer{s}, ICETransportPolicy: policy})
	if err != nil {
		return got, err
	}
	defer func() { _ = pc.Close() }()
	answers := make(chan webrtc.ICECandidate, 64)
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			close(answers)
		} else if c.Typ == wanted && len(answers) < cap(answers) {
			answers <- *c
		}
	})
	if _, err := pc.CreateDataChannel("doctor", nil); err != nil {
		return got, err
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return got, err
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		return got, err
	}
	select {
	case got, ok := <-answers:
		if ok {
			return got, nil
		}
		return got, errors.New("it gives no address: it refuses, or does not answer")
	case <-ctx.Done():
		return got, errors.New("it does not answer")
	}
}

// ownTURNFinding starts the built-in TURN server and has it relay.
func ownTURNFinding(ctx context.Context, c *Config, port *rtcPort, lf rtcLog) finding {
	t, err := openTURN(ctx, c.WebRTC.TURN, port, c.WebRTC.Advertise, lf.log, lf)
	if err != nil {
		return finding{verdictFail, "turn", err.Error(), ""}
	}
	defer func() { _ = t.close() }()
	s, err := t.iceServer()
	if err != nil {
		return finding{verdictFail, "turn", err.Error(), "see the words above"}
	}
	told := strings.Join(s.URLs, ", ")
	for _, network := range []string{"udp", "tcp"} {
		one := s
		one.URLs = []string{"turn:" + reachable(t.addr) + "?transport=" + network}
		if _, err := askICEServer(ctx, one); err != nil {
			return finding{verdictFail, "turn", fmt.Sprintf("the TURN server at %s: over %s %v", t.addr, network, err), "a firewall of this machine drops it: let port " + strconv.Itoa(portOf(t.addr)) + " in and out"}
		}
	}
	f := finding{verdictOK, "turn", "the TURN server relays over UDP and TCP; clients are told " + told, ""}
	if address(net.JoinHostPort(t.host, "0")).loopback() {
		f.verdict, f.mend = verdictWarn, "only this machine can reach it there: set webrtc.turn.addr, such as :3478, or webrtc.turn.public"
	}
	return f
}

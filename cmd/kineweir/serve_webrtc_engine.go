package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// Times of ICE.
const (
	iceDisconnected = 5 * time.Second  // nothing came for so long: interrupted
	iceFailed       = 25 * time.Second // and for so long after that: lost
	iceKeepAlive    = 2 * time.Second
	iceGather       = 1500 * time.Millisecond // STUN and TURN servers have so long to answer
)

// dtlsAgain is how soon a flight of the DTLS handshake is sent again: FFmpeg drops
// what comes before it has turned from ICE to DTLS, and the second that RFC 6347
// section 4.2.4.1 begins with is long for media. Browsers take 50 ms.
const dtlsAgain = 250 * time.Millisecond

// rtcEngine makes what all peer connections share.
//
// It is full ICE, not ICE-lite: a lite agent sends no checks, so it cannot say
// which pairs of candidates work, cannot open a way out through NAT or a TURN
// server, and does not see that a viewer has gone (consent, RFC 7675).
func rtcEngine(p *rtcPort, mdns string, advertise []netip.Addr, lf logging.LoggerFactory) (webrtc.SettingEngine, error) {
	var e webrtc.SettingEngine
	e.LoggerFactory = lf
	e.SetICEUDPMux(p.udps)
	types := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	if mdns != "full" { // the library writes a TCP candidate with a name as one of UDP (v4.4.8), and browsers refuse the whole answer for it
		e.SetICETCPMux(p.tcps)
		types = append(types, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	e.SetNetworkTypes(types)
	e.SetIncludeLoopbackCandidate(p.addrs[0].IsLoopback())
	// TCP candidates are made of the addresses of the interfaces; UDP candidates of
	// the sockets. Both are to be the same.
	e.SetIPFilter(func(ip net.IP) bool {
		a, ok := netip.AddrFromSlice(ip)
		return ok && slices.Contains(p.addrs, a.Unmap())
	})
	// A client may name any address, and this server sends checks there; not to
	// everybody at once, though, and never with a TCP connection of its own making.
	e.SetRemoteIPFilter(func(ip net.IP) bool { return !ip.IsMulticast() && !ip.IsUnspecified() && !ip.Equal(net.IPv4bcast) })
	e.DisableActiveTCP(true)
	e.SetICETimeouts(iceDisconnected, iceFailed, iceKeepAlive)
	e.SetSTUNGatherTimeout(iceGather)
	// Names of clients are looked up for all connections at one place (rtcNames);
	// the library would open sockets for multicast DNS for each connection.
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if mdns == "full" {
		e.SetICEMulticastDNSMode(ice.MulticastDNSModeQueryAndGather)
	}
	if len(advertise) > 0 {
		var external []string
		for _, a := range advertise {
			external = append(external, a.String())
		}
		// Besides the machine's own: clients beside it need not go through the NAT.
		rule := webrtc.ICEAddressRewriteRule{External: external, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteAppend}
		if err := e.SetICEAddressRewriteRules(rule); err != nil {
			return e, fmt.Errorf("webrtc.advertise: %w", err)
		}
	}
	// The server waits for the handshake: every client of WHIP can begin it (RFC
	// 9725 section 4.4.4). ICE has shown already that the client is where it says,
	// so that the round trip of a cookie would prove nothing more.
	if err := e.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return e, err
	}
	e.SetDTLSInsecureSkipHelloVerify(true)
	e.SetDTLSRetransmissionInterval(dtlsAgain)
	// AES-GCM first: with the processor's help it costs a third of the others.
	e.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	return e, nil
}

// advertised resolves what webrtc.advertise names. A name that cannot be found
// is told of and left out: it may be there at the next start, and viewers on the
// same network need it not.
func advertised(ctx context.Context, hosts []string, log *slog.Logger) (addrs []netip.Addr) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, h := range hosts {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h)
		if err != nil {
			log.Warn("a name of webrtc.advertise has no address, and is not offered", "name", h, "error", err)
		}
		for _, a := range found {
			if a = a.Unmap(); !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

// rtcLog hands the words of the WebRTC libraries on. They warn of much that a
// client does, and what became of a client is told in one line of our own: so
// all of it is for whoever asks for debug.
type rtcLog struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (f rtcLog) NewLogger(scope string) logging.LeveledLogger {
	return rtcScope{f.log.With("scope", scope)}
}

type rtcScope struct{ log *slog.Logger }

func (s rtcScope) debug(format string, args ...any) {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug(fmt.Sprintf(format, args...))
	}
}

// What is below debug is dropped: it is a line for each packet.
func (s rtcScope) Trace(string)          {}
func (s rtcScope) Tracef(string, ...any) {}
func (s rtcScope) Debug(string)          {}
func (s rtcScope) Debugf(string, ...any) {}

func (s rtcScope) Info(m string)                  { s.debug("%s", m) }
func (s rtcScope) Infof(format string, a ...any)  { s.debug(format, a...) }
func (s rtcScope) Warn(m string)                  { s.debug("%s", m) }
func (s rtcScope) Warnf(format string, a ...any)  { s.debug(format, a...) }
func (s rtcScope) Error(m string)                 { s.debug("%s", m) }
func (s rtcScope) Errorf(format string, a ...any) { s.debug(format, a...) }

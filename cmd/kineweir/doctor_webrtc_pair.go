package main

import (
	"net"
	"net/netip"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/web/whip"
)

// clientEngine is that of a client that has one address and one transport.
func clientEngine(a netip.Addr, network string, lf rtcLog) webrtc.SettingEngine {
	e := webrtc.SettingEngine{LoggerFactory: lf}
	types := map[string]webrtc.NetworkType{"udp4": webrtc.NetworkTypeUDP4, "udp6": webrtc.NetworkTypeUDP6, "tcp4": webrtc.NetworkTypeTCP4, "tcp6": webrtc.NetworkTypeTCP6}
	family := "6"
	if a.Is4() {
		family = "4"
	}
	e.SetNetworkTypes([]webrtc.NetworkType{types[network+family]})
	e.SetIncludeLoopbackCandidate(a.IsLoopback())
	e.SetIPFilter(func(ip net.IP) bool { return ip.Equal(a.AsSlice()) })
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	return e
}

// triedPairs tells the pairs of a connection that did not come to be.
func triedPairs(pc *webrtc.PeerConnection) []string {
	texts := []string{}
	for _, p := range whip.PairsOf(pc) {
		texts = append(texts, p.String())
	}
	if len(texts) == 0 {
		texts = append(texts, "no pair of candidates came to be")
	}
	return texts
}

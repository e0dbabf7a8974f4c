package main

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/stun/v4"
)

// WebRTCConfig is the section "webrtc".
type WebRTCConfig struct {
	Addr        address              `yaml:"addr" allow:"empty"`
	Advertise   words                `yaml:"advertise"`
	MDNS        string               `yaml:"mdns" oneof:"resolve off full"`
	MaxSessions int                  `yaml:"max_sessions"`
	StartKbps   int                  `yaml:"start_kbps" allow:"none"`
	ICEServers  map[string]ICEServer `yaml:"ice_servers"`
	TURN        TURNConfig           `yaml:"turn"`
}

// ICEServer is an entry of the section "webrtc.ice_servers".
type ICEServer struct {
	URL        string `yaml:"url"`
	User       string `yaml:"user"`
	Credential string `yaml:"credential"`
}

// TURNConfig is the section "webrtc.turn": the built-in server.
type TURNConfig struct {
	Enabled bool    `yaml:"enabled"`
	Addr    address `yaml:"addr"`
	Public  string  `yaml:"public"`
	Realm   string  `yaml:"realm"`
	RelayTo words   `yaml:"relay_to"`
}

func (v *validator) webrtc() {
	c := v.c.WebRTC
	for _, a := range c.Advertise {
		if !isHost(a) {
			v.refuse("webrtc.advertise", "%q is neither an address nor a name: write it without scheme and port, such as %q", a, "203.0.113.7")
		}
	}
	if c.MDNS == "full" && len(c.Advertise) > 0 {
		v.refuse("webrtc.mdns", "full hides the addresses of this machine, but webrtc.advertise tells where it is: choose resolve, or advertise nothing")
	}
	if c.MaxSessions > 100_000 {
		v.refuse("webrtc.max_sessions", "%d is more than 100000", c.MaxSessions)
	}
	if c.StartKbps > 100_000 {
		v.refuse("webrtc.start_kbps", "%d is more than 100000", c.StartKbps)
	}
	for _, name := range slices.Sorted(maps.Keys(c.ICEServers)) {
		key, s := "webrtc.ice_servers."+name, c.ICEServers[name]
		u, err := stun.ParseURI(s.URL)
		if err != nil {
			v.refuse(key+".url", `%q is no STUN or TURN server: write "stun:host:port", or "turn:host:port?transport=udp"`, s.URL)
			continue
		}
		turn := u.Scheme == stun.SchemeTypeTURN || u.Scheme == stun.SchemeTypeTURNS
		if turn && (s.User == "" || s.Credential == "") {
			v.refuse(key+".user", "TURN needs user and credential")
		}
	}
	for _, u := range []address{v.c.RTSP.UDPAddr, nextPort(v.c.RTSP.UDPAddr)} {
		if u != "" && u == c.Addr && u.port() != 0 {
			v.refuse("webrtc.addr", "%s is taken by rtsp.udp_addr, or by RTCP, which has the port after it: give each its own", c.Addr)
		}
	}
	t := c.TURN
	if !t.Enabled {
		return
	}
	if c.Addr == "" {
		v.refuse("webrtc.turn.enabled", "is true, but webrtc.addr is empty: there is nothing to relay to")
	}
	if t.Public != "" && !isHost(t.Public) {
		v.refuse("webrtc.turn.public", "%q is neither an address nor a name: write it without scheme and port", t.Public)
	}
	v.require("webrtc.turn.realm", t.Realm, `name one, such as "kineweir"`)
	for _, n := range t.RelayTo {
		if _, err := netip.ParsePrefix(n); err != nil {
			v.refuse("webrtc.turn.relay_to", "%q is no network: write it as 192.0.2.0/24, or 192.0.2.7/32 for one address", n)
		}
	}
}

// isHost reports whether s is an address, or could be a name.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && !strings.ContainsAny(s, ":/@*[] \"<>") && !strings.HasPrefix(s, "-")
}

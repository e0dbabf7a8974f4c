package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

func examinePorts(ctx context.Context, c *Config) []finding {
	var list []finding
	for _, p := range []struct {
		key, network string
		addr         address
		optional     bool
	}{
		{"http.addr", "tcp", c.HTTP.Addr, false},
		{"rtsp.addr", "tcp", c.RTSP.Addr, false},
		{"rtsp.tls_addr", "tcp", c.RTSP.TLSAddr, true},
		{"rtsp.udp_addr", "udp", c.RTSP.UDPAddr, true},
		{"rtsp.udp_addr", "udp", nextPort(c.RTSP.UDPAddr), true},
	} {
		if p.addr == "" {
			continue
		}
		f := finding{verdictOK, "port", fmt.Sprintf("%s %s is free (%s)", p.network, p.addr, p.key), ""}
		if err := tryListen(ctx, p.network, string(p.addr)); err != nil {
			f = finding{verdictFail, "port", err.Error(), listenHint(err, p.key, p.network, p.addr)}
			if _, given := c.origin[p.key]; !given && p.optional {
				f.verdict = verdictWarn // See dropTaken.
			}
		}
		list = append(list, f)
	}
	return list
}

// nextPort returns the address of RTCP for that of RTP (RFC 3550 section 11).
func nextPort(a address) address {
	if a == "" || a.port() == 0 {
		return ""
	}
	host, _, _ := net.SplitHostPort(string(a))
	return address(net.JoinHostPort(host, strconv.Itoa(a.port()+1)))
}

// dropTaken does without the usual ports of RTSPS and UDP where they are taken
// and nobody has asked for them: RTSPS is switched off, and UDP, whose port is
// told to each client, takes any. Two servers on one machine then need no more
// than other addresses for HTTP and RTSP. It returns what to tell of each.
func (c *Config) dropTaken(ctx context.Context) (told []string) {
	for _, l := range []struct {
		key, network string
		addr         *address
		also         address
		what         string
	}{
		{"rtsp.tls_addr", "tcp", &c.RTSP.TLSAddr, "", "RTSPS"},
		{"rtsp.udp_addr", "udp", &c.RTSP.UDPAddr, nextPort(c.RTSP.UDPAddr), "RTP over UDP"},
	} {
		if _, given := c.origin[l.key]; given || *l.addr == "" {
			continue
		}
		err := tryListen(ctx, l.network, string(*l.addr))
		if err == nil && l.also != "" {
			err = tryListen(ctx, l.network, string(l.also))
		}
		switch {
		case err == nil:
		case l.network == "udp":
			told = append(told, fmt.Sprintf("%s takes any port: %v; set %s to choose one", l.what, err, l.key))
			*l.addr = l.addr.anyPort()
		default:
			told = append(told, fmt.Sprintf("%s is off: %v; set %s to another address to have it", l.what, err, l.key))
			*l.addr = ""
		}
	}
	if _, given := c.origin["webrtc.addr"]; !given && c.WebRTC.Addr != "" {
		for _, network := range []string{"tcp", "udp"} {
			if err := tryListen(ctx, network, string(c.WebRTC.Addr)); err != nil {
				told = append(told, fmt.Sprintf("WebRTC takes any port: %v; set webrtc.addr to choose one", err))
				c.WebRTC.Addr = c.WebRTC.Addr.anyPort()
				break
			}
		}
	}
	return told
}

// listenError says which key names an address that cannot be listened on, and
// what to do.
func listenError(err error, key, network string, addr address) error {
	return fmt.Errorf("%s: %w: %s", key, err, listenHint(err, key, network, addr))
}

// tryListen listens on an address and stops again.
func tryListen(ctx context.Context, network, addr string) error {
	var lc net.ListenConfig
	if network == "udp" {
		conn, err := lc.ListenPacket(ctx, network, addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	l, err := lc.Listen(ctx, network, addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// listenHint says what to do about an address that cannot be listened on; key
// is the one of the config file that names it.
func listenHint(err error, key, network string, addr address) string {
	change := fmt.Sprintf("set %s to another address", key)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		if owner := portOwner(network, addr.port()); owner != "" {
			return fmt.Sprintf("%s has it: stop that, or %s", owner, change)
		}
		return "another program has it: stop that, or " + change
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): give it, or %s", change)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("this machine has no such address: %s", change)
	}
	return change
}

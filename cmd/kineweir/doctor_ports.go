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
	}{
		{"http.addr", "tcp", c.HTTP.Addr},
		{"rtsp.addr", "tcp", c.RTSP.Addr},
		{"rtsp.tls_addr", "tcp", c.RTSP.TLSAddr},
		{"rtsp.udp_addr", "udp", c.RTSP.UDPAddr},
		{"rtsp.udp_addr", "udp", nextPort(c.RTSP.UDPAddr)},
	} {
		if p.addr == "" {
			continue
		}
		f := finding{verdictOK, "port", fmt.Sprintf("%s %s is free (%s)", p.network, p.addr, p.key), ""}
		if err := tryListen(ctx, p.network, string(p.addr)); err != nil {
			f = finding{verdictFail, "port", err.Error(), listenHint(err, p.key, p.network, p.addr)}
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

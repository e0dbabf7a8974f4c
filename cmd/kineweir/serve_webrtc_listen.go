package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"

	"github.com/kineweir/kineweir/web"
)

// rtcPort is the one port of all WebRTC peers: UDP sockets, one for each address
// so that what comes in goes out from the address it came to, and TCP.
type rtcPort struct {
	addrs []netip.Addr // of this machine, that are offered
	port  uint16
	udp   []*net.UDPConn
	udps  *ice.MultiUDPMuxDefault
	tcp   net.Listener
	tcps  *ice.TCPMuxDefault
	log   *slog.Logger
}

// Bounds of the sockets. Media of hundreds of viewers leave in bursts, as a key
// frame comes; the system may give less than is asked for, see doctor.
const (
	rtcSocketBuffer = 4 << 20
	rtcTCPBuffer    = 4 << 20 // of one client over TCP; what does not fit is lost, as with UDP
	rtcTCPConns     = 4096
	rtcFirstCheck   = 10 * time.Second // a TCP connection that sends no ICE check for so long is nobody's
	rtcPortTries    = 20
)

// listenRTC listens on addr. Its port may be 0: then UDP and TCP get the same
// free one.
func listenRTC(ctx context.Context, addr address, log *slog.Logger, lf logging.LoggerFactory) (*rtcPort, error) {
	host, _, _ := net.SplitHostPort(string(addr))
	addrs, err := rtcAddrs(ctx, host)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		p := &rtcPort{addrs: addrs, log: log}
		err := p.listen(ctx, host, addr.port())
		if err == nil {
			p.mux(lf)
			return p, nil
		}
		p.close()
		if addr.port() != 0 || !errors.Is(err, syscall.EADDRINUSE) || try == rtcPortTries {
			return nil, err
		}
	}
}

// rtcAddrs returns the addresses of this machine that host stands for. Those of
// the loopback interface only when they are named, or there are no others: no
// other machine can use them. Link-local ones of IPv6 are left out (RFC 8445
// section 5.1.1.1).
func rtcAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); host != "" && (err != nil || !a.IsUnspecified()) {
		if err == nil {
			return []netip.Addr{a.Unmap()}, nil
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, fmt.Errorf("find the address of %s: %w", host, err)
		}
		return []netip.Addr{found[0].Unmap()}, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this machine: %w", err)
	}
	var addrs, loop []netip.Addr
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, _ := netip.AddrFromSlice(n.IP)
		ip = ip.Unmap()
		switch {
		case !ip.IsValid(), ip.Is6() && (ip.IsLinkLocalUnicast() || host == "0.0.0.0"):
		case ip.IsLoopback():
			loop = append(loop, ip)
		default:
			addrs = append(addrs, ip)
		}
	}
	if len(addrs) == 0 {
		addrs = loop
	}
	return addrs, nil
}

// listen opens TCP first: with port 0 it says which one UDP takes.
func (p *rtcPort) listen(ctx context.Context, host string, port int) error {
	network := "tcp"
	if a, err := netip.ParseAddr(host); err == nil && a.Is4() && a.IsUnspecified() {
		network = "tcp4" // "0.0.0.0" would mean IPv6 too
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	p.tcp = &boundedListener{Listener: l, most: rtcTCPConns}
	p.port = uint16(l.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // it is what was asked for
	var absent error
	for _, a := range p.addrs {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, p.port)))
		if errors.Is(err, syscall.EADDRNOTAVAIL) && len(p.addrs) > 1 {
			absent = err // it has just gone, or is not ready yet, as those of IPv6 are for a moment
			p.log.Warn("an address of this machine cannot be used for WebRTC", "address", a, "error", err)
			continue
		}
		if err != nil {
			return err
		}
		_ = conn.SetReadBuffer(rtcSocketBuffer)
		_ = conn.SetWriteBuffer(rtcSocketBuffer)
		p.udp = append(p.udp, conn)
	}
	if len(p.udp) == 0 {
		return errors.Join(errors.New("no address of this machine can be used"), absent)
	}
	return nil
}

func (p *rtcPort) mux(lf logging.LoggerFactory) {
	var muxes []ice.UDPMux
	for _, conn := range p.udp {
		muxes = append(muxes, ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn, Logger: lf.NewLogger("ice")}))
	}
	p.udps = ice.NewMultiUDPMuxDefault(muxes...)
	p.tcps = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener: p.tcp, Logger: lf.NewLogger("ice"), ReadBufferSize: 64, WriteBufferSize: rtcTCPBuffer, FirstStunBindTimeout: rtcFirstCheck,
	})
}

func (p *rtcPort) close() {
	if p.udps != nil {
		_ = p.udps.Close()
	}
	for _, conn := range p.udp {
		_ = conn.Close()
	}
	if p.tcps != nil {
		_ = p.tcps.Close()
	}
	if p.tcp != nil {
		_ = p.tcp.Close()
	}
}

// addr is where the port is, for people.
func (p *rtcPort) addr() net.Addr { return p.tcp.Addr() }

// check says whether all sockets are still open.
func (p *rtcPort) check() web.Check {
	return web.Check{Name: "webrtc " + p.addr().String(), Up: func(ctx context.Context) error {
		for _, conn := range p.udp {
			raw, err := conn.SyscallConn()
			if err == nil {
				err = raw.Control(func(uintptr) {})
			}
			if err != nil {
				return fmt.Errorf("UDP socket %s: %w", conn.LocalAddr(), err)
			}
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", reachable(p.addr()))
		if err != nil {
			return fmt.Errorf("does not answer: %w", err)
		}
		return conn.Close()
	}}
}

// boundedListener closes connections beyond the bound at once: each costs a
// goroutine and buffers before it has shown who it is.
type boundedListener struct {
	net.Listener
	most int64
	open atomic.Int64
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &boundedConn{Conn: conn, l: l}, nil
		}
		l.open.Add(-1)
		_ = conn.Close()
	}
}

type boundedConn struct {
	net.Conn
	l      *boundedListener
	closed atomic.Bool
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	if !c.closed.Swap(true) {
		c.l.open.Add(-1)
	}
	return c.Conn.Close()
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/web"
)

// turnServer is the built-in TURN server (RFC 8656). It is no relay for
// everybody: credentials are made of a secret that lives as long as the process,
// they go only to who may publish or view, and what they open leads to this
// server's WebRTC port, and to the networks of webrtc.turn.relay_to.
type turnServer struct {
	server *turn.Server
	addr   net.Addr
	udp    *net.UDPConn
	host   string // that clients are told
	secret string
	log    *slog.Logger

	allocations atomic.Int64 // now
	refused     atomic.Int64 // packets to where nothing is relayed
}

// Bounds of the TURN server.
const (
	turnLife = 24 * time.Hour // of credentials; a viewer of that long opens a new session
	turnMost = 4096           // allocations at once, each a socket
)

// openTURN starts the server on c.Addr, over UDP and TCP.
func openTURN(ctx context.Context, c TURNConfig, p *rtcPort, advertise []string, log *slog.Logger, lf logging.LoggerFactory) (*turnServer, error) {
	t := &turnServer{secret: rand.Text(), log: log}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", string(c.Addr))
	if err != nil {
		return nil, turnPortError(err, "tcp", c.Addr)
	}
	host, _, _ := net.SplitHostPort(string(c.Addr))
	t.addr = l.Addr()
	conn, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, strconv.Itoa(portOf(t.addr))))
	if err != nil {
		_ = l.Close()
		return nil, turnPortError(err, "udp", c.Addr)
	}
	t.udp, _ = conn.(*net.UDPConn)
	t.host = turnHost(ctx, c, host, advertise)
	relay := &turnRelay{t: t, p: p, more: prefixes(c.RelayTo)}
	t.server, err = turn.NewServer(turn.ServerConfig{
		Realm: c.Realm, LoggerFactory: lf,
		AuthHandler: turn.LongTermTURNRESTAuthHandler(t.secret, lf.NewLogger("turn")),
		QuotaHandler: func(string, string, net.Addr) bool {
			return t.allocations.Load() < turnMost
		},
		EventHandler: turn.EventHandler{
			OnAllocationCreated: func(_, _ net.Addr, _, _, _ string, _ net.Addr, _ int) { t.allocations.Add(1) },
			OnAllocationDeleted: func(_, _ net.Addr, _, _, _ string) { t.allocations.Add(-1) },
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: conn, RelayAddressGenerator: relay, PermissionHandler: relay.permits}},
		ListenerConfigs: []turn.ListenerConfig{{
			Listener: &boundedListener{Listener: l, most: turnMost}, RelayAddressGenerator: relay, PermissionHandler: relay.permits,
		}},
	})
	if err != nil {
		_ = conn.Close()
		_ = l.Close()
		return nil, fmt.Errorf("start the TURN server: %w", err)
	}
	return t, nil
}

func turnPortError(err error, network string, addr address) error {
	return listenError(err, "webrtc.turn.addr", network, addr)
}

func portOf(a net.Addr) int { return address(a.String()).port() }

func prefixes(texts []string) (all []netip.Prefix) {
	for _, s := range texts {
		if p, err := netip.ParsePrefix(s); err == nil { // else the check of the configuration has refused it
			all = append(all, p)
		}
	}
	return all
}

// turnHost is the host of the URL that clients are told.
func turnHost(ctx context.Context, c TURNConfig, host string, advertise []string) string {
	if c.Public != "" {
		return c.Public
	}
	if len(advertise) > 0 {
		return advertise[0]
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		if own, err := rtcAddrs(ctx, host); err == nil && len(own) > 0 {
			return own[0].String()
		}
	}
	return host
}

// iceServer returns the server with credentials that end.
func (t *turnServer) iceServer() (webrtc.ICEServer, error) {
	user, password, err := turn.GenerateLongTermTURNRESTCredentials(t.secret, "kineweir", turnLife)
	if err != nil {
		return webrtc.ICEServer{}, fmt.Errorf("make TURN credentials: %w", err)
	}
	at := net.JoinHostPort(t.host, strconv.Itoa(portOf(t.addr)))
	return webrtc.ICEServer{URLs: []string{"turn:" + at + "?transport=udp", "turn:" + at + "?transport=tcp"}, Username: user, Credential: password}, nil
}

func (t *turnServer) close() error { return t.server.Close() }

func (t *turnServer) check() web.Check {
	return web.Check{Name: "turn " + t.addr.String(), Up: func(ctx context.Context) error {
		if t.udp != nil {
			raw, err := t.udp.SyscallConn()
			if err == nil {
				err = raw.Control(func(uintptr) {})
			}
			if err != nil {
				return fmt.Errorf("UDP socket: %w", err)
			}
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", reachable(t.addr))
		if err != nil {
			return fmt.Errorf("does not answer: %w", err)
		}
		return conn.Close()
	}}
}

// turnRelay opens the relay sockets. Each is one that reaches the WebRTC port of
// this machine; its address is told to the client and by it to this server,
// which is the only one that needs to reach it.
type turnRelay struct {
	t    *turnServer
	p    *rtcPort
	more []netip.Prefix
}

var errNoTCPRelay = errors.New("only UDP is relayed")

// Validate implements turn.RelayAddressGenerator.
func (r *turnRelay) Validate() error { return nil }

// AllocatePacketConn implements turn.RelayAddressGenerator.
func (r *turnRelay) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	for _, a := range r.p.addrs {
		if c.Network == "udp4" && !a.Is4() || c.Network == "udp6" && !a.Is6() {
			continue
		}
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			return nil, nil, err
		}
		_ = conn.SetReadBuffer(1 << 20)
		_ = conn.SetWriteBuffer(1 << 20)
		return &turnConn{UDPConn: conn, r: r}, conn.LocalAddr(), nil
	}
	return nil, nil, fmt.Errorf("this server has no address for %s: %w", c.Network, syscall.EADDRNOTAVAIL)
}

// AllocateListener implements turn.RelayAddressGenerator: TCP (RFC 6062) would
// lead to every service of this machine.
func (r *turnRelay) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCPRelay
}

// AllocateConn implements turn.RelayAddressGenerator.
func (r *turnRelay) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, errNoTCPRelay
}

// permits says whether a client may have a permission for an address.
func (r *turnRelay) permits(_ net.Addr, ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	return ok && (slices.Contains(r.p.addrs, a.Unmap()) || r.allowed(a.Unmap()))
}

// allowed says whether a is in a network of relay_to.
func (r *turnRelay) allowed(a netip.Addr) bool {
	return slices.ContainsFunc(r.more, func(p netip.Prefix) bool { return p.Contains(a) })
}

// reaches says whether anything is sent to a: permissions are for addresses
// alone, and this machine has other ports than that of WebRTC.
func (r *turnRelay) reaches(a netip.AddrPort) bool {
	ip := a.Addr().Unmap()
	return a.Port() == r.p.port && slices.Contains(r.p.addrs, ip) || r.allowed(ip)
}

// turnConn is the socket of an allocation.
type turnConn struct {
	*net.UDPConn
	r *turnRelay
}

// WriteTo drops what is for a place that is not relayed to, as the network drops
// what cannot be delivered: an error would end the allocation.
func (c *turnConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok || !c.r.reaches(u.AddrPort()) {
		c.r.t.refused.Add(1)
		return len(b), nil
	}
	return c.UDPConn.WriteTo(b, to)
}

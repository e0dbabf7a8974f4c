package rtsp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// listener mends what the library's server does with connections: it keeps
// half-open ones for ever, and ends altogether when accepting one fails, as it
// does when file descriptors run out.
type listener struct {
	net.Listener
	idle time.Duration
	log  *slog.Logger
}

// Accept returns the next connection; it fails only when the listener is closed.
func (l *listener) Accept() (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := l.Listener.Accept()
		if err == nil {
			return &idleConn{Conn: c, idle: l.idle}, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		l.log.Warn("cannot accept a connection", "error", err)
		time.Sleep(pause)
	}
}

// idleConn ends a connection on which nothing has moved for a while, unless it is
// kept: then the session that it belongs to has timeouts of its own.
type idleConn struct {
	net.Conn
	idle     time.Duration
	kept     atomic.Bool
	moved    atomic.Int64 // when something was last written, Unix ns
	explicit atomic.Bool  // the library has set a deadline of its own
}

// keep makes the connection stay open however silent it is, or not.
func keep(c net.Conn, yes bool) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if i, ok := c.(*idleConn); ok {
		i.kept.Store(yes)
	}
}

// Read reads with a deadline that anything written puts off.
func (c *idleConn) Read(p []byte) (int, error) {
	for {
		if !c.explicit.Load() {
			_ = c.Conn.SetReadDeadline(time.Now().Add(c.idle))
		}
		n, err := c.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.explicit.Load() {
			return n, err
		}
		if !c.kept.Load() && time.Since(time.Unix(0, c.moved.Load())) >= c.idle {
			return n, fmt.Errorf("nothing received for %v: %w", c.idle, err)
		}
	}
}

// Write notes that the connection is in use.
func (c *idleConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.moved.Store(time.Now().UnixNano())
	}
	return n, err
}

// SetReadDeadline replaces the idle deadline by the library's, or the other way
// round for the zero time.
func (c *idleConn) SetReadDeadline(t time.Time) error {
	c.explicit.Store(!t.IsZero())
	if t.IsZero() {
		t = time.Now().Add(c.idle)
	}
	return c.Conn.SetReadDeadline(t)
}

// PortError says that an address cannot be listened on and what to do about it.
type PortError struct {
	Network string // "tcp" or "udp"
	Address string
	Option  string // what sets the address
	Err     error
}

// Error names the port and gives a hint.
func (e *PortError) Error() string {
	hint := ""
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		hint = fmt.Sprintf("; another program uses this port: stop it, or choose another with %s", e.Option)
	case errors.Is(e.Err, syscall.EACCES):
		hint = fmt.Sprintf("; ports under 1024 need rights: choose a higher one with %s", e.Option)
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		hint = fmt.Sprintf("; this machine does not have that address: choose another with %s", e.Option)
	}
	return fmt.Sprintf("rtsp: listen on %s %s: %v%s", e.Network, e.Address, e.Err, hint)
}

// Unwrap returns the error of the system.
func (e *PortError) Unwrap() error { return e.Err }

func listenTCP(address, option string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &PortError{"tcp", address, option, err}
	}
	return ln, nil
}

// listenUDP binds an even port for RTP and the one after it for RTCP (RFC 3550
// section 11). Port 0 is any free pair.
func listenUDP(address, option string) (rtp, rtcp net.PacketConn, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, &PortError{"udp", address, option, err}
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, nil, &PortError{"udp", address, option, fmt.Errorf("port %q is no number", service)}
	}
	if port%2 != 0 {
		return nil, nil, &PortError{"udp", address, option, fmt.Errorf("port %d is odd: RTP takes an even port, RTCP the next", port)}
	}
	for try := 0; ; try++ {
		rtp, rtcp, err = listenPair(host, int(port), option)
		if err == nil || port != 0 || try == 100 {
			return rtp, rtcp, err
		}
	}
}

func listenPair(host string, port int, option string) (rtp, rtcp net.PacketConn, err error) {
	address := net.JoinHostPort(host, strconv.Itoa(port))
	rtp, err = net.ListenPacket("udp", address)
	if err != nil {
		return nil, nil, &PortError{"udp", address, option, err}
	}
	port = rtp.LocalAddr().(*net.UDPAddr).Port
	next := net.JoinHostPort(host, strconv.Itoa(port+1))
	if port%2 != 0 {
		err = errors.New("odd port")
	} else {
		rtcp, err = net.ListenPacket("udp", next)
	}
	if err != nil {
		_ = rtp.Close()
		return nil, nil, &PortError{"udp", next, option, err}
	}
	return rtp, rtcp, nil
}

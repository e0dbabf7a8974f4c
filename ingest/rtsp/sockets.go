package rtsp

import (
	"context"
	"net"
	"sync"
)

// sockets keeps account of what the library opens.
type sockets struct {
	mu     sync.Mutex // guards the fields below
	local  net.IP     // our side of the connection
	opened []net.PacketConn
}

func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local = c.LocalAddr().(*net.TCPAddr).IP
	return c, nil
}

// listen binds to the address that the camera sees, not to all.
func (s *sockets) listen(network, address string) (net.PacketConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" && s.local != nil {
		address = net.JoinHostPort(s.local.String(), port)
	}
	c, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	if u, ok := c.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(udpReadBuffer) // more than the system allows is not an error here
	}
	s.opened = append(s.opened, c)
	return c, nil
}

func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.opened {
		_ = c.Close()
	}
	s.opened = nil
}

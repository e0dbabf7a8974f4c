package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/pion/logging"
	"github.com/pion/mdns/v2"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// rtcNames looks up the names of multicast DNS that browsers tell instead of
// their addresses (draft-ietf-mmusic-mdns-ice-candidates): one pair of sockets
// for all sessions, where the library would open one for each.
type rtcNames struct {
	conn *mdns.Conn
}

// openNames returns nil where there is no multicast, as in many containers:
// connections come to be without it wherever clients reach this server.
func openNames(ctx context.Context, loopback bool, log *slog.Logger, lf logging.LoggerFactory) *rtcNames {
	var lc net.ListenConfig
	var four *ipv4.PacketConn
	var six *ipv6.PacketConn
	c4, err4 := lc.ListenPacket(ctx, "udp4", mdns.DefaultAddressIPv4)
	if err4 == nil {
		four = ipv4.NewPacketConn(c4)
	}
	c6, err6 := lc.ListenPacket(ctx, "udp6", mdns.DefaultAddressIPv6)
	if err6 == nil {
		six = ipv6.NewPacketConn(c6)
	}
	if four == nil && six == nil {
		log.Info("names of clients (mDNS) are not looked up", "error", errors.Join(err4, err6))
		return nil
	}
	conn, err := mdns.NewServer(four, six, mdns.WithLoggerFactory(lf), mdns.WithIncludeLoopback(loopback))
	if err != nil {
		for _, c := range []net.PacketConn{c4, c6} {
			if c != nil {
				_ = c.Close()
			}
		}
		log.Info("names of clients (mDNS) are not looked up", "error", err)
		return nil
	}
	return &rtcNames{conn}
}

// resolve returns the address behind a name.
func (n *rtcNames) resolve(ctx context.Context, name string) (netip.Addr, error) {
	_, a, err := n.conn.QueryAddr(ctx, name)
	if err != nil {
		return a, fmt.Errorf("ask for %s: %w", name, err)
	}
	return a.Unmap().WithZone(""), nil
}

func (n *rtcNames) close() error { return n.conn.Close() }

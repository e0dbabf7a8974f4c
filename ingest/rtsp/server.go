package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"

	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/depacketize"
)

// ServerOptions say where a [Server] listens and what it serves.
type ServerOptions struct {
	Addr      string      // host:port of RTSP, as "127.0.0.1:8554"; "": none
	TLSAddr   string      // host:port of RTSPS; "": none
	TLSConfig *tls.Config // needed with TLSAddr
	UDPAddr   string      // host:port of RTP over UDP: an even port, the next is for RTCP; port 0: any; "": TCP only

	Publish PublishFunc          // where pushed streams go; nil: pushing is refused
	Hub     *live.Hub            // live streams for players; nil: playing is refused
	Auth    ingest.Authenticator // nil: everybody may do everything
	Waker   ingest.Waker         // wakes streams that are published on demand; may be nil
	Log     *slog.Logger         // default slog.Default()

	ReadTimeout  time.Duration // a publisher that sends nothing for as long is gone; default 10 s
	WriteTimeout time.Duration // a player that takes nothing for as long is gone; default 10 s
	IdleTimeout  time.Duration // a connection that asks for nothing is closed; default 60 s
	StallTimeout time.Duration // a publisher whose packets make no access unit is gone; default 20 s
	WakeTimeout  time.Duration // how long a player waits for a stream on demand; default 10 s
	Reports      time.Duration // between sender reports to players; default 5 s
	MaxClockSkew time.Duration // a publisher's clock that is further off is logged; default 1 min
}

func (o *ServerOptions) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.ReadTimeout, 10*time.Second)
	set(&o.WriteTimeout, 10*time.Second)
	set(&o.IdleTimeout, time.Minute)
	set(&o.StallTimeout, 20*time.Second)
	set(&o.WakeTimeout, 10*time.Second)
	set(&o.Reports, 5*time.Second)
	set(&o.MaxClockSkew, time.Minute)
	if o.Log == nil {
		o.Log = slog.Default()
	}
}

// Server takes the streams that publishers push and gives live streams to players.
type Server struct {
	o        ServerOptions
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	watching sync.WaitGroup
	servers  []*gortsplib.Server
	addr     net.Addr
	tlsAddr  net.Addr
	refusals *depacketize.Warnings // anybody can cause them, as often as they like

	mu         sync.Mutex // guards the field below
	recordings map[*recording]struct{}
}

// NewServer listens; a *[PortError] says which port cannot be had.
func NewServer(o ServerOptions) (*Server, error) {
	o.defaults()
	if o.Addr == "" && o.TLSAddr == "" {
		return nil, errors.New("rtsp: no address to listen on")
	}
	if o.TLSAddr != "" && o.TLSConfig == nil {
		return nil, errors.New("rtsp: an address for RTSPS needs a certificate")
	}
	s := &Server{o: o, recordings: map[*recording]struct{}{}, refusals: depacketize.NewWarnings(o.Log, time.Now)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.listen(); err != nil {
		s.Close()
		return nil, err
	}
	s.watching.Go(s.watch)
	return s, nil
}

func (s *Server) listen() error {
	if s.o.Addr != "" {
		ln, err := listenTCP(s.o.Addr, "--rtsp")
		if err != nil {
			return err
		}
		s.addr = ln.Addr()
		srv := s.library(ln)
		if err := s.listenUDP(srv); err != nil {
			_ = ln.Close()
			return err
		}
		if err := s.start(srv, ln); err != nil {
			return err
		}
	}
	if s.o.TLSAddr != "" {
		ln, err := listenTCP(s.o.TLSAddr, "--rtsps")
		if err != nil {
			return err
		}
		s.tlsAddr = ln.Addr()
		srv := s.library(ln)
		srv.TLSConfig = s.o.TLSConfig
		return s.start(srv, ln)
	}
	return nil
}

func (s *Server) start(srv *gortsplib.Server, ln net.Listener) error {
	if err := srv.Start(); err != nil {
		_ = ln.Close()
		return err
	}
	s.servers = append(s.servers, srv)
	return nil
}

// library returns a server of the library on a listener that is already bound.
func (s *Server) library(ln net.Listener) *gortsplib.Server {
	srv := &gortsplib.Server{
		RTSPAddress:              ln.Addr().String(),
		ReadTimeout:              s.o.ReadTimeout,
		WriteTimeout:             s.o.WriteTimeout,
		WriteQueueSize:           playQueue,
		DisableRTCPSenderReports: true, // the library's carry a wrong fraction of NTP
		Listen: func(string, string) (net.Listener, error) {
			return &listener{Listener: ln, idle: s.o.IdleTimeout, log: s.o.Log}, nil
		},
	}
	srv.Handler = &handler{s: s, lib: srv}
	return srv
}

func (s *Server) listenUDP(srv *gortsplib.Server) error {
	if s.o.UDPAddr == "" {
		return nil
	}
	rtp, rtcp, err := listenUDP(s.o.UDPAddr, "the UDP address of RTSP")
	if err != nil {
		return err
	}
	for _, c := range []net.PacketConn{rtp, rtcp} {
		// Key frames come in bursts that the default of 208 KiB does not hold; more than the system allows is not an error here.
		_ = c.(*net.UDPConn).SetReadBuffer(udpReadBuffer)
	}
	srv.UDPRTPAddress, srv.UDPRTCPAddress = rtp.LocalAddr().String(), rtcp.LocalAddr().String()
	srv.ListenPacket = func(_, address string) (net.PacketConn, error) {
		if address == srv.UDPRTPAddress {
			return rtp, nil
		}
		return rtcp, nil
	}
	return nil
}

const udpReadBuffer = 2 << 20

// Addr returns the address of RTSP, or nil.
func (s *Server) Addr() net.Addr { return s.addr }

// TLSAddr returns the address of RTSPS, or nil.
func (s *Server) TLSAddr() net.Addr { return s.tlsAddr }

// Close stops listening, ends all sessions and waits until everything has ended.
// Closing twice is fine.
func (s *Server) Close() {
	s.cancel()
	for _, srv := range s.servers {
		srv.Close()
	}
	s.watching.Wait()
	s.refusals.Flush()
}

// watch ends publishers whose packets make no access units: a changed SSRC, an
// encoder that went mad. The library sees only that packets come.
func (s *Server) watch() {
	tick := time.NewTicker(s.o.StallTimeout / 10)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		s.refusals.Flush()
		for _, rec := range s.stalled() {
			rec.end(errStalled)
		}
	}
}

func (s *Server) stalled() (list []*recording) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rec := range s.recordings {
		if _, err := rec.rx.Live(); err != nil || rec.rx.Idle() > s.o.StallTimeout {
			list = append(list, rec)
		}
	}
	return list
}

func (s *Server) track(rec *recording, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if yes {
		s.recordings[rec] = struct{}{}
	} else {
		delete(s.recordings, rec)
	}
}

var errStalled = errors.New("no access unit for too long")

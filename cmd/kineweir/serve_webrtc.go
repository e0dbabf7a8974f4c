package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/peer"
	"github.com/kineweir/kineweir/playback/viewer"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/auth"
	"github.com/kineweir/kineweir/web/metrics"
	"github.com/kineweir/kineweir/web/whip"
)

var (
	_ whip.Connection = (*peer.Connection)(nil)
	_ whip.Connection = (*viewer.Connection)(nil)
	_ whip.Access     = (*auth.Store)(nil)
)

// webRTC is all that speaks it; nothing in it where webrtc.addr is empty.
type webRTC struct {
	port       *rtcPort
	names      *rtcNames // nil for none
	turn       *turnServer
	servers    []webrtc.ICEServer // of others
	publishers *peer.Server
	viewers    *viewer.Server
	handler    *whip.Handler
}

// openWebRTC starts what publishers and viewers need. What is opened first is
// closed last: the port that all connections share.
func (s *server) openWebRTC(ctx context.Context) error {
	c := s.config.WebRTC
	if c.Addr == "" {
		return nil
	}
	lf := rtcLog{s.log}
	port, err := s.openRTCPort(ctx, lf)
	if err != nil {
		return err
	}
	s.webrtc.port = port
	s.onStop("webrtc port", func(context.Context) error { port.close(); return nil })
	if c.MDNS != "off" {
		if names := openNames(ctx, port.addrs[0].IsLoopback(), s.log, lf); names != nil {
			s.webrtc.names = names
			s.onStop("webrtc names", func(context.Context) error { return names.close() })
		}
	}
	if c.TURN.Enabled {
		t, err := openTURN(ctx, c.TURN, port, c.Advertise, s.log, lf)
		if err != nil {
			return err
		}
		s.webrtc.turn = t
		s.onStop("turn", func(context.Context) error { return t.close() })
	}
	for _, name := range slices.Sorted(maps.Keys(c.ICEServers)) {
		server := webrtc.ICEServer{URLs: []string{c.ICEServers[name].URL}}
		if c.ICEServers[name].User != "" {
			server.Username, server.Credential = c.ICEServers[name].User, c.ICEServers[name].Credential
		}
		s.webrtc.servers = append(s.webrtc.servers, server)
	}
	engine, err := rtcEngine(port, c.MDNS, advertised(ctx, c.Advertise, s.log), lf)
	if err != nil {
		return err
	}
	return s.openRTCServers(engine)
}

// openRTCPort listens. A usual port that somebody took since dropTaken looked is
// no reason not to start: its number is told to each client anyhow.
func (s *server) openRTCPort(ctx context.Context, lf logging.LoggerFactory) (*rtcPort, error) {
	addr := s.config.WebRTC.Addr
	port, err := listenRTC(ctx, addr, s.log, lf)
	if _, given := s.config.origin["webrtc.addr"]; !given && errors.Is(err, syscall.EADDRINUSE) {
		port, err = listenRTC(ctx, addr.anyPort(), s.log, lf)
	}
	if err != nil {
		network := "tcp"
		if opError := (*net.OpError)(nil); errors.As(err, &opError) {
			network = strings.TrimRight(opError.Net, "46")
		}
		return nil, listenError(err, "webrtc.addr", network, addr)
	}
	return port, nil
}

// openRTCServers starts publishers, viewers, and what they come in by.
func (s *server) openRTCServers(engine webrtc.SettingEngine) error {
	w, c := &s.webrtc, s.config.WebRTC
	var err error
	w.publishers, err = peer.New(peer.Options{
		Publish: peer.PublishTo(s.sessions), Engine: engine, ICEServers: w.servers, StartBitRate: c.StartKbps * 1000, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.onStop("webrtc publishers", func(context.Context) error { w.publishers.Close(); return nil })
	w.viewers, err = viewer.New(viewer.Options{Hub: s.hub, Waker: s.cameras.pull, Engine: engine, ICEServers: w.servers, Log: s.log})
	if err != nil {
		return err
	}
	s.onStop("webrtc viewers", func(context.Context) error { w.viewers.Close(); return nil })
	o := whip.Options{Publish: s.publishRTC, View: s.viewRTC, ICEServers: w.iceServers(s.log), MaxSessions: c.MaxSessions, Log: s.log}
	if !s.users.Open() {
		o.Access = s.users
	}
	if w.names != nil {
		o.Resolve = w.names.resolve
	}
	if w.handler, err = whip.New(o); err != nil {
		return err
	}
	s.onStop("webrtc sessions", func(context.Context) error { w.handler.Close(); return nil })
	return nil
}

// iceServers returns what clients are told: the servers of others, and our own
// with new credentials.
func (w *webRTC) iceServers(log *slog.Logger) func() []webrtc.ICEServer {
	return func() []webrtc.ICEServer {
		all := slices.Clone(w.servers)
		if w.turn == nil {
			return all
		}
		own, err := w.turn.iceServer()
		if err != nil {
			log.Error("clients are told no TURN server", "error", err)
			return all
		}
		return append(all, own)
	}
}

func (s *server) publishRTC(ctx context.Context, name fragments.StreamName, offer string, w whip.Who) (whip.Connection, error) {
	if s.config.RTSP.SecondPublisher == "refuse" { // said at once, and not only when media flow
		if _, err := s.hub.Live(name); err == nil {
			return nil, rtcError(fmt.Errorf("stream %s: %w", name, ingest.ErrBusy))
		}
	}
	conn, err := s.webrtc.publishers.Open(ctx, name, offer, ingest.Source{Protocol: "whip", Remote: w.Remote, User: w.User})
	if err != nil {
		return nil, rtcError(err)
	}
	return conn, nil
}

func (s *server) viewRTC(ctx context.Context, name fragments.StreamName, offer string, w whip.Who) (whip.Connection, error) {
	who := w.Remote
	if w.User != "" {
		who = w.User + " at " + w.Remote
	}
	conn, err := s.webrtc.viewers.Open(ctx, name, offer, who)
	if err != nil {
		return nil, rtcError(err)
	}
	return conn, nil
}

// rtcError is the table from why a connection is refused to HTTP.
func rtcError(err error) error {
	var offered *peer.RefusedError
	var wanted *viewer.RefusedError
	e := &web.Error{Message: err.Error(), Err: err}
	switch {
	case errors.As(err, &offered):
		e.Status, e.Code = http.StatusUnprocessableEntity, "offer_refused" // RFC 9725 section 4.4.3
	case errors.As(err, &wanted):
		e.Status, e.Code, e.Hint = http.StatusUnprocessableEntity, "offer_refused", "HLS plays it: /hls/<stream>/live.m3u8"
	case errors.Is(err, live.ErrNotLive): // draft-ietf-wish-whep section 4.2
		e.Status, e.Code, e.RetryAfter, e.Hint = http.StatusConflict, "not_live", 5, "nobody publishes the stream now; what is recorded is at /hls/<stream>/index.m3u8"
	case errors.Is(err, ingest.ErrBusy):
		e.Status, e.Code, e.RetryAfter = http.StatusConflict, "busy", 10
	case errors.Is(err, viewer.ErrTooMany), errors.Is(err, ingest.ErrTooMany):
		e.Status, e.Code, e.RetryAfter = http.StatusServiceUnavailable, "too_many", 10
	case errors.Is(err, ingest.ErrClosed):
		e.Status, e.Code, e.RetryAfter = http.StatusServiceUnavailable, "stopping", 5
	default:
		return err
	}
	return e
}

// rtcRoutes, rtcChecks and rtcFigures are what WebRTC adds to the HTTP server.
func (s *server) rtcRoutes() []web.Route {
	if s.webrtc.handler == nil {
		return nil
	}
	return s.webrtc.handler.Routes()
}

func (s *server) rtcChecks() (all []web.Check) {
	if s.webrtc.port != nil {
		all = append(all, s.webrtc.port.check())
	}
	if s.webrtc.turn != nil {
		all = append(all, s.webrtc.turn.check())
	}
	return all
}

func (s *server) rtcFigures() []func(*metrics.Writer) {
	w := &s.webrtc
	if w.handler == nil {
		return nil
	}
	f := metrics.WebRTC{Sessions: w.handler.Stats, Viewers: w.viewers.Stats}
	if w.turn != nil {
		f.TURN = func() (allocations, refused int64) { return w.turn.allocations.Load(), w.turn.refused.Load() }
	}
	return []func(*metrics.Writer){f.Write}
}

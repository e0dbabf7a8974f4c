package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/dash"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/api"
	"github.com/kineweir/kineweir/web/auth"
	ui "github.com/kineweir/kineweir/web/console"
	"github.com/kineweir/kineweir/web/media"
	"github.com/kineweir/kineweir/web/metrics"
)

// openWeb makes the routes and listens for HTTP, last of all.
func (s *server) openWeb(ctx context.Context) error {
	routes, err := s.routes(ctx)
	if err != nil {
		return err
	}
	o := web.Options{Addrs: []string{string(s.config.HTTP.Addr)}, Routes: routes, Checks: s.checks(), Open: s.users.Open(), Hosts: s.config.HTTP.Hosts, Origins: s.config.HTTP.Origins, Log: s.log}
	if s.config.HTTP.TLS {
		if o.TLS, err = web.TLSConfig(s.tlsOptions()); err != nil {
			return err
		}
	}
	server, err := web.New(o)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			var op *net.OpError
			if errors.As(err, &op) {
				err = op // names the address, and "http.addr" below says the rest
			}
			return listenError(err, "http.addr", "tcp", s.config.HTTP.Addr)
		}
		return err
	}
	s.web.Store(server)
	s.onStop("http", server.Close)
	return nil
}

func (s *server) routes(ctx context.Context) ([]web.Route, error) {
	player, err := s.media()
	if err != nil {
		return nil, err
	}
	where := s.where()
	native, err := api.New(api.Options{
		Streams: s.archive, Hub: s.hub, Access: s.users, Tokens: s.users, Deleter: s.archive,
		Publishers: api.PublishersOf(s.sessions), Cameras: s.cameras, Settings: s.settings, Detections: s.detections, Leases: s.records.meta,
		CodecString: cmaf.CodecString, Playable: cmaf.Playable,
		Version: version(), RTSP: hostPort(where.RTSP), RTSPS: hostPort(where.RTSPS),
	})
	if err != nil {
		return nil, err
	}
	calls := metrics.NewCalls()
	kinesis, err := s.kinesisRoutes(ctx, calls)
	if err != nil {
		return nil, err
	}
	figures := metrics.New(metrics.Options{
		Extra: append([]func(*metrics.Writer){
			metrics.RecordFigures(s.records.engine, s.records.store, s.records.lane), calls.Write,
			metrics.ImageFigures(s.images.Stats), metrics.DetectorFigures(s.settings.list),
		}, append(s.feedFigures(), s.rtcFigures()...)...),
		Archive: s.archive, Bucket: s.bucket, Hub: s.hub, Publishers: metrics.PublishersOf(s.sessions),
		Server: func() metrics.Server {
			if w := s.web.Load(); w != nil {
				return w
			}
			return nil
		},
		Access: s.users.Metrics, Version: version(),
	})
	routes := []web.Route{
		{Pattern: "/hls/", Kind: web.Media, Handler: player},
		{Pattern: "/dash/", Kind: web.Media, Handler: player},
		{Pattern: "/clip/", Kind: web.Media, Handler: player},
		{Pattern: "/image/", Kind: web.Media, Handler: player},
	}
	sockets, err := s.socketRoutes()
	if err != nil {
		return nil, err
	}
	routes = append(append(routes, kinesis...), sockets...)
	routes = append(routes, native.Routes()...)
	routes = append(routes, s.users.Routes()...)
	routes = append(routes, figures.Routes()...)
	routes = append(routes, s.rtcRoutes()...)
	pages, err := ui.Routes()
	if err != nil {
		return nil, err
	}
	return append(routes, pages...), nil
}

func (s *server) media() (*media.Handler, error) {
	packager, err := hls.New(s.archive, hls.Options{
		Hub: s.hub, Waker: s.cameras.pull, Log: s.log,
		Live: func(name fragments.StreamName) bool { _, err := s.hub.Live(name); return err == nil },
	})
	if err != nil {
		return nil, err
	}
	manifests, err := dash.New(packager, dash.Options{Log: s.log})
	if err != nil {
		return nil, err
	}
	clips, err := clip.New(s.archive, clip.Options{})
	if err != nil {
		return nil, err
	}
	o := media.Options{HLS: packager, DASH: manifests, Clips: clips, Images: s.images, Log: s.log}
	if !s.users.Open() {
		o.Access = s.users
	}
	return media.New(o)
}

func (s *server) openImages(context.Context) (err error) {
	c := s.config.Images
	s.images, err = image.New(s.archive, image.Options{
		Hub: s.hub, Waker: cameraWaker{s}, FFmpeg: c.FFmpeg, Workers: c.Workers, Timeout: time.Duration(c.Timeout), MaxMemory: int64(c.MaxMemory), Log: s.log,
	})
	if err == nil {
		s.onStop("pictures", func(context.Context) error { s.images.Close(); return nil })
	}
	return err
}

// cameraWaker wakes cameras on demand, which are opened after the pictures.
type cameraWaker struct{ s *server }

// Wake implements image.Waker.
func (w cameraWaker) Wake(ctx context.Context, name fragments.StreamName) error {
	if w.s.cameras.pull == nil {
		return nil
	}
	return w.s.cameras.pull.Wake(ctx, name)
}

// checks are what /healthz asks besides the HTTP listener.
func (s *server) checks() []web.Check {
	list := s.rtcChecks()
	if s.rtsp == nil {
		return list
	}
	for _, a := range []net.Addr{s.rtsp.Addr(), s.rtsp.TLSAddr()} {
		if a == nil {
			continue
		}
		list = append(list, web.Check{Name: "rtsp " + a.String(), Up: func(ctx context.Context) error {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", a.String())
			if err != nil {
				return fmt.Errorf("does not answer: %w", err)
			}
			return conn.Close()
		}})
	}
	return list
}

// where returns the URLs of the listeners that are up.
func (s *server) where() listening {
	l := listening{Credentials: s.users.File()}
	if w := s.web.Load(); w != nil {
		scheme := "http://"
		if s.config.HTTP.TLS {
			scheme = "https://"
		}
		l.HTTP = scheme + reachable(w.Addrs()[0])
	}
	if s.rtsp != nil {
		if a := s.rtsp.Addr(); a != nil {
			l.RTSP = "rtsp://" + reachable(a)
			if key, ok := s.users.Password(auth.FirstUser); ok {
				l.Publish = "rtsp://" + url.UserPassword(auth.FirstUser, key).String() + "@" + reachable(a)
			}
		}
		if a := s.rtsp.TLSAddr(); a != nil {
			l.RTSPS = "rtsps://" + reachable(a)
		}
	}
	if p := s.webrtc.port; p != nil {
		l.WebRTC = reachable(p.addr())
	}
	return l
}

// reachable returns an address at which this machine reaches a listener.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// hostPort takes the scheme off a URL.
func hostPort(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return rest
}

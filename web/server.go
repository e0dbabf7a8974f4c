package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options configure a [Server].
type Options struct {
	// Addrs are the addresses to listen on, host:port; required.
	Addrs []string
	// TLS, when not nil, is what the listeners speak; see [TLSConfig].
	TLS *tls.Config
	// Routes is the table of routes. /healthz is added to it.
	Routes []Route
	// Checks are what /healthz asks, besides the listeners themselves.
	Checks []Check
	// Open says that callers need no credentials: then the rules of origin are
	// the only fence, and they are stricter.
	Open bool
	// Hosts are further names this server is known by; used when Open.
	Hosts []string
	// Origins are further origins ("https://wall.example") whose pages may use
	// the API and play media.
	Origins []string
	// Log is required.
	Log *slog.Logger
}

// Limits on a connection. There is none on the length of an answer; see stall.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	// maxStreams is how many requests one HTTP/2 connection may have under way: a
	// consumer of a stream with a thousand shards has one for each.
	maxStreams = 1024
	// drain is how long requests under way may go on after Close has begun
	// before their context ends; a waiting live playlist would never end by
	// itself.
	drain = 2 * time.Second
)

// Server is the running front door.
type Server struct {
	log     *slog.Logger
	table   *table
	origins *origins
	http    *http.Server
	tls     bool
	drain   time.Duration
	cancel  context.CancelFunc // ends the context of all requests
	addrs   []net.Addr
	counts  counts
	wg      sync.WaitGroup // the goroutines that accept
}

// New listens on all addresses and begins to serve. An address that cannot be
// had is named in the error, and nothing is left listening then.
func New(o Options) (*Server, error) {
	if len(o.Addrs) == 0 || o.Log == nil {
		return nil, errors.New("web: an address and a log are required")
	}
	og, err := newOrigins(o.Open, o.Hosts, o.Origins)
	if err != nil {
		return nil, fmt.Errorf("web: allowed origins: %w", err)
	}
	listeners, err := listen(o.Addrs)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{log: o.Log, origins: og, cancel: cancel, tls: o.TLS != nil, drain: drain}
	checks := o.Checks[:len(o.Checks):len(o.Checks)]
	up := make([]*listenerState, len(listeners))
	for i, l := range listeners {
		up[i] = &listenerState{}
		s.addrs = append(s.addrs, l.Addr())
		checks = append(checks, Check{Name: "http " + l.Addr().String(), Up: up[i].check})
	}
	s.table = newTable(append(o.Routes[:len(o.Routes):len(o.Routes)], Route{"GET /healthz", Probe, newHealth(checks)}))
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		TLSConfig:         o.TLS,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Protocols:         protocols(o.TLS != nil),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), // broken handshakes and the like
	}
	for i, l := range listeners {
		s.wg.Go(func() { up[i].ended(s.accept(l)) })
	}
	return s, nil
}

// protocols are those of the listeners. Without TLS a client that says so in its
// first bytes gets HTTP/2 as well ("prior knowledge", RFC 9113, section 3.3):
// SDKs read record streams that way.
func protocols(tls bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(tls)
	p.SetUnencryptedHTTP2(!tls)
	return p
}

// listen opens all addresses or none.
func listen(addrs []string) ([]net.Listener, error) {
	var opened []net.Listener
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			for _, o := range opened {
				_ = o.Close()
			}
			if errors.Is(err, syscall.EADDRINUSE) {
				return nil, fmt.Errorf("http address %s is in use by another program: stop it or choose another port with --http: %w", a, err)
			}
			return nil, fmt.Errorf("http address %s: %w", a, err)
		}
		opened = append(opened, l)
	}
	return opened, nil
}

func (s *Server) accept(l net.Listener) error {
	if s.tls {
		return s.http.ServeTLS(l, "", "")
	}
	return s.http.Serve(l)
}

// listenerState is whether a listener still accepts.
type listenerState struct{ err atomic.Pointer[error] }

func (l *listenerState) ended(err error) { l.err.Store(&err) }

func (l *listenerState) check(context.Context) error {
	if err := l.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Addrs returns the addresses that are listened on, with their real ports.
func (s *Server) Addrs() []net.Addr { return s.addrs }

// Close stops listening, lets the requests under way finish and returns when
// they have, or when ctx has ended and their connections have been cut.
func (s *Server) Close(ctx context.Context) error {
	timer := time.AfterFunc(s.drain, s.cancel)
	defer timer.Stop()
	err := s.http.Shutdown(ctx)
	s.cancel()
	if err != nil {
		_ = s.http.Close()
		err = fmt.Errorf("web: requests were still under way: %w", err)
	}
	s.wg.Wait()
	return err
}

// serve is every request's way in.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	a := newAnswer(w)
	kind := API
	s.counts.inFlight.Add(1)
	defer func() {
		// Recover runs here and not deeper, so that the line in the log has the
		// status that the client got.
		v := recover()
		begun := a.status != 0
		if v != nil {
			s.recovered(a, r, v)
		}
		a.begin()
		s.counts.answered(a)
		logRequest(s.log, r, a, kind, time.Since(began))
		if v != nil && (begun || v == http.ErrAbortHandler) {
			panic(http.ErrAbortHandler) // cut: an answer that has begun cannot become an error
		}
	}()
	kind = s.dispatch(a, r)
}

// dispatch applies the common rules and calls the route's handler. It returns
// the kind of the route.
func (s *Server) dispatch(a *answer, r *http.Request) Kind {
	method := r.Method
	asked := r.Header.Get("Access-Control-Request-Method")
	isPreflight := method == http.MethodOptions && r.Header.Get("Origin") != "" && asked != ""
	if isPreflight {
		method = asked
	}
	route := s.table.find(r, method)
	kind := API
	if route != nil {
		kind = route.Kind
	}
	s.origins.securityHeaders(a.Header(), kind)
	if err := s.origins.checkHost(r); err != nil && kind != Probe {
		WriteError(a, err)
		return kind
	}
	switch {
	case isPreflight:
		s.origins.preflight(a, r, kind)
		return kind
	case route == nil:
		s.table.answerNone(a, r)
		return kind
	case kind.shared():
		s.origins.allowRead(a.Header(), r)
	}
	if err := s.origins.checkForged(r, kind); err != nil {
		WriteError(a, err)
		return kind
	}
	s.table.mux.ServeHTTP(a, r)
	return kind
}

// recovered answers 500 for a handler that panicked, if nothing has been sent.
func (s *Server) recovered(a *answer, r *http.Request, v any) {
	if v == http.ErrAbortHandler {
		return
	}
	s.counts.panics.Add(1)
	s.log.Error("http handler panicked", "method", r.Method, "path", safePath(r.URL), "panic", v, "stack", string(debug.Stack()))
	if a.status == 0 {
		WriteError(a, fmt.Errorf("panic: %v", v))
	}
}

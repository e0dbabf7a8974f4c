package socket

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// Reader reads records: what a *datastream.Engine does.
type Reader interface {
	Stream(name string) (datastream.Stream, error)
	Shards(name string, f datastream.ShardFilter) ([]datastream.Shard, error)
	Seek(name string, shard uint32, s datastream.Start) (datastream.Cursor, error)
	Read(ctx context.Context, name string, c datastream.Cursor, limit, maxBytes int) (datastream.Batch, error)
	Wait(ctx context.Context, name string, c datastream.Cursor) error
}

// Writer takes records: what a *datastream.Engine does.
type Writer interface {
	Put(ctx context.Context, name string, puts []datastream.Put, o datastream.PutOptions) ([]datastream.PutResult, error)
}

// Engine is the streams.
type Engine interface {
	Reader
	Writer
}

// Access decides who may do what; its errors are [*web.Error].
type Access interface {
	Stream(r *http.Request, a ingest.Action, name fragments.StreamName) error
}

// Options are the parts behind the socket and its bounds. Engine and Access are
// required.
type Options struct {
	Engine Engine
	Access Access
	// Open says that no credentials are needed: then the pages of other origins
	// are held off, as by package web.
	Open bool
	// Origins are pages that may do everything, as "https://example.org".
	Origins []string
	// MaxConns is how many clients there may be at once; default 1000. Others are
	// refused.
	MaxConns int
	// Window is how many bytes may be on their way to a client; default 1 MiB.
	Window int
	// Patience is how long a client may take nothing; default 30 s.
	Patience time.Duration
	Log      *slog.Logger // default slog.Default()
}

// Bounds of one connection.
const (
	maxShards    = 1024      // read at once; more need shard=
	batchRecords = 500       // of one message
	batchBytes   = 256 << 10 // of their data; one record may be larger
	maxMessage   = 16 << 20  // of a client: 10 MiB of data in base64, and room
	freeMessage  = 64 << 10  // of a client; larger ones wait for one of largeSlots
	largeSlots   = 8
	maxPuts      = 500
	maxPutBytes  = 10 << 20

	retryAfter  = 200 * time.Millisecond
	upgradeTime = 10 * time.Second
)

// pace is how often things are done that tests do more often.
type pace struct {
	ping time.Duration
	gone time.Duration // without a sign of life
	ask  time.Duration // for the rights
	bye  time.Duration // to say why, and to hear the answer to a close
}

// Handler serves the WebSockets. It is an http.Handler for the route of
// [Handler.Routes].
type Handler struct {
	o        Options
	pace     pace
	upgrader websocket.Upgrader
	fence    *fence
	large    chan struct{} // a place for each large message being read
	ctx      context.Context
	stop     context.CancelCauseFunc

	mu      sync.Mutex // guards the fields below
	conns   map[*conn]struct{}
	opening int
	closing bool
	wg      sync.WaitGroup // a connection each
}

// New returns the handler of /ws/streams/{name}.
func New(o Options) (*Handler, error) {
	if o.Engine == nil || o.Access == nil {
		return nil, errors.New("socket: Engine and Access are required")
	}
	if o.MaxConns == 0 {
		o.MaxConns = 1000
	}
	if o.Window == 0 {
		o.Window = 1 << 20
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	f, err := newFence(o.Open, o.Origins)
	if err != nil {
		return nil, err
	}
	h := &Handler{o: o, pace: pace{ping: 20 * time.Second, gone: time.Minute, ask: time.Minute, bye: 2 * time.Second}, fence: f, large: make(chan struct{}, largeSlots), conns: map[*conn]struct{}{}}
	h.ctx, h.stop = context.WithCancelCause(context.Background())
	h.upgrader = websocket.Upgrader{
		HandshakeTimeout: upgradeTime, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, WriteBufferPool: &sync.Pool{},
		CheckOrigin: func(*http.Request) bool { return true }, // the fence has looked
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			web.WriteError(w, &web.Error{Status: status, Code: "no_websocket", Message: "this is a WebSocket: " + reason.Error(), Hint: "use a WebSocket client, or kineweir tail"})
		},
	}
	return h, nil
}

// Routes returns the route of the sockets.
func (h *Handler) Routes() []web.Route {
	return []web.Route{{Pattern: "GET /ws/streams/{name}", Kind: web.API, Handler: h}}
}

// ServeHTTP answers one client, until it or the server ends.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.enter(); err != nil {
		web.WriteError(w, err)
		return
	}
	defer h.leave()
	c, err := h.prepare(r)
	if err != nil {
		web.WriteError(w, asWebError(err))
		return
	}
	ws, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	c.ws = ws
	if !h.add(c) {
		_ = ws.Close()
		return
	}
	defer h.remove(c)
	c.run(h.ctx)
}

// enter counts a client in, or refuses it.
func (h *Handler) enter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closing:
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "closing", Message: "the server is stopping", RetryAfter: 5}
	case h.opening >= h.o.MaxConns:
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "too_many", Message: "too many WebSockets are open", Hint: "try again later, or read several shards over one", RetryAfter: 10}
	}
	h.opening++
	h.wg.Add(1)
	return nil
}

func (h *Handler) leave() {
	h.mu.Lock()
	h.opening--
	h.mu.Unlock()
	h.wg.Done()
}

func (h *Handler) add(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closing {
		h.conns[c] = struct{}{}
	}
	return !h.closing
}

func (h *Handler) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
}

// Close tells all clients that the server stops and returns when they are gone.
// When ctx ends first, their connections are cut.
func (h *Handler) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	h.stop(errStopping)
	gone := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	for c := range h.conns {
		_ = c.ws.NetConn().Close()
	}
	h.mu.Unlock()
	<-gone
	return context.Cause(ctx)
}

// prepare finds out what a request asks for, whether it may, and where it
// begins.
func (h *Handler) prepare(r *http.Request) (*conn, error) {
	name := r.PathValue("name")
	if err := checkName(name); err != nil {
		return nil, err
	}
	ask, err := parseAsk(r.URL.Query())
	if err != nil {
		return nil, err
	}
	page, readOnly, err := h.fence.look(r)
	if err != nil {
		return nil, err
	}
	c := &conn{h: h, request: page, readOnly: readOnly, name: name, ask: ask, turn: make(chan struct{}, 1), deaf: make(chan struct{}), window: newWindow(h.o.Window, h.o.Patience, ask.credit)}
	if err := c.askRights(); err != nil {
		return nil, err
	}
	if c.stream, err = h.o.Engine.Stream(name); err != nil {
		return nil, err
	}
	if ask.from != fromNone {
		c.place, err = begin(h.o.Engine, c.stream, ask)
	}
	return c, err
}

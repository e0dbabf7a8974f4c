package whip

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// Connection is somebody's peer connection: made, its handlers set, the remote
// description not. If it also has LeftOut() []string, that is told to the client.
type Connection interface {
	PeerConnection() *webrtc.PeerConnection
	// Done is closed when the connection has ended from its own side.
	Done() <-chan struct{}
	// Err says why; nil before Done, and after an orderly end.
	Err() error
	// Close ends the connection and waits; twice is fine.
	Close(reason error)
}

// Who is behind a request.
type Who struct {
	User   string // "" for nobody in particular
	Remote string // address and port of the HTTP client
}

// OpenFunc makes a connection for an offer. An [*web.Error] of it is the answer;
// any other error is a failure of this server.
type OpenFunc func(ctx context.Context, name fragments.StreamName, offer string, w Who) (Connection, error)

// Options configure a [Handler]. Zero durations and counts are the defaults.
type Options struct {
	Publish OpenFunc // nil: no WHIP
	View    OpenFunc // nil: no WHEP
	Access  Access   // nil: anybody may do anything
	// ICEServers are told to clients; it is asked for each, so that it can make
	// credentials that end soon. nil: none.
	ICEServers func() []webrtc.ICEServer
	// Resolve looks up a name of multicast DNS that a client told instead of its
	// address; nil: such candidates are of no use. It ends with its context.
	Resolve func(ctx context.Context, name string) (netip.Addr, error)
	Log     *slog.Logger // nil: nothing is logged
	Now     func() time.Time

	// ConnectTimeout is how long a connection may take to be made, and how long
	// one that is lost is waited for. Default 20 s.
	ConnectTimeout time.Duration
	// GatherTimeout bounds how long an answer waits for candidates that STUN and
	// TURN servers have to tell; those of this machine are there at once.
	// Default 2 s.
	GatherTimeout time.Duration
	// Remember is how long the report of a session is kept after its end. Default
	// 2 minutes, for 1000 sessions at most: beyond that the oldest are forgotten.
	Remember time.Duration
	// MaxSessions is how many may be open at once, publishers and viewers
	// together; more get 503. Default 2000.
	MaxSessions int
	// MaxCandidates is how many a client may send in an ICE session; others are
	// dropped. Each costs a check per own candidate. Default 64.
	MaxCandidates int
}

func (o *Options) fill() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, d := range []struct {
		of   *time.Duration
		then time.Duration
	}{{&o.ConnectTimeout, 20 * time.Second}, {&o.GatherTimeout, 2 * time.Second}, {&o.Remember, 2 * time.Minute}} {
		if *d.of <= 0 {
			*d.of = d.then
		}
	}
	for _, n := range []struct {
		of   *int
		then int
	}{{&o.MaxSessions, 2000}, {&o.MaxCandidates, 64}} {
		if *n.of <= 0 {
			*n.of = n.then
		}
	}
}

// maxRemembered bounds the reports of ended sessions.
const maxRemembered = 1000

// protocol is WHIP or WHEP: the same but for who sends.
type protocol struct {
	name      string // "whip", "whep": the folder of its URLs
	action    ingest.Action
	open      OpenFunc
	direction string // of an offer's media, besides sendrecv
	wants     string // a hint with the same in words
}

// Handler serves WHIP and WHEP.
type Handler struct {
	o         Options
	protocols []*protocol
	closing   chan struct{}
	wg        sync.WaitGroup // the supervisors of sessions, and openings under way

	mu       sync.Mutex // guards the fields below
	closed   bool
	sessions map[string]*session // by id
	ended    []*session          // oldest first; they are in sessions too
	opening  int                 // sessions that have a place but no entry yet
	stats    [2]Stats            // by protocol
}

// New returns a Handler for the routes of this package.
func New(o Options) (*Handler, error) {
	if o.Publish == nil && o.View == nil {
		return nil, errors.New("whip: options need Publish or View")
	}
	o.fill()
	h := &Handler{o: o, closing: make(chan struct{}), sessions: map[string]*session{}}
	for _, p := range []*protocol{
		{"whip", ingest.Publish, o.Publish, "sendonly", "a publisher offers audio or video as sendonly"},
		{"whep", ingest.View, o.View, "recvonly", "a viewer offers audio or video as recvonly"},
	} {
		if p.open != nil {
			h.protocols = append(h.protocols, p)
		}
	}
	return h, nil
}

// Routes returns the lines of the table of routes.
func (h *Handler) Routes() []web.Route {
	var routes []web.Route
	for _, p := range h.protocols {
		endpoint, resource := "/"+p.name+"/{stream}", "/"+p.name+"/{stream}/{session}"
		for _, r := range []struct {
			pattern string
			serve   func(http.ResponseWriter, *http.Request, *protocol) error
		}{
			{"POST " + endpoint, h.post},
			{"OPTIONS " + endpoint, h.options},
			{"GET " + endpoint, h.nothing},
			{"PATCH " + resource, h.patch},
			{"DELETE " + resource, h.delete},
			{"OPTIONS " + resource, h.sessionOptions},
			{"GET " + resource, h.get},
		} {
			routes = append(routes, web.Route{Pattern: r.pattern, Kind: web.Signal, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if err := r.serve(w, q, p); err != nil {
					web.WriteError(w, err)
				}
			})})
		}
	}
	return routes
}

// Close ends all sessions and waits. New ones get 503.
func (h *Handler) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.closing)
	}
	h.mu.Unlock()
	h.wg.Wait()
}

// Stats are figures of one protocol since the start.
type Stats struct {
	Protocol   string // "whip", "whep"
	Open       int    // sessions now
	Opened     uint64 // sessions that got an answer
	Refused    uint64 // offers that got none
	Connected  uint64 // sessions that came to be connected
	Restarts   uint64 // ICE restarts
	Candidates uint64 // candidates that clients sent
	// Failed counts sessions that were never connected or were lost, by cause.
	Failed [causes]uint64
}

// Stats returns the figures of each protocol that is served.
func (h *Handler) Stats() []Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Stats
	for _, p := range h.protocols {
		s := *h.count(p)
		s.Protocol = p.name
		all = append(all, s)
	}
	return all
}

// count returns the figures of p; the caller holds h.mu.
func (h *Handler) count(p *protocol) *Stats {
	if p.name == "whip" {
		return &h.stats[0]
	}
	return &h.stats[1]
}

func (h *Handler) counted(p *protocol, f func(*Stats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h.count(p))
}

// reserve takes a place for a session; release gives one back that was not
// used.
func (h *Handler) reserve() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "stopping", RetryAfter: 5, Message: "the server is stopping", Hint: "try again in a moment"}
	case len(h.sessions)-len(h.ended)+h.opening >= h.o.MaxSessions:
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "too_many_sessions", RetryAfter: 10, Message: "as many WebRTC sessions are open as this server takes", Hint: "try again later"}
	}
	h.opening++
	h.wg.Add(1)
	return nil
}

func (h *Handler) release() {
	h.mu.Lock()
	h.opening--
	h.mu.Unlock()
	h.wg.Done()
}

// enter makes an opening a session that is supervised.
func (h *Handler) enter(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opening--
	h.sessions[s.id] = s
	st := h.count(s.p)
	st.Opened++
	st.Open++
	go func() { // its place in wg is that of the opening
		defer h.wg.Done()
		s.supervise()
	}()
}

// leave keeps the report of an ended session for a while.
func (h *Handler) leave(s *session, c cause) {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.count(s.p)
	st.Open--
	if c != causeNone {
		st.Failed[c]++
	}
	s = s.remains()
	h.sessions[s.id] = s
	h.ended = append(h.ended, s)
	h.forget()
}

// forget drops what has been remembered long enough; the caller holds h.mu.
func (h *Handler) forget() {
	old := h.o.Now().Add(-h.o.Remember)
	n := 0
	for n < len(h.ended) && (len(h.ended)-n > maxRemembered || h.ended[n].endedAt.Before(old)) {
		delete(h.sessions, h.ended[n].id)
		n++
	}
	h.ended = append(h.ended[:0:0], h.ended[n:]...)
}

// find returns the session that r names, for who may have it.
func (h *Handler) find(r *http.Request, p *protocol) (*session, error) {
	name, err := streamOf(r)
	if err != nil {
		return nil, err
	}
	if err := h.allow(r, p.action, name); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.forget()
	s := h.sessions[r.PathValue("session")]
	h.mu.Unlock()
	if s == nil || s.stream != name || s.p != p {
		return nil, &web.Error{Status: http.StatusNotFound, Code: "no_such_session", Message: "there is no such session", Hint: "it ended some minutes ago, or before this server started"}
	}
	return s, nil
}

func streamOf(r *http.Request) (fragments.StreamName, error) {
	name, err := fragments.ParseStreamName(r.PathValue("stream"))
	if err != nil {
		return "", &web.Error{Status: http.StatusBadRequest, Code: "bad_stream_name", Message: err.Error()}
	}
	return name, nil
}

package whip

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

// session is one publisher or viewer, from its answer until its report is
// forgotten.
type session struct {
	h       *Handler
	p       *protocol
	id      string
	stream  fragments.StreamName
	who     Who
	conn    Connection
	pc      *webrtc.PeerConnection
	offer   string // without its candidates
	mid     string // of the one transport
	leftOut []string
	started time.Time
	stop    chan error    // why it should end; one is enough
	over    chan struct{} // closed when it has ended
	ctx     context.Context
	cancel  context.CancelFunc // of ctx, when it ends
	endedAt time.Time          // set before the session is in Handler.ended

	mu         sync.Mutex  // guards the exchange and the fields below
	etag       string      // of the ICE session (RFC 9725 section 4.3.1)
	ufrag, pwd string      // of the client in this ICE session
	generation int         // how many restarts there were
	remote     []candidate // that the client sent in this ICE session
	names      int         // of them that were looked up in this ICE session
	report     Report      // final once over is closed

	last *sample // of the supervisor alone
}

func newSession(h *Handler, p *protocol, name fragments.StreamName, w Who, conn Connection) *session {
	s := &session{
		h: h, p: p, id: newID(), stream: name, who: w, conn: conn, pc: conn.PeerConnection(), started: h.o.Now(),
		stop: make(chan error, 1), over: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if l, ok := conn.(interface{ LeftOut() []string }); ok {
		s.leftOut = l.LeftOut()
	}
	return s
}

func (s *session) attrs(more ...any) []any {
	a := []any{"protocol", s.p.name, "stream", string(s.stream), "session", s.id, "remote", s.who.Remote}
	if s.who.User != "" {
		a = append(a, "user", s.who.User)
	}
	return append(a, more...)
}

var (
	errStopping = errors.New("the server is stopping")
	errDeleted  = errors.New("the client ended it")
	errClosed   = errors.New("the client closed the connection")
)

// How often a session is looked at: while it is being connected, and later. The
// handlers of a peer connection, of which there is one each, belong to who made
// it, so its state has to be asked for.
const (
	pollConnecting = 100 * time.Millisecond
	pollConnected  = time.Second
)

// supervise waits for the end of the session, and ends it when it is not
// connected for too long.
func (s *session) supervise() {
	poll := time.NewTimer(pollConnecting)
	defer poll.Stop()
	w := watch{down: time.Now()}
	for {
		select {
		case why := <-s.stop:
			s.end(why, &w)
			return
		case <-s.conn.Done():
			s.end(s.conn.Err(), &w)
			return
		case <-s.h.closing:
			s.end(errStopping, &w)
			return
		case <-poll.C:
			wait, why := s.look(&w)
			if why != nil {
				s.end(why, &w)
				return
			}
			poll.Reset(wait)
		}
	}
}

// watch is what the supervisor remembers.
type watch struct {
	connected bool      // has been, ever
	down      time.Time // since when it is not; zero when it is
	sampled   time.Time
}

// look looks at the state of the connection; why is not nil when it is to end.
func (s *session) look(w *watch) (wait time.Duration, why error) {
	now := time.Now()
	switch s.pc.ConnectionState() {
	case webrtc.PeerConnectionStateConnected:
		if !w.connected {
			w.connected = true
			s.connected(now)
		}
		w.down = time.Time{}
		return pollConnected, nil
	case webrtc.PeerConnectionStateClosed:
		// Whoever made the connection closes Done for this too, and may know more.
		select {
		case <-s.conn.Done():
			return 0, errors.Join(s.conn.Err(), errClosed)
		case <-time.After(time.Second):
			return 0, errClosed
		}
	}
	if w.down.IsZero() {
		w.down = now
	}
	if now.Sub(w.sampled) >= time.Second {
		w.sampled = now
		s.sample()
	}
	if now.Sub(w.down) >= s.h.o.ConnectTimeout {
		s.sample()
		return 0, &notConnectedError{after: now.Sub(w.down).Round(time.Second), lost: w.connected}
	}
	return pollConnecting, nil
}

func (s *session) connected(now time.Time) {
	s.h.counted(s.p, func(st *Stats) { st.Connected++ })
	x := s.sample()
	s.h.o.Log.Info("webrtc session connected", s.attrs("pair", x.chosen(), "took", s.h.o.Now().Sub(s.started).Round(time.Millisecond))...)
}

// sample keeps what the candidates and pairs are now, for when there is no more
// connection to be asked. It is not called on a connection that is being closed:
// the library's statistics are not safe for that (v4.2.26: GetStats reads what
// close writes).
func (s *session) sample() *sample {
	if x := takeSample(s.pc); x.tells() || s.last == nil {
		s.last = x
	}
	return s.last
}

// end closes the connection and leaves the report behind.
func (s *session) end(why error, w *watch) {
	x := s.last
	if x == nil {
		x = &sample{}
	}
	s.cancel()
	s.conn.Close(reasonOf(why))
	s.mu.Lock()
	x.resolves = s.h.o.Resolve != nil
	s.report = s.describe(x)
	c := s.report.conclude(why, x, s.remote, w.connected)
	ended := s.h.o.Now() // of its own: the report outlives the session
	s.endedAt, s.report.Ended = ended, &ended
	r := s.report
	s.mu.Unlock()
	attrs := s.attrs("lasted", s.endedAt.Sub(s.started).Round(time.Millisecond))
	if c != causeNone {
		s.h.o.Log.Warn("webrtc session failed", append(attrs, "error", r.Error, "hint", r.Hint, "pairs", r.pairTexts())...)
	} else {
		if why != nil {
			attrs = append(attrs, "reason", why)
		}
		s.h.o.Log.Info("webrtc session ended", attrs...)
	}
	s.h.leave(s, c)
	close(s.over)
}

// remains is what is remembered of a session that has ended: its report, without
// the connection, which is large.
func (s *session) remains() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := make(chan struct{})
	close(over)
	return &session{
		h: s.h, p: s.p, id: s.id, stream: s.stream, who: s.who, leftOut: s.leftOut, started: s.started, endedAt: s.endedAt,
		over: over, etag: s.etag, report: s.report,
	}
}

// reasonOf is what the maker of the connection is told: nothing when all went as
// the client wanted.
func reasonOf(why error) error {
	if errors.Is(why, errDeleted) || errors.Is(why, errClosed) {
		return nil
	}
	return why
}

// finish asks the session to end and waits until it has.
func (s *session) finish(why error) {
	select {
	case s.stop <- why:
	default: // it has been asked
	}
	<-s.over
}

package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/depacketize"
)

// Session is where the access units of one publisher go; *[ingest.Session] is one.
type Session interface {
	depacketize.Session
	// OnKeyRequest sets how a key frame is asked for by those who watch.
	OnKeyRequest(f func())
}

// PublishFunc opens a session, as [ingest.Sessions.Publish] does: kicked is called
// once, from another goroutine, when somebody else takes the stream over.
type PublishFunc = func(name fragments.StreamName, tracks []*fragments.Track, src ingest.Source, kicked func(reason error)) (Session, error)

// PublishTo publishes to s.
func PublishTo(s *ingest.Sessions) PublishFunc {
	return func(name fragments.StreamName, tracks []*fragments.Track, src ingest.Source, kicked func(reason error)) (Session, error) {
		session, err := s.Publish(name, tracks, src, kicked)
		if err != nil {
			return nil, err // not a nil *ingest.Session in an interface
		}
		return session, nil
	}
}

// Options configure a [Server]. Publish is required.
type Options struct {
	// Publish opens the session of a publisher once its media flow, so that one
	// that never connects ends nobody's stream.
	Publish PublishFunc
	// Engine has the sockets, addresses and loggers that all connections share.
	Engine     webrtc.SettingEngine
	ICEServers []webrtc.ICEServer
	// StartBitRate is the bits per second that a browser is told to begin with; it
	// finds within a second or two how much its way really carries. 0: its own
	// habit, which is little.
	StartBitRate int
	// KeyInterval is the time between key frames that are asked for when none
	// comes by itself, so that fragments close; default 2 s.
	KeyInterval time.Duration
	// MaxClockSkew is how far the clock of a publisher may be from ours without a
	// word in the log; default 10 s.
	MaxClockSkew time.Duration
	// ConnectTimeout ends a publisher whose media never come; default 30 s.
	ConnectTimeout time.Duration
	// GoneTimeout ends one whose connection is interrupted; until then it may find
	// another way (an ICE restart). Default 15 s.
	GoneTimeout time.Duration
	// StallTimeout ends one that is connected and sends nothing; default 30 s.
	StallTimeout time.Duration
	Log          *slog.Logger
	Now          func() time.Time
}

func (o *Options) defaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.KeyInterval, 2*time.Second)
	def(&o.MaxClockSkew, 10*time.Second)
	def(&o.ConnectTimeout, 30*time.Second)
	def(&o.GoneTimeout, 15*time.Second)
	def(&o.StallTimeout, 30*time.Second)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Server owns the connections of all WebRTC publishers.
type Server struct {
	o Options

	mu     sync.Mutex // guards the fields below
	closed bool
	conns  map[*Connection]struct{}
}

// New returns a server without connections.
func New(o Options) (*Server, error) {
	if o.Publish == nil {
		return nil, errors.New("peer: no Publish")
	}
	o.defaults()
	return &Server{o: o, conns: map[*Connection]struct{}{}}, nil
}

// Open makes the connection of a publisher whose offer can be taken; else the
// error is a *[RefusedError]. The offer is not applied: the caller sets it on the
// peer connection and sends the answer. The connection ends by itself when
// nothing comes of it. ctx bounds the making alone.
func (s *Server) Open(ctx context.Context, name fragments.StreamName, offer string, src ingest.Source) (*Connection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := readOffer(offer)
	if err != nil {
		return nil, err
	}
	c, err := newConnection(s, name, src, p)
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", name, err)
	}
	s.mu.Lock()
	closed := s.closed
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	go c.run()
	if closed {
		c.Close(ingest.ErrClosed)
		return nil, ingest.ErrClosed
	}
	return c, nil
}

func (s *Server) forget(c *Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Close ends all connections and refuses new ones. It returns when their sessions
// are closed.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	var wg sync.WaitGroup
	for c := range s.conns {
		wg.Go(func() { c.Close(ingest.ErrClosed) })
	}
	s.mu.Unlock()
	wg.Wait()
}

package viewer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// Waker starts the publisher of a stream that is published on demand.
type Waker interface {
	// Wake returns when the stream is live, or at once for a stream it does not
	// know.
	Wake(ctx context.Context, name fragments.StreamName) error
}

// Options of a Server.
type Options struct {
	Hub        *live.Hub            // needed
	Waker      Waker                // nil: no stream is on demand
	Engine     webrtc.SettingEngine // muxes, addresses, loggers
	ICEServers []webrtc.ICEServer
	MaxViewers int // at once; 0: no bound
	Log        *slog.Logger
	Now        func() time.Time // default time.Now
}

// paramsWait is how long a viewer waits for a stream that has just begun to tell
// its parameters.
const paramsWait = 3 * time.Second

// errClosed is returned by Open once Close was called.
var errClosed = errors.New("the server of viewers is closed")

// Server knows the viewers and the feeds of the streams they watch. Its methods
// may be called concurrently.
type Server struct {
	o        Options
	patience time.Duration // with publishers that have gone

	mu     sync.Mutex // guards the fields below
	feeds  map[fragments.StreamName]*feed
	conns  map[*Connection]struct{}
	joins  int64    // viewers there were, by now
	past   counters // of viewers that have gone
	closed bool
}

// New returns a server without viewers.
func New(o Options) (*Server, error) {
	if o.Hub == nil {
		return nil, errors.New("viewer options need a hub")
	}
	if o.MaxViewers < 0 {
		return nil, fmt.Errorf("viewer options: at most %d viewers: it must not be negative", o.MaxViewers)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	// AES-GCM costs a third of what AES-CM with HMAC-SHA1 does where the
	// processor knows AES, and 128 bits less than 256; all browsers offer both.
	o.Engine.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	return &Server{o: o, patience: returnWait, feeds: map[fragments.StreamName]*feed{}, conns: map[*Connection]struct{}{}}, nil
}

// wakeTimeout is how long a camera on demand may take until it is live.
const wakeTimeout = 10 * time.Second

// Open makes a peer connection that will show the live stream name to the sender
// of offer; who is for the log. The caller sets the remote description, answers
// and closes it. Errors: live.ErrNotLive (with that of the Waker), ErrTooMany,
// *RefusedError.
func (s *Server) Open(ctx context.Context, name fragments.StreamName, offer, who string) (*Connection, error) {
	o, err := parseOffer(offer)
	if err != nil {
		return nil, err
	}
	if s.o.Waker != nil {
		waking, cancel := context.WithTimeout(ctx, wakeTimeout)
		err := s.o.Waker.Wake(waking, name)
		cancel()
		if err != nil {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("wake stream %s: %w", name, ctx.Err())
			}
			return nil, fmt.Errorf("stream %s: %w and could not be started: %w", name, live.ErrNotLive, err)
		}
	}
	if _, err := s.o.Hub.Live(name); err != nil {
		return nil, err
	}
	c := newConnection(s, name, who)
	if err := s.enter(c); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, c, o); err != nil {
		s.leave(c)
		c.cancel()
		close(c.done)
		return nil, err
	}
	s.mu.Lock()
	s.joins++
	s.mu.Unlock()
	c.log.Info("viewer opened", "left_out", c.LeftOut())
	c.start()
	return c, nil
}

// prepare waits for what the stream is made of and makes the peer connection.
func (s *Server) prepare(ctx context.Context, c *Connection, o *offer) error {
	timer := time.NewTimer(paramsWait)
	defer timer.Stop()
	select {
	case <-c.feed.ready:
	case <-timer.C: // as it is
	case <-c.feed.done:
		if err := c.feed.edge().err; !errors.Is(err, live.ErrEnded) {
			return err
		}
		return fmt.Errorf("stream %s: %w", c.name, live.ErrNotLive)
	case <-c.ctx.Done():
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for the parameters of stream %s: %w", c.name, ctx.Err())
	}
	tracks, others := c.feed.chosen()
	legs, left, err := negotiate(o, tracks, others)
	if err != nil {
		return err
	}
	c.legs, c.left = legs, left
	return c.connect(s.o.Engine, s.o.ICEServers)
}

// enter registers a viewer at the feed of its stream.
func (s *Server) enter(c *Connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errClosed
	case s.o.MaxViewers > 0 && len(s.conns) >= s.o.MaxViewers:
		return ErrTooMany
	}
	f := s.feeds[c.name]
	if f == nil || !f.join(c) {
		// None, or one that has ended and whose viewers are about to leave it.
		f = newFeed(s, c.name)
		s.feeds[c.name] = f
		f.join(c)
	}
	c.feed = f
	s.conns[c] = struct{}{}
	return nil
}

// leave takes a viewer out, and ends its feed with the last one.
func (s *Server) leave(c *Connection) {
	s.mu.Lock()
	delete(s.conns, c)
	s.past.add(c.count.load())
	last := c.feed.leave(c) == 0
	if last && s.feeds[c.name] == c.feed {
		delete(s.feeds, c.name)
	}
	s.mu.Unlock()
	if last {
		c.feed.cancel()
		<-c.feed.done
	}
}

// Close ends all viewers and waits for them. Open fails from then on.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	var all []*Connection
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { c.Close(errors.New("the server stops")) })
	}
	wg.Wait()
}

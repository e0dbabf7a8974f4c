package viewer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

const (
	// upWait bounds the time from Open until media can flow.
	upWait = 60 * time.Second
	// failWait is how long a connection that ICE has given up may be restarted.
	failWait = 15 * time.Second
)

// Connection is one viewer. Its methods may be called concurrently.
type Connection struct {
	server *Server
	name   fragments.StreamName
	log    *slog.Logger
	feed   *feed
	pc     *webrtc.PeerConnection
	legs   []*leg
	left   []string
	count  liveCounters

	ctx    context.Context // ends the goroutines of the viewer
	cancel context.CancelFunc
	ready  chan struct{} // holds a token when there is something to do
	done   chan struct{} // closed when all goroutines have ended
	tasks  sync.WaitGroup
	inbox  inbox

	pos       int64 // in the feed, of the next unit; of the sending goroutine alone
	audioFrom int64 // position of the first audio unit that is sent
	catching  bool  // behind the live edge on purpose
	burst     int   // packets since the last pause
	link      link

	mu     sync.Mutex // guards the fields below
	dtls   webrtc.DTLSTransportState
	ice    webrtc.ICETransportState
	closed bool
	reason error // given to Close, or why the viewer ended itself
	err    error // what Err returns; set before done is closed
}

func newConnection(s *Server, name fragments.StreamName, who string) *Connection {
	ctx, cancel := context.WithCancel(context.Background())
	return &Connection{
		server: s, name: name, log: s.o.Log.With("stream", name, "viewer", who),
		ctx: ctx, cancel: cancel, ready: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// PeerConnection returns the peer connection, its tracks added and its remote
// description not yet set. The handlers of its transports are taken, its own are
// free.
func (c *Connection) PeerConnection() *webrtc.PeerConnection { return c.pc }

// Done is closed when the viewer has ended and nothing of it remains.
func (c *Connection) Done() <-chan struct{} { return c.done }

// Err returns why the viewer ended: nil before Done and after Close(nil).
func (c *Connection) Err() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// LeftOut returns what the viewer does not get, each with its reason, as text
// for people.
func (c *Connection) LeftOut() []string {
	left := slices.Clone(c.left)
	if text := c.feed.leftOut(); text != "" && c.leg(fragments.KindVideo) != nil {
		left = append(left, text)
	}
	return left
}

// Close ends the viewer for the given reason and waits. Only the first reason
// counts.
func (c *Connection) Close(reason error) {
	c.end(reason)
	<-c.done
}

// end makes the goroutines stop.
func (c *Connection) end(reason error) {
	c.mu.Lock()
	if !c.closed {
		c.closed, c.reason = true, reason
	}
	c.mu.Unlock()
	c.cancel()
}

// start runs the viewer.
func (c *Connection) start() {
	dtls := c.legs[0].sender.Transport()
	dtls.OnStateChange(func(s webrtc.DTLSTransportState) {
		c.mu.Lock()
		c.dtls = s
		c.mu.Unlock()
		c.wake()
	})
	dtls.ICETransport().OnConnectionStateChange(func(s webrtc.ICETransportState) {
		c.mu.Lock()
		c.ice = s
		c.mu.Unlock()
		c.wake()
	})
	for _, l := range c.legs {
		c.tasks.Go(func() { c.listen(l) })
	}
	go c.run()
}

// run is the life of a viewer; it owns everything else of it.
func (c *Connection) run() {
	err := c.watch()
	c.mu.Lock()
	if c.closed {
		err = c.reason
	}
	c.closed, c.err = true, err
	c.mu.Unlock()
	c.cancel()
	if e := c.pc.GracefulClose(); e != nil {
		c.log.Debug("peer connection closed", "error", e)
	}
	c.tasks.Wait()
	c.server.leave(c)
	c.log.Info("viewer ended", "reason", err)
	close(c.done)
}

// watch sends media once the connection is up, until something ends it.
func (c *Connection) watch() error {
	setUp := time.NewTimer(upWait)
	defer setUp.Stop()
	for {
		switch dtls, _ := c.states(); dtls {
		case webrtc.DTLSTransportStateConnected:
			return c.play()
		case webrtc.DTLSTransportStateFailed, webrtc.DTLSTransportStateClosed:
			return fmt.Errorf("the encryption handshake has ended: %s", dtls)
		}
		select {
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-setUp.C:
			return errors.New("no connection came about: see the candidate pairs, and whether UDP or TCP gets through")
		case <-c.ready:
		}
		if err := c.feed.edge().err; err != nil {
			return err
		}
	}
}

// states returns the states of the transports.
func (c *Connection) states() (webrtc.DTLSTransportState, webrtc.ICETransportState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dtls, c.ice
}

// wake tells the goroutine of the viewer that there is something to do.
func (c *Connection) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/depacketize"
)

// Reasons why a connection ended.
var (
	errNeverCame = errors.New("no media have come")
	errGone      = errors.New("the publisher is gone: its connection is interrupted")
	errStalled   = errors.New("no media for too long")
)

// Connection is one publisher. It ends when it is closed, when its peer is gone
// or when somebody else takes the stream over.
type Connection struct {
	s    *Server
	name fragments.StreamName
	src  ingest.Source
	log  *slog.Logger
	plan *plan
	pc   *webrtc.PeerConnection
	rx   *depacketize.Receiver

	opened time.Time
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	wake   chan struct{}  // holds a token when there may be something to ask for
	tracks sync.WaitGroup // readers of tracks and of their reports
	ended  chan struct{}  // closed when all is done

	keyAsked atomic.Bool // by a viewer

	endMu sync.Mutex // guards the fields below; nothing is waited for under it
	done  bool
	err   error

	mu          sync.Mutex // guards the fields below; the lock of rx may be taken under it
	sources     []*source
	holding     bool      // the session is not open yet
	interrupted time.Time // since when the connection is; zero: it is not

	estimate estimate // of run alone
}

// source is a media section that sends, or a track that none announced.
type source struct {
	id     int
	kind   webrtc.RTPCodecType
	rids   []string
	layers []*layer
	wanted *layer // the layer selected; nil: none yet
}

func newConnection(s *Server, name fragments.StreamName, src ingest.Source, p *plan) (*Connection, error) {
	api, err := newAPI(p, s.o.Engine)
	if err != nil {
		return nil, err
	}
	c := &Connection{
		s: s, name: name, src: src, plan: p,
		log:    s.o.Log.With("stream", string(name), "remote", src.Remote),
		opened: s.o.Now(), holding: true, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		estimate: estimate{rate: max(float64(s.o.StartBitRate), leastRate)},
	}
	for _, sec := range p.sections {
		c.sources = append(c.sources, &source{id: sec.id, kind: sec.kind, rids: sec.rids})
	}
	c.rx = depacketize.New(depacketize.Options{Log: c.log, Now: s.o.Now, MaxSkew: s.o.MaxClockSkew, Open: c.publish, Wary: true})
	c.rx.Hold()
	if c.pc, err = api.NewPeerConnection(webrtc.Configuration{ICEServers: s.o.ICEServers}); err != nil {
		return nil, err
	}
	if err := p.prefer(c.pc, s.o.StartBitRate); err != nil {
		_ = c.pc.Close()
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.pc.OnTrack(c.onTrack)
	c.pc.OnConnectionStateChange(c.onState)
	c.pc.OnDataChannel(func(d *webrtc.DataChannel) {
		c.log.Debug("data channel closed: a publisher has no use for one", "label", d.Label())
		d.OnOpen(func() { _ = d.Close() })
	})
	if len(p.refused) > 0 {
		c.log.Warn("tracks refused", "formats", p.refused, "known", known)
	}
	return c, nil
}

// PeerConnection returns the peer connection. Its remote description is not set
// yet; its handlers of tracks, states and data channels are ours.
func (c *Connection) PeerConnection() *webrtc.PeerConnection { return c.pc }

// LeftOut returns what of the offer is not taken, with its reason, for people.
func (c *Connection) LeftOut() (list []string) {
	for _, f := range c.plan.refused {
		list = append(list, f+": not known; known are "+known)
	}
	if c.plan.simulcast && c.plan.undeclared {
		// The library finds packets without a=ssrc by payload type or by layer, and
		// does only the latter where there are layers.
		list = append(list, "what has neither layers (a=rid) nor an SSRC (a=ssrc), beside what has layers")
	}
	if c.plan.data {
		list = append(list, "data channels: a publisher has no use for one")
	}
	return list
}

// Done is closed when the connection ends.
func (c *Connection) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns why the connection has ended; nil before, and when it ended in good
// order.
func (c *Connection) Err() error {
	c.endMu.Lock()
	defer c.endMu.Unlock()
	return c.err
}

// Close ends the connection for a reason, nil when the publisher said good-bye,
// and returns when its session is closed. Closing twice is fine.
func (c *Connection) Close(reason error) {
	c.end(reason)
	<-c.ended
}

// end makes run end everything. It never waits.
func (c *Connection) end(reason error) {
	c.endMu.Lock()
	defer c.endMu.Unlock()
	if c.done {
		return
	}
	c.done, c.err = true, reason
	c.cancel()
}

// publish opens the session, with the lock of the receiver held.
func (c *Connection) publish(tracks []*fragments.Track) (depacketize.Session, error) {
	session, err := c.s.o.Publish(c.name, tracks, c.src, c.end)
	if err != nil {
		return nil, err
	}
	session.OnKeyRequest(func() {
		c.keyAsked.Store(true)
		c.nudge()
	})
	return session, nil
}

// nudge makes run look at once.
func (c *Connection) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// onState follows the state of ICE and DTLS. An interrupted connection may come
// back, or find another way by an ICE restart.
func (c *Connection) onState(s webrtc.PeerConnectionState) {
	c.log.Debug("connection", "state", s.String())
	switch s {
	case webrtc.PeerConnectionStateClosed:
		c.end(nil) // the other side has closed DTLS: good-bye
		return
	case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed:
		c.mu.Lock()
		if c.interrupted.IsZero() {
			c.interrupted = c.s.o.Now()
		}
		c.mu.Unlock()
	case webrtc.PeerConnectionStateConnected:
		c.mu.Lock()
		c.interrupted = time.Time{}
		c.mu.Unlock()
	}
	c.nudge()
}

// How often run looks: soon, while the session is not open.
const (
	startTick = 50 * time.Millisecond
	tick      = 250 * time.Millisecond
)

// run decides until the connection ends, and then takes it down.
func (c *Connection) run() {
	timer := time.NewTicker(startTick)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.wake:
		case <-c.ctx.Done():
			c.takeDown()
			return
		}
		now := c.s.o.Now()
		if err := c.failure(now); err != nil {
			c.end(err)
			continue
		}
		c.choose(now)
		if c.ready(now) {
			c.rx.Release()
			timer.Reset(tick)
		}
		c.askKeys(now)
		if c.plan.remb {
			c.tellRate(now)
		}
	}
}

// failure returns why the connection has to end.
func (c *Connection) failure(now time.Time) error {
	live, err := c.rx.Live()
	if err != nil {
		return err
	}
	c.mu.Lock()
	interrupted, heard := c.interrupted, c.heardLocked()
	c.mu.Unlock()
	switch {
	case !interrupted.IsZero() && now.Sub(interrupted) > c.s.o.GoneTimeout:
		return errGone
	case heard.IsZero() && now.Sub(c.opened) > c.s.o.ConnectTimeout:
		return fmt.Errorf("%w (connection %s)", errNeverCame, c.pc.ConnectionState())
	case !heard.IsZero() && now.Sub(heard) > c.s.o.StallTimeout:
		return errStalled
	case !live && !heard.IsZero() && now.Sub(c.opened) > c.s.o.ConnectTimeout+c.s.o.StallTimeout:
		return fmt.Errorf("%w that can be decoded", errNeverCame)
	}
	return nil
}

// heardLocked is when the latest packet of any track came.
func (c *Connection) heardLocked() (latest time.Time) {
	for _, src := range c.sources {
		for _, l := range src.layers {
			if l.heard.After(latest) {
				latest = l.heard
			}
		}
	}
	return latest
}

// takeDown ends the session first, which may be waited for by somebody who takes
// the stream over, and then the connection.
func (c *Connection) takeDown() {
	defer close(c.ended)
	defer c.s.forget(c)
	c.rx.Close(c.Err())
	if err := c.pc.GracefulClose(); err != nil {
		c.log.Debug("close", "error", err)
	}
	c.tracks.Wait()
}

// send sends RTCP; what cannot be sent is sent again by whoever needs it.
func (c *Connection) send(pkts ...rtcp.Packet) {
	if err := c.pc.WriteRTCP(pkts); err != nil {
		c.log.Debug("feedback not sent", "error", err)
	}
}

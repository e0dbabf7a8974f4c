package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest/depacketize"
)

// maxRedirects bounds how often a camera may send us elsewhere.
const maxRedirects = 4

// connection is one connection to a camera, from dialling to its end.
type connection struct {
	p        *puller
	client   *gortsplib.Client
	udp      bool
	receiver *receiver
	body     []byte // the session description
	kicked   chan error
	sockets  sockets
}

// outcome is how far a connection came.
type outcome uint8

const (
	unreached outcome = iota
	described         // the camera has told what it sends
	lived             // frames have come
)

// connect pulls the camera until the connection ends.
func (p *puller) connect(ctx context.Context, transport Transport) (outcome, error) {
	u, err := parseURL(p.camera.URL)
	if err != nil {
		return unreached, fmt.Errorf("%w: %w", ErrCamera, err)
	}
	c := &connection{p: p, udp: transport == UDP, kicked: make(chan error, 1)}
	c.client = c.newClient(transport, u)
	if err := c.client.Start2(); err != nil {
		return unreached, err
	}
	defer c.sockets.close() // what the library may have forgotten
	defer c.client.Close()
	// The library's own limits are per answer; a camera that dribbles, or sends us
	// from one place to the next, is ended as a whole.
	var slow atomic.Bool
	timer := time.AfterFunc(p.o.Connect, func() { slow.Store(true); c.client.Close() })
	stop := context.AfterFunc(ctx, c.client.Close)
	defer stop()
	err = c.play(u)
	timer.Stop()
	if slow.Load() {
		err = errConnect
	}
	if err == nil {
		err = c.watch(ctx)
	}
	if c.receiver == nil {
		return unreached, err
	}
	c.receiver.Close(err)
	if live, _ := c.receiver.Live(); live {
		return lived, err
	}
	return described, err
}

func (c *connection) newClient(transport Transport, u *base.URL) *gortsplib.Client {
	o := c.p.o
	t := gortsplib.TransportTCP
	if transport == UDP {
		t = gortsplib.TransportUDP
	}
	redirects := 0
	var asked base.Method // the latest request
	return &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, Transport: &t, UserAgent: userAgent,
		// The library looks at the socket; what counts are the frames, for which watch looks.
		ReadTimeout: 2 * max(o.Stall, o.Connect), WriteTimeout: o.Connect,
		AnyPortEnable: true, DialContext: c.sockets.dial, ListenPacket: c.sockets.listen,
		// Cameras have certificates that they made themselves: the connection is
		// secret, the camera is who answers at its address.
		TLSConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
		OnRequest: func(req *base.Request) { asked = req.Method },
		OnResponse: func(res *base.Response) {
			if asked == base.Options && res.StatusCode >= 400 && res.StatusCode != base.StatusUnauthorized {
				res.StatusCode = base.StatusOK // a camera that does not know OPTIONS may know the rest
			}
			if res.StatusCode >= 300 && res.StatusCode < 400 {
				if redirects++; redirects > maxRedirects {
					delete(res.Header, "Location")
					res.StatusMessage = errRedirects.Error()
				}
			}
			if isDescription(res) {
				res.Body = repairDescription(res.Body)
				c.body = res.Body
			}
		},
		OnDecodeError:     func(error) {}, // the receiver counts for itself
		OnPacketsLost:     func(uint64) {},
		OnTransportSwitch: func(error) {},
	}
}

func isDescription(res *base.Response) bool {
	ct := res.Header["Content-Type"]
	return len(ct) == 1 && strings.HasPrefix(ct[0], "application/sdp")
}

// play makes the camera send.
func (c *connection) play(u *base.URL) error {
	desc, _, err := c.client.Describe(u)
	if err != nil {
		return fmt.Errorf("describe: %w", plainer(err))
	}
	remote := u.Host
	r, err := newReceiver(receiverOptions{
		Description: desc, Body: c.body, Log: c.p.log, MaxSkew: c.p.o.MaxSkew,
		Open: func(tracks []*fragments.Track) (Session, error) {
			return c.p.publish(tracks, remote, func(reason error) { c.kicked <- reason })
		},
	})
	if err != nil {
		return err
	}
	c.receiver = r
	for _, t := range r.tracks {
		if err := c.setup(desc.BaseURL, t); err != nil {
			return fmt.Errorf("setup of %s: %w", depacketize.Name(t.format), plainer(err))
		}
	}
	if _, err := c.client.Play(nil); err != nil {
		return fmt.Errorf("play: %w", plainer(err))
	}
	return nil
}

func (c *connection) setup(baseURL *base.URL, t receiverTrack) error {
	if _, err := c.client.Setup(baseURL, t.media, 0, 0); err != nil {
		if refusesTransport(err) {
			err = fmt.Errorf("%w: %w", errTransport, err)
		}
		return err
	}
	c.client.OnPacketRTP(t.media, t.format, t.onRTP)
	c.client.OnPacketRTCP(t.media, t.onRTCP)
	return nil
}

// watch waits for the end of a connection that plays.
func (c *connection) watch(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- c.client.Wait() }()
	defer func() { c.client.Close(); <-ended }()
	tick := time.NewTicker(max(min(c.p.o.Stall, c.p.o.Unheard, 4*time.Second)/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- err // for the deferred wait
			return plainer(err)
		case reason := <-c.kicked:
			return reason
		case <-ctx.Done():
			return errRemoved
		case <-tick.C:
		}
		if _, err := c.receiver.Live(); err != nil {
			return err
		}
		d := c.receiver.Idle()
		if c.udp && d > c.p.o.Unheard && c.client.Stats().Session.BytesReceived == 0 {
			return errUnheard
		}
		if d > c.p.o.Stall {
			return fmt.Errorf("%w for %v", errNoFrames, d.Round(time.Second/10))
		}
		if c.p.camera.OnDemand && !c.p.inDemand() {
			return errIdle
		}
	}
}

func refusesTransport(err error) bool {
	var status liberrors.ErrClientBadStatusCode
	return errors.As(err, &status) && status.Code == base.StatusUnsupportedTransport ||
		errors.As(err, &liberrors.ErrClientServerRequestedUDP{}) || errors.As(err, &liberrors.ErrClientServerRequestedTCP{})
}

// plainer words the errors that people see most.
func plainer(err error) error {
	var status liberrors.ErrClientBadStatusCode
	if errors.As(err, &status) {
		switch status.Code {
		case base.StatusUnauthorized, base.StatusForbidden:
			return fmt.Errorf("the camera refuses user and password (%d): %w", status.Code, err)
		case base.StatusNotFound:
			return fmt.Errorf("the camera knows no stream of this path (404): %w", err)
		}
	}
	return err
}

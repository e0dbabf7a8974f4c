package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

// pull is one attempt at receiving one camera: from connecting until it fails.
type pull struct {
	url      *base.URL
	udp      bool
	insecure bool
	log      *slog.Logger
	now      func() time.Time
	timeout  time.Duration // for each answer
	stall    time.Duration // without an access unit
	unheard  time.Duration // without any packet over UDP, before TCP is tried
	maxSkew  time.Duration
	open     func(tracks []*fragments.Track) (Session, error) // at the first access unit
	check    func() error                                     // called now and then; an error ends the attempt

	client    *gortsplib.Client
	rx        *receiver
	body      []byte      // of the description
	asked     base.Method // the latest request
	redirects int
	sockets   sockets
	answer    *time.Timer // closes the client when an answer is late
	late      atomic.Bool // it did
	begun     atomic.Bool // all answers have come
}

// Reasons why an attempt ends that decide what is done next.
var (
	errNoUDP    = errors.New("nothing comes over UDP")
	errNeedUDP  = errors.New("camera refuses TCP")
	errSilent   = errors.New("no frame for too long")
	errNoAnswer = errors.New("camera does not answer")
	errLogin    = errors.New("camera refuses user or password")
)

// run receives until the camera fails or ctx ends; the error is never nil.
func (p *pull) run(ctx context.Context) error {
	transport := gortsplib.TransportTCP
	if p.udp {
		transport = gortsplib.TransportUDP
	}
	p.client = &gortsplib.Client{
		Scheme: p.url.Scheme, Host: p.url.Host, Transport: &transport,
		TLSConfig: &tls.Config{InsecureSkipVerify: p.insecure}, // cameras have certificates of their own making: the user says which are trusted
		// The library looks at the socket; what counts are the frames, for which watch looks.
		ReadTimeout: 2 * max(p.timeout, p.stall), WriteTimeout: p.timeout, UserAgent: userAgent,
		AnyPortEnable: true, DialContext: p.sockets.dial, ListenPacket: p.sockets.listen,
		OnRequest:  p.request,
		OnResponse: p.response, OnTransportSwitch: func(error) {}, OnPacketsLost: func(uint64) {},
		OnDecodeError: func(err error) {
			if p.rx != nil {
				p.rx.warn.add("packet not read", 1, err)
			}
		},
	}
	if err := p.client.Start2(); err != nil {
		return err
	}
	// Ending ctx ends the client, and with it whatever request it is waiting for.
	stop := context.AfterFunc(ctx, p.client.Close)
	defer p.sockets.close() // the library forgets some
	defer p.client.Close()
	defer stop()
	p.answer = time.AfterFunc(p.timeout, func() {
		p.late.Store(true)
		p.client.Close()
	})
	defer p.answer.Stop()
	err := p.begin()
	p.begun.Store(true)
	switch {
	case p.late.Load() || !p.answer.Stop():
		err = fmt.Errorf("%w for %v", errNoAnswer, p.timeout)
	case err == nil:
		err = p.watch(ctx)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if p.rx != nil {
		p.client.Close()
		p.rx.close(err)
	}
	return err
}

// begin gets the camera to send.
func (p *pull) begin() error {
	desc, _, err := p.client.Describe(p.url)
	if err != nil {
		return explain(err)
	}
	rx, err := newReceiver(receiverOptions{
		Description: desc, Body: p.body, Log: p.log, Now: p.now, MaxSkew: p.maxSkew, Open: p.open,
	})
	if err != nil {
		return err
	}
	for _, t := range rx.tracks {
		if _, err := p.client.Setup(desc.BaseURL, t.media, 0, 0); err != nil {
			if !p.udp && refusesTCP(err) {
				return fmt.Errorf("%w: %w", errNeedUDP, err)
			}
			if p.udp && refusesUDP(err) {
				return fmt.Errorf("%w: %w", errNoUDP, err)
			}
			return explain(err)
		}
	}
	p.rx = rx
	for _, t := range rx.tracks {
		p.client.OnPacketRTP(t.media, t.format, func(pkt *rtp.Packet) { rx.packet(t, pkt) })
		p.client.OnPacketRTCP(t.media, func(pkt rtcp.Packet) { rx.reports(t.media, pkt) })
	}
	if _, err := p.client.Play(nil); err != nil {
		return explain(err)
	}
	return nil
}

// watch waits for the end. It looks at frames: a socket on which something moves
// says nothing.
func (p *pull) watch(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- p.client.Wait() }() // ends with the client, which run closes
	tick := time.NewTicker(max(min(p.stall, p.unheard)/20, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return explain(err)
		case <-tick.C:
		}
		if err := errors.Join(p.rx.failed(), p.check()); err != nil {
			return err
		}
		idle := p.rx.idle()
		switch {
		case p.udp && idle > p.unheard && p.client.Stats().Session.BytesReceived == 0:
			return errNoUDP
		case idle > p.stall:
			return fmt.Errorf("%w (%v)", errSilent, p.stall)
		}
	}
}

func (p *pull) request(req *base.Request) {
	p.asked = req.Method
	if !p.begun.Load() {
		p.answer.Reset(p.timeout)
	}
}

// response mends what the library makes of answers: it follows redirects for
// ever, refuses descriptions for one bad line, and can be made to panic by one.
func (p *pull) response(res *base.Response) {
	const maxRedirects = 5
	if p.asked == base.Options && res.StatusCode > base.StatusUseProxy && res.StatusCode != base.StatusUnauthorized {
		res.StatusCode = base.StatusOK // a camera that does not know OPTIONS may know the rest
	}
	if res.StatusCode >= base.StatusMovedPermanently && res.StatusCode <= base.StatusUseProxy {
		if p.redirects++; p.redirects > maxRedirects {
			res.StatusCode, res.StatusMessage = base.StatusBadRequest, "redirected too often"
		}
	}
	if len(res.Header["Content-Type"]) > 0 && len(res.Body) > 0 {
		if body := repairDescription(res.Body); body != nil {
			res.Body, p.body = body, body
		} else {
			res.Body = nil
		}
	}
}

// explain puts the errors of cameras into words.
func explain(err error) error {
	var status liberrors.ErrClientBadStatusCode
	switch {
	case errors.As(err, &status) && (status.Code == base.StatusUnauthorized || status.Code == base.StatusForbidden):
		return fmt.Errorf("%w: %d %s", errLogin, status.Code, status.Message)
	case errors.As(err, &status):
		return fmt.Errorf("camera answers %d %s", status.Code, status.Message)
	}
	return err
}

func refusesTCP(err error) bool {
	var status liberrors.ErrClientBadStatusCode
	return errors.As(err, &status) && status.Code == base.StatusUnsupportedTransport ||
		errors.As(err, &liberrors.ErrClientServerRequestedUDP{})
}

func refusesUDP(err error) bool {
	var status liberrors.ErrClientBadStatusCode
	return errors.As(err, &status) && status.Code == base.StatusUnsupportedTransport ||
		errors.As(err, &liberrors.ErrClientServerRequestedTCP{})
}

// sockets keeps account of what the library opens.
type sockets struct {
	mu     sync.Mutex // guards the fields below
	local  net.IP     // our side of the connection
	opened []net.PacketConn
}

func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local = c.LocalAddr().(*net.TCPAddr).IP
	return c, nil
}

// listen binds to the address that the camera sees, not to all.
func (s *sockets) listen(network, address string) (net.PacketConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" && s.local != nil {
		address = net.JoinHostPort(s.local.String(), port)
	}
	c, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	if u, ok := c.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(udpReadBuffer) // more than the system allows is not an error here
	}
	s.opened = append(s.opened, c)
	return c, nil
}

func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.opened {
		_ = c.Close()
	}
	s.opened = nil
}

package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// puller keeps the connection to one camera.
type puller struct {
	o      *CamerasOptions
	camera Camera
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}
	wanted chan struct{} // holds a token when somebody has asked for the stream

	mu       sync.Mutex // guards the fields below
	status   CameraStatus
	lastWant time.Time
	waiting  int           // calls of demand under way
	attempt  chan struct{} // closed when an attempt has failed, then renewed
}

// Reasons why a connection ended.
var (
	errNoFrames  = errors.New("no frame has come")
	errIdle      = errors.New("nobody watches")
	errConnect   = errors.New("the camera takes too long to answer")
	errRemoved   = errors.New("the camera was removed or changed")
	errUnheard   = errors.New("nothing comes over UDP")
	errTransport = errors.New("the camera refuses the transport")
	errRedirects = errors.New("the camera sends us in a circle")
)

func startPuller(o *CamerasOptions, cam Camera) *puller {
	ctx, cancel := context.WithCancel(context.Background())
	p := &puller{
		o: o, camera: cam, log: o.Logger.With("camera", string(cam.Name)),
		cancel: cancel, done: make(chan struct{}), wanted: make(chan struct{}, 1), attempt: make(chan struct{}),
		status: CameraStatus{Camera: cam, State: StateConnecting, Since: time.Now()},
	}
	go p.run(ctx)
	return p
}

func (p *puller) stop() {
	p.cancel()
	<-p.done
}

// Status returns how the camera does.
func (p *puller) Status() CameraStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

func (p *puller) enter(s State, change func(*CameraStatus)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.State != s {
		p.status.State, p.status.Since = s, time.Now()
	}
	p.status.Next = time.Time{}
	if change != nil {
		change(&p.status)
	}
}

func (p *puller) run(ctx context.Context) {
	defer close(p.done)
	transport := TCP
	if p.camera.Transport == UDP {
		transport = UDP
	}
	failures := 0
	changed := false // the transport, since the latest pause
	for ctx.Err() == nil {
		if !p.awaitDemand(ctx) || !p.awaitTurn(ctx) {
			return
		}
		p.enter(StateConnecting, func(s *CameraStatus) { s.Using = transport })
		far, err := p.connect(ctx, transport)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errIdle):
			failures = 0
			continue
		case far != lived && !changed && p.mayChange(err):
			p.log.Info("camera: changing the transport", "from", transport, "reason", err)
			transport, changed = other(transport), true
			continue
		case far == lived:
			failures = 0
		case far == described && p.camera.Transport != TCP:
			// It answers and gives no frame: the other way may be all it knows.
			transport = other(transport)
		}
		failures++
		pause := jittered(p.o, failures)
		p.failed(err, failures, pause)
		p.log.Warn("camera lost", "error", err, "retry_in", pause.Round(time.Millisecond), "failures", failures, "transport", transport)
		if !sleep(ctx, pause) {
			return
		}
		changed = false
	}
}

// mayChange reports whether the other transport is worth a try at once.
func (p *puller) mayChange(err error) bool {
	return p.camera.Transport != TCP && (errors.Is(err, errUnheard) || errors.Is(err, errTransport))
}

func other(t Transport) Transport {
	if t == TCP {
		return UDP
	}
	return TCP
}

func (p *puller) failed(err error, failures int, pause time.Duration) {
	p.enter(StateWaiting, func(s *CameraStatus) {
		s.Err, s.Retries, s.Next = err, failures, time.Now().Add(pause)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.attempt)
	p.attempt = make(chan struct{})
}

// awaitDemand waits until an on-demand camera is asked for.
func (p *puller) awaitDemand(ctx context.Context) bool {
	if !p.camera.OnDemand || p.inDemand() {
		return ctx.Err() == nil
	}
	p.enter(StateIdle, nil)
	for !p.inDemand() {
		select {
		case <-p.wanted:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// awaitTurn waits while somebody else publishes under the name: a publisher
// that has taken the stream over keeps it.
func (p *puller) awaitTurn(ctx context.Context) bool {
	for {
		if _, err := p.o.Hub.Live(p.camera.Name); err != nil {
			return ctx.Err() == nil
		}
		if s := p.Status(); s.State != StateWaiting || !errors.Is(s.Err, ingest.ErrReplaced) {
			p.enter(StateWaiting, func(s *CameraStatus) { s.Err = ingest.ErrReplaced })
		}
		if !sleep(ctx, p.o.MinBackoff) {
			return false
		}
	}
}

// inDemand reports whether somebody watches, or has asked to a moment ago.
func (p *puller) inDemand() bool {
	p.mu.Lock()
	recent := p.waiting > 0 || time.Since(p.lastWant) < p.o.IdleStop
	p.mu.Unlock()
	if recent {
		return true
	}
	pub, err := p.o.Hub.Live(p.camera.Name)
	return err == nil && pub.Subscribers() > 0
}

// demand asks for the stream and waits until it is live.
func (p *puller) demand(ctx context.Context) error {
	p.mu.Lock()
	p.lastWant = time.Now()
	p.waiting++
	attempt := p.attempt
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting--
		p.lastWant = time.Now()
		p.mu.Unlock()
	}()
	select {
	case p.wanted <- struct{}{}:
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		select {
		case <-attempt:
			cancel(fmt.Errorf("camera %s: %w", p.camera.Name, p.Status().Err))
		case <-p.done:
			cancel(fmt.Errorf("camera %s: %w", p.camera.Name, errRemoved))
		case <-ctx.Done():
		}
	}()
	_, err := p.o.Hub.Wait(ctx, p.camera.Name)
	if err != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	<-failed
	return err
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// publish opens the session of a connection: the camera is live.
func (p *puller) publish(tracks []*fragments.Track, remote string, kicked func(error)) (Session, error) {
	s, err := p.o.Publish(p.camera.Name, tracks, ingest.Source{Protocol: "rtsp-pull", Remote: remote}, kicked)
	if err == nil {
		p.enter(StateLive, func(st *CameraStatus) { st.Err, st.Retries = nil, 0 })
	}
	return s, err
}

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

// State is what a camera is doing.
type State string

// The states.
const (
	Idle       State = "idle"       // on demand, and nobody watches
	Connecting State = "connecting" // no frame yet
	Live       State = "live"
	Waiting    State = "waiting" // to try again
)

// Status tells how a camera is.
type Status struct {
	Name      fragments.StreamName `json:"name"`
	URL       string               `json:"url"` // without password
	Transport Transport            `json:"transport"`
	OnDemand  bool                 `json:"on_demand"`
	State     State                `json:"state"`
	Since     time.Time            `json:"since"`           // when it came into this state
	Using     Transport            `json:"using,omitempty"` // tcp or udp; "" before the first try
	Error     string               `json:"error,omitempty"` // of the latest try that failed; kept when the next one does not
	ErrorAt   time.Time            `json:"error_at,omitzero"`
	Retries   int                  `json:"retries"`           // failures since it was last live for some time
	NextTry   time.Time            `json:"next_try,omitzero"` // while waiting
}

// camera pulls one camera for ever.
type camera struct {
	o      *CamerasOptions
	name   fragments.StreamName
	config Camera
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended
	called chan struct{} // holds a token when somebody wants the camera now

	mu       sync.Mutex // guards the fields below
	status   Status
	failures uint64        // ever
	wanted   time.Time     // until then it is to be live though nobody watches yet
	changed  chan struct{} // closed at every change of status
}

func startCamera(ctx context.Context, o *CamerasOptions, name fragments.StreamName, config Camera) *camera {
	ctx, cancel := context.WithCancel(ctx)
	c := &camera{
		o: o, name: name, config: config, log: o.Log.With("camera", name), cancel: cancel,
		done: make(chan struct{}), called: make(chan struct{}, 1), changed: make(chan struct{}),
		status: Status{
			Name: name, URL: redacted(config.URL), Transport: config.Transport, OnDemand: config.OnDemand,
			State: Connecting, Since: o.Now(),
		},
	}
	if c.status.Transport == "" {
		c.status.Transport = Auto
	}
	if config.OnDemand {
		c.status.State = Idle
	}
	go func() {
		defer close(c.done)
		c.run(ctx)
	}()
	return c
}

func (c *camera) stop() {
	c.cancel()
	<-c.done
}

// Reasons why an attempt ends although the camera did nothing wrong.
var (
	errUnwatched = errors.New("nobody watches")
	errKicked    = errors.New("another publisher has taken the stream")
)

// run tries until ctx ends.
func (c *camera) run(ctx context.Context) {
	udp := c.config.Transport == UDP
	switched := false // transports, since the latest pause
	for ctx.Err() == nil {
		if c.config.OnDemand && !c.isWanted() {
			c.update(func(s *Status) { s.State, s.Retries, s.NextTry = Idle, 0, time.Time{} })
			select {
			case <-ctx.Done():
			case <-c.called:
			}
			continue
		}
		lived, err := c.attempt(ctx, udp)
		if ctx.Err() != nil {
			return
		}
		next := udp
		switch {
		case errors.Is(err, errUnwatched):
			continue
		case errors.Is(err, errNoUDP):
			next = false
		case errors.Is(err, errNeedUDP):
			next = c.config.Transport != TCP
		}
		if next != udp && !switched { // each is tried once before a pause
			c.log.Info("camera: changing the transport", "udp", next, "reason", err)
			udp, switched = next, true
			continue
		}
		c.pause(ctx, lived, err)
		switched = false
	}
}

// attempt receives until the camera fails, and returns for how long it was live.
func (c *camera) attempt(ctx context.Context, udp bool) (lived time.Duration, err error) {
	using := TCP
	if udp {
		using = UDP
	}
	c.update(func(s *Status) { s.State, s.Using, s.NextTry = Connecting, using, time.Time{} })
	u, err := parseURL(c.config.URL)
	if err != nil {
		return 0, err // Validate has seen it
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var began time.Time // written before the first access unit, read after the end
	p := &pull{
		url: u, udp: udp, insecure: c.config.Insecure, log: c.log, now: c.o.Now,
		timeout: c.o.Timeout, stall: c.o.StallTimeout, unheard: c.o.UDPTimeout, maxSkew: c.o.MaxClockSkew,
		check: c.check,
		open: func(tracks []*fragments.Track) (Session, error) {
			src := ingest.Source{Protocol: "rtsp-pull", Remote: u.Host, User: u.User.Username()}
			session, err := c.o.Publish(c.name, tracks, src, func(reason error) {
				cancel(fmt.Errorf("%w: %w", errKicked, reason))
			})
			if err == nil {
				began = c.o.Now()
				c.update(func(s *Status) { s.State = Live })
				c.log.Info("camera is live", "transport", using, "tracks", trackNames(tracks))
			}
			return session, err
		},
	}
	err = p.run(ctx)
	if !began.IsZero() {
		lived = c.o.Now().Sub(began)
	}
	return lived, err
}

// check ends a camera on demand that nobody watches.
func (c *camera) check() error {
	if !c.config.OnDemand {
		return nil
	}
	if pub, err := c.o.Hub.Live(c.name); err == nil && pub.Subscribers() > 0 {
		c.want()
	}
	if !c.isWanted() {
		return errUnwatched
	}
	return nil
}

// pause waits before the next try. Somebody who wants a camera on demand ends the
// wait, but for its first moment.
func (c *camera) pause(ctx context.Context, lived time.Duration, err error) {
	now := c.o.Now()
	var delay time.Duration
	same := false
	c.update(func(s *Status) {
		if lived >= c.o.Stable {
			s.Retries = 0
		}
		delay = backoff(s.Retries, c.o.MinBackoff, c.o.MaxBackoff, c.o.Rand())
		same = s.Retries > 0 && s.Error == err.Error()
		s.State, s.NextTry = Waiting, now.Add(delay)
		s.Error, s.ErrorAt = err.Error(), now
		s.Retries++
		c.failures++
	})
	level := slog.LevelWarn
	if same {
		level = slog.LevelDebug // its count is in the status
	}
	c.log.Log(ctx, level, "camera failed", "error", err, "live_for", lived.Round(time.Millisecond), "next_try_in", delay.Round(time.Millisecond))
	if errors.Is(err, errKicked) {
		c.standBack(ctx)
	}
	if !sleep(ctx, min(delay, c.o.MinBackoff), nil) {
		return
	}
	called := c.called
	if !c.config.OnDemand {
		called = nil
	}
	sleep(ctx, delay-min(delay, c.o.MinBackoff), called)
}

// standBack waits until who has taken the stream over leaves it: else the two
// would take it from each other for ever.
func (c *camera) standBack(ctx context.Context) {
	for {
		if _, err := c.o.Hub.Live(c.name); err != nil || !sleep(ctx, c.o.MinBackoff, nil) {
			return
		}
	}
}

// sleep waits for d, or less when called; it reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration, called <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-called:
	}
	return true
}

// backoff returns the wait before the next try: it doubles from least to most,
// with jitter, so that cameras which failed together do not come back together.
func backoff(failures int, least, most time.Duration, random float64) time.Duration {
	d := most
	if failures < 30 {
		d = min(least<<failures, most)
	}
	d = time.Duration(float64(d) * (0.75 + random/2))
	return min(max(d, least), most)
}

// update changes the status and tells those who wait for it.
func (c *camera) update(change func(s *Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.status.State
	change(&c.status)
	if c.status.State != before {
		c.status.Since = c.o.Now()
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *camera) state() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

func (c *camera) want() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = c.o.Now().Add(c.o.IdleStop)
}

func (c *camera) isWanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.Now().Before(c.wanted)
}

// wake waits until the camera is live, a try fails, or ctx ends.
func (c *camera) wake(ctx context.Context) error {
	c.want()
	c.mu.Lock()
	failures := c.failures
	c.mu.Unlock()
	select {
	case c.called <- struct{}{}:
	default: // called already
	}
	for {
		c.mu.Lock()
		s, failed, changed := c.status, c.failures, c.changed
		c.mu.Unlock()
		switch {
		case s.State == Live:
			return nil
		case failed > failures:
			return fmt.Errorf("camera %s: %s", c.name, s.Error)
		}
		select {
		case <-changed:
		case <-c.done:
			return fmt.Errorf("camera %s: %w", c.name, ErrNoCamera)
		case <-ctx.Done():
			return fmt.Errorf("camera %s: %w", c.name, ctx.Err())
		}
	}
}

package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
)

var _ ingest.Waker = (*Cameras)(nil)

// Transport is how packets come from a camera.
type Transport string

// The transports. One that gives no frame is changed for the other, and back,
// at the next attempt, unless TCP alone is wanted.
const (
	Auto Transport = "auto" // TCP, in which nothing is lost, and UDP where the camera knows nothing else
	TCP  Transport = "tcp"
	UDP  Transport = "udp" // UDP, and TCP when nothing comes that way
)

// Camera is a source that is pulled.
type Camera struct {
	Name      fragments.StreamName
	URL       string    // rtsp:// or rtsps://, with user and password where the camera wants them
	Transport Transport // "" is auto
	// OnDemand connects only while somebody watches.
	OnDemand bool
}

// ErrCamera is wrapped by what is wrong with a Camera.
var ErrCamera = errors.New("camera cannot be used")

// Validate says what is wrong with c.
func (c Camera) Validate() error {
	if _, err := fragments.ParseStreamName(string(c.Name)); err != nil {
		return fmt.Errorf("%w: %w", ErrCamera, err)
	}
	if _, err := parseURL(c.URL); err != nil {
		return fmt.Errorf("%w: %w; write rtsp://user:password@host:554/path", ErrCamera, err)
	}
	switch c.Transport {
	case "", Auto, TCP, UDP:
		return nil
	}
	return fmt.Errorf("%w: transport %q; auto, tcp and udp are known", ErrCamera, c.Transport)
}

// State is what a camera's puller is doing.
type State string

// The states.
const (
	StateConnecting State = "connecting" // or connected, and no frame has come yet
	StateLive       State = "live"
	StateWaiting    State = "waiting" // to try again after an error
	StateIdle       State = "idle"    // on demand, and nobody watches
)

// CameraStatus is a camera and how it does.
type CameraStatus struct {
	Camera
	State   State
	Since   time.Time // of the state
	Err     error     // why it ended last; nil when it never did, or lives
	Using   Transport // tcp or udp, of the latest attempt; "" before the first
	Retries int       // attempts that failed in a row
	Next    time.Time // of the next attempt, while waiting
}

// CamerasOptions configure Cameras. Publish and Hub are required.
type CamerasOptions struct {
	Publish PublishFunc
	Hub     *live.Hub
	Logger  *slog.Logger
	// Stall is how long no frame may come before the connection is given up,
	// whatever else the camera sends; default 10 s.
	Stall time.Duration
	// Unheard is how long nothing at all may come over UDP before TCP is tried;
	// default 3 s.
	Unheard time.Duration
	// Connect bounds the time from dialling to PLAY; default 15 s.
	Connect time.Duration
	// IdleStop is how long an on-demand camera stays connected when nobody
	// watches any more; default 10 s.
	IdleStop time.Duration
	// MinBackoff and MaxBackoff bound the pause between attempts; defaults 1 s
	// and 60 s.
	MinBackoff, MaxBackoff time.Duration
	// MaxSkew is how far a camera's clock may be from ours before the log says so;
	// default 1 min.
	MaxSkew time.Duration
}

// Cameras pulls streams from cameras, each by a goroutine of its own that
// reconnects for ever. What one camera does touches no other.
type Cameras struct {
	o CamerasOptions

	changing sync.Mutex // held by Set, Delete and Close, which wait for connections to end

	mu      sync.Mutex // guards the fields below
	pullers map[fragments.StreamName]*puller
	closed  bool
}

// NewCameras returns Cameras without a camera.
func NewCameras(o CamerasOptions) *Cameras {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Stall, 10*time.Second)
	def(&o.Unheard, 3*time.Second)
	def(&o.Connect, 15*time.Second)
	def(&o.IdleStop, 10*time.Second)
	def(&o.MinBackoff, time.Second)
	def(&o.MaxBackoff, time.Minute)
	def(&o.MaxSkew, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Cameras{o: o, pullers: map[fragments.StreamName]*puller{}}
}

// Set adds a camera, or replaces the one of this name: its connection ends
// first. Setting what is set already changes nothing.
func (c *Cameras) Set(cam Camera) error {
	if err := cam.Validate(); err != nil {
		return err
	}
	if cam.Transport == "" {
		cam.Transport = Auto
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	if old := c.get(cam.Name); old != nil {
		if old.camera == cam {
			return nil
		}
		old.stop()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ingest.ErrClosed
	}
	c.pullers[cam.Name] = startPuller(&c.o, cam)
	return nil
}

func (c *Cameras) get(name fragments.StreamName) *puller {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pullers[name]
}

// Delete removes a camera and reports whether there was one. It returns when
// its connection has ended.
func (c *Cameras) Delete(name fragments.StreamName) bool {
	c.changing.Lock()
	defer c.changing.Unlock()
	p := c.get(name)
	if p == nil {
		return false
	}
	p.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pullers, name)
	return true
}

// List returns all cameras in order of name.
func (c *Cameras) List() []CameraStatus {
	c.mu.Lock()
	list := make([]CameraStatus, 0, len(c.pullers))
	for _, p := range c.pullers {
		list = append(list, p.Status())
	}
	c.mu.Unlock()
	slices.SortFunc(list, func(a, b CameraStatus) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

// Wake implements ingest.Waker: it connects to an on-demand camera and returns
// when it is live, or when an attempt has failed.
func (c *Cameras) Wake(ctx context.Context, name fragments.StreamName) error {
	p := c.get(name)
	if p == nil || !p.camera.OnDemand {
		return nil
	}
	return p.demand(ctx)
}

// Close ends all connections and waits for them.
func (c *Cameras) Close() {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.mu.Lock()
	c.closed = true
	pullers := c.pullers
	c.pullers = map[fragments.StreamName]*puller{}
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range pullers {
		wg.Go(p.stop)
	}
	wg.Wait()
}

// backoff returns the pause after the given number of failures in a row: it
// doubles from least to most, and varies by a quarter so that cameras that
// failed together do not come back together. random is in [0, 1).
func backoff(failures int, least, most time.Duration, random float64) time.Duration {
	d := least
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d += time.Duration(float64(d) * random / 4)
	if d >= most {
		d = most - time.Duration(float64(most)*random/4)
	}
	return max(d, least)
}

func jittered(o *CamerasOptions, failures int) time.Duration {
	return backoff(failures, o.MinBackoff, o.MaxBackoff, rand.Float64())
}

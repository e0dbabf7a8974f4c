package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// Transport is how packets come from a camera.
type Transport string

// The transports.
const (
	Auto Transport = "auto" // TCP, or UDP when the camera refuses TCP
	TCP  Transport = "tcp"
	UDP  Transport = "udp" // UDP, or TCP when nothing comes
)

// Camera says where a stream is pulled from.
type Camera struct {
	URL       string    `json:"url"` // rtsp:// or rtsps://, with user and password where needed
	Transport Transport `json:"transport,omitempty"`
	// OnDemand: connected only while somebody watches.
	OnDemand bool `json:"on_demand,omitempty"`
	// Insecure accepts any certificate of an rtsps camera; most make their own.
	Insecure bool `json:"insecure,omitempty"`
}

// Validate says what is wrong with c, without showing its password.
func (c Camera) Validate() error {
	if _, err := parseURL(c.URL); err != nil {
		return err
	}
	switch c.Transport {
	case "", Auto, TCP, UDP:
		return nil
	}
	return fmt.Errorf("transport %q: use auto, tcp or udp", c.Transport)
}

// Store keeps the cameras that were added at run time. Its methods are not called
// concurrently.
type Store interface {
	// Load returns what was last saved; nothing saved is no error.
	Load() (map[fragments.StreamName]Camera, error)
	// Save replaces what is kept. When it returns nil, a crash does not undo it.
	Save(cameras map[fragments.StreamName]Camera) error
}

// Errors of [Cameras].
var (
	ErrNoCamera    = errors.New("no such camera")
	ErrFixedCamera = errors.New("camera is set in the configuration file and is changed there")
)

// CamerasOptions say how cameras are pulled. Publish and Hub are needed.
type CamerasOptions struct {
	Publish PublishFunc
	Hub     *live.Hub                       // tells whether somebody watches
	Fixed   map[fragments.StreamName]Camera // of the configuration; never saved
	Store   Store                           // of those added at run time; nil: forgotten at the end
	Log     *slog.Logger                    // default slog.Default()

	Timeout      time.Duration // for each answer of a camera; default 10 s
	StallTimeout time.Duration // without a frame; default 10 s
	UDPTimeout   time.Duration // without any packet over UDP, before TCP is tried; default 3 s
	MinBackoff   time.Duration // before the first retry; default 1 s
	MaxBackoff   time.Duration // default 60 s
	Stable       time.Duration // live for as long, a camera is retried soon again; default 10 s
	IdleStop     time.Duration // a camera on demand that nobody watches is left; default 30 s
	MaxClockSkew time.Duration // a camera's clock that is further off is logged; default 1 min

	Now  func() time.Time // default time.Now
	Rand func() float64   // jitter, in [0, 1); default rand.Float64
}

func (o *CamerasOptions) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.Timeout, 10*time.Second)
	set(&o.StallTimeout, 10*time.Second)
	set(&o.UDPTimeout, 3*time.Second)
	set(&o.MinBackoff, time.Second)
	set(&o.MaxBackoff, time.Minute)
	set(&o.Stable, 10*time.Second)
	set(&o.IdleStop, 30*time.Second)
	set(&o.MaxClockSkew, time.Minute)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
}

// Cameras pulls streams from cameras, each by a goroutine of its own that
// reconnects for ever. Its methods may be called concurrently. It is an
// ingest.Waker for the cameras on demand.
type Cameras struct {
	o      CamerasOptions
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	changing sync.Mutex // held while the set of cameras changes and is saved

	mu      sync.Mutex // guards the field below
	cameras map[fragments.StreamName]*camera
}

// NewCameras starts to pull the fixed and the stored cameras. A fixed one hides a
// stored one of the same name.
func NewCameras(o CamerasOptions) (*Cameras, error) {
	o.defaults()
	if o.Publish == nil || o.Hub == nil {
		return nil, errors.New("cameras: need a PublishFunc and a Hub")
	}
	all := map[fragments.StreamName]Camera{}
	if o.Store != nil {
		stored, err := o.Store.Load()
		if err != nil {
			return nil, fmt.Errorf("cameras: load: %w", err)
		}
		maps.Copy(all, stored)
	}
	maps.Copy(all, o.Fixed)
	for name, c := range all {
		if err := c.Validate(); err != nil {
			return nil, fmt.Errorf("camera %s: %w", name, err)
		}
	}
	s := &Cameras{o: o, cameras: map[fragments.StreamName]*camera{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for name, c := range all {
		s.cameras[name] = startCamera(s.ctx, &s.o, name, c)
	}
	return s, nil
}

// Set adds a camera or changes one; setting what is set already does nothing. It
// returns when that is saved and the old connection has ended, not when the
// camera is live.
func (s *Cameras) Set(name fragments.StreamName, c Camera) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("camera %s: %w", name, err)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if _, fixed := s.o.Fixed[name]; fixed {
		return fmt.Errorf("camera %s: %w", name, ErrFixedCamera)
	}
	old := s.get(name)
	if old != nil && old.config == c {
		return nil
	}
	if err := s.save(func(m map[fragments.StreamName]Camera) { m[name] = c }); err != nil {
		return fmt.Errorf("camera %s: %w", name, err)
	}
	if old != nil {
		old.stop()
	}
	if s.ctx.Err() != nil {
		return fmt.Errorf("camera %s: %w", name, s.ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cameras[name] = startCamera(s.ctx, &s.o, name, c)
	return nil
}

// Delete removes a camera; the error is ErrNoCamera, ErrFixedCamera or that of
// the Store. What was recorded stays.
func (s *Cameras) Delete(name fragments.StreamName) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	c := s.get(name)
	if c == nil {
		return fmt.Errorf("camera %s: %w", name, ErrNoCamera)
	}
	if _, fixed := s.o.Fixed[name]; fixed {
		return fmt.Errorf("camera %s: %w", name, ErrFixedCamera)
	}
	if err := s.save(func(m map[fragments.StreamName]Camera) { delete(m, name) }); err != nil {
		return fmt.Errorf("camera %s: %w", name, err)
	}
	c.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cameras, name)
	return nil
}

// save stores the cameras that are not fixed, with a change.
func (s *Cameras) save(change func(m map[fragments.StreamName]Camera)) error {
	if s.o.Store == nil {
		return nil
	}
	m := map[fragments.StreamName]Camera{}
	s.mu.Lock()
	for name, c := range s.cameras {
		if _, fixed := s.o.Fixed[name]; !fixed {
			m[name] = c.config
		}
	}
	s.mu.Unlock()
	change(m)
	if err := s.o.Store.Save(m); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

func (s *Cameras) get(name fragments.StreamName) *camera {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cameras[name]
}

// Get returns a camera as it was set, password included.
func (s *Cameras) Get(name fragments.StreamName) (Camera, bool) {
	c := s.get(name)
	if c == nil {
		return Camera{}, false
	}
	return c.config, true
}

// Status returns how a camera is.
func (s *Cameras) Status(name fragments.StreamName) (Status, bool) {
	c := s.get(name)
	if c == nil {
		return Status{}, false
	}
	return c.state(), true
}

// List returns how all cameras are, in order of name.
func (s *Cameras) List() []Status {
	s.mu.Lock()
	list := make([]Status, 0, len(s.cameras))
	for _, name := range slices.Sorted(maps.Keys(s.cameras)) {
		list = append(list, s.cameras[name].state())
	}
	s.mu.Unlock()
	return list
}

// Wake implements ingest.Waker: it connects to a camera on demand.
func (s *Cameras) Wake(ctx context.Context, name fragments.StreamName) error {
	if c := s.get(name); c != nil && c.config.OnDemand {
		return c.wake(ctx)
	}
	return nil
}

// Close leaves all cameras and waits until everything has ended.
func (s *Cameras) Close() {
	s.cancel()
	s.changing.Lock()
	defer s.changing.Unlock()
	s.mu.Lock()
	list := slices.Collect(maps.Values(s.cameras))
	s.mu.Unlock()
	for _, c := range list {
		c.stop()
	}
}

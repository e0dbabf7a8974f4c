package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/image"
)

// Pictures decodes live streams; see image.Maker.
type Pictures interface {
	Watch(ctx context.Context, name fragments.StreamName, o image.WatchOptions) iter.Seq2[*image.Frame, error]
}

// Records takes what detectors say.
type Records interface {
	// Put returns once the record is durable.
	Put(ctx context.Context, stream, partitionKey string, data []byte) error
}

// Options of Detectors. Hub, Pictures, Records and Stream are needed.
type Options struct {
	Hub      *live.Hub
	Pictures Pictures
	Records  Records
	Stream   string // name of the data stream that events go to
	Log      *slog.Logger
}

// Settings say how one camera is watched. At least one of the detectors is on.
type Settings struct {
	Motion   *Motion   // nil: no motion detector
	External *External // nil: no detector outside
}

// Motion configures the motion detector. The zero value is good.
type Motion struct {
	Sensitivity int           // 1 to 100; default 50
	Zones       []Zone        // where motion counts; none: everywhere
	FPS         float64       // pictures a second while something moves; default 5
	Quiet       time.Duration // an event ends after so long without motion; default 3 s
}

// maxZones bounds the zones of a camera.
const maxZones = 32

func (m Motion) withDefaults() Motion {
	m.Sensitivity = cmp.Or(m.Sensitivity, 50)
	m.FPS = cmp.Or(m.FPS, 5)
	m.Quiet = cmp.Or(m.Quiet, 3*time.Second)
	return m
}

// Validate says what is wrong with a motion detector's settings.
func (m Motion) Validate() error {
	m = m.withDefaults()
	switch {
	case m.Sensitivity < 1 || m.Sensitivity > 100:
		return fmt.Errorf("sensitivity %d: write 1 (only what is plain) to 100 (whatever stirs)", m.Sensitivity)
	case !(m.FPS >= 1 && m.FPS <= 30):
		return fmt.Errorf("fps %v: write 1 to 30 pictures a second", m.FPS)
	case m.Quiet < 500*time.Millisecond || m.Quiet > time.Minute:
		return fmt.Errorf("quiet %v: write 500ms to 1m", m.Quiet)
	case len(m.Zones) > maxZones:
		return fmt.Errorf("%d zones are more than %d", len(m.Zones), maxZones)
	}
	for i, z := range m.Zones {
		if err := z.Validate(); err != nil {
			return fmt.Errorf("zone %d: %w", i+1, err)
		}
	}
	return nil
}

// Validate says what is wrong with the settings of a camera.
func (s Settings) Validate() error {
	if s.Motion != nil {
		if err := s.Motion.Validate(); err != nil {
			return fmt.Errorf("motion: %w", err)
		}
	}
	if s.External != nil {
		if err := s.External.Validate(); err != nil {
			return fmt.Errorf("detector: %w", err)
		}
	}
	return nil
}

// InForce returns the settings with the defaults in place of what is left out.
func (s Settings) InForce() Settings {
	if s.Motion != nil {
		m := s.Motion.withDefaults()
		s.Motion = &m
	}
	if s.External != nil {
		e := s.External.withDefaults()
		s.External = &e
	}
	return s
}

// Status is how a detector of a camera fares.
type Status struct {
	Camera fragments.StreamName
	Kind   string // "motion", or the name of the detector outside
	// State is "waiting" (nobody publishes), "idle" (the first stage watches),
	// "looking" (pictures are decoded) or "error" (it will be tried again).
	State    string
	Err      error // why, when the state is "error"; or why events cannot be told at the moment
	Pictures int64 // looked at
	Skipped  int64 // not looked at, for want of time
	Events   int64 // told
	Lost     int64 // not told: the data stream could not take them
	Wakes    int64 // of the second stage
	Restarts int64 // it failed, and was tried again
}

// Detectors watches cameras. Its methods may be called concurrently.
type Detectors struct {
	o   Options
	ctx context.Context
	end context.CancelFunc

	mu      sync.Mutex // guards the field below
	cameras map[fragments.StreamName]*camera
}

// camera is one that is watched.
type camera struct {
	stop     context.CancelFunc
	all      sync.WaitGroup
	watchers []*watcher
}

// New returns Detectors that watch nothing yet.
func New(o Options) (*Detectors, error) {
	if o.Hub == nil || o.Pictures == nil || o.Records == nil || o.Stream == "" {
		return nil, errors.New("detect options: Hub, Pictures, Records and Stream are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Detectors{o: o, cameras: map[fragments.StreamName]*camera{}}
	d.ctx, d.end = context.WithCancel(context.Background())
	return d, nil
}

// Set watches a camera as s says, from now on; with neither kind of detector it
// watches it no more.
func (d *Detectors) Set(name fragments.StreamName, s Settings) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("camera %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return errors.New("detectors are closed")
	}
	if old := d.cameras[name]; old != nil {
		old.close()
		delete(d.cameras, name)
	}
	if s.Motion == nil && s.External == nil {
		return nil
	}
	ctx, stop := context.WithCancel(d.ctx)
	c := &camera{stop: stop}
	add := func(kind string, look func(ctx context.Context, w *watcher) error, done func()) {
		w := &watcher{d: d, name: name, kind: kind, state: stateWaiting}
		c.watchers = append(c.watchers, w)
		c.all.Go(func() {
			defer done()
			w.run(ctx, look)
		})
	}
	if s.Motion != nil {
		m := s.Motion.withDefaults()
		add("motion", func(ctx context.Context, w *watcher) error { return watchMotion(ctx, w, m) }, func() {})
	}
	if s.External != nil {
		x := &externalWatch{e: s.External.withDefaults()}
		add(x.e.Name, x.watch, x.close)
	}
	d.cameras[name] = c
	return nil
}

func (c *camera) close() {
	c.stop()
	c.all.Wait()
}

// List returns how the detectors fare, by camera.
func (d *Detectors) List() []Status {
	d.mu.Lock()
	var list []Status
	for _, c := range d.cameras {
		for _, w := range c.watchers {
			list = append(list, w.status())
		}
	}
	d.mu.Unlock()
	slices.SortFunc(list, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Camera, b.Camera), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// Close ends all detectors: events under way are told as ended.
func (d *Detectors) Close() {
	d.end()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.cameras {
		c.close()
	}
	clear(d.cameras)
}

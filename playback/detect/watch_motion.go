package detect

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/image"
)

const (
	// sureMotion is how many pictures must show motion.
	sureMotion = 2
	// lookOn is how long the second stage goes on after the last motion.
	lookOn = 10 * time.Second
	// firstLook is how long it looks at a camera that has just begun, to learn what
	// there is.
	firstLook = 3 * time.Second
)

// motionSource is what events of the motion detector say of their origin.
const motionSource = "kineweir/motion"

// watchMotion looks for motion until the stream ends.
func watchMotion(ctx context.Context, w *watcher, o Motion) error {
	m := &motionWatch{
		w: w, o: o, motion: newMotion(o.Sensitivity, o.Zones), events: newTracker(w, motionSource, sureMotion, o.Quiet),
		sizes: newSizes(o.Sensitivity), surge: make(chan struct{}, 1),
	}
	defer func() { w.tell(m.events.close()) }()
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	sub, err := w.d.o.Hub.Subscribe(w.name, live.SubscribeOptions{})
	if err != nil {
		return err
	}
	defer sub.Close()
	all.Go(func() { m.follow(ctx, sub) })
	until := firstLook
	for {
		if err := m.look(ctx, until); err != nil {
			return err
		}
		if err := m.idle(ctx); err != nil {
			return err
		}
		until = lookOn
		w.count(func(s *Status) { s.Wakes++ })
	}
}

// motionWatch is the motion detector at work on one publisher's stream.
type motionWatch struct {
	w      *watcher
	o      Motion
	motion *motion
	order  image.Order // of the pictures it has looked at
	events *tracker
	surge  chan struct{} // holds a token when something may move

	// before is what was known before the latest key frame that the first stage has
	// looked at.
	before struct {
		learned
		order image.Order
	}

	mu     sync.Mutex // guards the fields below
	sizes  *sizes
	groups groups
	moving bool // something is known to move
}

// follow follows the sizes of frames until the stream or ctx ends.
func (m *motionWatch) follow(ctx context.Context, sub *live.Subscription) {
	track := 0
	for {
		au, err := sub.Next(ctx)
		if err != nil {
			return // who looks at pictures learns it too
		}
		if track == 0 && au.Track.Kind() == fragments.KindVideo && au.Key {
			track = firstVideo(sub.Tracks())
		}
		if au.Track.ID != track {
			continue
		}
		m.mu.Lock()
		m.groups.add(au)
		wake := m.sizes.add(au.Size(), au.Key, au.Capture.Time(), !m.moving) || !m.sizes.suffice()
		m.mu.Unlock()
		if wake {
			select {
			case m.surge <- struct{}{}:
			default:
			}
		}
	}
}

// firstVideo returns the ID of the track that is looked at; see image.Watch.
func firstVideo(tracks []*fragments.Track) (id int) {
	for _, t := range tracks {
		if t.Kind() == fragments.KindVideo && (id == 0 || t.ID < id) {
			id = t.ID
		}
	}
	return id
}

// look is the second stage: it returns nil when nothing has moved for a while
// and the first stage suffices.
func (m *motionWatch) look(ctx context.Context, until time.Duration) error {
	m.w.set(stateLooking, nil)
	var last time.Time
	var begun time.Duration // of the time without motion
	m.mu.Lock()
	before := m.groups.all()
	m.mu.Unlock()
	first, seen, slow := true, false, false
	o := image.WatchOptions{Width: lookWidth, Height: lookHeight, FPS: m.o.FPS, Rough: true, Before: before}
	for f, err := range m.w.d.o.Pictures.Watch(ctx, m.w.name, o) {
		if err != nil {
			return err
		}
		if !m.order.New(f) {
			continue // the stage before has looked at it
		}
		if slow {
			m.w.count(func(s *Status) { s.Skipped += between(last, f.Time, m.o.FPS) })
		}
		last = f.Time
		from := time.Now()
		moves := m.picture(f)
		slow = time.Since(from) > time.Duration(float64(time.Second)/m.o.FPS)
		seen = seen || moves
		if first || moves || f.PTS < begun {
			begun, first = f.PTS, false
		}
		if f.PTS-begun > until && m.done(seen) {
			return nil
		}
	}
	return live.ErrEnded
}

// done reports whether the first stage may go on alone, and tells it whether
// there was motion.
func (m *motionWatch) done(seen bool) bool {
	if m.events.busy() {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.sizes.suffice() {
		return false
	}
	if m.sizes.woke {
		m.sizes.woken(!seen)
		m.sizes.woke = false
	}
	return true
}

// picture looks at one picture and tells what there is to tell.
func (m *motionWatch) picture(f *image.Frame) (moves bool) {
	var list []sighting
	found := m.motion.look(f.Pix, f.PTS)
	if len(found) > 0 {
		r := found[0]
		list = []sighting{{at: f.Time, arrival: f.Arrival, label: "motion", box: &r.box, score: r.score}}
	}
	m.w.count(func(s *Status) { s.Pictures++ })
	m.w.tell(m.events.see(f.Time, list))
	m.mu.Lock()
	m.moving = m.events.busy()
	m.mu.Unlock()
	return len(found) > 0
}

// groups are the units of the latest groups of pictures, so that the second stage
// can begin before the key frame that has woken it.
type groups struct {
	units []*fragments.AccessUnit
	bytes int
}

const (
	// groupsSpan is how much is kept at least before the current group: key frames
	// that follow each other faster than that are not all looked at.
	groupsSpan = 1500 * time.Millisecond
	// groupsBytes bounds it: a key frame every five seconds at 12 Mbit/s.
	groupsBytes = 16 << 20
)

// add takes the next unit of the video.
func (g *groups) add(au *fragments.AccessUnit) {
	if len(g.units) == 0 && !au.Key {
		return
	}
	if au.Key && len(g.units) > 0 && au.PTS < g.units[0].PTS {
		*g = groups{} // another time line
	}
	g.units = append(g.units, au)
	if g.bytes += au.Size(); au.Key {
		g.trim(au)
	}
	if g.bytes > groupsBytes {
		*g = groups{}
	}
}

// trim leaves out the groups that are too old when au begins another.
func (g *groups) trim(au *fragments.AccessUnit) {
	from := 0
	for i, u := range g.units[:len(g.units)-1] {
		since := time.Duration(float64(au.PTS-u.PTS) / float64(au.Track.TimeScale) * float64(time.Second))
		if u.Key && since >= groupsSpan {
			from = i
		}
	}
	for _, u := range g.units[:from] {
		g.bytes -= u.Size()
	}
	g.units = append(g.units[:0:0], g.units[from:]...)
}

// all returns the units, which are the caller's.
func (g *groups) all() []*fragments.AccessUnit { return slices.Clone(g.units) }

// errWoken ends the first stage.
var errWoken = errors.New("something seems to move")

// idle is the first stage: it returns nil when something seems to move.
func (m *motionWatch) idle(ctx context.Context) error {
	m.w.set(stateIdle, nil)
	ctx, cancel := context.WithCancelCause(ctx)
	select {
	case <-m.surge: // of what has been looked at
	default:
	}
	m.mu.Lock()
	blind := !m.sizes.suffice() // since the second stage has asked
	m.mu.Unlock()
	if blind {
		cancel(nil)
		return nil
	}
	m.keep()
	var all sync.WaitGroup
	all.Go(func() {
		select {
		case <-m.surge:
			m.mu.Lock()
			m.sizes.woke = true
			m.mu.Unlock()
			cancel(errWoken)
		case <-ctx.Done():
		}
	})
	cancel(m.watchKeys(ctx))
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, errWoken) {
		return err
	}
	// The second stage begins before the latest key frame, to find when it began.
	m.before.copyTo(&m.motion.learned)
	m.order = m.before.order
	return nil
}

// keep keeps what is known, to begin there once more.
func (m *motionWatch) keep() {
	m.motion.copyTo(&m.before.learned)
	m.before.order = m.order
}

// watchKeys compares pictures of key frames until something moves.
func (m *motionWatch) watchKeys(ctx context.Context) error {
	for f, err := range m.w.d.o.Pictures.Watch(ctx, m.w.name, image.WatchOptions{Width: lookWidth, Height: lookHeight, FPS: 1, KeysOnly: true}) {
		if err != nil {
			return err
		}
		m.keep()
		if !m.order.New(f) {
			continue // one of those the second stage has seen
		}
		m.w.count(func(s *Status) { s.Pictures++ })
		if len(m.motion.look(f.Pix, f.PTS)) > 0 {
			return errWoken
		}
	}
	return live.ErrEnded
}

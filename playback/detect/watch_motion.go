package detect

import (
	"context"
	"errors"
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
		w: w, o: o, motion: newMotion(o.Sensitivity, o.Zones), events: newTracker(w.name, motionSource, sureMotion, o.Quiet),
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
	events *tracker
	surge  chan struct{} // holds a token when something may move

	mu     sync.Mutex // guards the fields below
	sizes  *sizes
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
	var begun, last time.Time
	seen, slow := false, false
	for f, err := range m.w.d.o.Pictures.Watch(ctx, m.w.name, image.WatchOptions{Width: lookWidth, Height: lookHeight, FPS: m.o.FPS}) {
		if err != nil {
			return err
		}
		if slow {
			m.w.count(func(s *Status) { s.Skipped += between(last, f.Time, m.o.FPS) })
		}
		last = f.Time
		from := time.Now()
		moves := m.picture(f)
		slow = time.Since(from) > time.Duration(float64(time.Second)/m.o.FPS)
		seen = seen || moves
		if begun.IsZero() || moves {
			begun = f.Time
		}
		if f.Time.Sub(begun) > until && m.done(seen) {
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
	found := m.motion.look(f.Pix, f.Time)
	if len(found) > 0 {
		r := found[0]
		list = []sighting{{at: f.Time, label: "motion", box: &r.box, score: r.score, fragment: m.w.fragmentOf(f)}}
	}
	m.w.count(func(s *Status) { s.Pictures++ })
	m.w.tell(m.events.see(f.Time, list))
	m.mu.Lock()
	m.moving = m.events.busy()
	m.mu.Unlock()
	return len(found) > 0
}

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
	return nil
}

// watchKeys compares pictures of key frames until something moves.
func (m *motionWatch) watchKeys(ctx context.Context) error {
	for f, err := range m.w.d.o.Pictures.Watch(ctx, m.w.name, image.WatchOptions{Width: lookWidth, Height: lookHeight, FPS: 1, KeysOnly: true}) {
		if err != nil {
			return err
		}
		if m.picture(f) {
			return errWoken
		}
	}
	return live.ErrEnded
}

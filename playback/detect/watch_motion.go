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
	// sureMotion is how many pictures in a row must show motion.
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
	m := &motionWatch{w: w, o: o, motion: newMotion(o.Sensitivity, o.Zones), events: newTracker(w.name, motionSource, sureMotion, o.Quiet)}
	defer func() { w.tell(ctx, m.events.close()) }()
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
}

// look is the second stage: it returns nil when nothing has moved for a while.
func (m *motionWatch) look(ctx context.Context, until time.Duration) error {
	m.w.set(stateLooking, nil)
	var began time.Time
	for f, err := range m.w.d.o.Pictures.Watch(ctx, m.w.name, image.WatchOptions{Width: lookWidth, Height: lookHeight, FPS: m.o.FPS}) {
		if err != nil {
			return err
		}
		moves := m.picture(ctx, f)
		if began.IsZero() || moves {
			began = f.Time
		}
		if f.Time.Sub(began) > until && !m.events.busy() {
			return nil
		}
	}
	return live.ErrEnded
}

// picture looks at one picture and tells what there is to tell.
func (m *motionWatch) picture(ctx context.Context, f *image.Frame) (moves bool) {
	var list []sighting
	found := m.motion.look(f.Pix, f.Time)
	if len(found) > 0 {
		r := found[0]
		list = []sighting{{at: f.Time, label: "motion", box: &r.box, score: r.score, fragment: f.Fragment}}
	}
	m.w.count(func(s *Status) { s.Pictures++ })
	m.w.tell(ctx, m.events.see(f.Time, list))
	return len(found) > 0
}

// errWoken ends the first stage.
var errWoken = errors.New("something seems to move")

// idle is the first stage: it returns nil when something seems to move.
func (m *motionWatch) idle(ctx context.Context) error {
	m.w.set(stateIdle, nil)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	all.Go(func() { cancel(m.watchSizes(ctx)) })
	err := m.watchKeys(ctx)
	cancel(err)
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, errWoken) {
		return err
	}
	return nil
}

// watchSizes follows the sizes of frames until something seems to move.
func (m *motionWatch) watchSizes(ctx context.Context) error {
	sub, err := m.w.d.o.Hub.Subscribe(m.w.name, live.SubscribeOptions{})
	if err != nil {
		return err
	}
	defer sub.Close()
	s := newSizes(m.o.Sensitivity)
	for {
		au, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if au.Track.Kind() == fragments.KindVideo && !au.Key && s.add(au.Size()) {
			return errWoken
		}
	}
}

// watchKeys compares pictures of key frames until something moves.
func (m *motionWatch) watchKeys(ctx context.Context) error {
	for f, err := range m.w.d.o.Pictures.Watch(ctx, m.w.name, image.WatchOptions{Width: lookWidth, Height: lookHeight, FPS: 1, KeysOnly: true}) {
		if err != nil {
			return err
		}
		m.w.count(func(s *Status) { s.Pictures++ })
		if len(m.motion.look(f.Pix, f.Time)) > 0 {
			return errWoken
		}
	}
	return live.ErrEnded
}

package image

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// startTimeout is how long the first key frame of a stream that has just gone
// live is waited for.
const startTimeout = 5 * time.Second

// wakeTimeout is how long a camera on demand may take until it is live.
const wakeTimeout = 10 * time.Second

// Waker starts the publisher of a stream that is published only on demand. It
// may be called concurrently.
type Waker interface {
	// Wake returns when the stream is live, at once when it is not on demand.
	Wake(ctx context.Context, name fragments.StreamName) error
}

// wake makes a stream on demand go live, and reports whether it has just done
// so: its newest picture is then one that comes, not the last of yesterday. The
// error is an *AsleepError or that of ctx.
func (m *Maker) wake(ctx context.Context, name fragments.StreamName) (woken bool, err error) {
	if m.o.Waker == nil || m.o.Hub == nil {
		return false, nil
	}
	_, asleep := m.o.Hub.Live(name)
	timed, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	// It is told of those who watch a live stream too: it must not fall asleep.
	if err := m.o.Waker.Wake(timed, name); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, &AsleepError{Stream: name, Err: err}
	}
	return asleep != nil, nil
}

// newest returns the newest shot of a live stream, nil when the archive is to
// be asked. One that was woken is waited for.
func (m *Maker) newest(ctx context.Context, name fragments.StreamName, r *Request, woken bool) (*shot, error) {
	sub, err := m.o.Hub.Subscribe(name, live.SubscribeOptions{})
	if errors.Is(err, live.ErrNotLive) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	none, cancel := context.WithCancel(ctx)
	cancel() // what is queued is read, and nothing is waited for
	var g group
	for {
		au, err := sub.Next(none)
		if err != nil {
			break
		}
		g.add(au, r.Video)
	}
	if len(g.units) == 0 {
		if info, err := m.src.Stream(name); err == nil && info.Last != nil && !woken {
			return nil, ctx.Err()
		} else if err != nil && !errors.Is(err, archive.ErrNoStream) {
			return nil, err
		}
		if !hasVideo(sub.Tracks(), r.Video) {
			return nil, &NoVideoError{name, r.Video}
		}
		if err := g.wait(ctx, sub, r.Video); err != nil {
			return nil, err
		}
	}
	if len(g.units) == 0 {
		return nil, &NothingError{Stream: name}
	}
	return g.shot(r.Exact), nil
}

// hasVideo reports whether one of the tracks is the one that is wanted, any of
// video when that is 0.
func hasVideo(tracks []*fragments.Track, id int) bool {
	return slices.ContainsFunc(tracks, func(t *fragments.Track) bool {
		return t.Kind() == fragments.KindVideo && (id == 0 || t.ID == id)
	})
}

// group is the units of a track since its newest key frame.
type group struct {
	units []*fragments.AccessUnit
}

// add takes in a unit, when it is of the track (0: the first of video).
func (g *group) add(au *fragments.AccessUnit, track int) {
	switch {
	case au.Track.Kind() != fragments.KindVideo, track != 0 && au.Track.ID != track:
	case track == 0 && len(g.units) > 0 && g.units[0].Track.ID != au.Track.ID:
	case au.Key:
		g.units = append(g.units[:0], au)
	case len(g.units) > 0:
		g.units = append(g.units, au)
	}
}

// wait waits for a first key frame.
func (g *group) wait(ctx context.Context, sub *live.Subscription, track int) error {
	timed, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	sub.RequestKey()
	for len(g.units) == 0 {
		au, err := sub.Next(timed)
		if err != nil {
			return ctx.Err() // no key frame, or the stream has ended: there is nothing
		}
		g.add(au, track)
	}
	return nil
}

// shot returns the shot of the key frame, or of the frame that is shown last.
func (g *group) shot(exact bool) *shot {
	last := 0
	for i, au := range g.units {
		if exact && au.PTS > g.units[last].PTS {
			last = i
		}
	}
	s := &shot{track: g.units[0].Track}
	for _, au := range g.units[:last+1] {
		s.frames = append(s.frames, frame{
			payload: au.Payload, pts: au.PTS, duration: au.Duration, key: au.Key,
			time: au.Capture.Time(), server: au.Arrival.Time(),
		})
	}
	s.time = s.target().time
	return s
}

package image

import (
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

// nearBefore is how far back from an instant the end of what was recorded
// before it is looked for, unless it is the end of all: the fragments of a span
// are walked one by one.
var nearBefore = [...]time.Duration{time.Minute, time.Hour, 24 * time.Hour}

// nearAfter is how many fragments after an instant are looked at for one with the
// track.
const nearAfter = 1000

// nearest returns the time that is nearest to the instant and has a picture, zero
// when none is found.
func (f *finder) nearest(info archive.StreamInfo) (time.Time, error) {
	after, err := f.nearestAfter()
	if err != nil {
		return after, err
	}
	from, c := f.t, f.r.Clock
	if end := ending(info.Last, c); from.After(end) {
		from = end.Add(time.Nanosecond)
	}
	var before time.Time
	for _, back := range nearBefore {
		for e, err := range f.m.src.Fragments(f.ctx, f.name, fragments.Selector{Clock: c, Start: from.Add(-back), End: from}) {
			if err != nil {
				return after, err
			}
			if f.run(e) >= 0 {
				before = ending(e, c)
			}
		}
		if !before.IsZero() || f.blind(info) {
			break
		}
	}
	switch {
	case before.IsZero() && after.IsZero() && f.run(info.Last) >= 0:
		return ending(info.Last, c), nil
	case before.IsZero() && after.IsZero() && f.run(info.First) >= 0:
		return playback.Stamp(info.First, c), nil
	case before.IsZero(), !after.IsZero() && after.Sub(f.t) < f.t.Sub(before):
		return after, nil
	}
	return before, nil
}

// nearestAfter returns the nearest time not before the instant.
func (f *finder) nearestAfter() (time.Time, error) {
	n := 0
	for e, err := range f.m.src.Fragments(f.ctx, f.name, fragments.Selector{Clock: f.r.Clock, Start: f.t}) {
		if err != nil {
			return time.Time{}, err
		}
		if f.run(e) >= 0 {
			return playback.Stamp(e, f.r.Clock), nil
		}
		if n++; n == nearAfter {
			break
		}
	}
	return time.Time{}, nil
}

// blind reports whether neither the first nor the last of what is recorded has
// the track: a stream of sound is not to be walked through for each request.
func (f *finder) blind(info archive.StreamInfo) bool {
	return f.run(info.First) < 0 && f.run(info.Last) < 0
}

// ending returns an instant at the end of e that still has its last picture.
func ending(e *archive.Entry, c fragments.Clock) time.Time {
	return playback.Stamp(e, c).Add(max(0, e.Duration-time.Millisecond))
}

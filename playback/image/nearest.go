package image

import (
	"context"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

// nearBefore is how far back from an instant the end of what was recorded
// before it is looked for, unless it is the end of all: the fragments of a span
// are walked one by one.
var nearBefore = [...]time.Duration{time.Minute, time.Hour, 24 * time.Hour}

// nearest returns the time that is nearest to t and has a picture.
func (m *Maker) nearest(ctx context.Context, name fragments.StreamName, info archive.StreamInfo, c fragments.Clock, t time.Time) (time.Time, error) {
	first, last := playback.Stamp(info.First, c), ending(info.Last, c)
	switch {
	case t.Before(first):
		return first, nil
	case t.After(last):
		return last, nil
	}
	var after, before time.Time
	for e, err := range m.src.Fragments(ctx, name, fragments.Selector{Clock: c, Start: t}) {
		if err != nil {
			return after, err
		}
		after = playback.Stamp(e, c)
		break
	}
	for _, back := range nearBefore {
		for e, err := range m.src.Fragments(ctx, name, fragments.Selector{Clock: c, Start: t.Add(-back), End: t}) {
			if err != nil {
				return after, err
			}
			before = ending(e, c)
		}
		if !before.IsZero() {
			break
		}
	}
	switch {
	case before.IsZero() && after.IsZero():
		return last, nil
	case before.IsZero(), !after.IsZero() && after.Sub(t) < t.Sub(before):
		return after, nil
	}
	return before, nil
}

// ending returns an instant at the end of e that still has its last picture.
func ending(e *archive.Entry, c fragments.Clock) time.Time {
	return playback.Stamp(e, c).Add(max(0, e.Duration-time.Millisecond))
}

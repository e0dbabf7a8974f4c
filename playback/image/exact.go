package image

import (
	"errors"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback"
)

// strip is consecutive fragments, loaded.
type strip struct {
	frames []frame
	tracks map[fragments.Number]*fragments.Track
	last   *archive.Entry // of the newest fragment
}

// exact finds the frame that is shown at the instant.
func (f *finder) exact(chain []*archive.Entry) (*shot, error) {
	s := &strip{tracks: map[fragments.Number]*fragments.Track{}}
	for _, e := range chain {
		if err := f.append(s, e); err != nil {
			return nil, err
		}
	}
	at := f.shown(s.frames)
	if target := &s.frames[at]; f.newest.IsZero() && !f.t.Before(target.at(f.r.Clock).Add(f.length(s, target))) {
		// Frames that are shown before a key frame may be stored after it, in the
		// next fragment.
		if err := f.appendNext(s); err != nil {
			return nil, err
		}
		at = f.shown(s.frames)
	}
	shot := f.cut(s, at)
	if shot != nil {
		return shot, nil
	}
	if shot, err := f.cutEarlier(chain, s.frames[at]); shot != nil || err != nil {
		return shot, err
	}
	for k := at; k >= 0; k-- { // the nearest that can be decoded
		if s.frames[k].key {
			return f.cut(s, k), nil
		}
	}
	return nil, f.noKey(chain)
}

// append loads a fragment behind the others.
func (f *finder) append(s *strip, e *archive.Entry) error {
	frames, track, err := f.load(e)
	if err != nil {
		return err
	}
	if s.last != nil && f.follows(s.last, e) && e.Dependent {
		// One time line: the stamp of the fragment may be that of another frame
		// than the first where frames are reordered.
		ref := &s.frames[len(s.frames)-1]
		scale := e.Runs[f.run(e)].TimeScale
		frames = slices.Clone(frames)
		for k := range frames {
			frames[k].time = ref.time.Add(time.Duration(nanos(frames[k].pts-ref.pts, scale)))
		}
	}
	s.frames = append(s.frames, frames...)
	s.tracks[e.Number], s.last = track, e
	return nil
}

// follows reports whether b continues the track of a.
func (f *finder) follows(a, b *archive.Entry) bool {
	i, k := f.run(a), f.run(b)
	if i < 0 || k < 0 || b.Discontinuity {
		return false
	}
	x, y := &a.Runs[i], &b.Runs[k]
	gap := y.DecodeTime - x.DecodeTime - x.Duration
	return x.Config == y.Config && gap >= -1 && gap <= 1
}

// appendNext loads the fragment after the last, if it continues it.
func (f *finder) appendNext(s *strip) error {
	from := playback.Stamp(s.last, f.r.Clock)
	sel := fragments.Selector{Clock: f.r.Clock, Start: from, End: from.Add(s.last.Duration + 2*time.Second)}
	for e, err := range f.m.src.Fragments(f.ctx, f.name, sel) {
		if err != nil {
			return err
		}
		if s.last.Number.Less(e.Number) {
			if f.follows(s.last, e) {
				return f.append(s, e)
			}
			return nil
		}
	}
	return nil
}

// shown returns the frame that is shown at the instant: the newest of those
// before it, or the first of all.
func (f *finder) shown(frames []frame) int {
	best, first := -1, 0
	for k := range frames {
		at := frames[k].at(f.r.Clock)
		if at.Before(frames[first].at(f.r.Clock)) {
			first = k
		}
		if (!f.newest.IsZero() || !at.After(f.t)) && (best < 0 || !at.Before(frames[best].at(f.r.Clock))) {
			best = k
		}
	}
	if best < 0 {
		return first
	}
	return best
}

// length returns how long a frame is shown as far as the strip tells.
func (f *finder) length(s *strip, target *frame) time.Duration {
	return time.Duration(nanos(target.duration, s.tracks[target.number].TimeScale))
}

// cut returns the shot of a frame, nil when the strip does not have the key
// frame that it needs: one that is not shown after it.
func (f *finder) cut(s *strip, at int) *shot {
	target := &s.frames[at]
	track := s.tracks[target.number]
	for k := at; k >= 0; k-- {
		if fr := &s.frames[k]; s.tracks[fr.number].Hash() != track.Hash() {
			return nil
		} else if fr.key && fr.pts <= target.pts {
			return &shot{track: track, stored: true, frames: s.frames[k : at+1], time: target.time}
		}
	}
	return nil
}

// lookEarlier is how many groups of pictures are looked through for a key frame
// that the groups of the leading track do not begin with: that of another track,
// or of a frame that is shown before the key frame it is stored after.
const lookEarlier = 4

// earlier returns the fragments just before e, from one on that the leading
// track can be decoded from.
func (f *finder) earlier(e *archive.Entry) ([]*archive.Entry, error) {
	from := playback.Stamp(e, f.r.Clock)
	found, err := f.fragments(from.Add(-held), from, e.Number)
	return slices.DeleteFunc(found, func(x *archive.Entry) bool { return !x.Number.Less(e.Number) }), err
}

// cutEarlier looks for the key frame before the chain.
func (f *finder) cutEarlier(chain []*archive.Entry, target frame) (*shot, error) {
	for range lookEarlier {
		more, err := f.earlier(chain[0])
		if err != nil || len(more) == 0 {
			return nil, err
		}
		chain = append(more, chain...)
		f.bytes = 0
		s := &strip{tracks: map[fragments.Number]*fragments.Track{}}
		for _, e := range chain {
			if err := f.append(s, e); err != nil {
				return nil, err
			}
		}
		at := slices.IndexFunc(s.frames, func(fr frame) bool { return fr.number == target.number && fr.pts == target.pts })
		if at < 0 {
			return nil, nil
		}
		s.frames[at].time = target.time
		if shot := f.cut(s, at); shot != nil {
			return shot, nil
		}
	}
	return nil, nil
}

// damaged reports whether bytes of the archive are not what they should be.
func damaged(err error) bool {
	var d *archive.DamagedError
	var b *cmaf.FormatError
	return errors.As(err, &d) || errors.As(err, &b)
}

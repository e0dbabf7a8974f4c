package image

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

// Bounds of what one process makes of a span, lest it run into its timeout.
const (
	batchShots  = 16
	batchFrames = 500
	batchBytes  = 32 << 20
)

// Pictures makes a picture of every so many nanoseconds of a span, from its
// start up to but not with its end: r says how, but for the time. Each instant
// yields a picture or an *InstantError, in order; instants that show the same
// frame share its data. Any other error is the last that is yielded, and is as
// of [Maker.Picture]. Processes run only while somebody asks for what is next.
func (m *Maker) Pictures(ctx context.Context, name fragments.StreamName, span playback.Range, every time.Duration, r Request) iter.Seq2[*Picture, error] {
	return m.walk(ctx, name, span, every, r, true)
}

// Moments yields what [Maker.Pictures] would make pictures of, without Data and
// size, and without decoding anything.
func (m *Maker) Moments(ctx context.Context, name fragments.StreamName, span playback.Range, every time.Duration, r Request) iter.Seq2[*Picture, error] {
	return m.walk(ctx, name, span, every, r, false)
}

func (m *Maker) walk(ctx context.Context, name fragments.StreamName, span playback.Range, every time.Duration, r Request, develop bool) iter.Seq2[*Picture, error] {
	return func(yield func(*Picture, error) bool) {
		inner, leave, err := m.enter(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		w := &walker{m: m, ctx: inner, name: name, r: r, yield: yield, develop: develop, memo: &memo{}}
		if err := w.walk(span, every); err != nil && !w.stopped {
			yield(nil, m.closing(err))
		}
	}
}

// walker goes through the instants of a span. It gathers what one process can
// make, has it made and yields it.
type walker struct {
	m       *Maker
	ctx     context.Context // of the one walk
	name    fragments.StreamName
	r       Request
	yield   func(*Picture, error) bool
	develop bool
	memo    *memo
	stopped bool // by the caller

	moments []moment
	shots   []*shot // of the moments, each once
	frames  int
	bytes   int
}

// moment is one instant: a shot, or why there is none.
type moment struct {
	time time.Time
	shot int
	err  error
}

func (w *walker) walk(span playback.Range, every time.Duration) error {
	if err := w.r.check(); err != nil {
		return err
	}
	switch {
	case span.Open():
		return &playback.ParamError{Name: "end", Reason: "missing: write where the pictures end, as for start"}
	case every <= 0:
		return &playback.ParamError{Name: "interval", Value: every.String(), Reason: "must be longer than nothing"}
	}
	info, err := w.m.src.Stream(w.name)
	if err != nil {
		return err
	}
	w.r.Clock = span.Clock
	if f := (&finder{m: w.m, ctx: w.ctx, name: w.name, r: &w.r, t: span.Start}); info.Last != nil && f.blind(info) {
		if near, err := f.nearest(info); err == nil && near.IsZero() {
			return &NoVideoError{w.name, w.r.Video}
		}
	}
	for t := span.Start; t.Before(span.End); t = t.Add(every) {
		if err := w.at(info, t); err != nil || w.stopped {
			return err
		}
	}
	return w.flush()
}

// at takes in one instant.
func (w *walker) at(info archive.StreamInfo, t time.Time) error {
	r := w.r
	r.Time = t
	f := &finder{m: w.m, ctx: w.ctx, name: w.name, r: &r, t: t.Add(slack), memo: w.memo}
	s, err := f.find()
	if err == nil && s == nil {
		err = &NothingError{Stream: w.name, Asked: t}
	}
	if err != nil {
		if !ofInstant(err) {
			return err
		}
		w.moments = append(w.moments, moment{time: t, err: err})
		if len(w.moments) >= 4*batchShots {
			return w.flush()
		}
		return nil
	}
	if n := len(w.shots); n > 0 && !sameShot(w.shots[n-1], s) && w.full(s) {
		if err := w.flush(); err != nil || w.stopped {
			return err
		}
	}
	if n := len(w.shots); n == 0 || !sameShot(w.shots[n-1], s) {
		w.add(s)
	}
	w.moments = append(w.moments, moment{time: t, shot: len(w.shots) - 1})
	return nil
}

// ofInstant reports whether an error is of one instant, and not of all.
func ofInstant(err error) bool {
	var none *NothingError
	var bad *DecodeError
	return errors.As(err, &none) || errors.As(err, &bad) || errors.Is(err, archive.ErrNoFragment)
}

// full reports whether a shot has to go into the next process.
func (w *walker) full(s *shot) bool {
	return len(w.shots) >= batchShots || w.frames+len(s.frames) > batchFrames || w.bytes+s.size() > batchBytes ||
		w.shots[0].track.Hash() != s.track.Hash()
}

func (w *walker) add(s *shot) {
	if n := len(w.shots); n > 0 && w.shots[n-1].begins(s) {
		// Both are in one group of pictures, which is fed once.
		w.frames += max(0, len(s.frames)-len(w.shots[n-1].frames))
		w.bytes += max(0, s.size()-w.shots[n-1].size())
	} else {
		w.frames += len(s.frames)
		w.bytes += s.size()
	}
	w.shots = append(w.shots, s)
}

// flush yields what was gathered.
func (w *walker) flush() error {
	moments, shots := w.moments, w.shots
	w.moments, w.shots, w.frames, w.bytes = nil, nil, 0, 0
	made, failed, err := w.made(shots)
	for _, mo := range moments {
		var p *Picture
		why := mo.err
		if why == nil {
			if p = made[mo.shot]; p == nil {
				why = failed[mo.shot]
			}
		}
		if p == nil && why == nil {
			break // err is the reason
		}
		if why != nil {
			w.stopped = !w.yield(nil, &InstantError{mo.time, why})
		} else {
			asked := *p
			asked.Asked = mo.time
			w.stopped = !w.yield(&asked, nil)
		}
		if w.stopped {
			return nil
		}
	}
	return err
}

// made has shots made into pictures; failed says why some could not be.
func (w *walker) made(shots []*shot) (made []*Picture, failed []error, err error) {
	made, failed = make([]*Picture, len(shots)), make([]error, len(shots))
	if !w.develop {
		for i, s := range shots {
			f := s.target()
			made[i] = &Picture{Type: w.r.Format.Type(), Time: f.time, Server: f.server, Fragment: f.number, Key: f.key}
		}
		return made, failed, nil
	}
	if len(shots) > 1 {
		err := w.m.decode(w.ctx, w.name, &w.r, shots, func(i int, p *Picture) error {
			made[i] = p
			return nil
		})
		if err != nil && !ofInstant(err) {
			return made, failed, err
		}
	}
	for i, s := range shots {
		if made[i] != nil {
			continue
		}
		// One that cannot be decoded may have spoilt those beside it.
		err := w.m.decode(w.ctx, w.name, &w.r, []*shot{s}, func(_ int, p *Picture) error {
			made[i] = p
			return nil
		})
		if err != nil && !ofInstant(err) {
			return made, failed, err
		}
		failed[i] = err
	}
	return made, failed, nil
}

// memo keeps fragments that were loaded for the instant before.
type memo struct {
	bytes  int64
	loaded map[fragments.Number]loaded
}

type loaded struct {
	frames []frame
	track  *fragments.Track
}

const memoBytes = 32 << 20

func (m *memo) get(n fragments.Number) (loaded, bool) {
	if m == nil {
		return loaded{}, false
	}
	l, ok := m.loaded[n]
	return l, ok
}

func (m *memo) put(n fragments.Number, l loaded, bytes int64) {
	if m == nil {
		return
	}
	if m.bytes += bytes; m.bytes > memoBytes || m.loaded == nil {
		m.loaded, m.bytes = map[fragments.Number]loaded{}, bytes
	}
	m.loaded[n] = l
}

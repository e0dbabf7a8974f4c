package hls

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// Live, a timeline joins three things: the rows of the archive, then the closed
// fragments that memory has and the archive does not show yet, then the parts of
// the fragment that is open. While somebody publishes and memory reaches back to
// what the timeline has, the archive is not read at all: neither a slow disk nor
// a bucket that is away can hold the live edge up.

// How long the first playlist of a stream waits for the archive when memory has
// something to show. Without the archive there is less to rewind to, no more.
const (
	historyTimeout = 2 * time.Second
	recentTimeout  = 500 * time.Millisecond
	recentHistory  = time.Minute
)

// anyBorn stands for a stream whenever it was created.
const anyBorn = -1

// recent returns what memory has of a stream that was created then, nil when
// there is nothing: a stream may be deleted and made anew under its name.
func (p *Packager) recent(name fragments.StreamName, born int64) *live.State {
	if p.o.Hub == nil {
		return nil
	}
	r := p.o.Hub.Recent(name)
	if r == nil {
		return nil
	}
	s := r.State()
	if born != anyBorn && !s.Created.IsZero() && s.Created.UnixMilli() != born {
		return nil
	}
	if s.Live || s.Open != nil || len(s.Closed) > 0 {
		return s
	}
	return nil
}

// track returns a configuration, from memory or from the archive.
func (p *Packager) track(name fragments.StreamName, h fragments.ConfigHash) (*fragments.Track, error) {
	if s := p.recent(name, anyBorn); s != nil {
		for i := len(s.Closed); i >= 0; i-- {
			f := s.Open
			if i < len(s.Closed) {
				f = s.Closed[i]
			}
			if f == nil {
				continue
			}
			for k := range f.Runs {
				if f.Runs[k].Config == h {
					return f.Runs[k].Track, nil
				}
			}
		}
	}
	return p.src.Track(name, h)
}

// entryOf tells of a fragment in memory what the index would, but where it is.
func entryOf(f *live.Fragment) *archive.Entry {
	e := &archive.Entry{
		Number: f.Number, Producer: f.Producer, Server: f.Server, Duration: f.Duration,
		Dependent: f.Dependent, Discontinuity: f.Discontinuity, Runs: make([]archive.EntryRun, len(f.Runs)),
	}
	for i := range f.Runs {
		r := &f.Runs[i]
		e.Runs[i] = archive.EntryRun{
			Track: r.Track.ID, Config: r.Config, Kind: r.Track.Kind(), TimeScale: r.Track.TimeScale,
			DecodeTime: r.DecodeTime, Duration: r.Duration, Samples: r.Samples, Size: int64(r.Bytes),
		}
		e.Size += int64(r.Bytes)
	}
	return e
}

// updateLive brings a live timeline up to date. The caller holds s.mu.
func (p *Packager) updateLive(ctx context.Context, name fragments.StreamName, s *shared, info archive.StreamInfo, r *Request) error {
	born, last, kept := info.Created.UnixMilli(), fragments.Number{}, fragments.Number{}
	state := p.recent(name, born)
	if info.Last != nil {
		last = info.Last.Number
	}
	if info.First != nil {
		kept = info.First.Number
	}
	fresh := s.t == nil || s.born != born
	if !fresh && state == s.state && last == s.seen && kept == s.kept {
		return nil
	}
	if fresh {
		s.t, s.born, s.made, s.ended, s.vod = p.newTimeline(name, r), born, info.Created, false, false
	}
	s.t.retract()
	s.state = nil // after an error, what was read stays, and the rest is still to do
	empty := len(s.t.rows) == 0
	if info.Last != nil && !s.t.reachedBy(state) {
		if err := p.readHistory(ctx, name, s.t, info, state, r); err != nil {
			return err
		}
		if state != nil {
			state = p.recent(name, born) // it may have taken a while
		}
	}
	if err := p.takeClosed(ctx, name, s.t, info, state); err != nil {
		return err
	}
	if empty {
		s.t.number(info.Created)
	}
	if err := s.t.takeOpen(state); err != nil {
		return err
	}
	s.state, s.seen, s.kept = state, last, kept
	s.changed()
	p.slide(s)
	return nil
}

// reachedBy reports whether memory has all that comes after what t has.
func (t *timeline) reachedBy(s *live.State) bool {
	return s != nil && len(t.rows) > 0 && len(s.Closed) > 0 && !t.last.Less(s.Closed[0].Number)
}

// readHistory reads the archive. Where memory has something to show, it does not
// wait for long.
func (p *Packager) readHistory(ctx context.Context, name fragments.StreamName, t *timeline, info archive.StreamInfo, state *live.State, r *Request) error {
	if state == nil {
		return p.read(ctx, name, t, info, r)
	}
	quick, cancel := context.WithTimeout(ctx, historyTimeout)
	err := p.read(quick, name, t, info, r)
	cancel()
	if err == nil || ctx.Err() != nil {
		return err
	}
	p.o.Log.Warn("live playlist without its past", "stream", string(name), "error", err)
	if len(t.rows) > 0 {
		return nil
	}
	quick, cancel = context.WithTimeout(ctx, recentTimeout)
	defer cancel()
	for e, err := range p.src.Fragments(quick, name, fragments.Selector{Clock: fragments.ByServer, Start: p.o.Now().Add(-recentHistory)}) {
		if err != nil {
			return nil //nolint:nilerr // memory alone, then
		}
		if len(t.rows) == 0 {
			p.begin(t, info, r)
		}
		if err := t.append(e); err != nil {
			return err
		}
	}
	return nil
}

// takeClosed appends the closed fragments that memory has and t has not.
func (p *Packager) takeClosed(ctx context.Context, name fragments.StreamName, t *timeline, info archive.StreamInfo, s *live.State) error {
	if s != nil {
		i, _ := slices.BinarySearchFunc(s.Closed, t.last, func(f *live.Fragment, n fragments.Number) int { return f.Number.Compare(n) })
		for _, f := range s.Closed[i:] {
			if !t.last.Less(f.Number) || len(f.Runs) == 0 {
				continue
			}
			e := entryOf(f)
			if len(t.rows) == 0 {
				p.begin(t, info, &Request{Live: true})
			}
			if err := t.append(e); err != nil {
				return err
			}
			t.memory = append(t.memory, f.Number)
		}
	}
	p.settleMemory(ctx, name, t, info, s)
	return nil
}

// takeOpen puts the fragment that is open at the end, once its leading track has
// a part.
func (t *timeline) takeOpen(s *live.State) error {
	if s == nil {
		return nil
	}
	t.measureParts(s)
	if f := s.Open; f != nil && len(t.rows) > 0 && t.last.Less(f.Number) && f.Run(f.Lead) != nil {
		return t.appendOpen(entryOf(f))
	}
	return nil
}

// settleMemory finds out what has become of the rows that came from memory: they
// are in the archive, or still in memory, or lost.
func (p *Packager) settleMemory(ctx context.Context, name fragments.StreamName, t *timeline, info archive.StreamInfo, s *live.State) {
	ctx, cancel := context.WithTimeout(ctx, recentTimeout)
	defer cancel()
	t.memory = slices.DeleteFunc(t.memory, func(n fragments.Number) bool {
		if s != nil {
			if f := s.Find(n); f != nil {
				return f.Fate == live.Archived
			}
		}
		if info.Last == nil || info.Last.Number.Less(n) {
			t.lose(n)
			return true
		}
		if _, err := p.src.Entry(ctx, name, n); errors.Is(err, archive.ErrNoFragment) {
			t.lose(n)
		}
		return true
	})
}

// lose makes the row of a fragment a gap.
func (t *timeline) lose(n fragments.Number) {
	i, ok := slices.BinarySearchFunc(t.rows, n, func(r row, n fragments.Number) int { return r.number.Compare(n) })
	if ok {
		t.rows[i].lost = true
	}
}

// tentative is what a timeline was before the row of the open fragment was put
// at its end.
type tentative struct {
	last       fragments.Number
	lastServer fragments.ServerTimestamp
	lastEnd    time.Time
	lines      []lineEnd
}

type lineEnd struct {
	behind  int64
	current int32
}

// pin is what was decided of the open fragment when it was first shown, by the
// tracks that it had then.
type pin struct {
	number       fragments.Number
	stamp, start int64
	disc         bool
}

// appendOpen puts the row of the open fragment at the end, as far as it has come.
func (t *timeline) appendOpen(e *archive.Entry) error {
	save := &tentative{last: t.last, lastServer: t.lastServer, lastEnd: t.lastEnd, lines: make([]lineEnd, 0, len(t.lines))}
	for _, l := range t.lines {
		save.lines = append(save.lines, lineEnd{l.behind, l.current})
	}
	known := slices.Clone(t.lines)
	t.tentative = save
	if err := t.append(e); err != nil {
		t.tentative = nil
		return err
	}
	if len(known) < len(t.lines) { // lines are sorted: a new one may be anywhere
		save.lines = save.lines[:0]
		for _, l := range t.lines {
			save.lines = append(save.lines, lineEnd{l.behind, l.current})
		}
	}
	r := &t.rows[len(t.rows)-1]
	if t.pin.number != r.number {
		t.pin = pin{number: r.number, stamp: r.stamp, start: r.start, disc: r.disc}
	}
	return nil
}

// retract takes the row of the open fragment away again.
func (t *timeline) retract() {
	save := t.tentative
	if save == nil {
		return
	}
	t.tentative = nil
	t.rows = t.rows[:len(t.rows)-1]
	for i, l := range t.lines {
		l.cells = l.cells[:len(t.rows)]
		l.behind, l.current = save.lines[i].behind, save.lines[i].current
	}
	t.last, t.lastServer, t.lastEnd = save.last, save.lastServer, save.lastEnd
}

// closed returns how many rows are complete.
func (t *timeline) closed() int {
	if t.tentative != nil {
		return len(t.rows) - 1
	}
	return len(t.rows)
}

// headroom is by how much the announced part target is longer than the usual
// part, for time stamps that waver: no part may be longer than the target, and
// none but the last of a segment shorter than 85 % of it (RFC 8216bis, 4.4.4.9).
const headroom = 1.08

// measureParts finds the part target of every line that has parts. It is set
// once, from the usual length of a part, and raised only for parts that are
// longer by less than that again: one frame that a camera was late with does not
// spoil the latency for good.
func (t *timeline) measureParts(s *live.State) {
	for _, l := range t.lines {
		if l.part == 0 {
			l.part = usualPart(s, l.id)
		}
		if l.part == 0 {
			continue
		}
		limit, usual := l.part, int64(float64(l.part)/headroom)
		newest := s.Open
		if newest == nil && len(s.Closed) > 0 {
			newest = s.Closed[len(s.Closed)-1]
		}
		if newest == nil || newest.Run(l.id) == nil {
			continue
		}
		run := newest.Run(l.id)
		for i := range run.Parts {
			if d := nanos(run.Parts[i].Duration, run.Track.TimeScale) + toldLonger; d > limit && d <= 2*usual {
				l.part = max(l.part, wholeMillis(d))
			}
		}
	}
}

// usualPart returns the part target of a track by what memory has of it.
func usualPart(s *live.State, track int) int64 {
	var full, all []int64
	add := func(f *live.Fragment) {
		if f == nil || f.Run(track) == nil {
			return
		}
		run := f.Run(track)
		for i := range run.Parts {
			d := nanos(run.Parts[i].Duration, run.Track.TimeScale)
			all = append(all, d)
			if f.Open || i < len(run.Parts)-1 {
				full = append(full, d)
			}
		}
	}
	for _, f := range s.Closed[max(0, len(s.Closed)-8):] {
		add(f)
	}
	add(s.Open)
	if len(full) == 0 {
		full = all // frames as long as fragments
	}
	if len(full) == 0 {
		return 0
	}
	slices.Sort(full)
	return wholeMillis(int64(float64(full[len(full)/2]) * headroom))
}

func wholeMillis(ns int64) int64 {
	return int64(math.Ceil(float64(ns)/1e6)) * 1e6
}

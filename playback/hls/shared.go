package hls

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback"
)

// lineKey names a timeline: all playlists of a key are views of the same rows.
type lineKey struct {
	name       fragments.StreamName
	live       bool
	clock      fragments.Clock
	start, end int64 // Unix milliseconds
	join       time.Duration
}

func keyOf(name fragments.StreamName, r *Request) lineKey {
	if r.Live {
		return lineKey{name: name, live: true}
	}
	k := lineKey{name: name, clock: r.Range.Clock, start: r.Range.Start.UnixMilli(), join: r.Join}
	if !r.Range.Open() {
		k.end = r.Range.End.UnixMilli()
	}
	return k
}

// shared is a timeline that requests share, and keep up with the archive.
type shared struct {
	used int64 // guarded by Packager.mu
	rows int   // guarded by Packager.mu

	mu    sync.Mutex // guards the fields below
	t     *timeline
	born  int64            // when the stream was created, Unix milliseconds
	made  time.Time        // the same
	kept  fragments.Number // the oldest fragment that is still there
	ended bool             // nothing will be added
	vod   bool             // it had ended when it was first asked for

	// Live: what the rows were made of, and the playlists written of them.
	state *live.State
	seen  fragments.Number // newest fragment that the archive showed
	lists map[listKey]*List
}

// timeline returns the timeline of a request, up to date and locked. It has a
// row at least.
func (p *Packager) timeline(ctx context.Context, name fragments.StreamName, r *Request) (*shared, error) {
	s := p.share(keyOf(name, r))
	s.mu.Lock()
	err := p.await(ctx, name, s, r)
	rows := 0
	if s.t != nil {
		rows = len(s.t.rows)
	}
	if err == nil && rows == 0 {
		err = p.nothing(name, r)
	}
	if err != nil {
		s.mu.Unlock()
		p.forget(keyOf(name, r), s)
		return nil, err
	}
	p.account(s, rows)
	return s, nil
}

func (p *Packager) share(k lineKey) *shared {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.lines[k]
	if s == nil {
		s = &shared{}
		p.lines[k] = s
	}
	p.uses++
	s.used = p.uses
	return s
}

// forget drops a timeline that came to nothing.
func (p *Packager) forget(k lineKey, s *shared) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lines[k] == s {
		delete(p.lines, k)
	}
}

// account notes the size of s and forgets the timelines that were not used for
// longest while all together are too large.
func (p *Packager) account(s *shared, rows int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rows += 100 // an empty one is not for nothing
	if s.rows == rows {
		return
	}
	s.rows = rows
	for {
		total := 0
		var oldest lineKey
		var found *shared
		for k, other := range p.lines {
			total += other.rows
			if other != s && (found == nil || other.used < found.used) {
				oldest, found = k, other
			}
		}
		if total <= p.o.MaxRows || found == nil {
			return
		}
		delete(p.lines, oldest)
	}
}

// await brings s up to date, and waits for what is to be expected soon: a first
// fragment, when live a new one, or what r asks for ahead of time. The caller
// holds s.mu.
func (p *Packager) await(ctx context.Context, name fragments.StreamName, s *shared, r *Request) error {
	deadline := time.NewTimer(p.o.StartTimeout)
	defer deadline.Stop()
	ahead := false // waits for what the playlist will have
	for {
		changed := p.src.Changed(name)
		info, err := p.src.Stream(name)
		if errors.Is(err, archive.ErrNoStream) && r.Live && p.o.Live != nil && p.o.Live(name) {
			info, err = archive.StreamInfo{Name: name, Recording: true}, nil
		}
		if err != nil {
			return err
		}
		if err := p.update(ctx, name, s, info, r); err != nil {
			return err
		}
		var more chan struct{}
		if s.state != nil && r.Live {
			more = s.state.Changed
		}
		if !p.expecting(info, s, r) {
			wanted, err := s.awaits(r)
			if !wanted || err != nil {
				return err
			}
			if !ahead {
				ahead = true
				deadline.Reset(3 * time.Duration(s.t.target) * time.Second)
			}
			changed = nil // memory tells
		}
		// The lock is not held while waiting: others may bring s up to date.
		s.mu.Unlock()
		expired := wait(ctx, changed, more, deadline.C)
		s.mu.Lock()
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("wait for stream %s: %w", name, ctx.Err())
		case expired && ahead:
			return fmt.Errorf("stream %s: %w", name, ErrLate)
		case expired:
			return nil
		}
	}
}

// wait waits for a change. Where the archive is to tell, it looks again after a
// while even without one: the stream may have come into being in between.
func wait(ctx context.Context, changed <-chan struct{}, more chan struct{}, deadline <-chan time.Time) (expired bool) {
	var again <-chan time.Time
	if changed != nil || more == nil {
		t := time.NewTimer(250 * time.Millisecond)
		defer t.Stop()
		again = t.C
	}
	select {
	case <-changed:
	case <-more:
	case <-again:
	case <-deadline:
		return true
	case <-ctx.Done():
	}
	return false
}

// stale is how long after the end of its newest fragment a live stream is
// taken for one that has only just come back.
const stale = 15 * time.Second

// expecting reports whether a fragment is to be waited for.
func (p *Packager) expecting(info archive.StreamInfo, s *shared, r *Request) bool {
	live := info.Recording || p.o.Live != nil && p.o.Live(info.Name)
	if !live {
		return false
	}
	if s.t == nil || s.t.closed() == 0 {
		return r.Live || !s.ended && !r.Range.Start.After(p.o.Now())
	}
	last := &s.t.rows[s.t.closed()-1]
	return r.Live && r.Kind == Multivariant && p.o.Now().Sub(time.Unix(0, last.server+last.duration)) > stale
}

// nothing is the error of a request that finds no fragment. It says where some
// are.
func (p *Packager) nothing(name fragments.StreamName, r *Request) error {
	info, err := p.src.Stream(name)
	switch {
	case err != nil:
		return err
	case info.First == nil || info.Last == nil:
		return fmt.Errorf("stream %s: %w: no fragment has been recorded yet", name, ErrNothing)
	case r.Live:
		return fmt.Errorf("stream %s: %w", name, ErrNothing)
	}
	c := r.Range.Clock
	return fmt.Errorf("stream %s: %w: it has %s to %s", name, ErrNothing,
		playback.Stamp(info.First, c).Format(time.RFC3339), playback.Stamp(info.Last, c).Add(info.Last.Duration).Format(time.RFC3339))
}

// update takes in what the archive has that s has not. The caller holds s.mu.
func (p *Packager) update(ctx context.Context, name fragments.StreamName, s *shared, info archive.StreamInfo, r *Request) error {
	if r.Live {
		return p.updateLive(ctx, name, s, info, r)
	}
	if info.Last == nil {
		return nil
	}
	s.kept = fragments.Number{}
	if info.First != nil {
		s.kept = info.First.Number
	}
	born := info.Created.UnixMilli()
	fresh := s.t == nil || s.born != born
	if s.vod && len(s.t.rows) > 0 && s.t.rows[0].number.Less(s.kept) {
		fresh = true // retention has come by
	}
	if fresh {
		s.t, s.born, s.made, s.ended, s.vod = p.newTimeline(name, r), born, info.Created, false, false
	}
	if !s.ended {
		// Whether it has ended is asked before reading: what comes in between is
		// in the playlist, or the next one says so.
		ended := p.hasEnded(info, r.Range)
		if err := p.read(ctx, name, s.t, info, r); err != nil {
			s.t = nil
			return err
		}
		s.ended = ended
		s.vod = ended && fresh && !r.Range.Open()
	}
	return nil
}

func (p *Packager) newTimeline(name fragments.StreamName, r *Request) *timeline {
	return &timeline{
		clock: r.Range.Clock, join: r.Join, tolerance: p.o.GapTolerance,
		track: func(h fragments.ConfigHash) (*fragments.Track, error) { return p.track(name, h) },
	}
}

// hasEnded reports whether nothing will be added to a range: its end has come,
// and the stream has passed it or will not reach it.
func (p *Packager) hasEnded(info archive.StreamInfo, r playback.Range) bool {
	now := p.o.Now()
	if r.Open() {
		return !info.Recording && now.Sub(info.Last.Server.Time().Add(info.Last.Duration)) > p.o.EndGrace
	}
	if !info.Recording {
		return !now.Before(r.End)
	}
	reached := playback.Stamp(info.Last, r.Clock).Add(info.Last.Duration)
	return !reached.Before(r.End) || now.Sub(r.End) > p.o.EndGrace
}

// slack is how far the server's clock may be set back without new fragments
// being overlooked.
const slack = time.Minute

// read appends the fragments that t has not seen.
func (p *Packager) read(ctx context.Context, name fragments.StreamName, t *timeline, info archive.StreamInfo, r *Request) error {
	if len(t.rows) > 0 && !t.last.Less(info.Last.Number) {
		return nil
	}
	if len(t.rows) == 0 {
		return p.readFirst(ctx, name, t, info, r)
	}
	// By server time, which rises with the numbers, whatever the producer's clock
	// does.
	since := min(t.lastServer, info.Last.Server)
	sel := fragments.Selector{Clock: fragments.ByServer, Start: since.Time().Add(-slack)}
	for e, err := range p.src.Fragments(ctx, name, sel) {
		if err != nil {
			return err
		}
		if !t.last.Less(e.Number) || !r.Live && !overlaps(e, r.Range) {
			continue
		}
		if err := p.take(t, e); err != nil {
			return err
		}
	}
	return nil
}

// readFirst fills an empty timeline.
func (p *Packager) readFirst(ctx context.Context, name fragments.StreamName, t *timeline, info archive.StreamInfo, r *Request) error {
	from := r.Range
	if r.Live {
		from = playback.Range{Clock: fragments.ByServer, Start: info.Last.Server.Time().Add(-p.o.MaxWindow)}
	}
	for e, err := range playback.Select(ctx, p.src, name, from) {
		if err != nil {
			return err
		}
		if len(t.rows) == 0 {
			p.begin(t, e, info, r)
		}
		if err := p.take(t, e); err != nil {
			return err
		}
	}
	return nil
}

// begin numbers the first row. A range counts from 0, as its first row is
// always the same. A live timeline counts tenths of seconds since the stream
// was created, which pass faster than fragments: should the cache be lost, the
// numbers go on above those that players have seen.
func (p *Packager) begin(t *timeline, e *archive.Entry, info archive.StreamInfo, r *Request) {
	if r.Live {
		t.seq = max(0, int64(e.Server.Time().Sub(info.Created)/(100*time.Millisecond)))
		t.discSeq = t.seq
	}
	if !r.Live && p.hasEnded(info, r.Range) {
		return
	}
	t.target = 2 // room for the second fragment, should the first one be short
}

func (p *Packager) take(t *timeline, e *archive.Entry) error {
	if len(t.rows) >= p.o.MaxSegments {
		at := time.Unix(0, t.rows[len(t.rows)-1].stamp).UTC()
		return &playback.ParamError{
			Name:   "end",
			Reason: fmt.Sprintf("the range has more than the %d segments that one playlist may hold; write end=%s or earlier, and ask for the rest from there", p.o.MaxSegments, at.Format(time.RFC3339)),
		}
	}
	return t.append(e)
}

func overlaps(e *archive.Entry, r playback.Range) bool {
	from := playback.Stamp(e, r.Clock)
	return from.Add(e.Duration).After(r.Start) && (r.Open() || from.Before(r.End))
}

// slide forgets what lies behind the largest window, or is no longer kept.
func (p *Packager) slide(s *shared) {
	from := s.t.windowStart(p.o.MaxWindow)
	for from < s.t.closed()-1 && (s.t.rows[from].number.Less(s.kept) || s.t.rows[from].lost) {
		from++
	}
	s.t.trim(from)
}

// view returns which rows a request sees.
func (s *shared) view(p *Packager, r *Request) (from, to int) {
	to = len(s.t.rows)
	if !r.Live {
		if s.t.join > 0 && !s.ended && s.t.open() && to > 1 {
			to-- // it may still grow
		}
		return 0, to
	}
	window := r.Window
	if window == 0 {
		window = p.o.Window
	}
	from = s.t.windowStart(window)
	for i := from; i < to; i++ {
		if !s.t.rows[i].dependent {
			return i, to
		}
	}
	return from, to
}

// windowStart returns the first row of a live window: those that arrived within
// it before the end of the last, and at least three target durations, which a
// playlist must always hold (RFC 8216, 6.2.2).
func (t *timeline) windowStart(window time.Duration) int {
	if len(t.rows) == 0 {
		return 0
	}
	last := &t.rows[len(t.rows)-1]
	since := last.server + last.duration - int64(window)
	least := 3 * t.target * int64(time.Second)
	from, length := len(t.rows), int64(0)
	for from > 0 {
		r := &t.rows[from-1]
		if r.server+r.duration <= since && length >= least {
			break
		}
		length += r.duration
		from--
	}
	return from
}

// liveStart makes players begin after the last break when little has come since:
// what is before it is old, and who asks for live wants now.
func (t *timeline) liveStart(from, to int) startAt {
	length := int64(0)
	for i := to - 1; i > from; i-- {
		length += t.rows[i].duration
		if length >= 3*t.target*int64(time.Second) {
			break
		}
		if before := &t.rows[i-1]; t.rows[i].server-before.server-before.duration > int64(stale) {
			return startAt{-time.Duration(length), true}
		}
	}
	return startAt{}
}

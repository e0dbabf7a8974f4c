package hls

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
)

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

// freshen waits for the next part of a low-latency playlist that is asked for as
// it is, for as long as a part may be. Players that join take the end of the first
// playlist for the present and never catch up: hls.js stayed as much later as the
// part that was being filmed was old, up to 200 ms. It is given s locked, and
// returns one that is.
func (p *Packager) freshen(ctx context.Context, name fragments.StreamName, s *shared, r *Request) (*shared, error) {
	next := *r
	longest := s.nextPart(&next)
	if longest == 0 {
		return s, nil
	}
	s.mu.Unlock()
	soon, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if fresh, err := p.timeline(soon, name, &next); err == nil {
		return fresh, nil
	}
	return p.timeline(ctx, name, r) // as it is, then
}

// nextPart makes r wait for the part that comes next, and returns how long that may
// be; 0 where none is to come.
func (s *shared) nextPart(r *Request) time.Duration {
	l := s.t.line(r.Track)
	if l == nil || l.part == 0 || s.state == nil || !s.state.Live || s.state.Open == nil {
		return 0
	}
	open := s.t.closed()
	r.Ahead.Wait, r.Ahead.Sequence, r.Ahead.WaitPart = true, s.t.seq+int64(open), true
	if open < len(s.t.rows) {
		r.Ahead.Part = s.parts(l, open)
	}
	return time.Duration(l.part)
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

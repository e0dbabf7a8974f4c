package archive

import (
	"context"
	"time"
)

// retentionEvery is how many ticks lie between looks at retention.
const retentionEvery = 10

// runChores does the chores at every tick, and when woken.
func (a *Archive) runChores(ctx context.Context) {
	tick := time.NewTicker(a.opts.Tick)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.kick:
		}
		a.chore(ctx)
		if n%retentionEvery == 0 {
			a.retain(ctx)
		}
	}
}

// wake has the chores done soon.
func (a *Archive) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// chore gives up numbers that were open for too long, seals segments by age,
// and closes hours.
func (a *Archive) chore(ctx context.Context) {
	a.choring.Lock()
	defer a.choring.Unlock()
	now := a.opts.Now()
	for _, s := range a.all() {
		if ctx.Err() != nil {
			return
		}
		s.expire(now)
		s.sealAged(now)
	}
	a.closeHours(ctx, now)
}

// sealAged seals the current segment when it is old enough. A stream whose slot is taken is just being written and sees to it
// itself.
func (s *stream) sealAged(now time.Time) {
	select {
	case <-s.slot:
	default:
		return
	}
	defer s.giveSlot()
	if cur := s.writing.current; cur != nil && now.Sub(cur.o.opened) >= s.a.opts.SealAge {
		s.seal()
	}
}

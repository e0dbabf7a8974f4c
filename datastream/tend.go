package datastream

import (
	"errors"
	"time"
)

// tendEvery is how often streams are looked after.
const (
	tendEvery  = 10 * time.Second
	forgetLate = time.Hour // longer than any cursor lives
)

// tend forgets expired shards and scales streams on demand, until the engine
// closes.
func (e *Engine) tend() {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.closing:
			return
		case now := <-tick.C:
			for s := range e.all {
				if err := e.tendStream(s, now); err != nil && !errors.Is(err, ErrInUse) {
					e.logger.Warn("could not look after the stream", "stream", s.name, "error", err)
				}
			}
		}
	}
}

func (e *Engine) tendStream(s *stream, now time.Time) error {
	s.ctl.Lock()
	defer s.ctl.Unlock()
	p := s.now()
	if s.gone || p.broken || p.record.Status != Active {
		return nil
	}
	return e.forget(s, p, now)
}

// forget takes shards off the list of which everything has been hidden for a
// while.
func (e *Engine) forget(s *stream, p *picture, now time.Time) error {
	horizon := p.horizon(now) - forgetLate.Milliseconds()
	var all []*shard
	for _, sh := range p.shards.all {
		if !sh.expired(horizon) {
			all = append(all, sh)
		}
	}
	if len(all) == len(p.shards.all) {
		return nil
	}
	next := *p
	next.shards = newShardMap(all)
	return e.save(s, next)
}

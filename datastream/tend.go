package datastream

import (
	"errors"
	"slices"
	"time"
)

const (
	tendEvery  = time.Minute // planLoad wants to be asked so often
	forgetLate = time.Hour   // longer than any cursor lives
	peakDays   = 30          // the service follows the peak of so many
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
	if p.record.Plan != nil {
		return e.reshard(s) // a change that found no room
	}
	if err := e.forget(s, p, now); err != nil {
		return err
	}
	return e.scale(s, s.now(), now)
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

// watch is the use of a shard of an on-demand stream, measured once a minute.
type watch struct {
	since, at      time.Time
	bytes, records uint64            // of the meter, at that time
	day            int64             // since 1970
	peaks          [peakDays]float64 // of that day and those before it, as a ring by day
}

// look measures what came in since the last look.
func (m *meter) look(r HashRange, now time.Time) load {
	bytes, records := m.inBytes.Load(), m.inRecords.Load()
	w := m.use
	if w == nil {
		m.use = &watch{since: now, at: now, bytes: bytes, records: records, day: now.Unix() / 86400}
		return load{Range: r}
	}
	share := shareOf(int64(bytes-w.bytes), int64(records-w.records), now.Sub(w.at))
	w.at, w.bytes, w.records = now, bytes, records
	for today := now.Unix() / 86400; w.day < today; {
		w.day = max(w.day+1, today-peakDays)
		w.peaks[w.day%peakDays] = 0
	}
	w.peaks[w.day%peakDays] = max(w.peaks[w.day%peakDays], share)
	return load{Range: r, now: share, peak: slices.Max(w.peaks[:]), watched: now.Sub(w.since)}
}

// scale changes the shards of a stream on demand after its load. The stream
// stays ACTIVE to look at: nobody asked for the change, and nobody waits for it.
func (e *Engine) scale(s *stream, p *picture, now time.Time) error {
	if p.record.Mode != OnDemand {
		return nil
	}
	loads := make([]load, len(p.shards.open))
	for i, sh := range p.shards.open {
		loads[i] = sh.meter.look(sh.rng, now)
	}
	steps := stepsOf(planLoad(loads, min(p.record.WarmMiBps, MaxShards), MaxShards))
	if len(steps) == 0 {
		return nil
	}
	next := *p
	next.record.Plan = &plan{Steps: steps}
	if err := e.save(s, next); err != nil {
		return err
	}
	return e.reshard(s)
}

package datastream

import (
	"context"
	"slices"
	"time"
)

// change runs f, under the lock of those who change the stream, if its state
// and mode allow a change of shards by a caller.
func (e *Engine) change(call, name string, f func(s *stream, p *picture) error) error {
	s, err := e.find(name)
	if err != nil {
		return err
	}
	if err := e.rates.allow(call, name); err != nil {
		return err
	}
	s.ctl.Lock()
	defer s.ctl.Unlock()
	p := s.now()
	switch {
	case s.gone:
		return refuse(ErrNotFound, name, "stream not found")
	case p.record.Status != Active:
		return notActive(name, p.record.Status)
	case p.record.Plan != nil:
		return notActive(name, Updating) // on-demand scaling
	case p.broken:
		return broken(name)
	}
	return f(s, p)
}

func broken(name string) error {
	return refuse(ErrUnavailable, name, "an earlier change could not be kept: the server must be restarted")
}

func refuseOnDemand(s *stream, p *picture) error {
	if p.record.Mode == OnDemand {
		return refuse(ErrMode, s.name, "Request is invalid. Stream %s is in On-Demand mode.", s.name)
	}
	return nil
}

// openShard finds a shard that is still open, and where it stands in the order
// of the open ones.
func openShard(s *stream, p *picture, index uint32) (*shard, int, error) {
	sh := p.shards.find(index)
	if sh == nil || sh.expired(p.horizon(time.Now())) {
		return nil, 0, refuse(ErrNotFound, s.name, "Could not find shard shardId-%012d in stream %s.", index, s.name)
	}
	if sh.closed != 0 {
		return nil, 0, refuse(ErrInvalid, s.name, "Shard shardId-%012d in stream %s has already been merged or split, and thus is not eligible for merging or splitting.", index, s.name)
	}
	at := slices.Index(p.shards.open, sh)
	return sh, at, nil
}

// Split closes a shard and opens two: one for the points below start and one
// for the others.
func (e *Engine) Split(_ context.Context, name string, index uint32, start HashKey) error {
	return e.change(callSplit, name, func(s *stream, p *picture) error {
		if err := refuseOnDemand(s, p); err != nil {
			return err
		}
		sh, at, err := openShard(s, p, index)
		if err != nil {
			return err
		}
		// The service wants both children to have more than one point.
		if start.Compare(sh.rng.Start) <= 0 || start == sh.rng.Start.Add(1) || start.Compare(sh.rng.End) >= 0 {
			return refuse(ErrInvalid, name, "NewStartingHashKey %s used in SplitShard() on shard shardId-%012d in stream %s is not both greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
				start, index, name, sh.rng.Start, sh.rng.End)
		}
		if err := e.roomToGrow(s, len(p.shards.open)+1, 1); err != nil {
			return err
		}
		return e.begin(s, []step{{Split: true, I: at, At: start}}, nil)
	})
}

// Merge closes two shards whose ranges touch and opens one for both.
func (e *Engine) Merge(_ context.Context, name string, a, b uint32) error {
	return e.change(callMerge, name, func(s *stream, p *picture) error {
		if err := refuseOnDemand(s, p); err != nil {
			return err
		}
		sa, ia, err := openShard(s, p, a)
		if err != nil {
			return err
		}
		sb, ib, err := openShard(s, p, b)
		if err != nil {
			return err
		}
		if ia-ib != 1 && ib-ia != 1 {
			return refuse(ErrInvalid, name, "Shards shardId-%012d and shardId-%012d in stream %s are not an adjacent pair of shards eligible for merging", sa.index, sb.index, name)
		}
		return e.begin(s, []step{{I: min(ia, ib), Swap: ia > ib}}, nil)
	})
}

// SetShardCount splits and merges until target shards of equal width are open.
// It returns how many were open before.
func (e *Engine) SetShardCount(_ context.Context, name string, target int) (current int, err error) {
	err = e.change(callCount, name, func(s *stream, p *picture) error {
		if err := refuseOnDemand(s, p); err != nil {
			return err
		}
		current = len(p.shards.open)
		if target < 1 || target > MaxShards {
			return refuse(ErrInvalid, name, "a stream has 1 to %d shards, not %d", MaxShards, target)
		}
		scaled := p.record.Scaled
		if e.limits.ControlRates {
			var ok bool
			switch scaled, ok = scaled.add(s.clock(), 10); {
			case target > 2*current:
				return refuse(ErrLimit, name, "UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: %d Target shard count: %d", current, target)
			case 2*target < current:
				return refuse(ErrLimit, name, "UpdateShardCount cannot scale down below half your current open shard count. Current open shard count: %d Target shard count: %d", current, target)
			case !ok:
				return refuse(ErrLimit, name, "UpdateShardCount can be called 10 times in 24 hours for a stream.")
			}
		}
		if err := e.roomForShards(name, max(0, target-current)); err != nil {
			return err
		}
		return e.begin(s, stepsOf(planCount(p.shards.ranges(), target)), func(r *record) { r.Scaled = scaled })
	})
	return current, err
}

// roomToGrow refuses more shards than the stream, or the account, may have.
func (e *Engine) roomToGrow(s *stream, open, more int) error {
	if open > MaxShards {
		return refuse(ErrLimit, s.name, "A stream has at most %d open shards.", MaxShards)
	}
	return e.roomForShards(s.name, more)
}

// ranges are the open ranges in hash order.
func (m *shardMap) ranges() []HashRange {
	list := make([]HashRange, len(m.open))
	for i, sh := range m.open {
		list[i] = sh.rng
	}
	return list
}

package kinesisapi

import (
	"errors"

	"github.com/kineweir/kineweir/datastream"
)

// resharding is the stream of a call that changes shards: one that is ACTIVE
// and provisioned. That a shard's name is none at all is told before anything
// is said of the stream, as the service does.
func (c *call) resharding(name, arn string, shards ...string) (datastream.Stream, error) {
	name, err := c.stream(name, arn)
	if err != nil {
		return datastream.Stream{}, err
	}
	for _, shard := range shards {
		if _, ok := parseShard(shard); !ok {
			return datastream.Stream{}, c.h.noShard(shard, name)
		}
	}
	s, err := c.h.engine.Stream(name)
	if errors.Is(err, datastream.ErrNotFound) {
		return s, c.h.noStream(name)
	}
	if err != nil {
		return s, err
	}
	if s.Status != datastream.Active {
		return s, c.h.notActive(&s)
	}
	if s.Mode == datastream.OnDemand {
		return s, unfit("Request is invalid. Stream %s under account %s is in On-Demand mode.", s.Name, c.h.account)
	}
	return s, nil
}

// shardToChange finds the shard of a name, open or not.
func (h *Handler) shardToChange(s *datastream.Stream, name string) (uint32, datastream.Shard, error) {
	index, ok := parseShard(name)
	if !ok {
		return 0, datastream.Shard{}, h.noShard(name, s.Name)
	}
	list, err := h.engine.Shards(s.Name, datastream.ShardFilter{After: datastream.NoShard})
	if err != nil {
		return 0, datastream.Shard{}, err
	}
	for i := range list {
		if list[i].Index == index {
			return index, list[i], nil
		}
	}
	return 0, datastream.Shard{}, h.noShard(shardName(index), s.Name)
}

func (h *Handler) notActive(s *datastream.Stream) error {
	return words(datastream.ErrInUse, datastream.ErrInUse,
		"Stream %s under account %s not ACTIVE, instead in state %s", s.Name, h.account, s.Status)
}

// tellReshard puts the service's texts to the engine's refusals. more is how
// many shards the change would have added.
func (h *Handler) tellReshard(err error, s *datastream.Stream, more int) error {
	if _, open, _ := h.engine.Counts(); errors.Is(err, datastream.ErrLimit) &&
		h.limits.ShardLimit > 0 && open+more > h.limits.ShardLimit {
		return words(err, datastream.ErrLimit, "%s", h.tooManyShards(open, more))
	}
	if now, e := h.engine.Stream(s.Name); e == nil && errors.Is(err, datastream.ErrInUse) && now.Status != datastream.Active {
		return h.notActive(&now)
	}
	return err
}

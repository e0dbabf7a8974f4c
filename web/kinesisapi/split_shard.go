package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/datastream"
)

// SplitShard closes a shard and opens two in its place.
//
// Honoured: everything. A shard's name may be short, as in "shardId-5".

type splitShardInput struct {
	NewStartingHashKey string `aws:"NewStartingHashKey,required,pattern=hash"`
	ShardToSplit       string `aws:"ShardToSplit,required,min=1,max=128,pattern=name"`
	StreamName         string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN          string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID           string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) splitShard(ctx context.Context, c *call, in *splitShardInput) (*none, error) {
	s, err := c.resharding(in.StreamName, in.StreamARN, in.ShardToSplit)
	if err != nil {
		return nil, err
	}
	index, shard, err := h.shardToChange(&s, in.ShardToSplit)
	if err != nil {
		return nil, err
	}
	at, err := datastream.ParseHashKey(in.NewStartingHashKey)
	if err != nil || at.Compare(shard.Range.Start.Add(1)) <= 0 || at.Compare(shard.Range.End) >= 0 {
		return nil, invalid("NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
			in.NewStartingHashKey, shardName(index), s.Name, h.account, shard.Range.Start, shard.Range.End)
	}
	return nil, h.tellReshard(h.engine.Split(ctx, s.Name, index, at), &s, 1)
}

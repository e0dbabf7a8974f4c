package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/datastream"
)

// MergeShards closes two shards whose hash keys touch and opens one in their
// place.
//
// Honoured: everything; as with the service the shard with the lower hash
// keys comes first.

type mergeShardsInput struct {
	ShardToMerge         string `aws:"ShardToMerge,required,min=1,max=128,pattern=name"`
	AdjacentShardToMerge string `aws:"AdjacentShardToMerge,required,min=1,max=128,pattern=name"`
	StreamName           string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN            string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID             string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) mergeShards(ctx context.Context, c *call, in *mergeShardsInput) (*none, error) {
	s, err := c.resharding(in.StreamName, in.StreamARN, in.ShardToMerge, in.AdjacentShardToMerge)
	if err != nil {
		return nil, err
	}
	i, a, err := h.shardToChange(&s, in.ShardToMerge)
	if err != nil {
		return nil, err
	}
	j, b, err := h.shardToChange(&s, in.AdjacentShardToMerge)
	if err != nil {
		return nil, err
	}
	if !touch(a.Range, b.Range) {
		return nil, invalid("Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging",
			shardName(i), shardName(j), s.Name, h.account)
	}
	return nil, h.tellReshard(h.engine.Merge(ctx, s.Name, i, j), &s, 0)
}

// touch reports whether b begins where a ends.
func touch(a, b datastream.HashRange) bool {
	return a.End != datastream.MaxHashKey && a.End.Add(1) == b.Start
}

package kinesisapi

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/awswire"
)

// maxGet is how much one answer gives at most: records, and bytes of them.
const (
	maxGetRecords = 10000
	maxGetBytes   = 10 << 20
)

// GetRecords gives the records at an iterator and the iterator behind them.
//
// Honoured: Limit, 10 MiB; an iterator may be used again until it expires, every
// answer has a new one but the last of a closed shard, which has its children;
// StreamARN must be of the iterator's stream; DryRun after all checks.

type getRecordsInput struct {
	Limit         *int   `aws:"Limit,min=1,max=10000"`
	ShardIterator string `aws:"ShardIterator,required,min=1,max=512"`
	StreamARN     string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID      string `aws:"StreamId,min=1,max=24,pattern=id"`
	DryRun        bool   `aws:"DryRun"`
}

type getRecordsOutput struct {
	Records            []recordShape `aws:"Records"`
	NextShardIterator  string        `aws:"NextShardIterator,omitempty"`
	MillisBehindLatest int64         `aws:"MillisBehindLatest,long"`
	ChildShards        []childShard  `aws:"ChildShards,omitempty"`
}

// Member gives the places of the members, for awswire.Direct.
func (in *getRecordsInput) Member(i int) any {
	switch i {
	case 0:
		return &in.Limit
	case 1:
		return &in.ShardIterator
	case 2:
		return &in.StreamARN
	case 3:
		return &in.StreamID
	}
	return &in.DryRun
}

// Member gives the places of the members, for awswire.Direct.
func (out *getRecordsOutput) Member(i int) any {
	switch i {
	case 0:
		return awswire.ListAt(&out.Records)
	case 1:
		return &out.NextShardIterator
	case 2:
		return &out.MillisBehindLatest
	}
	return awswire.ListAt(&out.ChildShards)
}

func (h *Handler) getRecords(ctx context.Context, c *call, in *getRecordsInput) (*getRecordsOutput, error) {
	stream, cursor, err := h.parseIterator(in.ShardIterator)
	if err != nil {
		return nil, err
	}
	if in.StreamARN != "" && in.StreamARN != h.streamARN(stream) {
		return nil, invalid("StreamARN %s is not of the stream of the ShardIterator.", in.StreamARN)
	}
	if err := c.mayStream(stream); err != nil {
		return nil, err
	}
	if in.DryRun {
		if !h.hasShard(stream, cursor.Shard) {
			return nil, h.shardGone(cursor.Shard, stream)
		}
		return nil, dryRun()
	}
	batch, err := h.engine.Read(ctx, stream, cursor, number(in.Limit, maxGetRecords), maxGetBytes)
	if err != nil {
		return nil, h.tellRead(err, stream, cursor.Shard)
	}
	out := &getRecordsOutput{
		Records:            recordShapes(batch.Records),
		MillisBehindLatest: max(0, batch.Behind.Milliseconds()),
	}
	if batch.End {
		out.ChildShards = childShards(batch.Children)
	} else {
		out.NextShardIterator = h.iterator(stream, batch.Next)
	}
	return out, nil
}

// tellRead puts the service's texts to the engine's refusals of a read.
func (h *Handler) tellRead(err error, stream string, shard uint32) error {
	if errors.Is(err, datastream.ErrNotFound) {
		return h.shardGone(shard, stream)
	}
	return words(err, datastream.ErrThrottled, "%s", h.tooFast(shard, stream))
}

// hasShard reports whether a stream has a shard that is not expired.
func (h *Handler) hasShard(stream string, shard uint32) bool {
	list, err := h.engine.Shards(stream, datastream.ShardFilter{After: datastream.NoShard})
	if err != nil {
		return false
	}
	_, found := slices.BinarySearchFunc(list, shard, func(s datastream.Shard, index uint32) int { return cmp.Compare(s.Index, index) })
	return found
}

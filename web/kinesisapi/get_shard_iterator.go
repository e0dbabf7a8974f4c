package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/web/awswire"
)

// GetShardIterator gives a token of a place in a shard, good for 300 seconds.
//
// Honoured: everything; DryRun after all checks. A shard's name may be short, as
// in "shardId-5". A time before the oldest record is as TRIM_HORIZON.

type getShardIteratorInput struct {
	ShardID                string       `aws:"ShardId,required,min=1,max=128,pattern=name"`
	ShardIteratorType      string       `aws:"ShardIteratorType,required,enum=AFTER_SEQUENCE_NUMBER|LATEST|AT_TIMESTAMP|AT_SEQUENCE_NUMBER|TRIM_HORIZON"`
	StartingSequenceNumber string       `aws:"StartingSequenceNumber,pattern=sequence"`
	StreamName             string       `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN              string       `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID               string       `aws:"StreamId,min=1,max=24,pattern=id"`
	Timestamp              awswire.Time `aws:"Timestamp"`
	DryRun                 bool         `aws:"DryRun"`
}

type getShardIteratorOutput struct {
	ShardIterator string `aws:"ShardIterator"`
}

func (h *Handler) getShardIterator(_ context.Context, c *call, in *getShardIteratorInput) (*getShardIteratorOutput, error) {
	const member = "StartingSequenceNumber"
	stream, err := c.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	shard, ok := parseShard(in.ShardID)
	if !ok {
		return nil, h.noShard(in.ShardID, stream)
	}
	if !h.hasShard(stream, shard) {
		return nil, h.shardGone(shard, stream)
	}
	start, err := h.start(c.op, member, stream, shard, in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp.Time)
	if err != nil {
		return nil, err
	}
	cursor, err := h.engine.Seek(stream, shard, start)
	if err != nil {
		return nil, h.tellStart(err, c.op, member, stream, shard, start)
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return &getShardIteratorOutput{h.iterator(stream, cursor)}, nil
}

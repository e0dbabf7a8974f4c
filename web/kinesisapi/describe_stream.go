package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/awswire"
)

// describeShards is how many shards one answer describes at most.
const describeShards = 100

// DescribeStream gives what a stream is, and its shards page by page.
//
// Honoured: everything. Limit is 100 unless it is smaller.

type describeStreamInput struct {
	Limit                 *int   `aws:"Limit,min=1,max=10000"`
	ExclusiveStartShardID string `aws:"ExclusiveStartShardId,min=1,max=128,pattern=name"`
	StreamName            string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN             string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID              string `aws:"StreamId,min=1,max=24,pattern=id"`
}

type describeStreamOutput struct {
	StreamDescription streamDescription `aws:"StreamDescription"`
}

type streamDescription struct {
	StreamName              string            `aws:"StreamName"`
	StreamARN               string            `aws:"StreamARN"`
	StreamStatus            string            `aws:"StreamStatus"`
	StreamModeDetails       modeDetails       `aws:"StreamModeDetails"`
	Shards                  []shardShape      `aws:"Shards"`
	HasMoreShards           bool              `aws:"HasMoreShards"`
	RetentionPeriodHours    int               `aws:"RetentionPeriodHours"`
	StreamCreationTimestamp awswire.Time      `aws:"StreamCreationTimestamp"`
	EnhancedMonitoring      []enhancedMetrics `aws:"EnhancedMonitoring"`
	EncryptionType          string            `aws:"EncryptionType"`
	KeyID                   string            `aws:"KeyId,omitempty"`
}

func (h *Handler) describeStream(_ context.Context, c *call, in *describeStreamInput) (*describeStreamOutput, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	shards, more, err := h.shardsAfter(&s, datastream.ShardFilter{}, in.ExclusiveStartShardID,
		min(number(in.Limit, describeShards), describeShards))
	if err != nil {
		return nil, err
	}
	return &describeStreamOutput{streamDescription{
		StreamName:              s.Name,
		StreamARN:               h.streamARN(s.Name),
		StreamStatus:            string(s.Status),
		StreamModeDetails:       modeDetails{string(s.Mode)},
		Shards:                  shardShapes(shards),
		HasMoreShards:           more,
		RetentionPeriodHours:    s.RetentionHours,
		StreamCreationTimestamp: awswire.At(s.Created),
		EnhancedMonitoring:      []enhancedMetrics{{s.Monitored}},
		EncryptionType:          keyType(&s),
		KeyID:                   s.KeyID,
	}}, nil
}

// shardsAfter are the first shards of a filter behind the one of that name. A
// stream that is being created shows none.
func (h *Handler) shardsAfter(s *datastream.Stream, f datastream.ShardFilter, after string, limit int) (list []datastream.Shard, more bool, err error) {
	from := datastream.NoShard
	if after != "" {
		index, ok := parseShard(after)
		if !ok {
			return nil, false, h.noShard(after, s.Name)
		}
		from = index
	}
	return h.shards(s, f, from, limit)
}

// shards are the first of a filter behind an index; NoShard is before all.
func (h *Handler) shards(s *datastream.Stream, f datastream.ShardFilter, after uint32, limit int) (list []datastream.Shard, more bool, err error) {
	if s.Status == datastream.Creating {
		return nil, false, nil
	}
	f.After = after
	if list, err = h.engine.Shards(s.Name, f); err != nil {
		return nil, false, err
	}
	if len(list) > limit {
		return list[:limit], true, nil
	}
	return list, false, nil
}

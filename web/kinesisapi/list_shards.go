package kinesisapi

import (
	"context"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/awswire"
)

// listShardsPage is how many shards one answer gives at most.
const listShardsPage = 1000

// ListShards gives the shards of a stream, closed ones too until they expire.
//
// Honoured: MaxResults, 1000 unless it is smaller; every ShardFilter;
// StreamCreationTimestamp, to the second, because clients carry no more; NextToken,
// which is good for 300 seconds, remembers stream and filter, and excludes
// StreamName, StreamARN, StreamCreationTimestamp and ExclusiveStartShardId.
// Ignored: ShardFilter beside a NextToken.

type listShardsInput struct {
	ExclusiveStartShardID   string       `aws:"ExclusiveStartShardId,min=1,max=128,pattern=name"`
	MaxResults              *int         `aws:"MaxResults,min=1,max=10000"`
	NextToken               string       `aws:"NextToken,min=1,max=1048576"`
	ShardFilter             *shardFilter `aws:"ShardFilter"`
	StreamCreationTimestamp awswire.Time `aws:"StreamCreationTimestamp"`
	StreamName              string       `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN               string       `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID                string       `aws:"StreamId,min=1,max=24,pattern=id"`
}

type shardFilter struct {
	Type      string        `aws:"Type,required,enum=AFTER_SHARD_ID|AT_TRIM_HORIZON|FROM_TRIM_HORIZON|AT_LATEST|AT_TIMESTAMP|FROM_TIMESTAMP"`
	ShardID   string        `aws:"ShardId,min=1,max=128,pattern=name"`
	Timestamp *awswire.Time `aws:"Timestamp"`
}

type listShardsOutput struct {
	Shards    []shardShape `aws:"Shards"`
	NextToken string       `aws:"NextToken,omitempty"`
}

func (h *Handler) listShards(_ context.Context, c *call, in *listShardsInput) (*listShardsOutput, error) {
	p, s, err := c.shardPage(in)
	if err != nil {
		return nil, err
	}
	f := datastream.ShardFilter{Kind: p.Filter}
	if p.Time != 0 {
		f.Time = time.UnixMilli(p.Time)
	}
	list, more, err := h.shards(&s, f, p.Shard, min(number(in.MaxResults, listShardsPage), listShardsPage))
	if err != nil {
		return nil, err
	}
	out := &listShardsOutput{Shards: shardShapes(list)}
	if more {
		p.Shard = list[len(list)-1].Index
		out.NextToken = h.pageToken(tokenShards, p)
	}
	return out, nil
}

// shardPage is where a call begins, by its token or by its other members, and
// the stream.
func (c *call) shardPage(in *listShardsInput) (p page, s datastream.Stream, err error) {
	switch named := in.StreamName != "" || in.StreamARN != ""; {
	case !named && in.NextToken == "":
		return p, s, invalid("Either NextToken or StreamName should be provided.")
	case in.StreamName != "" && in.NextToken != "":
		return p, s, invalid("NextToken and StreamName cannot be provided together.")
	case in.StreamARN != "" && in.NextToken != "":
		return p, s, invalid("NextToken and StreamARN cannot be provided together.")
	case in.NextToken != "" && in.ExclusiveStartShardID != "":
		return p, s, invalid("NextToken and ExclusiveStartShardId cannot be provided together.")
	case in.NextToken != "" && !in.StreamCreationTimestamp.IsZero():
		return p, s, invalid("NextToken and StreamCreationTimestamp cannot be provided together.")
	case in.NextToken != "" && in.ShardFilter != nil:
		return p, s, invalid("NextToken and ShardFilter cannot be provided together.")
	case named:
		return c.firstShardPage(in)
	}
	if p, err = c.h.parsePage(tokenShards, in.NextToken); err != nil {
		return p, s, err
	}
	s, err = c.again(&p)
	return p, s, err
}

// again is the stream of a page, if it is still the same one.
func (c *call) again(p *page) (datastream.Stream, error) {
	s, err := c.described(p.Stream, "")
	if err == nil && s.ID != p.ID {
		err = c.h.noStream(p.Stream)
	}
	return s, err
}

func (c *call) firstShardPage(in *listShardsInput) (p page, s datastream.Stream, err error) {
	if s, err = c.described(in.StreamName, in.StreamARN); err != nil {
		return p, s, err
	}
	if err := c.h.sameStream(&s, in.StreamCreationTimestamp); err != nil {
		return p, s, err
	}
	p = page{Stream: s.Name, ID: s.ID, Shard: datastream.NoShard}
	after := in.ExclusiveStartShardID
	if f := in.ShardFilter; f != nil {
		switch p.Filter = f.Type; p.Filter {
		case "AFTER_SHARD_ID":
			if f.ShardID == "" {
				return p, s, invalid("ShardId must be provided in a ShardFilter of type AFTER_SHARD_ID.")
			}
			after, p.Filter = f.ShardID, ""
		case "AT_TIMESTAMP", "FROM_TIMESTAMP":
			if f.Timestamp == nil {
				return p, s, invalid("Timestamp must be provided in a ShardFilter of type %s.", f.Type)
			}
			p.Time = f.Timestamp.UnixMilli()
		}
	}
	if after != "" {
		index, ok := parseShard(after)
		if !ok {
			return p, s, c.h.noShard(after, s.Name)
		}
		p.Shard = index
	}
	return p, s, nil
}

// sameStream refuses a stream that is not the one made then; a zero time is any.
func (h *Handler) sameStream(s *datastream.Stream, made awswire.Time) error {
	if made.IsZero() || made.Unix() == s.Created.Unix() {
		return nil
	}
	return h.noStream(s.Name)
}

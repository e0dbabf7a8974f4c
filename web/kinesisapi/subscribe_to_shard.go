package kinesisapi

import (
	"context"
	"errors"
	"io"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/awswire"
)

// SubscribeToShard pushes the records of a shard to a consumer for 5 minutes.
//
// Honoured: everything. An empty event comes after 5 quiet seconds. The last
// event of a closed shard has its children and no ContinuationSequenceNumber. A
// second subscription within 5 seconds is refused; a later one takes over, and
// the first ends with a ResourceInUseException. DryRun after all checks but
// those of other subscriptions.

type subscribeToShardInput struct {
	ConsumerARN      string            `aws:"ConsumerARN,required,min=1,max=2048,pattern=consumer"`
	ShardID          string            `aws:"ShardId,required,min=1,max=128,pattern=name"`
	StartingPosition *startingPosition `aws:"StartingPosition,required"`
	StreamID         string            `aws:"StreamId,min=1,max=24,pattern=id"`
	DryRun           bool              `aws:"DryRun"`
}

type startingPosition struct {
	Type           string       `aws:"Type,required,enum=AFTER_SEQUENCE_NUMBER|LATEST|AT_TIMESTAMP|AT_SEQUENCE_NUMBER|TRIM_HORIZON"`
	SequenceNumber string       `aws:"SequenceNumber,pattern=sequence"`
	Timestamp      awswire.Time `aws:"Timestamp"`
}

type subscribeToShardEvent struct {
	Records                    []recordShape `aws:"Records"`
	ContinuationSequenceNumber sequence      `aws:"ContinuationSequenceNumber,omitempty"`
	MillisBehindLatest         int64         `aws:"MillisBehindLatest,long"`
	ChildShards                []childShard  `aws:"ChildShards,omitempty"`
}

// Member gives the places of the members, for awswire.Direct.
func (e *subscribeToShardEvent) Member(i int) any {
	switch i {
	case 0:
		return awswire.ListAt(&e.Records)
	case 1:
		return &e.ContinuationSequenceNumber
	case 2:
		return &e.MillisBehindLatest
	}
	return awswire.ListAt(&e.ChildShards)
}

func (h *Handler) subscribeToShard() awswire.Operation {
	const name = "SubscribeToShard"
	return awswire.StreamOp(name, func(ctx context.Context, c *awswire.Call, in *subscribeToShardInput, send func(string, any) error) error {
		k := call{c, h, name}
		if err := h.subscribe(ctx, &k, in, send); err != nil {
			return h.refusal(err)
		}
		return nil
	}, subscribeToShardEvent{})
}

func (h *Handler) subscribe(ctx context.Context, c *call, in *subscribeToShardInput, send func(string, any) error) error {
	const member = "SequenceNumber"
	r, err := c.namedConsumer(in.ConsumerARN, "", "")
	if err != nil {
		return err
	}
	if _, err := h.consumer(r); err != nil {
		return err
	}
	index, ok := parseShard(in.ShardID)
	if !ok {
		return h.noShard(in.ShardID, r.stream)
	}
	if !h.hasShard(r.stream, index) {
		return h.shardGone(index, r.stream)
	}
	p := in.StartingPosition
	start, err := h.start(c.op, member, r.stream, index, p.Type, p.SequenceNumber, p.Timestamp.Time)
	if err != nil {
		return err
	}
	if in.DryRun {
		if _, err := h.engine.Seek(r.stream, index, start); err != nil {
			return h.tellStart(err, c.op, member, r.stream, index, start)
		}
		return dryRun()
	}
	sub, err := h.engine.Subscribe(ctx, r.stream, r.consumer, index, start)
	if err != nil {
		return h.tellSubscribed(h.tellStart(err, c.op, member, r.stream, index, start), r, index)
	}
	defer sub.Close()
	if err := send(awswire.InitialResponse, nil); err != nil {
		return err
	}
	return h.tellSubscribed(push(ctx, sub, send), r, index)
}

// push sends what a subscription gives until it ends.
func push(ctx context.Context, sub *datastream.Subscription, send func(string, any) error) error {
	for {
		batch, err := sub.Next(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil // the time is over, the shard is, or nobody listens
		}
		if err != nil {
			return err
		}
		event := &subscribeToShardEvent{
			Records:            recordShapes(batch.Records),
			MillisBehindLatest: max(0, batch.Behind.Milliseconds()),
		}
		if batch.End {
			event.ChildShards = childShards(batch.Children)
		} else {
			event.ContinuationSequenceNumber = sequence{batch.Continue}
		}
		if err := send("SubscribeToShardEvent", event); err != nil {
			return err
		}
	}
}

// tellSubscribed names the subscription that is in the way.
func (h *Handler) tellSubscribed(err error, r resource, shard uint32) error {
	for _, kind := range [...]error{datastream.ErrInUse, datastream.ErrSubscriptions} {
		err = words(err, kind, "Another active subscription exists for this consumer: %s:%s:%s:%s",
			h.account, r.stream, shardName(shard), r.consumer)
	}
	return err
}

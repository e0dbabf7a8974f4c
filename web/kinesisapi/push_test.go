package kinesisapi

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestContinuation: a subscription goes on behind the ContinuationSequenceNumber
// of an event, also of one without records.
func TestContinuation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.consumer(r.made("s", 1), "one"), r.consumer("s", "two")
	start := time.Now()
	e := next(t, r.subscribe(t.Context(), one, 0, types.StartingPosition{Type: "LATEST"}))
	equal(t, "records", len(e.Records), 0)
	if waited := time.Since(start); waited < 4*time.Second {
		t.Errorf("an empty event after %v", waited)
	}
	r.put("s", "x", "0")
	e = next(t, r.subscribe(t.Context(), two, 0, types.StartingPosition{Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: e.ContinuationSequenceNumber}))
	equal(t, "data", string(e.Records[0].Data), "x")
}

// TestTakeover: a second subscription within 5 seconds is refused, a later one
// takes over and the first ends with the service's exception.
func TestTakeover(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	arn := r.consumer(r.made("s", 1), "c")
	// A client for each, as in subscribe.
	ask := func() (*kinesis.SubscribeToShardOutput, error) {
		return client(r.url).SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{
			ConsumerARN: &arn, ShardId: str(shardName(0)), StartingPosition: &types.StartingPosition{Type: "LATEST"},
		})
	}
	first, err := ask()
	must(t, err)
	defer first.GetStream().Close()
	const text = "Another active subscription exists for this consumer: " + account + ":s:shardId-000000000000:c"
	_, err = ask()
	var inUse *types.ResourceInUseException
	if !errors.As(err, &inUse) || *inUse.Message != text {
		t.Errorf("second: %v", err)
	}
	time.Sleep(5100 * time.Millisecond)
	second, err := ask()
	must(t, err)
	defer second.GetStream().Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for done := false; !done; {
		select {
		case _, more := <-first.GetStream().Events():
			done = !more
		case <-ctx.Done():
			t.Fatal("the first subscription goes on")
		}
	}
	inUse = nil
	if err := first.GetStream().Err(); !errors.As(err, &inUse) || *inUse.Message != text {
		t.Errorf("first: %v", err)
	}
}

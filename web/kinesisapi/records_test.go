package kinesisapi

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

func recordSuccesses() map[string]success {
	return map[string]success{
		"PutRecord": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 2)
			last := ""
			for range 3 {
				in := &kinesis.PutRecordInput{
					StreamName: str("s"), Data: []byte("x"), PartitionKey: str("k"), ExplicitHashKey: str("340282366920938463463374607431768211455"),
				}
				if last != "" {
					in.SequenceNumberForOrdering = &last
				}
				out, err := r.sdk.PutRecord(ctx, in)
				must(t, err)
				equal(t, "shard", *out.ShardId, shardName(1))
				if *out.SequenceNumber <= last || len(*out.SequenceNumber) != 56 {
					t.Errorf("number %s after %s", *out.SequenceNumber, last)
				}
				last = *out.SequenceNumber
			}
		},
		"PutRecords": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 2)
			var in []types.PutRecordsRequestEntry
			for i := range 500 {
				in = append(in, types.PutRecordsRequestEntry{Data: []byte{byte(i)}, PartitionKey: str(strings.Repeat("é", 1+i%256))})
			}
			out, err := r.sdk.PutRecords(ctx, &kinesis.PutRecordsInput{StreamARN: str(arnOf("s")), Records: in})
			must(t, err)
			equal(t, "failed", *out.FailedRecordCount, 0)
			seen := map[string]bool{}
			for i, e := range out.Records {
				if e.ErrorCode != nil || seen[*e.ShardId+*e.SequenceNumber] {
					t.Fatalf("record %d: %v", i, e)
				}
				seen[*e.ShardId+*e.SequenceNumber] = true
			}
			equal(t, "results", len(seen), 500)
		},
		"GetShardIterator": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			first := r.put("s", "a", "0")
			time.Sleep(3 * time.Millisecond) // arrivals are told apart by milliseconds
			at := time.Now()
			second := r.put("s", "b", "0")
			for _, row := range []struct {
				kind types.ShardIteratorType
				from *string
				want string
			}{
				{"TRIM_HORIZON", nil, "ab"},
				{"LATEST", nil, ""},
				{"AT_SEQUENCE_NUMBER", &first, "ab"},
				{"AFTER_SEQUENCE_NUMBER", &first, "b"},
				{"AT_SEQUENCE_NUMBER", &second, "b"},
				{"AFTER_SEQUENCE_NUMBER", &second, ""},
				{"AT_TIMESTAMP", nil, "b"},
			} {
				in := &kinesis.GetShardIteratorInput{StreamARN: str(arnOf("s")), ShardId: str("shardId-0"), ShardIteratorType: row.kind, StartingSequenceNumber: row.from}
				if row.kind == "AT_TIMESTAMP" {
					in.Timestamp = &at
				}
				out, err := r.sdk.GetShardIterator(ctx, in)
				must(t, err)
				equal(t, string(row.kind), r.read(*out.ShardIterator), row.want)
			}
		},
		"GetRecords": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			var numbers []string
			for _, d := range []string{"a", "", "c"} {
				numbers = append(numbers, r.put("s", d, "0"))
			}
			it := r.iterator("s", 0, "TRIM_HORIZON")
			out, err := r.sdk.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: &it, Limit: aws.Int32(2), StreamARN: str(arnOf("s"))})
			must(t, err)
			equal(t, "records", len(out.Records), 2)
			equal(t, "data", string(out.Records[0].Data)+*out.Records[0].PartitionKey, "ak")
			equal(t, "number", *out.Records[1].SequenceNumber, numbers[1])
			equal(t, "encryption", out.Records[0].EncryptionType, types.EncryptionType(""))
			if age := time.Since(*out.Records[0].ApproximateArrivalTimestamp); age < 0 || age > time.Minute {
				t.Errorf("arrived %v ago", age)
			}
			out, err = r.sdk.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: out.NextShardIterator})
			must(t, err)
			equal(t, "rest", len(out.Records), 1)
			equal(t, "behind", *out.MillisBehindLatest, 0)
			if out.ChildShards != nil || out.NextShardIterator == nil {
				t.Error("an open shard ended")
			}
		},
	}
}

// read is the data of all records from an iterator to the tip or the end.
func (r *rig) read(iterator string) string {
	r.t.Helper()
	var b strings.Builder
	for it := &iterator; it != nil; {
		out, err := r.sdk.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it})
		must(r.t, err)
		for _, rec := range out.Records {
			b.Write(rec.Data)
		}
		if it = out.NextShardIterator; *out.MillisBehindLatest == 0 {
			break
		}
	}
	return b.String()
}

func consumerSuccesses() map[string]success {
	return map[string]success{
		"RegisterStreamConsumer": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			out, err := r.sdk.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{
				StreamARN: str(arnOf("s")), ConsumerName: str("c"), Tags: map[string]string{"a": "b"},
			})
			must(t, err)
			equal(t, "status", out.Consumer.ConsumerStatus, types.ConsumerStatusCreating)
			if arn := *out.Consumer.ConsumerARN; !strings.HasPrefix(arn, arnOf("s")+"/consumer/c:") {
				t.Errorf("ARN %s", arn)
			}
			tags, err := r.sdk.ListTagsForResource(ctx, &kinesis.ListTagsForResourceInput{ResourceARN: out.Consumer.ConsumerARN})
			must(t, err)
			equal(t, "tags", len(tags.Tags), 1)
		},
		"DeregisterStreamConsumer": func(t *testing.T, r *rig, ctx context.Context) {
			arn := r.consumer(r.made("s", 1), "c")
			_, err := r.sdk.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &arn, StreamARN: str(arnOf("s")), ConsumerName: str("c")})
			must(t, err)
			r.consumer("s", "d")
			_, err = r.sdk.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{StreamARN: str(arnOf("s")), ConsumerName: str("d")})
			must(t, err)
			equal(t, "left", *r.summary("s").ConsumerCount, 0)
		},
		"DescribeStreamConsumer": func(t *testing.T, r *rig, ctx context.Context) {
			arn := r.consumer(r.made("s", 1), "c")
			for _, in := range []*kinesis.DescribeStreamConsumerInput{
				{ConsumerARN: &arn}, {StreamARN: str(arnOf("s")), ConsumerName: str("c")}, {ConsumerARN: &arn, StreamARN: str(arnOf("s")), ConsumerName: str("c")},
			} {
				out, err := r.sdk.DescribeStreamConsumer(ctx, in)
				must(t, err)
				d := out.ConsumerDescription
				equal(t, "consumer", *d.ConsumerName+*d.ConsumerARN+*d.StreamARN, "c"+arn+arnOf("s"))
				equal(t, "status", d.ConsumerStatus, types.ConsumerStatusActive)
			}
		},
		"ListStreamConsumers": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			for _, n := range []string{"b", "a", "c"} {
				r.consumer("s", n)
			}
			names := ""
			for p := kinesis.NewListStreamConsumersPaginator(r.sdk, &kinesis.ListStreamConsumersInput{StreamARN: str(arnOf("s")), MaxResults: aws.Int32(2)}); p.HasMorePages(); {
				out, err := p.NextPage(ctx)
				must(t, err)
				for _, c := range out.Consumers {
					names += *c.ConsumerName
				}
			}
			equal(t, "names", names, "abc")
		},
		"SubscribeToShard": func(t *testing.T, r *rig, ctx context.Context) {
			arn := r.consumer(r.made("s", 1), "c")
			first := r.put("s", "a", "0")
			events := r.subscribe(ctx, arn, 0, types.StartingPosition{Type: "TRIM_HORIZON"})
			e := next(t, events)
			equal(t, "data", string(e.Records[0].Data), "a")
			equal(t, "continuation", *e.ContinuationSequenceNumber, first)
			r.put("s", "b", "0")
			equal(t, "pushed", string(next(t, events).Records[0].Data), "b")
			r.do("SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"1000"}`)
			for e = next(t, events); len(e.ChildShards) == 0; e = next(t, events) {
				t.Logf("an event without children: %d records", len(e.Records))
			}
			equal(t, "children", *e.ChildShards[1].ShardId+e.ChildShards[1].ParentShards[0], shardName(2)+shardName(0))
			if e.ContinuationSequenceNumber != nil {
				t.Error("the end goes on")
			}
			if e, more := <-events; more {
				t.Errorf("an event after the end: %v", e)
			}
		},
	}
}

// subscribe gives the events of a subscription; the channel closes with it.
func (r *rig) subscribe(ctx context.Context, consumer string, shard uint32, at types.StartingPosition) <-chan types.SubscribeToShardEvent {
	r.t.Helper()
	// A client of its own: two streams of one client race in the SDK (smithy-go
	// 1.28.8 has one buffer for all event streams of a client).
	out, err := client(r.url).SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: &consumer, ShardId: str(shardName(shard)), StartingPosition: &at})
	must(r.t, err)
	stream := out.GetStream()
	r.t.Cleanup(func() { stream.Close() })
	events := make(chan types.SubscribeToShardEvent)
	go func() {
		defer close(events)
		for e := range stream.Events() {
			select {
			case events <- e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events
}

func next(t testing.TB, events <-chan types.SubscribeToShardEvent) types.SubscribeToShardEvent {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the subscription ended")
		}
		return e
	case <-time.After(8 * time.Second):
		t.Fatal("no event in 8 seconds")
	}
	panic("unreachable")
}

// TestOrderAfterOldNumber: every number is greater than those of the service's
// older versions.
func TestOrderAfterOldNumber(t *testing.T) {
	r := newRig(t)
	r.made("s", 1)
	for _, old := range []string{"0", "5", version1(0)} {
		a := r.do("PutRecord", fmt.Sprintf(`{"StreamName":"s","PartitionKey":"a","Data":"","SequenceNumberForOrdering":%q}`, old))
		equal(t, old, a["ShardId"], "shardId-000000000000")
	}
}

package kinesisapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/awswire"
)

// TestThrottledRecords: beyond a shard's throughput single records of a
// PutRecords fail, in the service's words; a PutRecord and a GetRecords whole.
func TestThrottledRecords(t *testing.T) {
	r := newRig(t, func(s *setup) { s.engine.Limits = datastream.Limits{Throttle: true} })
	r.made("s", 2)
	var in []types.PutRecordsRequestEntry
	data := []byte(strings.Repeat("x", 900<<10))
	for i := range 6 { // two to shard 1, the others to shard 0
		hash := "0"
		if i%3 == 2 {
			hash = "340282366920938463463374607431768211455"
		}
		in = append(in, types.PutRecordsRequestEntry{Data: data, PartitionKey: str("k"), ExplicitHashKey: &hash})
	}
	out, err := r.sdk.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: str("s"), Records: in})
	must(t, err)
	failed := 0
	for i, e := range out.Records {
		if e.ErrorCode == nil {
			continue
		}
		failed++
		shard := shardName(0)
		if i%3 == 2 {
			shard = shardName(1)
		}
		equal(t, "code", *e.ErrorCode, codeThroughput)
		equal(t, "text", *e.ErrorMessage, "Rate exceeded for shard "+shard+" in stream s under account "+account+".")
		if e.SequenceNumber != nil || e.ShardId != nil {
			t.Errorf("record %d failed and has a place", i)
		}
	}
	equal(t, "count", int(*out.FailedRecordCount), failed)
	if failed == 0 || failed == len(in) {
		t.Errorf("%d of %d records failed", failed, len(in))
	}
	rate := "Rate exceeded for shard shardId-000000000000 in stream s under account " + account + "."
	a := r.try("PutRecord", `{"StreamName":"s","PartitionKey":"k","ExplicitHashKey":"0","Data":"`+strings.Repeat("AAAA", 300<<10)+`"}`)
	equal(t, "put", a.code+": "+a.text, codeThroughput+": "+rate)
	it := r.iterator("s", 0, "LATEST")
	for range 10 {
		a = r.try("GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, it))
	}
	equal(t, "get", a.code+": "+a.text, codeThroughput+": "+rate)
}

// TestServiceLimits: with the service's limits the account's quotas and the
// rates of calls hold; without them nothing of the kind is refused.
func TestServiceLimits(t *testing.T) {
	r := newRig(t, func(s *setup) { s.engine.Limits = datastream.AWSLimits() })
	r.made("s", 499)
	a := r.try("CreateStream", `{"StreamName":"t","ShardCount":2}`)
	equal(t, "code", a.code, codeLimit)
	equal(t, "text", a.text, "This request would exceed the shard limit for the account "+account+" in us-east-1. Current shard count for the account: 499. Limit: 500. "+
		"Number of additional shards that would have resulted from this request: 2. Refer to the AWS Service Limits page "+
		"(http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to request higher limits.")
	limits := r.do("DescribeLimits", `{}`)
	equal(t, "limits", fmt.Sprint(limits["ShardLimit"], limits["OnDemandStreamCountLimit"]), "500 50")
	a = r.try("DescribeLimits", `{}`)
	equal(t, "rate", a.code+": "+a.text, codeLimit+": Rate exceeded for DescribeLimits.")

	free := newRig(t)
	for range 30 {
		free.do("DescribeLimits", `{}`)
		free.do("ListStreams", `{}`)
	}
}

// TestRates: as many calls as the rate, and as many again after a second.
func TestRates(t *testing.T) {
	b := &bucket{rate: 5, have: 5}
	now := time.Unix(0, 0)
	taken := 0
	for i := range 300 { // 3 seconds, 100 calls in each
		if b.take(now.Add(time.Duration(i) * 10 * time.Millisecond)) {
			taken++
		}
	}
	if taken < 18 || taken > 20 { // 5 at once, then 5 a second
		t.Errorf("%d calls in 3 seconds", taken)
	}
}

// TestStates: with a delay streams are CREATING, UPDATING and DELETING, and what
// that forbids is refused in the service's words.
func TestStates(t *testing.T) {
	r := newRig(t, func(s *setup) { s.engine.StateDelay = 300 * time.Millisecond })
	r.made("s", 2)
	d := r.do("DescribeStream", `{"StreamName":"s"}`)
	equal(t, "status", dig(t, d, "StreamDescription", "StreamStatus"), any("CREATING"))
	equal(t, "shards", len(dig(t, d, "StreamDescription", "Shards").([]any)), 0)
	for op, body := range map[string]string{
		"PutRecord": `{"StreamName":"s","PartitionKey":"a","Data":""}`, "PutRecords": `{"StreamName":"s","Records":[{"PartitionKey":"a","Data":""}]}`,
	} {
		a := r.try(op, body)
		equal(t, op, a.code+": "+a.text, codeNotFound+": Stream s under account "+account+" not found.")
	}
	a := r.try("SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-0","NewStartingHashKey":"10"}`)
	equal(t, "split", a.code+": "+a.text, codeInUse+": Stream s under account "+account+" not ACTIVE, instead in state CREATING")
	r.wait("s", "ACTIVE")
	r.do("SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-0","NewStartingHashKey":"10"}`)
	equal(t, "status", string(r.summary("s").StreamStatus), "UPDATING")
	r.put("s", "x", "0")
	a = r.try("MergeShards", `{"StreamName":"s","ShardToMerge":"shardId-0","AdjacentShardToMerge":"shardId-1"}`)
	equal(t, "merge", a.code+": "+a.text, codeInUse+": Stream s under account "+account+" not ACTIVE, instead in state UPDATING")
	a = r.try("SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-9","NewStartingHashKey":"10"}`)
	equal(t, "split of none", a.code, codeInUse)
	r.wait("s", "ACTIVE")
	r.do("DeleteStream", `{"StreamName":"s"}`)
	equal(t, "status", string(r.summary("s").StreamStatus), "DELETING")
	for op, body := range map[string]string{
		"DeleteStream": `{"StreamName":"s"}`, "IncreaseStreamRetentionPeriod": `{"StreamName":"s","RetentionPeriodHours":48}`,
		"AddTagsToStream": `{"StreamName":"s","Tags":{"a":"b"}}`,
	} {
		a := r.try(op, body)
		equal(t, op, a.code+": "+a.text, codeInUse+": Stream s under account "+account+" not ACTIVE, instead in state DELETING")
	}
	r.wait("s", "")
}

// wait until a stream has the status; "" is gone.
func (r *rig) wait(stream, status string) {
	r.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		now := ""
		if a := r.try("DescribeStreamSummary", fmt.Sprintf(`{"StreamName":%q}`, stream)); a.status == 200 {
			now = dig(r.t, a.body, "StreamDescriptionSummary", "StreamStatus").(string)
		}
		if now == status {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("stream %s is %q, not %q", stream, now, status)
		}
	}
}

// TestRights: every operation asks for the caller's right first, with the ARN of
// what it is about, and refuses in the service's words.
func TestRights(t *testing.T) {
	var asked []string
	allowed := true
	r := newRig(t, withKeys, func(s *setup) {
		s.api.Authenticate = func(*http.Request, []byte) (awswire.Caller, *awswire.Error) {
			return awswire.Caller{User: "ann", May: func(action, resource string) bool {
				asked = append(asked, action+" "+resource)
				return allowed
			}}, nil
		}
	})
	fill := refusalFixture(r)
	a, s, c := fill.Replace("$A"), fill.Replace("$s"), fill.Replace("$c")
	allowed = false
	rows := map[string][2]string{
		"CreateStream":   {`{"StreamName":"n","ShardCount":1}`, arnOf("n")},
		"ListStreams":    {`{}`, "*"},
		"DescribeLimits": {`{}`, "*"}, "DescribeAccountSettings": {`{}`, "*"}, "ListChannels": {`{}`, "*"},
		"UpdateAccountSettings": {`{"MinimumThroughputBillingCommitment":{"Status":"ENABLED"}}`, "*"},
		"DescribeChannel":       {`{"ChannelARN":"x"}`, "x"}, "UpdateChannel": {`{"ChannelARN":"x"}`, "x"}, "DeleteChannel": {`{"ChannelARN":"x"}`, "x"},
		"GetRecords":               {`{"ShardIterator":"$it"}`, s},
		"GetShardIterator":         {`{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"LATEST"}`, s},
		"ListShards":               {`{"StreamName":"s"}`, s},
		"ListStreamConsumers":      {`{"StreamARN":"$s"}`, s},
		"RegisterStreamConsumer":   {`{"StreamARN":"$s","ConsumerName":"d"}`, s},
		"DescribeStreamConsumer":   {`{"ConsumerARN":"$c"}`, c},
		"DeregisterStreamConsumer": {`{"StreamARN":"$s","ConsumerName":"c"}`, s + "/consumer/c"},
		"SubscribeToShard":         {`{"ConsumerARN":"$c","ShardId":"shardId-0","StartingPosition":{"Type":"LATEST"}}`, c},
		"UpdateStreamMode":         {`{"StreamARN":"$s","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`, s},
		"UpdateMaxRecordSize":      {`{"StreamARN":"$s","MaxRecordSizeInKiB":1024}`, s},
		"CreateChannel": {`{"ChannelName":"x","ServiceExecutionRoleARN":"r","StreamConfigurationList":[{"StreamARN":"$s","RecordConfiguration":{"RecordFormatType":"JSON"}}],` +
			`"S3DestinationConfiguration":{"StorageConfiguration":{"BucketARN":"b","CompressionType":"NONE","ExpectedBucketOwner":"o"}}}`, s},
		"UpdateStreamRecordDistributionStrategy": {`{"StreamARN":"$s","RecordDistributionStrategy":"USER_PARTITION_KEY"}`, s},
	}
	for _, row := range refusals() { // the others, as they are asked of a stream that is not there
		if _, ok := rows[row.op]; !ok && row.text == noneFound && strings.Contains(row.body, "$none") {
			rows[row.op] = [2]string{strings.ReplaceAll(row.body, "$none", "$s"), s}
		}
	}
	names, _ := modelled(t)
	for _, op := range names {
		row, ok := rows[op]
		if !ok {
			t.Errorf("%s is not tried", op)
			continue
		}
		asked = nil
		got := r.try(op, fill.Replace(row[0]))
		equal(t, op, fmt.Sprint(asked), "[kinesis:"+op+" "+row[1]+"]")
		equal(t, op, got.code+": "+got.text, codeAccessDenied+": User: arn:aws:iam::"+a+":user/ann is not authorized to perform: kinesis:"+op+
			" on resource: "+row[1]+" because no identity-based policy allows the kinesis:"+op+" action")
	}
}

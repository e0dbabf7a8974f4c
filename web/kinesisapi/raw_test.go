package kinesisapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// TestRawAnswers holds the JSON of answers: every member that is there and no
// other. "*" stands for any string, -1 for any number, both not empty.
func TestRawAnswers(t *testing.T) {
	r := newRig(t)
	r.made("s", 1)
	consumer := r.consumer("s", "c")
	number := r.put("s", "hello", "0")
	r.do("AddTagsToStream", `{"StreamName":"s","Tags":{"a":"b"}}`)
	shard := `{"ShardId":"shardId-000000000000","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"},"SequenceNumberRange":{"StartingSequenceNumber":"*"}}`
	described := `"StreamName":"s","StreamARN":"` + arnOf("s") + `","StreamStatus":"ACTIVE","StreamModeDetails":{"StreamMode":"PROVISIONED"},"StreamCreationTimestamp":-1`
	more := described + `,"RetentionPeriodHours":24,"EnhancedMonitoring":[{"ShardLevelMetrics":[]}],"EncryptionType":"NONE"`
	consumed := `"ConsumerName":"c","ConsumerARN":"` + consumer + `","ConsumerStatus":"ACTIVE","ConsumerCreationTimestamp":-1`
	for _, row := range []struct{ op, ask, want string }{
		{"DescribeStream", `{"StreamName":"s"}`, `{"StreamDescription":{` + more + `,"HasMoreShards":false,"Shards":[` + shard + `]}}`},
		{"DescribeStreamSummary", `{"StreamName":"s"}`, `{"StreamDescriptionSummary":{` + more + `,"StreamId":"*","OpenShardCount":1,"ConsumerCount":1,"ChannelCount":0,"MaxRecordSizeInKiB":1024,"RecordDistributionStrategy":"USER_PARTITION_KEY"}}`},
		{"ListStreams", `{}`, `{"HasMoreStreams":false,"StreamNames":["s"],"StreamSummaries":[{` + described + `}]}`},
		{"ListShards", `{"StreamName":"s"}`, `{"Shards":[` + shard + `]}`},
		{"ListShards", `{"StreamARN":"` + arnOf("s") + `","ExclusiveStartShardId":"shardId-000000000000"}`, `{"Shards":[]}`},
		{"DescribeStreamConsumer", `{"ConsumerARN":"` + consumer + `"}`, `{"ConsumerDescription":{` + consumed + `,"StreamARN":"` + arnOf("s") + `"}}`},
		{"ListStreamConsumers", `{"StreamARN":"` + arnOf("s") + `"}`, `{"Consumers":[{` + consumed + `}]}`},
		{"ListTagsForStream", `{"StreamName":"s"}`, `{"Tags":[{"Key":"a","Value":"b"}],"HasMoreTags":false}`},
		{"ListTagsForResource", `{"ResourceARN":"` + consumer + `"}`, `{"Tags":[]}`},
		{"PutRecord", `{"StreamName":"s","PartitionKey":"k","Data":"eA=="}`, `{"ShardId":"shardId-000000000000","SequenceNumber":"*"}`},
		{"PutRecords", `{"StreamName":"s","Records":[{"PartitionKey":"k","Data":"eA=="}]}`, `{"FailedRecordCount":0,"Records":[{"ShardId":"shardId-000000000000","SequenceNumber":"*"}]}`},
		{
			"GetRecords", fmt.Sprintf(`{"Limit":1,"ShardIterator":%q}`, r.iterator("s", 0, "TRIM_HORIZON")),
			`{"MillisBehindLatest":-1,"NextShardIterator":"*","Records":[{"Data":"aGVsbG8=","PartitionKey":"k","SequenceNumber":"` + number + `","ApproximateArrivalTimestamp":-1}]}`,
		},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"LATEST"}`, `{"ShardIterator":"*"}`},
		{"DescribeLimits", `{}`, `{"ShardLimit":10000,"OpenShardCount":1,"OnDemandStreamCount":0,"OnDemandStreamCountLimit":1000000,"ChannelCount":0,"ChannelCountLimit":0}`},
		{"DescribeAccountSettings", `{}`, `{"MinimumThroughputBillingCommitment":{"Status":"DISABLED"}}`},
		{"UpdateAccountSettings", `{"MinimumThroughputBillingCommitment":{"Status":"ENABLED"}}`, `{"MinimumThroughputBillingCommitment":{"Status":"ENABLED","StartedAt":-1,"EarliestAllowedEndAt":-1}}`},
		{"GetResourcePolicy", `{"ResourceARN":"` + arnOf("s") + `"}`, `{"Policy":"{}"}`},
		{"ListChannels", `{}`, `{"ChannelSummaries":[]}`},
		{"EnableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":["IncomingBytes"]}`, `{"StreamName":"s","StreamARN":"` + arnOf("s") + `","CurrentShardLevelMetrics":[],"DesiredShardLevelMetrics":["IncomingBytes"]}`},
		{"UpdateShardCount", `{"StreamName":"s","TargetShardCount":2,"ScalingType":"UNIFORM_SCALING"}`, `{"StreamName":"s","StreamARN":"` + arnOf("s") + `","CurrentShardCount":1,"TargetShardCount":2}`},
	} {
		a := r.try(row.op, row.ask)
		var want any
		must(t, json.Unmarshal([]byte(row.want), &want))
		if a.status != 200 || !alike(any(a.body), want) {
			t.Errorf("%s %s\ngot  %d %s\nwant %s", row.op, row.ask, a.status, a.raw, row.want)
		}
	}
	for _, row := range [][2]string{ // no answer at all
		{"CreateStream", `{"StreamName":"n","ShardCount":1}`},
		{"DeleteStream", `{"StreamName":"n"}`},
		{"RemoveTagsFromStream", `{"StreamName":"s","TagKeys":["a"]}`},
		{"IncreaseStreamRetentionPeriod", `{"StreamName":"s","RetentionPeriodHours":24}`},
	} {
		if a := r.try(row[0], row[1]); a.status != 200 || a.raw != "" {
			t.Errorf("%s: %d %q", row[0], a.status, a.raw)
		}
	}
}

// alike compares an answer with what it has to be.
func alike(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k := range w {
			if v, ok := g[k]; !ok || !alike(v, w[k]) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !alike(g[i], w[i]) {
				return false
			}
		}
		return true
	case string:
		g, ok := got.(string)
		return ok && (g == w || w == "*" && g != "")
	case float64:
		g, ok := got.(float64)
		return ok && (g == w || w == -1)
	}
	return reflect.DeepEqual(got, want)
}

// TestCBOR calls as the SDK for Java does: data are byte strings, times integers
// of milliseconds with tag 1.
func TestCBOR(t *testing.T) {
	r := newRig(t)
	r.made("s", 1)
	call := func(op string, in any) (int, map[string]any) {
		t.Helper()
		body, err := cbor.Marshal(in)
		must(t, err)
		a := r.send(op, "application/x-amz-cbor-1.1", body)
		out := map[string]any{}
		if a.raw != "" {
			mode, err := cbor.DecOptions{DefaultMapType: reflect.TypeFor[map[string]any]()}.DecMode()
			must(t, err)
			must(t, mode.Unmarshal([]byte(a.raw), &out))
		}
		return a.status, out
	}
	before := time.Now()
	status, put := call("PutRecords", map[string]any{"StreamName": "s", "Records": []any{map[string]any{"Data": []byte{0, 255}, "PartitionKey": "k"}}})
	equal(t, "status", status, 200)
	equal(t, "failed", fmt.Sprint(put["FailedRecordCount"]), "0")
	_, it := call("GetShardIterator", map[string]any{
		"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "AT_TIMESTAMP",
		"Timestamp": cbor.Tag{Number: 1, Content: before.UnixMilli()},
	})
	status, got := call("GetRecords", map[string]any{"ShardIterator": it["ShardIterator"]})
	equal(t, "status", status, 200)
	record := dig(t, got, "Records", 0).(map[string]any)
	equal(t, "data", record["Data"], any([]byte{0, 255}))
	// The library takes the milliseconds for the seconds that RFC 8949 means.
	at := record["ApproximateArrivalTimestamp"].(time.Time).Unix()
	if ms := at - before.UnixMilli(); ms < 0 || ms > 60_000 {
		t.Errorf("arrived %d ms after the put", ms)
	}
	status, refused := call("DescribeStream", map[string]any{"StreamName": "none"})
	equal(t, "status", status, 400)
	equal(t, "error", fmt.Sprint(refused["__type"], ": ", refused["message"]), codeNotFound+": Stream none under account "+account+" not found.")
}

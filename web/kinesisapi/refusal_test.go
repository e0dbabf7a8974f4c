package kinesisapi

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

// refusal is a request that is refused.
type refusal struct {
	op   string
	body string // $s is the ARN of stream s, $c of its consumer, $it an iterator of it, $n a number of it
	code string
	text string // whole; what stands between two ¦ is a pattern
}

// TestRefusals sends what is refused to one server, whose state no refusal
// changes: streams s (2 shards), od (on demand) and split (a closed shard).
func TestRefusals(t *testing.T) {
	r := newRig(t, withKeys)
	fill := refusalFixture(r)
	before := r.do("ListStreams", "{}")["StreamNames"]
	for _, row := range refusals() {
		t.Run(row.op+"/"+row.code, func(t *testing.T) {
			r := *r
			r.t = t
			body := fill.Replace(row.body)
			a := r.try(row.op, body)
			want := "^" + quoted(fill.Replace(row.text)) + "$"
			if a.status != 400 || a.code != row.code || !regexp.MustCompile(want).MatchString(a.text) {
				t.Errorf("%.300s\ngot  %d %s: %.1000s\nwant 400 %s: %s", body, a.status, a.code, a.text, row.code, want)
			}
		})
	}
	equal(t, "streams", r.do("ListStreams", "{}")["StreamNames"], before)
	equal(t, "shards", len(r.shards("s")), 2)
}

// quoted makes a pattern of a text whose parts between ¦ are patterns.
func quoted(text string) string {
	parts := strings.Split(text, "¦")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return strings.Join(parts, "")
}

func refusalFixture(r *rig) *strings.Replacer {
	r.made("s", 2)
	r.onDemand("od")
	r.made("split", 1)
	r.do("SplitShard", `{"StreamName":"split","ShardToSplit":"shardId-0","NewStartingHashKey":"1000"}`)
	r.consumer("split", "k")
	return strings.NewReplacer(
		"$c", r.consumer("s", "c"), "$s", arnOf("s"), "$od", arnOf("od"), "$split", arnOf("split"), "$none", arnOf("none"),
		"$it", r.iterator("s", 0, "LATEST"), "$n", r.put("s", "x", "0"), "$A", account,
		"$m", datastream.SequenceNumber{ShardMade: 1, Index: 1 << 57, Arrived: 2}.String(),
		"$v1", numbered(2, 3), "$three", numbered(3, 0), "$big", datastream.SequenceNumber{ShardMade: 1, Shard: 1 << 31, Arrived: 2}.String(),
		"$far", datastream.SequenceNumber{ShardMade: maxMade, Index: 1 << 57}.String(),
		"$long", strings.Repeat("a", 129),
	)
}

// numbered is a number of the service's version 1 when it begins with 2.
func numbered(first, shard int64) string {
	n := big.NewInt(first)
	n.Lsh(n, 184)
	return n.Or(n, big.NewInt(shard<<4|1)).String()
}

const (
	noneFound = "Stream none under account $A not found."
	unnamed   = "Either StreamName or StreamARN must be provided."
	badName   = "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
)

func refusals() []refusal {
	var all []refusal
	// What every operation on a stream refuses.
	for op, rest := range map[string]string{
		"AddTagsToStream": `"Tags":{"a":"b"}`, "RemoveTagsFromStream": `"TagKeys":["a"]`, "ListTagsForStream": `"Limit":1`,
		"DecreaseStreamRetentionPeriod": `"RetentionPeriodHours":24`, "IncreaseStreamRetentionPeriod": `"RetentionPeriodHours":24`,
		"DeleteStream": `"EnforceConsumerDeletion":true`, "DescribeStream": `"Limit":1`, "DescribeStreamSummary": `"x":1`,
		"DisableEnhancedMonitoring": `"ShardLevelMetrics":["ALL"]`, "EnableEnhancedMonitoring": `"ShardLevelMetrics":["ALL"]`,
		"MergeShards": `"ShardToMerge":"shardId-0","AdjacentShardToMerge":"shardId-1"`, "SplitShard": `"ShardToSplit":"shardId-0","NewStartingHashKey":"10"`,
		"PutRecord": `"Data":"","PartitionKey":"a"`, "PutRecords": `"Records":[{"Data":"","PartitionKey":"a"}]`,
		"StartStreamEncryption": `"EncryptionType":"KMS","KeyId":"alias/aws/kinesis"`, "StopStreamEncryption": `"EncryptionType":"KMS","KeyId":"alias/aws/kinesis"`,
		"UpdateShardCount": `"TargetShardCount":1,"ScalingType":"UNIFORM_SCALING"`, "UpdateStreamWarmThroughput": `"WarmThroughputMiBps":1`,
	} {
		all = append(all,
			refusal{op, `{"StreamName":"none",` + rest + `}`, codeNotFound, noneFound},
			refusal{op, `{"StreamARN":"$none",` + rest + `}`, codeNotFound, noneFound},
			refusal{op, `{"StreamARN":"arn:aws:kinesis:eu-west-1:$A:stream/s",` + rest + `}`, codeNotFound, "Stream s under account $A not found."},
			refusal{op, `{"StreamARN":"arn:aws:kinesis:us-east-1:999999999999:stream/s",` + rest + `}`, codeNotFound, "Stream s under account 999999999999 not found."},
			refusal{op, `{` + rest + `}`, codeInvalid, unnamed},
			refusal{op, `{"StreamName":"s","StreamARN":"$od",` + rest + `}`, codeInvalid, "StreamName s and StreamARN $od name different streams."},
			refusal{op, `{"StreamName":"a b",` + rest + `}`, codeValidation, badName},
			refusal{op, `{"StreamName":"s","StreamId":"x",` + rest + `}`, codeValidation, "1 validation error detected: Value 'x' at 'streamId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z0-9]{20}-[a-z0-9]{3}"},
		)
	}
	// What operations on a resource refuse.
	for op, rest := range map[string]string{
		"TagResource": `,"Tags":{"a":"b"}`, "UntagResource": `,"TagKeys":["a"]`, "ListTagsForResource": ``,
		"GetResourcePolicy": ``, "DeleteResourcePolicy": ``, "PutResourcePolicy": `,"Policy":"{\"Statement\":[]}"`,
	} {
		all = append(all,
			refusal{op, `{"ResourceARN":"$none"` + rest + `}`, codeNotFound, noneFound},
			refusal{op, `{"ResourceARN":"$s/consumer/c:1"` + rest + `}`, codeNotFound, "Consumer $s/consumer/c:1, account $A not found."},
			refusal{op, `{"ResourceARN":"$s/consumer/x:1"` + rest + `}`, codeNotFound, "Consumer $s/consumer/x:1, account $A not found."},
			refusal{op, `{"ResourceARN":"$s/other"` + rest + `}`, codeInvalid, "$s/other is not the ARN of a stream or of a consumer."},
			refusal{op, `{"ResourceARN":"x"` + rest + `}`, codeValidation, `1 validation error detected: Value 'x' at 'resourceARN' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:.*stream/\S+`},
		)
	}
	for _, list := range [][]refusal{streamRefusals(), shardRefusals(), recordRefusals(), consumerRefusals(), settingRefusals()} {
		all = append(all, list...)
	}
	return all
}

func streamRefusals() []refusal {
	return []refusal{
		{"CreateStream", `{"StreamName":"s","ShardCount":1}`, codeInUse, "Stream s under account $A already exists."},
		{"CreateStream", `{"StreamName":"n","StreamModeDetails":{"StreamMode":"PROVISIONED"}}`, codeValidation, "ShardCount is required for a stream in PROVISIONED mode."},
		{"CreateStream", `{"StreamName":"n","ShardCount":1,"WarmThroughputMiBps":1}`, codeValidation, "WarmThroughputMiBps is only supported for a stream in ON_DEMAND mode."},
		{"CreateStream", `{"StreamName":"n","ShardCount":1,"RecordDistributionStrategy":"AUTO"}`, codeInvalid, "RecordDistributionStrategy AUTO is only supported for a stream in ON_DEMAND mode."},
		{"CreateStream", `{"StreamName":"n","StreamModeDetails":{"StreamMode":"ON_DEMAND"},"WarmThroughputMiBps":1}`, codeValidation, "Warm throughput needs the account's MinimumThroughputBillingCommitment to be ENABLED (UpdateAccountSettings)."},
		{"CreateStream", `{"StreamName":"n","ShardCount":1,"Tags":{"a":"b!"}}`, codeInvalid, "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @."},
		{"CreateStream", `{"StreamName":"n","ShardCount":1,"MaxRecordSizeInKiB":1023}`, codeValidation, "1 validation error detected: Value '1023' at 'maxRecordSizeInKiB' failed to satisfy constraint: Member must have value greater than or equal to 1024"},
		{"CreateStream", `{"StreamName":"","ShardCount":0}`, codeValidation, "3 validation errors detected: " +
			"Value '0' at 'shardCount' failed to satisfy constraint: Member must have value greater than or equal to 1; " +
			"Value '' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; " +
			"Value '' at 'streamName' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"CreateStream", `{"StreamName":"n","ShardCount":1,"StreamModeDetails":{"StreamMode":"X"}}`, codeValidation, "1 validation error detected: Value 'X' at 'streamModeDetails.streamMode' failed to satisfy constraint: Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]"},
		{"DeleteStream", `{"StreamName":"s"}`, codeInUse, "Stream s under account $A has 1 registered consumers. Deregister them or set EnforceConsumerDeletion."},
		{"DescribeStream", `{"StreamName":"s","Limit":0}`, codeValidation, "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"DescribeStream", `{"StreamName":"s","ExclusiveStartShardId":"x"}`, codeNotFound, "Could not find shard x in stream s under account $A."},
		{"DescribeStream", `{"StreamARN":"$c"}`, codeInvalid, "StreamARN $c is the ARN of a consumer."},
		{"ListStreams", `{"Limit":0}`, codeValidation, "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"ListStreams", `{"NextToken":"x"}`, codeInvalid, "Invalid NextToken."},
		{"ListStreams", `{"NextToken":"$it"}`, codeInvalid, "Invalid NextToken."},
		{"DescribeLimits", `[]`, "SerializationException", ""},
		{"DescribeAccountSettings", `[]`, "SerializationException", ""},
		{"UpdateAccountSettings", `{}`, codeValidation, "1 validation error detected: Value null at 'minimumThroughputBillingCommitment' failed to satisfy constraint: Member must not be null"},
		{"UpdateStreamMode", `{"StreamARN":"$none","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`, codeNotFound, noneFound},
		{"UpdateStreamMode", `{"StreamARN":"$s","StreamModeDetails":{"StreamMode":"PROVISIONED"},"WarmThroughputMiBps":2}`, codeValidation, "WarmThroughputMiBps is only supported for a stream in ON_DEMAND mode."},
		{"UpdateStreamMode", `{"StreamARN":"$s","StreamModeDetails":{"StreamMode":"ON_DEMAND"},"WarmThroughputMiBps":2}`, codeValidation, "Warm throughput needs the account's MinimumThroughputBillingCommitment to be ENABLED (UpdateAccountSettings)."},
		{"CreateChannel", `{}`, codeValidation, "3 validation errors detected: ¦.*¦"},
		{"DescribeChannel", `{"ChannelARN":"x"}`, codeNotFound, "Channel x not found."},
		{"UpdateChannel", `{"ChannelARN":"x"}`, codeNotFound, "Channel x not found."},
		{"DeleteChannel", `{"ChannelARN":"x"}`, codeNotFound, "Channel x not found."},
		{"ListChannels", `{"NextToken":"x"}`, codeInvalid, "Invalid NextToken."},
		{"ListChannels", `{"StreamFilter":[{"StreamARN":"$none"}]}`, codeNotFound, noneFound},
	}
}

func shardRefusals() []refusal {
	const mergedOrSplit = "Shard shardId-000000000000 in stream split under account $A has already been merged or split, and thus is not eligible for merging or splitting."
	const inUse = "Request is invalid. Stream od under account $A is in On-Demand mode."
	return []refusal{
		{"ListShards", `{}`, codeInvalid, "Either NextToken or StreamName should be provided."},
		{"ListShards", `{"StreamName":"s","NextToken":"x"}`, codeInvalid, "NextToken and StreamName cannot be provided together."},
		{"ListShards", `{"StreamARN":"$s","NextToken":"x"}`, codeInvalid, "NextToken and StreamARN cannot be provided together."},
		{"ListShards", `{"ShardFilter":{"Type":"AT_LATEST"},"NextToken":"x"}`, codeInvalid, "NextToken and ShardFilter cannot be provided together."},
		{"ListShards", `{"ExclusiveStartShardId":"shardId-1","NextToken":"x"}`, codeInvalid, "NextToken and ExclusiveStartShardId cannot be provided together."},
		{"ListShards", `{"StreamCreationTimestamp":1,"NextToken":"x"}`, codeInvalid, "NextToken and StreamCreationTimestamp cannot be provided together."},
		{"ListShards", `{"NextToken":"x"}`, codeInvalid, "Invalid NextToken."},
		{"ListShards", `{"StreamName":"none"}`, codeNotFound, noneFound},
		{"ListShards", `{"StreamName":"s","StreamCreationTimestamp":1}`, codeNotFound, "Stream s under account $A not found."},
		{"ListShards", `{"StreamName":"s","ExclusiveStartShardId":"x"}`, codeNotFound, "Could not find shard x in stream s under account $A."},
		{"ListShards", `{"StreamName":"s","ShardFilter":{"Type":"AFTER_SHARD_ID"}}`, codeInvalid, "ShardId must be provided in a ShardFilter of type AFTER_SHARD_ID."},
		{"ListShards", `{"StreamName":"s","ShardFilter":{"Type":"AT_TIMESTAMP"}}`, codeInvalid, "Timestamp must be provided in a ShardFilter of type AT_TIMESTAMP."},
		{"ListShards", `{"StreamName":"s","ShardFilter":{}}`, codeValidation, "1 validation error detected: Value null at 'shardFilter.type' failed to satisfy constraint: Member must not be null"},
		{"SplitShard", `{"StreamName":"od","ShardToSplit":"shardId-0","NewStartingHashKey":"10"}`, codeValidation, inUse},
		{"SplitShard", `{"StreamName":"s","ShardToSplit":"x","NewStartingHashKey":"10"}`, codeNotFound, "Could not find shard x in stream s under account $A."},
		{"SplitShard", `{"StreamName":"none","ShardToSplit":"2147483648","NewStartingHashKey":"10"}`, codeNotFound, "Could not find shard 2147483648 in stream none under account $A."},
		{"MergeShards", `{"StreamName":"none","ShardToMerge":"shardId-0","AdjacentShardToMerge":"x"}`, codeNotFound, "Could not find shard x in stream none under account $A."},
		{"MergeShards", `{"StreamName":"none","ShardToMerge":"x","AdjacentShardToMerge":"y"}`, codeNotFound, "Could not find shard x in stream none under account $A."},
		{"MergeShards", `{"StreamName":"s","ShardToMerge":"shardId-1","AdjacentShardToMerge":"shardId-0"}`, codeInvalid, "Shards shardId-000000000001 and shardId-000000000000 in stream s under account $A are not an adjacent pair of shards eligible for merging"},
		{"SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-9","NewStartingHashKey":"10"}`, codeNotFound, "Could not find shard shardId-000000000009 in stream s under account $A."},
		{"SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-0","NewStartingHashKey":"1"}`, codeInvalid, "NewStartingHashKey 1 used in SplitShard() on shard shardId-000000000000 in stream s under account $A is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey 170141183460469231731687303715884105727."},
		{"SplitShard", `{"StreamName":"split","ShardToSplit":"shardId-0","NewStartingHashKey":"10"}`, codeInvalid, mergedOrSplit},
		{"MergeShards", `{"StreamName":"split","ShardToMerge":"shardId-1","AdjacentShardToMerge":"shardId-0"}`, codeInvalid, mergedOrSplit},
		{"SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-0","NewStartingHashKey":"01"}`, codeValidation, `1 validation error detected: Value '01' at 'newStartingHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})`},
		{"MergeShards", `{"StreamName":"od","ShardToMerge":"shardId-0","AdjacentShardToMerge":"shardId-1"}`, codeValidation, inUse},
		{"MergeShards", `{"StreamName":"s","ShardToMerge":"shardId-0","AdjacentShardToMerge":"shardId-9"}`, codeNotFound, "Could not find shard shardId-000000000009 in stream s under account $A."},
		{"MergeShards", `{"StreamName":"s","ShardToMerge":"shardId-0","AdjacentShardToMerge":"shardId-0"}`, codeInvalid, "Shards shardId-000000000000 and shardId-000000000000 in stream s under account $A are not an adjacent pair of shards eligible for merging"},
		{"UpdateShardCount", `{"StreamName":"od","TargetShardCount":2,"ScalingType":"UNIFORM_SCALING"}`, codeValidation, inUse},
		{"UpdateShardCount", `{"StreamName":"s","TargetShardCount":0,"ScalingType":"X"}`, codeValidation, "2 validation errors detected: Value '0' at 'targetShardCount' failed to satisfy constraint: Member must have value greater than or equal to 1; Value 'X' at 'scalingType' failed to satisfy constraint: Member must satisfy enum value set: [UNIFORM_SCALING]"},
		{"UpdateShardCount", `{"StreamName":"s","TargetShardCount":10001,"ScalingType":"UNIFORM_SCALING"}`, codeInvalid, "¦.*10000.*¦"},
	}
}

func recordRefusals() []refusal {
	const start = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "
	const gone = "Shard shardId-000000000009 in stream s under account $A does not exist"
	const dry = "The request would have succeeded, but the DryRun parameter is set."
	return []refusal{
		{"PutRecord", `{"StreamName":"s","Data":""}`, codeValidation, "1 validation error detected: Value null at 'partitionKey' failed to satisfy constraint: Member must not be null"},
		{"PutRecord", `{"StreamName":"s","PartitionKey":"a"}`, codeValidation, "1 validation error detected: Value null at 'data' failed to satisfy constraint: Member must not be null"},
		{"PutRecord", `{"StreamName":"s","Data":"","PartitionKey":"a","ExplicitHashKey":"340282366920938463463374607431768211456"}`, codeInvalid, "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was 340282366920938463463374607431768211456"},
		{"PutRecord", `{"StreamName":"s","Data":"","PartitionKey":"a","SequenceNumberForOrdering":"49999999999999999999999999999999999999999999999999999999"}`, codeInvalid, "ExclusiveMinimumSequenceNumber 49999999999999999999999999999999999999999999999999999999 used in PutRecord on stream s under account $A is invalid."},
		{"PutRecord", `{"StreamName":"s","Data":"","PartitionKey":"a","DryRun":true}`, codeDryRun, dry},
		{"PutRecord", `{"StreamName":"s","Data":"` + strings.Repeat("AAAA", 1<<20/3+1) + `","PartitionKey":"a"}`, codeValidation, "1 validation error detected: Value at 'data' failed to satisfy constraint: Member must have length less than or equal to 1048576"},
		{"PutRecords", `{"StreamName":"s","Records":[{"Data":"","PartitionKey":"a"},{"Data":"` + strings.Repeat("AAAA", 1<<20/3) + `","PartitionKey":"abc"}]}`, codeValidation, "1 validation error detected: Value at 'records.2.member.data' failed to satisfy constraint: Member must have length less than or equal to 1048576"},
		{"PutRecord", `{"StreamName":"s","Data":"?","PartitionKey":"a"}`, "SerializationException", ""},
		{"PutRecords", `{"StreamName":"s","Records":[]}`, codeValidation, "1 validation error detected: Value '[]' at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"PutRecords", `{"StreamName":"s","Records":[{"Data":"","PartitionKey":"a"},{"Data":""}]}`, codeValidation, "1 validation error detected: Value null at 'records.2.member.partitionKey' failed to satisfy constraint: Member must not be null"},
		{"PutRecords", `{"StreamName":"s","Records":[{"Data":"","PartitionKey":"","ExplicitHashKey":""}]}`, codeValidation, "2 validation errors detected: Value '' at 'records.1.member.partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
			`Value '' at 'records.1.member.explicitHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})`},
		{"PutRecords", `{"StreamName":"s","Records":[` + strings.Repeat(`{"Data":"","PartitionKey":"a"},`, 500) + `{"Data":"","PartitionKey":"a"}]}`, codeValidation, "¦1 validation error detected: Value '.*' at 'records' failed to satisfy constraint: Member must have length less than or equal to 500¦"},
		{"PutRecords", `{"StreamName":"s","Records":[` + strings.Repeat(`{"Data":"`+strings.Repeat("AAAA", 340000)+`","PartitionKey":"a"},`, 10) + `{"Data":"` + strings.Repeat("AAAA", 340000) + `","PartitionKey":"a"}]}`, codeInvalid, "Records size exceeds 10 MB limit"},
		{"PutRecords", `{"StreamName":"s","DryRun":true,"Records":[{"Data":"","PartitionKey":"a"}]}`, codeDryRun, dry},
		{"GetShardIterator", `{"ShardId":"shardId-0","ShardIteratorType":"LATEST"}`, codeInvalid, unnamed},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-9","ShardIteratorType":"LATEST"}`, codeNotFound, gone},
		{"GetShardIterator", `{"StreamName":"none","ShardId":"a-00002147483647","ShardIteratorType":"LATEST"}`, codeNotFound, "Shard shardId-002147483647 in stream none under account $A does not exist"},
		{"GetShardIterator", `{"StreamName":"none","ShardId":"2147483648","ShardIteratorType":"LATEST"}`, codeNotFound, "Could not find shard 2147483648 in stream none under account $A."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"2.14E4","ShardIteratorType":"LATEST"}`, codeNotFound, "Could not find shard 2.14E4 in stream s under account $A."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_SEQUENCE_NUMBER"}`, codeInvalid, start + "Request specified AT_SEQUENCE_NUMBER and no StartingSequenceNumber."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"LATEST","StartingSequenceNumber":"5"}`, codeInvalid, start + "Request specified LATEST and also a StartingSequenceNumber."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"26227199374822427428162556223570313216"}`, codeInvalid, "StartingSequenceNumber 26227199374822427428162556223570313216 used in GetShardIterator on shard shardId-000000000000 in stream s under account $A is invalid."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"5"}`, codeInvalid, "Invalid StartingSequenceNumber. It encodes shardId-000000000005, while it was used in a call to a shard with shardId-000000000000"},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"0"}`, codeInvalid, "StartingSequenceNumber 0 used in GetShardIterator on shard shardId-000000000000 in stream s under account $A is invalid because it did not come from this stream."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"$v1"}`, codeInvalid, "Invalid StartingSequenceNumber. It encodes shardId-000000000003, while it was used in a call to a shard with shardId-000000000000"},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"$big"}`, codeInvalid, "Invalid StartingSequenceNumber. It encodes shardId--02147483648, while it was used in a call to a shard with shardId-000000000000"},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"$far"}`, codeInvalid, "StartingSequenceNumber $far used in GetShardIterator on shard shardId-000000000000 in stream s under account $A is invalid."},
		{"PutRecord", `{"StreamName":"s","PartitionKey":"a","Data":"","SequenceNumberForOrdering":"$three"}`, codeInvalid, "ExclusiveMinimumSequenceNumber $three used in PutRecord on stream s under account $A is invalid."},
		{"PutRecord", `{"StreamName":"s","PartitionKey":"a","Data":"","SequenceNumberForOrdering":"$far"}`, codeInvalid, "ExclusiveMinimumSequenceNumber $far used in PutRecord on stream s under account $A is invalid."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-1","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"$n"}`, codeInvalid, "Invalid StartingSequenceNumber. It encodes shardId-000000000000, while it was used in a call to a shard with shardId-000000000001"},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"$m"}`, codeInvalid, "StartingSequenceNumber $m used in GetShardIterator on shard shardId-000000000000 in stream s under account $A is invalid because it did not come from this stream."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_TIMESTAMP"}`, codeInvalid, "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter."},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_TIMESTAMP","Timestamp":` + "33000000000" + `}`, codeInvalid, `The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: 33000000000000, currentTimestampInMillis: ¦\d+¦`},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"X"}`, codeValidation, "1 validation error detected: Value 'X' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]"},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"LATEST","DryRun":true}`, codeDryRun, dry},
		{"GetRecords", `{"ShardIterator":"x"}`, codeInvalid, "Invalid ShardIterator."},
		{"GetRecords", `{"ShardIterator":"$it","Limit":10001}`, codeValidation, "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000"},
		{"GetRecords", `{"ShardIterator":"$it","StreamARN":"$od"}`, codeInvalid, "StreamARN $od is not of the stream of the ShardIterator."},
		{"GetRecords", `{"ShardIterator":"$it","DryRun":true}`, codeDryRun, dry},
	}
}

func consumerRefusals() []refusal {
	const which = "Either ConsumerARN, or StreamARN and ConsumerName, must be provided."
	all := []refusal{
		{"RegisterStreamConsumer", `{"StreamARN":"$none","ConsumerName":"c"}`, codeNotFound, noneFound},
		{"RegisterStreamConsumer", `{"StreamARN":"$s","ConsumerName":"c"}`, codeInUse, "Consumer c already exists under stream s and account $A: $c."},
		{"RegisterStreamConsumer", `{"StreamARN":"$s","ConsumerName":"a b"}`, codeValidation, "1 validation error detected: Value 'a b' at 'consumerName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"},
		{"ListStreamConsumers", `{"StreamARN":"$none"}`, codeNotFound, noneFound},
		{"ListStreamConsumers", `{"StreamARN":"$s","StreamCreationTimestamp":1}`, codeNotFound, "Stream s under account $A not found."},
		{"ListStreamConsumers", `{"StreamARN":"$s","NextToken":"x"}`, codeInvalid, "Invalid NextToken."},
		{"ListStreamConsumers", `{"StreamARN":"$s","NextToken":"x","StreamCreationTimestamp":1}`, codeInvalid, "NextToken and StreamCreationTimestamp cannot be provided together."},
	}
	for _, op := range []string{"DescribeStreamConsumer", "DeregisterStreamConsumer"} {
		all = append(all,
			refusal{op, `{}`, codeInvalid, which},
			refusal{op, `{"StreamARN":"$s"}`, codeInvalid, which},
			refusal{op, `{"StreamARN":"$s","ConsumerName":"x"}`, codeNotFound, "Consumer x, account $A not found."},
			refusal{op, `{"StreamARN":"$none","ConsumerName":"x"}`, codeNotFound, noneFound},
			refusal{op, `{"ConsumerARN":"$s/consumer/c:1"}`, codeNotFound, "Consumer $s/consumer/c:1, account $A not found."},
			refusal{op, `{"ConsumerARN":"$c","ConsumerName":"x"}`, codeInvalid, "ConsumerARN, StreamARN and ConsumerName name different consumers."},
			refusal{op, `{"ConsumerARN":"$c","StreamARN":"$od"}`, codeInvalid, "ConsumerARN, StreamARN and ConsumerName name different consumers."},
		)
	}
	at := `"StartingPosition":{"Type":"LATEST"}`
	return append(all,
		refusal{"SubscribeToShard", `{"ConsumerARN":"$s/consumer/c:1","ShardId":"shardId-0",` + at + `}`, codeNotFound, "Consumer $s/consumer/c:1, account $A not found."},
		refusal{"SubscribeToShard", `{"ConsumerARN":"$c","ShardId":"shardId-9",` + at + `}`, codeNotFound, "Shard shardId-000000000009 in stream s under account $A does not exist"},
		refusal{"SubscribeToShard", `{"ConsumerARN":"$c","ShardId":"x",` + at + `}`, codeNotFound, "Could not find shard x in stream s under account $A."},
		refusal{"SubscribeToShard", `{"ConsumerARN":"$c","ShardId":"shardId-0","StartingPosition":{"Type":"AT_TIMESTAMP"}}`, codeInvalid, "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter."},
		refusal{"SubscribeToShard", `{"ConsumerARN":"$c","ShardId":"shardId-1","StartingPosition":{"Type":"AT_SEQUENCE_NUMBER","SequenceNumber":"$n"}}`, codeInvalid, "Invalid SequenceNumber. It encodes shardId-000000000000, while it was used in a call to a shard with shardId-000000000001"},
		refusal{"SubscribeToShard", `{"ConsumerARN":"$c","ShardId":"shardId-0"}`, codeValidation, "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null"},
		refusal{"SubscribeToShard", `{"ConsumerARN":"$c","ShardId":"shardId-0","DryRun":true,` + at + `}`, codeDryRun, "The request would have succeeded, but the DryRun parameter is set."},
	)
}

func settingRefusals() []refusal {
	const badTag = "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @."
	var fifty strings.Builder
	for i := range 51 {
		fifty.WriteString(`,"t` + time.Duration(i).String() + `":""`)
	}
	return []refusal{
		{"IncreaseStreamRetentionPeriod", `{"StreamName":"s","RetentionPeriodHours":23}`, codeInvalid, "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short."},
		{"IncreaseStreamRetentionPeriod", `{"StreamName":"s","RetentionPeriodHours":8761}`, codeInvalid, "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long."},
		{"DecreaseStreamRetentionPeriod", `{"StreamName":"s","RetentionPeriodHours":25}`, codeInvalid, "Requested retention period (25 hours) for stream s can not be longer than existing retention period (24 hours). Use IncreaseRetentionPeriod API."},
		{"EnableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":["X"]}`, codeValidation, "¦.*Member must satisfy enum value set: .*¦"},
		{"DisableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":[]}`, codeValidation, "1 validation error detected: Value '[]' at 'shardLevelMetrics' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"StartStreamEncryption", `{"StreamName":"s","EncryptionType":"KMS","KeyId":"other"}`, codeKMSNotFound, "Key 'other' does not exist in the key ring of this server."},
		{"StartStreamEncryption", `{"StreamName":"s","EncryptionType":"KMS","KeyId":"alias/off"}`, codeKMSDisabled, "Key 'alias/off' is disabled."},
		{"StartStreamEncryption", `{"StreamName":"s","EncryptionType":"NONE","KeyId":"other"}`, codeInvalid, "EncryptionType NONE is not valid here: the only valid value is KMS."},
		{"UpdateMaxRecordSize", `{"StreamARN":"$none","MaxRecordSizeInKiB":1024}`, codeNotFound, noneFound},
		{"UpdateMaxRecordSize", `{"StreamARN":"$s","MaxRecordSizeInKiB":10241}`, codeValidation, "1 validation error detected: Value '10241' at 'maxRecordSizeInKiB' failed to satisfy constraint: Member must have value less than or equal to 10240"},
		{"UpdateMaxRecordSize", `{"MaxRecordSizeInKiB":1024}`, codeInvalid, unnamed},
		{"UpdateStreamRecordDistributionStrategy", `{"StreamARN":"$s","RecordDistributionStrategy":"AUTO"}`, codeInvalid, "RecordDistributionStrategy AUTO is only supported for a stream in ON_DEMAND mode."},
		{"UpdateStreamWarmThroughput", `{"StreamName":"s","WarmThroughputMiBps":1}`, codeValidation, "Request is invalid. Stream s under account $A is not in On-Demand mode."},
		{"UpdateStreamWarmThroughput", `{"StreamName":"od","WarmThroughputMiBps":1}`, codeValidation, "Warm throughput needs the account's MinimumThroughputBillingCommitment to be ENABLED (UpdateAccountSettings)."},
		{"AddTagsToStream", `{"StreamName":"s","Tags":{"a":"!"}}`, codeInvalid, badTag},
		{"AddTagsToStream", `{"StreamName":"s","Tags":{"a\tb":""}}`, codeInvalid, badTag},
		{"AddTagsToStream", `{"StreamName":"s","Tags":{"a":"b\nc"}}`, codeInvalid, badTag},
		{"RemoveTagsFromStream", `{"StreamName":"s","TagKeys":["a\nb"]}`, codeInvalid, badTag},
		{"AddTagsToStream", `{"StreamName":"s","Tags":{"a":"%"}}`, codeInvalid, "Failed to add tags to stream s under account $A because some tags contained illegal characters. The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'."},
		{"AddTagsToStream", `{"StreamName":"s","Tags":{"a":""` + fifty.String() + `}}`, codeInvalid, "Failed to add tags to stream s under account $A because a given stream cannot have more than 50 tags associated with it."},
		{"AddTagsToStream", `{"StreamName":"s","Tags":{}}`, codeValidation, "1 validation error detected: Value '{}' at 'tags' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"AddTagsToStream", `{"StreamName":"s","Tags":{"$long":"3"}}`, codeValidation, "1 validation error detected: Value '{$long=3}' at 'tags' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]"},
		{"TagResource", `{"ResourceARN":"$c","Tags":{"a":"!"}}`, codeInvalid, badTag},
		{"RemoveTagsFromStream", `{"StreamName":"s","TagKeys":["!"]}`, codeInvalid, badTag},
		{"RemoveTagsFromStream", `{"StreamName":"s","TagKeys":["$long"]}`, codeValidation, "1 validation error detected: Value '[$long]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]"},
		{"ListTagsForStream", `{"StreamName":"s","Limit":51}`, codeValidation, "1 validation error detected: Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50"},
		{"DeleteResourcePolicy", `{"ResourceARN":"$s"}`, codeNotFound, "No resource policy found for resource ARN $s"},
		{"PutResourcePolicy", `{"ResourceARN":"$s","Policy":"x"}`, codeInvalid, "The policy is not a JSON object with a Statement."},
	}
}

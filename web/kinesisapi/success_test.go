package kinesisapi

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kineweir/kineweir/datastream"
)

// TestSuccess calls every operation through the SDK and looks at what the SDK
// made of the answer.
func TestSuccess(t *testing.T) {
	for name, run := range successes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newRig(t, withKeys), t.Context())
		})
	}
}

func withKeys(s *setup) { s.engine.Keys = testKeys{} }

type success = func(t *testing.T, r *rig, ctx context.Context)

func str(s string) *string { return aws.String(s) }

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// made is a rig's stream of that many shards.
func (r *rig) made(name string, shards int) string {
	r.t.Helper()
	r.do("CreateStream", fmt.Sprintf(`{"StreamName":%q,"ShardCount":%d}`, name, shards))
	return name
}

func (r *rig) onDemand(name string) string {
	r.t.Helper()
	r.do("CreateStream", fmt.Sprintf(`{"StreamName":%q,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`, name))
	return name
}

func (r *rig) summary(name string) *types.StreamDescriptionSummary {
	r.t.Helper()
	out, err := r.sdk.DescribeStreamSummary(context.Background(), &kinesis.DescribeStreamSummaryInput{StreamName: &name})
	must(r.t, err)
	return out.StreamDescriptionSummary
}

func (r *rig) shards(name string) []types.Shard {
	r.t.Helper()
	out, err := r.sdk.ListShards(context.Background(), &kinesis.ListShardsInput{StreamName: &name})
	must(r.t, err)
	return out.Shards
}

func (r *rig) consumer(stream, name string) string {
	r.t.Helper()
	out, err := r.sdk.RegisterStreamConsumer(context.Background(), &kinesis.RegisterStreamConsumerInput{
		StreamARN: str(arnOf(stream)), ConsumerName: &name,
	})
	must(r.t, err)
	return *out.Consumer.ConsumerARN
}

// put is the sequence number of a record, in the shard of the hash key.
func (r *rig) put(stream, data, hash string) string {
	r.t.Helper()
	out, err := r.sdk.PutRecord(context.Background(), &kinesis.PutRecordInput{
		StreamName: &stream, Data: []byte(data), PartitionKey: str("k"), ExplicitHashKey: &hash,
	})
	must(r.t, err)
	return *out.SequenceNumber
}

func (r *rig) iterator(stream string, shard int, kind types.ShardIteratorType) string {
	r.t.Helper()
	out, err := r.sdk.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: str(shardName(uint32(shard))), ShardIteratorType: kind,
	})
	must(r.t, err)
	return *out.ShardIterator
}

func successes() map[string]success {
	all := map[string]success{}
	for _, table := range []map[string]success{streamSuccesses(), shardSuccesses(), settingSuccesses(), recordSuccesses(), consumerSuccesses(), channelSuccesses()} {
		for name, run := range table {
			all[name] = run
		}
	}
	return all
}

func streamSuccesses() map[string]success {
	return map[string]success{
		"CreateStream": func(t *testing.T, r *rig, ctx context.Context) {
			_, err := r.sdk.CreateStream(ctx, &kinesis.CreateStreamInput{
				StreamName: str("s"), ShardCount: aws.Int32(3), MaxRecordSizeInKiB: aws.Int32(2048), Tags: map[string]string{"a": "b"},
			})
			must(t, err)
			s := r.summary("s")
			equal(t, "shards", *s.OpenShardCount, 3)
			equal(t, "record size", *s.MaxRecordSizeInKiB, 2048)
			equal(t, "mode", s.StreamModeDetails.StreamMode, types.StreamModeProvisioned)
			_, err = r.sdk.UpdateAccountSettings(ctx, &kinesis.UpdateAccountSettingsInput{
				MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{Status: "ENABLED"},
			})
			must(t, err)
			_, err = r.sdk.CreateStream(ctx, &kinesis.CreateStreamInput{
				StreamName: str("od"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
				WarmThroughputMiBps: aws.Int32(7), RecordDistributionStrategy: types.RecordDistributionStrategyAuto,
			})
			must(t, err)
			s = r.summary("od")
			equal(t, "warm", *s.WarmThroughput.TargetMiBps, 7)
			equal(t, "distribution", s.RecordDistributionStrategy, types.RecordDistributionStrategyAuto)
			_, err = r.sdk.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: str("bare")})
			must(t, err)
			s = r.summary("bare")
			equal(t, "mode", s.StreamModeDetails.StreamMode, types.StreamModeOnDemand)
			equal(t, "shards", *s.OpenShardCount, 4)
		},
		"DeleteStream": func(t *testing.T, r *rig, ctx context.Context) {
			r.consumer(r.made("s", 1), "c")
			_, err := r.sdk.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamARN: str(arnOf("s")), EnforceConsumerDeletion: aws.Bool(true)})
			must(t, err)
			equal(t, "code", r.try("DescribeStream", `{"StreamName":"s"}`).code, codeNotFound)
		},
		"DescribeStream": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 3)
			out, err := r.sdk.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: str("s"), StreamARN: str(arnOf("s")), Limit: aws.Int32(2)})
			must(t, err)
			d := out.StreamDescription
			equal(t, "shards", len(d.Shards), 2)
			equal(t, "more", *d.HasMoreShards, true)
			equal(t, "ARN", *d.StreamARN, arnOf("s"))
			equal(t, "status", d.StreamStatus, types.StreamStatusActive)
			equal(t, "retention", *d.RetentionPeriodHours, 24)
			equal(t, "encryption", d.EncryptionType, types.EncryptionTypeNone)
			equal(t, "monitoring", len(d.EnhancedMonitoring), 1)
			equal(t, "range", *d.Shards[0].HashKeyRange.EndingHashKey, "113427455640312821154458202477256070484")
			if age := time.Since(*d.StreamCreationTimestamp); age < 0 || age > time.Minute {
				t.Errorf("created %v ago", age)
			}
			out, err = r.sdk.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: str("s"), ExclusiveStartShardId: d.Shards[1].ShardId})
			must(t, err)
			equal(t, "rest", len(out.StreamDescription.Shards), 1)
			equal(t, "more", *out.StreamDescription.HasMoreShards, false)
		},
		"DescribeStreamSummary": func(t *testing.T, r *rig, _ context.Context) {
			r.consumer(r.made("s", 2), "c")
			s := r.summary("s")
			equal(t, "name", *s.StreamName, "s")
			equal(t, "consumers", *s.ConsumerCount, 1)
			equal(t, "channels", *s.ChannelCount, 0)
			equal(t, "record size", *s.MaxRecordSizeInKiB, 1024)
			equal(t, "distribution", s.RecordDistributionStrategy, types.RecordDistributionStrategyUserPartitionKey)
			if id := *s.StreamId; len(id) != 24 || id[20] != '-' {
				t.Errorf("id %q", id)
			}
			if s.WarmThroughput != nil {
				t.Error("a provisioned stream has a warm throughput")
			}
		},
		"ListStreams": func(t *testing.T, r *rig, ctx context.Context) {
			for _, n := range []string{"b", "a", "d", "c"} {
				r.made(n, 1)
			}
			var names []string
			for p := kinesis.NewListStreamsPaginator(r.sdk, &kinesis.ListStreamsInput{Limit: aws.Int32(3)}); p.HasMorePages(); {
				out, err := p.NextPage(ctx)
				must(t, err)
				names = append(names, out.StreamNames...)
				equal(t, "summaries", len(out.StreamSummaries), len(out.StreamNames))
			}
			equal(t, "names", strings.Join(names, ""), "abcd")
			out, err := r.sdk.ListStreams(ctx, &kinesis.ListStreamsInput{ExclusiveStartStreamName: str("bb")})
			must(t, err)
			equal(t, "after", out.StreamNames, []string{"c", "d"})
			equal(t, "more", *out.HasMoreStreams, false)
		},
		"UpdateStreamMode": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 2)
			_, err := r.sdk.UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{
				StreamARN: str(arnOf("s")), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
			})
			must(t, err)
			equal(t, "mode", r.summary("s").StreamModeDetails.StreamMode, types.StreamModeOnDemand)
		},
		"DescribeLimits": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 3)
			r.onDemand("od")
			out, err := r.sdk.DescribeLimits(ctx, &kinesis.DescribeLimitsInput{})
			must(t, err)
			equal(t, "open", *out.OpenShardCount, 3)
			equal(t, "on demand", *out.OnDemandStreamCount, 1)
			equal(t, "limit", *out.ShardLimit, 10000)
			equal(t, "channels", *out.ChannelCountLimit, 0)
		},
		"DescribeAccountSettings": func(t *testing.T, r *rig, ctx context.Context) {
			out, err := r.sdk.DescribeAccountSettings(ctx, &kinesis.DescribeAccountSettingsInput{})
			must(t, err)
			equal(t, "status", out.MinimumThroughputBillingCommitment.Status, "DISABLED")
			if out.MinimumThroughputBillingCommitment.StartedAt != nil {
				t.Error("started")
			}
		},
		"UpdateAccountSettings": func(t *testing.T, r *rig, ctx context.Context) {
			for _, step := range []struct{ ask, want string }{
				{"DISABLED", "DISABLED"}, {"ENABLED", "ENABLED"}, {"DISABLED", "ENABLED_UNTIL_EARLIEST_ALLOWED_END"}, {"ENABLED", "ENABLED"},
			} {
				out, err := r.sdk.UpdateAccountSettings(ctx, &kinesis.UpdateAccountSettingsInput{
					MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{
						Status: types.MinimumThroughputBillingCommitmentInputStatus(step.ask),
					},
				})
				must(t, err)
				equal(t, step.ask, string(out.MinimumThroughputBillingCommitment.Status), step.want)
			}
		},
	}
}

func shardSuccesses() map[string]success {
	return map[string]success{
		"ListShards": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 5)
			in := &kinesis.ListShardsInput{StreamName: str("s"), MaxResults: aws.Int32(2)}
			var ids []string
			for {
				out, err := r.sdk.ListShards(ctx, in)
				must(t, err)
				for _, s := range out.Shards {
					ids = append(ids, (*s.ShardId)[len("shardId-"):]+".")
				}
				if out.NextToken == nil {
					break
				}
				in = &kinesis.ListShardsInput{NextToken: out.NextToken, MaxResults: aws.Int32(2)}
			}
			equal(t, "shards", strings.Join(ids, ""), "000000000000.000000000001.000000000002.000000000003.000000000004.")
		},
		"SplitShard": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			_, err := r.sdk.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: str("s"), ShardToSplit: str("shardId-0"), NewStartingHashKey: str("1000")})
			must(t, err)
			all := r.shards("s")
			equal(t, "shards", len(all), 3)
			equal(t, "parent", *all[2].ParentShardId, shardName(0))
			equal(t, "low", *all[1].HashKeyRange.EndingHashKey, "999")
			equal(t, "high", *all[2].HashKeyRange.StartingHashKey, "1000")
			if all[0].SequenceNumberRange.EndingSequenceNumber == nil || all[1].SequenceNumberRange.EndingSequenceNumber != nil {
				t.Error("the parent is closed and the child is open")
			}
		},
		"MergeShards": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 2)
			_, err := r.sdk.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: str("s"), ShardToMerge: str(shardName(0)), AdjacentShardToMerge: str(shardName(1))})
			must(t, err)
			all := r.shards("s")
			equal(t, "shards", len(all), 3)
			equal(t, "parents", *all[2].ParentShardId+*all[2].AdjacentParentShardId, shardName(0)+shardName(1))
		},
		"UpdateShardCount": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 2)
			out, err := r.sdk.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: str("s"), TargetShardCount: aws.Int32(4), ScalingType: types.ScalingTypeUniformScaling})
			must(t, err)
			equal(t, "current", *out.CurrentShardCount, 2)
			equal(t, "target", *out.TargetShardCount, 4)
			equal(t, "ARN", *out.StreamARN, arnOf("s"))
			equal(t, "open", *r.summary("s").OpenShardCount, 4)
		},
	}
}

func settingSuccesses() map[string]success {
	retention := func(t *testing.T, r *rig, ctx context.Context, hours int32, raise bool) {
		var err error
		if raise {
			_, err = r.sdk.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: str("s"), RetentionPeriodHours: &hours})
		} else {
			_, err = r.sdk.DecreaseStreamRetentionPeriod(ctx, &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: str("s"), RetentionPeriodHours: &hours})
		}
		must(t, err)
		equal(t, "retention", *r.summary("s").RetentionPeriodHours, hours)
	}
	return map[string]success{
		"IncreaseStreamRetentionPeriod": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			retention(t, r, ctx, 8760, true)
		},
		"DecreaseStreamRetentionPeriod": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			retention(t, r, ctx, 48, true)
			retention(t, r, ctx, 24, false)
		},
		"EnableEnhancedMonitoring": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			in := &kinesis.EnableEnhancedMonitoringInput{StreamName: str("s"), ShardLevelMetrics: []types.MetricsName{"IncomingBytes"}}
			out, err := r.sdk.EnableEnhancedMonitoring(ctx, in)
			must(t, err)
			equal(t, "current", len(out.CurrentShardLevelMetrics), 0)
			equal(t, "desired", len(out.DesiredShardLevelMetrics), 1)
			in.ShardLevelMetrics = []types.MetricsName{"ALL"}
			out, err = r.sdk.EnableEnhancedMonitoring(ctx, in)
			must(t, err)
			equal(t, "current", len(out.CurrentShardLevelMetrics), 1)
			equal(t, "desired", len(out.DesiredShardLevelMetrics), 7)
			equal(t, "described", len(r.summary("s").EnhancedMonitoring[0].ShardLevelMetrics), 7)
		},
		"DisableEnhancedMonitoring": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			r.do("EnableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":["ALL"]}`)
			out, err := r.sdk.DisableEnhancedMonitoring(ctx, &kinesis.DisableEnhancedMonitoringInput{
				StreamName: str("s"), ShardLevelMetrics: []types.MetricsName{"OutgoingBytes", "OutgoingRecords"},
			})
			must(t, err)
			equal(t, "current", len(out.CurrentShardLevelMetrics), 7)
			equal(t, "desired", len(out.DesiredShardLevelMetrics), 5)
		},
		"StartStreamEncryption": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			_, err := r.sdk.StartStreamEncryption(ctx, &kinesis.StartStreamEncryptionInput{StreamName: str("s"), EncryptionType: "KMS", KeyId: str("alias/aws/kinesis")})
			must(t, err)
			s := r.summary("s")
			equal(t, "type", s.EncryptionType, types.EncryptionTypeKms)
			equal(t, "key", *s.KeyId, "alias/aws/kinesis")
			r.put("s", "secret", "0")
			out, err := r.sdk.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: str(r.iterator("s", 0, "TRIM_HORIZON"))})
			must(t, err)
			equal(t, "data", string(out.Records[0].Data), "secret")
			equal(t, "record", out.Records[0].EncryptionType, types.EncryptionTypeKms)
		},
		"StopStreamEncryption": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			r.do("StartStreamEncryption", `{"StreamName":"s","EncryptionType":"KMS","KeyId":"alias/aws/kinesis"}`)
			_, err := r.sdk.StopStreamEncryption(ctx, &kinesis.StopStreamEncryptionInput{StreamName: str("s"), EncryptionType: "KMS", KeyId: str("alias/aws/kinesis")})
			must(t, err)
			equal(t, "type", r.summary("s").EncryptionType, types.EncryptionTypeNone)
		},
		"UpdateMaxRecordSize": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			_, err := r.sdk.UpdateMaxRecordSize(ctx, &kinesis.UpdateMaxRecordSizeInput{StreamARN: str(arnOf("s")), MaxRecordSizeInKiB: aws.Int32(10240)})
			must(t, err)
			equal(t, "size", *r.summary("s").MaxRecordSizeInKiB, 10240)
			r.put("s", strings.Repeat("x", 5<<20), "0")
		},
		"UpdateStreamRecordDistributionStrategy": func(t *testing.T, r *rig, ctx context.Context) {
			r.onDemand("s")
			_, err := r.sdk.UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{StreamARN: str(arnOf("s")), RecordDistributionStrategy: "AUTO"})
			must(t, err)
			equal(t, "strategy", r.summary("s").RecordDistributionStrategy, types.RecordDistributionStrategyAuto)
			shards := map[string]bool{}
			for range 4 { // no partition key
				out, err := r.sdk.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: str("s"), Data: []byte("x")})
				must(t, err)
				shards[*out.ShardId] = true
			}
			equal(t, "shards", len(shards), 4)
		},
		"UpdateStreamWarmThroughput": func(t *testing.T, r *rig, ctx context.Context) {
			r.onDemand("s")
			r.do("UpdateAccountSettings", `{"MinimumThroughputBillingCommitment":{"Status":"ENABLED"}}`)
			out, err := r.sdk.UpdateStreamWarmThroughput(ctx, &kinesis.UpdateStreamWarmThroughputInput{StreamName: str("s"), WarmThroughputMiBps: aws.Int32(8)})
			must(t, err)
			equal(t, "name", *out.StreamName+*out.StreamARN, "s"+arnOf("s"))
			equal(t, "target", *out.WarmThroughput.TargetMiBps, 8)
			equal(t, "described", *r.summary("s").WarmThroughput.TargetMiBps, 8)
		},
		"AddTagsToStream": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			_, err := r.sdk.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: str("s"), Tags: map[string]string{"a": "", "ü0 _.": "/=+-@"}})
			must(t, err)
			equal(t, "tags", r.tags("s"), map[string]string{"a": "", "ü0 _.": "/=+-@"})
		},
		"RemoveTagsFromStream": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			r.do("AddTagsToStream", `{"StreamName":"s","Tags":{"a":"1","b":"2"}}`)
			_, err := r.sdk.RemoveTagsFromStream(ctx, &kinesis.RemoveTagsFromStreamInput{StreamName: str("s"), TagKeys: []string{"a", "never"}})
			must(t, err)
			equal(t, "tags", r.tags("s"), map[string]string{"b": "2"})
		},
		"ListTagsForStream": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			r.do("AddTagsToStream", `{"StreamName":"s","Tags":{"a":"1","b":"2","c":"3"}}`)
			out, err := r.sdk.ListTagsForStream(ctx, &kinesis.ListTagsForStreamInput{StreamName: str("s"), Limit: aws.Int32(1), ExclusiveStartTagKey: str("a")})
			must(t, err)
			equal(t, "tags", *out.Tags[0].Key+*out.Tags[0].Value, "b2")
			equal(t, "more", *out.HasMoreTags, true)
		},
		"TagResource": func(t *testing.T, r *rig, ctx context.Context) {
			consumer := r.consumer(r.made("s", 1), "c")
			for _, arn := range []string{consumer, arnOf("s")} {
				_, err := r.sdk.TagResource(ctx, &kinesis.TagResourceInput{ResourceARN: &arn, Tags: map[string]string{"of": arn[len(arn)-4:]}})
				must(t, err)
				out, err := r.sdk.ListTagsForResource(ctx, &kinesis.ListTagsForResourceInput{ResourceARN: &arn})
				must(t, err)
				equal(t, arn, *out.Tags[0].Value, arn[len(arn)-4:])
			}
		},
		"UntagResource": func(t *testing.T, r *rig, ctx context.Context) {
			consumer := r.consumer(r.made("s", 1), "c")
			r.do("TagResource", `{"ResourceARN":"`+consumer+`","Tags":{"a":"1","b":"2"}}`)
			_, err := r.sdk.UntagResource(ctx, &kinesis.UntagResourceInput{ResourceARN: &consumer, TagKeys: []string{"a"}})
			must(t, err)
			out, err := r.sdk.ListTagsForResource(ctx, &kinesis.ListTagsForResourceInput{ResourceARN: &consumer})
			must(t, err)
			equal(t, "tags", len(out.Tags), 1)
		},
		"ListTagsForResource": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			r.do("AddTagsToStream", `{"StreamName":"s","Tags":{"b":"2","a":"1"}}`)
			out, err := r.sdk.ListTagsForResource(ctx, &kinesis.ListTagsForResourceInput{ResourceARN: str(arnOf("s"))})
			must(t, err)
			equal(t, "tags", *out.Tags[0].Key+*out.Tags[1].Key, "ab")
		},
		"PutResourcePolicy": func(t *testing.T, r *rig, ctx context.Context) {
			consumer := r.consumer(r.made("s", 1), "c")
			for _, arn := range []string{consumer, arnOf("s")} {
				policy := `{"Version":"2012-10-17","Statement":[{"Resource":"` + arn + `"}]}`
				_, err := r.sdk.PutResourcePolicy(ctx, &kinesis.PutResourcePolicyInput{ResourceARN: &arn, Policy: &policy})
				must(t, err)
				out, err := r.sdk.GetResourcePolicy(ctx, &kinesis.GetResourcePolicyInput{ResourceARN: &arn})
				must(t, err)
				equal(t, arn, *out.Policy, policy)
			}
		},
		"GetResourcePolicy": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			out, err := r.sdk.GetResourcePolicy(ctx, &kinesis.GetResourcePolicyInput{ResourceARN: str(arnOf("s"))})
			must(t, err)
			equal(t, "policy", *out.Policy, "{}")
		},
		"DeleteResourcePolicy": func(t *testing.T, r *rig, ctx context.Context) {
			r.made("s", 1)
			r.do("PutResourcePolicy", `{"ResourceARN":"`+arnOf("s")+`","Policy":"{\"Statement\":[]}"}`)
			_, err := r.sdk.DeleteResourcePolicy(ctx, &kinesis.DeleteResourcePolicyInput{ResourceARN: str(arnOf("s"))})
			must(t, err)
			equal(t, "policy", r.do("GetResourcePolicy", `{"ResourceARN":"`+arnOf("s")+`"}`)["Policy"], any("{}"))
		},
	}
}

func (r *rig) tags(stream string) map[string]string {
	r.t.Helper()
	out, err := r.sdk.ListTagsForStream(context.Background(), &kinesis.ListTagsForStreamInput{StreamName: &stream})
	must(r.t, err)
	m := map[string]string{}
	for _, tag := range out.Tags {
		m[*tag.Key] = *tag.Value
	}
	return m
}

func channelSuccesses() map[string]success {
	// The others have nothing to succeed with: they say so.
	refused := func(call func(*kinesis.Client, context.Context) error, says string) success {
		return func(t *testing.T, r *rig, ctx context.Context) {
			r.onDemand("s")
			if err := call(r.sdk, ctx); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want it to say %q", err, says)
			}
		}
	}
	arn := str("arn:aws:kinesis:us-east-1:" + account + ":channel/x")
	return map[string]success{
		"ListChannels": func(t *testing.T, r *rig, ctx context.Context) {
			out, err := r.sdk.ListChannels(ctx, &kinesis.ListChannelsInput{})
			must(t, err)
			equal(t, "channels", len(out.ChannelSummaries), 0)
		},
		"CreateChannel": refused(func(c *kinesis.Client, ctx context.Context) error {
			_, err := c.CreateChannel(ctx, &kinesis.CreateChannelInput{
				ChannelName: str("x"), ServiceExecutionRoleARN: str("arn:aws:iam::123456789012:role/x"),
				StreamConfigurationList: []types.ChannelStreamConfiguration{{
					StreamARN: str(arnOf("s")), RecordConfiguration: &types.RecordConfiguration{RecordFormatType: "JSON"},
				}},
				S3DestinationConfiguration: &types.S3DestinationConfiguration{StorageConfiguration: &types.S3StorageConfiguration{
					BucketARN: str("arn:aws:s3:::b"), CompressionType: "GZIP", ExpectedBucketOwner: str(account),
				}},
			})
			return err
		}, "S3 writer of Firehose"),
		"DescribeChannel": refused(func(c *kinesis.Client, ctx context.Context) error {
			_, err := c.DescribeChannel(ctx, &kinesis.DescribeChannelInput{ChannelARN: arn})
			return err
		}, codeNotFound),
		"UpdateChannel": refused(func(c *kinesis.Client, ctx context.Context) error {
			_, err := c.UpdateChannel(ctx, &kinesis.UpdateChannelInput{ChannelARN: arn})
			return err
		}, codeNotFound),
		"DeleteChannel": refused(func(c *kinesis.Client, ctx context.Context) error {
			_, err := c.DeleteChannel(ctx, &kinesis.DeleteChannelInput{ChannelARN: arn})
			return err
		}, codeNotFound),
	}
}

// testKeys is a key ring with one key, and one that is disabled.
type testKeys struct{}

func (k testKeys) Wrap(keyID string) (dataKey, wrapped []byte, err error) {
	dataKey = []byte("0123456789abcdef0123456789abcdef")
	_, err = k.Unwrap(keyID, dataKey)
	return dataKey, dataKey, err
}

func (testKeys) Unwrap(keyID string, wrapped []byte) ([]byte, error) {
	switch keyID {
	case "alias/aws/kinesis":
		return wrapped, nil
	case "alias/off":
		return nil, datastream.ErrKeyDisabled
	}
	return nil, datastream.ErrKeyNotFound
}

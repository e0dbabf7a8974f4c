package e2e

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// kinesisOf is the AWS SDK, unmodified, told nothing but where the server is.
func (s *server) kinesisOf(key, secret string, attempts int) *kinesis.Client {
	s.t.Helper()
	cfg, err := config.LoadDefaultConfig(s.t.Context(),
		config.WithRegion("us-east-1"), config.WithBaseEndpoint(s.http),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(key, secret, "")),
		config.WithRetryMaxAttempts(attempts))
	if err != nil {
		s.t.Fatal(err)
	}
	return kinesis.NewFromConfig(cfg)
}

func (s *server) kinesis() *kinesis.Client { return s.kinesisOf("anybody", "anything", 1) }

// makeStream makes a stream and waits until it is active.
func makeStream(t *testing.T, c *kinesis.Client, name string, shards int32) {
	t.Helper()
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards}); err != nil {
		t.Fatal(err)
	}
	awaitActive(t, c, name)
}

func awaitActive(t *testing.T, c *kinesis.Client, name string) {
	t.Helper()
	w := kinesis.NewStreamExistsWaiter(c, func(o *kinesis.StreamExistsWaiterOptions) { o.MinDelay = 20 * time.Millisecond })
	if err := w.Wait(t.Context(), &kinesis.DescribeStreamInput{StreamName: &name}, 20*time.Second); err != nil {
		t.Fatal(err)
	}
}

func listShards(t *testing.T, c *kinesis.Client, name string) (all []types.Shard) {
	t.Helper()
	in := &kinesis.ListShardsInput{StreamName: &name, MaxResults: aws.Int32(3)}
	for {
		page, err := c.ListShards(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Shards...)
		if page.NextToken == nil {
			return all
		}
		in = &kinesis.ListShardsInput{NextToken: page.NextToken, MaxResults: aws.Int32(3)}
	}
}

func isOpen(s types.Shard) bool { return s.SequenceNumberRange.EndingSequenceNumber == nil }

// drain reads a shard from its beginning until it ends or stays empty at the tip.
func drain(t *testing.T, c *kinesis.Client, stream string, shard string) (all []types.Record, ended bool) {
	t.Helper()
	at, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	for it := at.ShardIterator; ; {
		got, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got.Records...)
		it = got.NextShardIterator
		if it == nil {
			if len(got.ChildShards) == 0 {
				t.Errorf("shard %s ends without children", shard)
			}
			return all, true
		}
		if len(got.Records) == 0 && aws.ToInt64(got.MillisBehindLatest) == 0 {
			return all, false
		}
	}
}

func number(t *testing.T, s *string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(aws.ToString(s), 10)
	if !ok {
		t.Fatalf("%q is not a sequence number", aws.ToString(s))
	}
	return n
}

// TestKinesisRecords puts and gets with the Go SDK: where records go, in which
// order they come back, and where iterators of each type begin.
func TestKinesisRecords(t *testing.T) {
	s := serve(t, "")
	c := s.kinesis()
	const name, shards, n = "orders", 4, 1200
	makeStream(t, c, name, shards)
	all := listShards(t, c, name)
	if len(all) != shards {
		t.Fatalf("%d shards, want %d", len(all), shards)
	}
	want := map[string][]string{} // shard -> data in order
	for i := 0; i < n; i += 300 {
		in := &kinesis.PutRecordsInput{StreamName: aws.String(name)}
		for j := i; j < i+300; j++ {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint("key", j%37)), Data: fmt.Appendf(nil, "record %d", j)})
		}
		out, err := c.PutRecords(t.Context(), in)
		if err != nil || aws.ToInt32(out.FailedRecordCount) != 0 {
			t.Fatalf("put: %v, %+v", err, out)
		}
		for j, r := range out.Records {
			hash := md5.Sum([]byte(*in.Records[j].PartitionKey))
			at := new(big.Int).SetBytes(hash[:])
			k := slices.IndexFunc(all, func(s types.Shard) bool {
				return number(t, s.HashKeyRange.StartingHashKey).Cmp(at) <= 0 && at.Cmp(number(t, s.HashKeyRange.EndingHashKey)) <= 0
			})
			if *r.ShardId != *all[k].ShardId {
				t.Fatalf("%s went to %s, its hash is in %s", *in.Records[j].PartitionKey, *r.ShardId, *all[k].ShardId)
			}
			want[*r.ShardId] = append(want[*r.ShardId], string(in.Records[j].Data))
		}
	}
	for _, shard := range all {
		got, _ := drain(t, c, name, *shard.ShardId)
		var data []string
		for i, r := range got {
			data = append(data, string(r.Data))
			if i > 0 && number(t, got[i-1].SequenceNumber).Cmp(number(t, r.SequenceNumber)) >= 0 {
				t.Fatalf("%s: sequence numbers do not rise at %d", *shard.ShardId, i)
			}
			if age := time.Since(*r.ApproximateArrivalTimestamp); age < -time.Second || age > time.Minute {
				t.Fatalf("arrived %v ago", age)
			}
		}
		if !slices.Equal(data, want[*shard.ShardId]) {
			t.Errorf("%s: %d records, want %d in order", *shard.ShardId, len(data), len(want[*shard.ShardId]))
		}
		if len(got) > 9 {
			iteratorTypes(t, c, name, *shard.ShardId, got)
		}
	}
}

// iteratorTypes sees where each type of iterator begins in a shard with the
// given records, which are all of it.
func iteratorTypes(t *testing.T, c *kinesis.Client, stream, shard string, all []types.Record) {
	t.Helper()
	for _, tc := range []struct {
		name string
		in   kinesis.GetShardIteratorInput
		want int // index of the first record
	}{
		{"trim horizon", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon}, 0},
		{"latest", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest}, len(all)},
		{"at", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: all[7].SequenceNumber}, 7},
		{"after", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: all[7].SequenceNumber}, 8},
		{"after the last", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: all[len(all)-1].SequenceNumber}, len(all)},
		{"long ago", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(time.Now().Add(-time.Hour))}, 0},
	} {
		tc.in.StreamName, tc.in.ShardId = &stream, &shard
		at, err := c.GetShardIterator(t.Context(), &tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		for range 2 { // the same iterator may be used again
			got, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator, Limit: aws.Int32(2)})
			switch {
			case err != nil:
				t.Errorf("%s: %v", tc.name, err)
			case tc.want == len(all) && len(got.Records) != 0:
				t.Errorf("%s: a record at the tip", tc.name)
			case tc.want < len(all) && (len(got.Records) == 0 || *got.Records[0].SequenceNumber != *all[tc.want].SequenceNumber):
				t.Errorf("%s: does not begin at record %d", tc.name, tc.want)
			case aws.ToString(got.NextShardIterator) == "" || *got.NextShardIterator == *at.ShardIterator:
				t.Errorf("%s: no new iterator", tc.name)
			}
		}
	}
}

// TestKinesisErrors has a row per mistake and the error type that the SDK makes
// of the answer.
func TestKinesisErrors(t *testing.T) {
	s := serve(t, "")
	c := s.kinesis()
	makeStream(t, c, "here", 1)
	const shard = "shardId-000000000000"
	put := func(in *kinesis.PutRecordInput) error {
		_, err := c.PutRecord(t.Context(), in)
		return err
	}
	for _, tc := range []struct {
		name string
		do   func() error
		code string
	}{
		{"no such stream", func() error {
			return put(&kinesis.PutRecordInput{StreamName: aws.String("nowhere"), PartitionKey: aws.String("a"), Data: []byte("x")})
		}, "ResourceNotFoundException"},
		{"made twice", func() error {
			_, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("here"), ShardCount: aws.Int32(1)})
			return err
		}, "ResourceInUseException"},
		{"explicit hash beyond the circle", func() error {
			return put(&kinesis.PutRecordInput{StreamName: aws.String("here"), PartitionKey: aws.String("a"), Data: []byte("x"), ExplicitHashKey: aws.String("340282366920938463463374607431768211456")})
		}, "InvalidArgumentException"},
		{"record too large", func() error {
			return put(&kinesis.PutRecordInput{StreamName: aws.String("here"), PartitionKey: aws.String("a"), Data: make([]byte, 1<<20)})
		}, "ValidationException|InvalidArgumentException"},
		{"iterator that is none", func() error {
			_, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: aws.String("bm9uc2Vuc2U=")})
			return err
		}, "InvalidArgumentException"},
		{"no such shard", func() error {
			_, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String("here"), ShardId: aws.String("shardId-000000000099"), ShardIteratorType: types.ShardIteratorTypeLatest})
			return err
		}, "ResourceNotFoundException"},
		{"sequence number of nobody", func() error {
			_, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String("here"), ShardId: aws.String(shard), ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: aws.String("5")})
			return err
		}, "InvalidArgumentException"},
		{"retention lowered by raising", func() error {
			_, err := c.IncreaseStreamRetentionPeriod(t.Context(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: aws.String("here"), RetentionPeriodHours: aws.Int32(23)})
			return err
		}, "InvalidArgumentException|ValidationException"},
		{"name that is none", func() error {
			_, err := c.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("no spaces please")})
			return err
		}, "ValidationException"},
		{"merge of one shard with itself", func() error {
			_, err := c.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: aws.String("here"), ShardToMerge: aws.String(shard), AdjacentShardToMerge: aws.String(shard)})
			return err
		}, "InvalidArgumentException"},
	} {
		err := tc.do()
		var api interface{ ErrorCode() string }
		if !errors.As(err, &api) {
			t.Errorf("%s: %v", tc.name, err)
		} else if !slices.Contains(strings.Split(tc.code, "|"), api.ErrorCode()) {
			t.Errorf("%s: %s, want %s", tc.name, api.ErrorCode(), tc.code)
		}
	}
}

// TestKinesisReshard writes all the time while shards are split, merged and
// counted anew; a reader that follows parents to children gets each record
// once, and those of a key in order.
func TestKinesisReshard(t *testing.T) {
	s := serve(t, "")
	c := s.kinesis()
	const name = "moving"
	makeStream(t, c, name, 2)
	ctx, stop := context.WithCancel(t.Context())
	const writers = 3
	counts := make(chan int, writers)
	for w := range writers {
		go func() {
			i := 0
			for ; ctx.Err() == nil; i++ {
				_, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String(name), PartitionKey: aws.String(fmt.Sprint("writer", w)), Data: fmt.Appendf(nil, "%d", i)})
				if err != nil {
					t.Error(err)
					break
				}
			}
			counts <- i
		}()
	}
	const full = "340282366920938463463374607431768211455"
	half, _ := new(big.Int).SetString(full, 10)
	for step, change := range []func() error{
		func() error {
			open := listShards(t, c, name)[0]
			mid := new(big.Int).Add(number(t, open.HashKeyRange.StartingHashKey), number(t, open.HashKeyRange.EndingHashKey))
			_, err := c.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: aws.String(name), ShardToSplit: open.ShardId, NewStartingHashKey: aws.String(mid.Rsh(mid, 1).String())})
			return err
		},
		func() error {
			_, err := c.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: aws.String(name), TargetShardCount: aws.Int32(5), ScalingType: types.ScalingTypeUniformScaling})
			return err
		},
		func() error {
			open := slices.DeleteFunc(listShards(t, c, name), func(s types.Shard) bool { return !isOpen(s) })
			slices.SortFunc(open, func(a, b types.Shard) int {
				return number(t, a.HashKeyRange.StartingHashKey).Cmp(number(t, b.HashKeyRange.StartingHashKey))
			})
			_, err := c.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: aws.String(name), ShardToMerge: open[0].ShardId, AdjacentShardToMerge: open[1].ShardId})
			return err
		},
		func() error {
			_, err := c.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: aws.String(name), TargetShardCount: aws.Int32(3), ScalingType: types.ScalingTypeUniformScaling})
			return err
		},
	} {
		time.Sleep(150 * time.Millisecond)
		if err := change(); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		awaitActive(t, c, name)
	}
	time.Sleep(150 * time.Millisecond)
	stop()
	var put [writers]int
	total := 0
	for range writers {
		total += <-counts
	}
	shards := listShards(t, c, name)
	open := slices.DeleteFunc(slices.Clone(shards), func(s types.Shard) bool { return !isOpen(s) })
	if len(open) != 3 {
		t.Errorf("%d open shards, want 3", len(open))
	}
	covered := new(big.Int)
	for _, o := range open {
		covered.Add(covered, number(t, o.HashKeyRange.EndingHashKey))
		covered.Sub(covered, number(t, o.HashKeyRange.StartingHashKey))
		covered.Add(covered, big.NewInt(1))
	}
	if covered.Cmp(new(big.Int).Add(half, big.NewInt(1))) != 0 {
		t.Errorf("open shards cover %v", covered)
	}
	next := map[string]int{}
	for _, shard := range shards { // parents come before children
		got, ended := drain(t, c, name, *shard.ShardId)
		if ended != !isOpen(shard) {
			t.Errorf("%s: ended %v, open %v", *shard.ShardId, ended, isOpen(shard))
		}
		for _, r := range got {
			if want := fmt.Sprint(next[*r.PartitionKey]); string(r.Data) != want {
				t.Fatalf("%s of %s: record %s, want %s", *shard.ShardId, *r.PartitionKey, r.Data, want)
			}
			next[*r.PartitionKey]++
		}
	}
	read := 0
	for _, n := range next {
		read += n
	}
	if read != total {
		t.Errorf("%d records put, %d read", total, read)
	}
	t.Logf("%d records over %d shards, %v", total, len(shards), put)
}

// TestKinesisFanOut subscribes, reads what was there and what comes, to the end
// of a split shard.
func TestKinesisFanOut(t *testing.T) {
	s := serve(t, "")
	c := s.kinesis()
	const name, shard = "events", "shardId-000000000000"
	makeStream(t, c, name, 1)
	d, err := c.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := c.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: d.StreamDescriptionSummary.StreamARN, ConsumerName: aws.String("reader")})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the consumer is active", func() bool {
		out, err := c.DescribeStreamConsumer(t.Context(), &kinesis.DescribeStreamConsumerInput{ConsumerARN: reg.Consumer.ConsumerARN})
		return err == nil && out.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive
	})
	put := func(i int) {
		if _, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String(name), PartitionKey: aws.String("k"), Data: fmt.Appendf(nil, "%d", i)}); err != nil {
			t.Error(err)
		}
	}
	for i := range 10 {
		put(i)
	}
	sub, err := c.SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{ConsumerARN: reg.Consumer.ConsumerARN, ShardId: aws.String(shard), StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.GetStream().Close()
	var putting sync.WaitGroup
	defer putting.Wait()
	putting.Go(func() {
		for i := 10; i < 60; i++ {
			put(i)
		}
		if _, err := c.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: aws.String(name), ShardToSplit: aws.String(shard), NewStartingHashKey: aws.String("170141183460469231731687303715884105728")}); err != nil {
			t.Error(err)
		}
	})
	next, children := 0, 0
	deadline := time.After(30 * time.Second)
	for open := true; open; {
		select {
		case event, ok := <-sub.GetStream().Events():
			if !ok {
				open = false
				break
			}
			e := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
			for _, r := range e.Records {
				if string(r.Data) != fmt.Sprint(next) {
					t.Fatalf("record %s, want %d", r.Data, next)
				}
				next++
			}
			children += len(e.ChildShards)
		case <-deadline:
			t.Fatal("the subscription does not end")
		}
	}
	if err := sub.GetStream().Err(); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if next != 60 || children != 2 {
		t.Errorf("%d records and %d children, want 60 and 2", next, children)
	}
}

// TestKinesisSignatures sees that a server with credentials wants signatures by
// known keys, and tells the service's own errors.
func TestKinesisSignatures(t *testing.T) {
	s := serve(t, "auth:\n  file: "+writeCredentials(t, `
users:
  admin: {admin: true, keys: [{id: AKIDADMIN, secret: a-secret-of-the-admin}]}
  writer: {publish: ["in-*"], keys: [{id: AKIDWRITER, secret: a-secret-of-the-writer}]}
  reader: {view: ["in-*"], keys: [{id: AKIDREADER, secret: a-secret-of-the-reader}]}
`)+"\n")
	admin := s.kinesisOf("AKIDADMIN", "a-secret-of-the-admin", 1)
	makeStream(t, admin, "in-a", 1)
	makeStream(t, admin, "other", 1)
	put := func(key, secret, stream string) error {
		_, err := s.kinesisOf(key, secret, 1).PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("k"), Data: []byte("x")})
		return err
	}
	read := func(key, secret, stream string) error {
		_, err := s.kinesisOf(key, secret, 1).GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeLatest})
		return err
	}
	for _, tc := range []struct {
		name string
		err  error
		code string // "" for none
	}{
		{"writer puts", put("AKIDWRITER", "a-secret-of-the-writer", "in-a"), ""},
		{"writer puts elsewhere", put("AKIDWRITER", "a-secret-of-the-writer", "other"), "AccessDeniedException"},
		{"writer reads", read("AKIDWRITER", "a-secret-of-the-writer", "in-a"), "AccessDeniedException"},
		{"reader reads", read("AKIDREADER", "a-secret-of-the-reader", "in-a"), ""},
		{"reader puts", put("AKIDREADER", "a-secret-of-the-reader", "in-a"), "AccessDeniedException"},
		{"wrong secret", put("AKIDWRITER", "a-secret-of-somebody", "in-a"), "InvalidSignatureException"},
		{"unknown key", put("AKIDNOBODY", "a-secret-of-the-writer", "in-a"), "UnrecognizedClientException"},
	} {
		var api interface{ ErrorCode() string }
		switch {
		case tc.code == "" && tc.err != nil:
			t.Errorf("%s: %v", tc.name, tc.err)
		case tc.code != "" && (!errors.As(tc.err, &api) || api.ErrorCode() != tc.code):
			t.Errorf("%s: %v, want %s", tc.name, tc.err, tc.code)
		}
	}
}

// writeCredentials returns the path of a new credentials file.
func writeCredentials(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestKinesisLargeAnswers reads an answer of 2.7 MB again and again: the SDK
// hardly ever cuts it off (see holdBack in web/awswire; without it, one in six).
func TestKinesisLargeAnswers(t *testing.T) {
	s := serve(t, "")
	c := s.kinesis()
	const name = "large"
	makeStream(t, c, name, 1)
	for range 10 {
		in := &kinesis.PutRecordsInput{StreamName: aws.String(name)}
		for range 100 {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, 2000)})
		}
		if _, err := c.PutRecords(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	at, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String(name), ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	const reads = 200
	failed := 0
	for range reads {
		out, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator})
		if err != nil {
			failed++
			t.Log(err)
		} else if len(out.Records) != 1000 {
			t.Fatalf("%d records", len(out.Records))
		}
	}
	t.Logf("%d of %d answers were cut off by a client that does not try again", failed, reads)
	if failed > reads/20 {
		t.Error("too many")
	}
}

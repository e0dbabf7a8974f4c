package awswire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
)

type putResult struct {
	Failed  int64      `aws:"FailedRecordCount"`
	Records []putEntry `aws:"Records"`
}

type putEntry struct {
	Sequence string `aws:"SequenceNumber,omitempty"`
	Shard    string `aws:"ShardId,omitempty"`
	Code     string `aws:"ErrorCode,omitempty"`
	Message  string `aws:"ErrorMessage,omitempty"`
}

type getInput struct {
	Iterator string `aws:"ShardIterator,required,min=1,max=512"`
	Limit    *int64 `aws:"Limit,min=1,max=10000"`
}

type consumerInput struct {
	ConsumerARN string         `aws:"ConsumerARN,required,min=1,max=2048"`
	ShardID     string         `aws:"ShardId,required,min=1,max=128,pattern=name"`
	Start       *startWithTime `aws:"StartingPosition,required"`
}

type startWithTime struct {
	Type string `aws:"Type,required,enum=LATEST|AT_TIMESTAMP"`
	Time *Time  `aws:"Timestamp"`
}

var sdkTime = time.UnixMilli(1700000000123).UTC()

// sdkService has a few operations made by hand, for the SDK to call.
func sdkService(t *testing.T) *Handler {
	notFound := &Error{Code: "ResourceNotFoundException", Message: "Stream gone under account 000000000000 not found."}
	return mustNew(t, Service{Operations: []Operation{
		Op("PutRecords", func(_ context.Context, _ *Call, in *putInput) (*putResult, error) {
			if in.StreamName == "gone" {
				return nil, notFound
			}
			out := &putResult{}
			for i, r := range in.Records {
				if r.PartitionKey == "hot" {
					out.Failed++
					out.Records = append(out.Records, putEntry{Code: "ProvisionedThroughputExceededException", Message: "too fast"})
					continue
				}
				out.Records = append(out.Records, putEntry{Sequence: fmt.Sprintf("%d:%x", i, r.Data), Shard: "shardId-000000000000"})
			}
			return out, nil
		}),
		Op("GetRecords", func(_ context.Context, _ *Call, in *getInput) (*records, error) {
			switch in.Iterator {
			case "old":
				return nil, &Error{Code: "ExpiredIteratorException", Message: "too old"}
			case "broken":
				return nil, errors.New("disk")
			}
			next := in.Iterator + "+"
			return &records{
				Records:           []record{{SequenceNumber: "1", Arrival: At(sdkTime), Data: []byte("dä\x00ta"), PartitionKey: "<ü\u2028>"}},
				NextShardIterator: &next, MillisBehindLatest: *in.Limit,
			}, nil
		}),
		Op("DeleteStream", func(context.Context, *Call, *struct {
			Name string `aws:"StreamName"`
		},
		) (*struct{}, error) {
			return nil, nil
		}),
		StreamOp("SubscribeToShard", sdkSubscribe, shardEvent{}),
	}})
}

func sdkSubscribe(ctx context.Context, _ *Call, in *consumerInput, send func(string, any) error) error {
	if in.ShardID == "shardId-000000000009" {
		return &Error{Code: "ResourceNotFoundException", Message: "no such shard"}
	}
	if err := send(InitialResponse, nil); err != nil {
		return err
	}
	for i := range 3 {
		number := fmt.Sprint(i)
		event := shardEvent{Behind: int64(i), Continuation: &number, Records: []record{{
			SequenceNumber: number, Data: bytes.Repeat([]byte{byte(i)}, 100_000*i), PartitionKey: "k", Arrival: At(sdkTime),
		}}}
		if err := send("SubscribeToShardEvent", event); err != nil {
			return err
		}
	}
	if in.Start.Type == "LATEST" {
		return nil
	}
	return &Error{Code: "ResourceInUseException", Message: "taken over at " + in.Start.Time.Format(time.RFC3339Nano)}
}

func sdkClient(url string, client *http.Client) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		BaseEndpoint: aws.String(url), Region: "us-east-1", HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "SECRET", ""), RetryMaxAttempts: 1,
	})
}

// TestSDK drives the protocol with the SDK for Go, over HTTP/1.1 and HTTP/2.
func TestSDK(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			server := httptest.NewUnstartedServer(sdkService(t))
			server.EnableHTTP2 = proto == "HTTP/2.0"
			server.StartTLS()
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c := sdkClient(server.URL, server.Client())
			sdkCalls(t, ctx, c)
			sdkErrors(t, ctx, c)
			sdkStream(t, ctx, c)
		})
	}
}

func sdkCalls(t *testing.T, ctx context.Context, c *kinesis.Client) {
	put, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String("s"), Records: []types.PutRecordsRequestEntry{
		{Data: []byte{0, 255}, PartitionKey: aws.String("k")}, {Data: []byte("x"), PartitionKey: aws.String("hot")},
	}})
	if err != nil || *put.FailedRecordCount != 1 || *put.Records[0].SequenceNumber != "0:00ff" || *put.Records[1].ErrorCode != "ProvisionedThroughputExceededException" {
		t.Fatalf("put: %v %+v", err, put)
	}
	got, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("i"), Limit: aws.Int32(7)})
	if err != nil {
		t.Fatal(err)
	}
	r := got.Records[0]
	if string(r.Data) != "dä\x00ta" || *r.PartitionKey != "<ü\u2028>" || !r.ApproximateArrivalTimestamp.Equal(sdkTime) || *got.NextShardIterator != "i+" || *got.MillisBehindLatest != 7 {
		t.Errorf("get: %+v", got)
	}
	if _, err := c.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String("s")}); err != nil {
		t.Errorf("an empty answer: %v", err)
	}
}

func sdkErrors(t *testing.T, ctx context.Context, c *kinesis.Client) {
	entries := []types.PutRecordsRequestEntry{{Data: []byte{}, PartitionKey: aws.String("k")}}
	_, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String("gone"), Records: entries})
	var notFound *types.ResourceNotFoundException
	if !errors.As(err, &notFound) || !strings.HasSuffix(notFound.ErrorMessage(), "not found.") {
		t.Errorf("not found: %v", err)
	}
	_, err = c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("old")})
	var expired *types.ExpiredIteratorException
	if !errors.As(err, &expired) || expired.ErrorMessage() != "too old" {
		t.Errorf("expired: %v", err)
	}
	for code, call := range map[string]func() error{
		"InternalFailure": func() error {
			_, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("broken")})
			return err
		},
		"ValidationException": func() error {
			_, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("i"), Limit: aws.Int32(10001)})
			return err
		},
		"UnknownOperationException": func() error {
			_, err := c.DescribeLimits(ctx, &kinesis.DescribeLimitsInput{})
			return err
		},
	} {
		var api smithy.APIError
		if err := call(); !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(err.Error(), "RequestID: ") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func sdkStream(t *testing.T, ctx context.Context, c *kinesis.Client) {
	input := func(shard string, start types.ShardIteratorType) *kinesis.SubscribeToShardInput {
		return &kinesis.SubscribeToShardInput{
			ConsumerARN: aws.String("arn"), ShardId: aws.String(shard),
			StartingPosition: &types.StartingPosition{Type: start, Timestamp: aws.Time(sdkTime)},
		}
	}
	_, err := c.SubscribeToShard(ctx, input("shardId-000000000009", types.ShardIteratorTypeLatest))
	var notFound *types.ResourceNotFoundException
	if !errors.As(err, &notFound) {
		t.Errorf("subscribe to nothing: %v", err)
	}
	for _, start := range []types.ShardIteratorType{types.ShardIteratorTypeLatest, types.ShardIteratorTypeAtTimestamp} {
		out, err := c.SubscribeToShard(ctx, input("shardId-000000000000", start))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for e := range out.GetStream().Events() {
			m, ok := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
			if !ok || *m.Value.MillisBehindLatest != int64(n) || len(m.Value.Records[0].Data) != 100_000*n || !m.Value.Records[0].ApproximateArrivalTimestamp.Equal(sdkTime) {
				t.Errorf("event %d: %T", n, e)
			}
			n++
		}
		err = out.GetStream().Err()
		var inUse *types.ResourceInUseException
		if n != 3 || start == types.ShardIteratorTypeLatest && err != nil ||
			start == types.ShardIteratorTypeAtTimestamp && (!errors.As(err, &inUse) || inUse.ErrorMessage() != "taken over at 2023-11-14T22:13:20.123Z") {
			t.Errorf("%s: %d events, then %v", start, n, err)
		}
		_ = out.GetStream().Close() // It repeats Err.
	}
}

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// TestKinesisPython runs kinesis.py with Debian's boto3.
func TestKinesisPython(t *testing.T) {
	s := serve(t, "")
	if out := run(t, 90*time.Second, "/usr/bin/python3", "kinesis.py", s.http); strings.TrimSpace(out) != "ok" {
		t.Error(out)
	}
}

// TestKinesisNode runs kinesis.mjs with the JavaScript SDK, over HTTP/2.
func TestKinesisNode(t *testing.T) {
	s := serve(t, "")
	if out := run(t, 90*time.Second, "node", "kinesis.mjs", s.http); strings.TrimSpace(out) != "ok" {
		t.Error(out)
	}
}

// TestKinesisCLI uses the AWS CLI as its manual does.
func TestKinesisCLI(t *testing.T) {
	s := serve(t, "")
	aws := func(into any, args ...string) {
		t.Helper()
		var errs strings.Builder
		cmd := exec.CommandContext(t.Context(), "/usr/bin/aws", append([]string{"--endpoint-url", s.http, "--output", "json", "--no-cli-pager", "kinesis"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=anybody", "AWS_SECRET_ACCESS_KEY=anything", "AWS_DEFAULT_REGION=us-east-1")
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("aws kinesis %v: %v\n%s", args, err, &errs)
		}
		if into != nil {
			if err := json.Unmarshal(out, into); err != nil {
				t.Fatalf("aws kinesis %v: %v\n%s", args, err, out)
			}
		}
	}
	aws(nil, "create-stream", "--stream-name", "cli", "--shard-count", "1")
	aws(nil, "wait", "stream-exists", "--stream-name", "cli")
	var put struct{ ShardID, SequenceNumber string }
	aws(&put, "put-record", "--stream-name", "cli", "--partition-key", "a", "--data", base64.StdEncoding.EncodeToString([]byte("from the shell")))
	var at struct{ ShardIterator string }
	aws(&at, "get-shard-iterator", "--stream-name", "cli", "--shard-id", "shardId-000000000000", "--shard-iterator-type", "AT_SEQUENCE_NUMBER", "--starting-sequence-number", put.SequenceNumber)
	var got struct {
		Records []struct {
			Data                        []byte
			PartitionKey                string
			ApproximateArrivalTimestamp any
		}
		MillisBehindLatest int
	}
	aws(&got, "get-records", "--shard-iterator", at.ShardIterator)
	if len(got.Records) != 1 || string(got.Records[0].Data) != "from the shell" || got.Records[0].PartitionKey != "a" {
		t.Errorf("read %+v", got)
	}
}

// TestKinesisCBOR speaks CBOR as the Java SDK does, written and read by a
// library that is not ours.
func TestKinesisCBOR(t *testing.T) {
	s := serve(t, "")
	// Timestamps are tag 1 with whole milliseconds.
	call := func(op string, in, out any) (status int) {
		t.Helper()
		body, err := cbor.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.http+"/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-amz-cbor-1.1")
		r.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/x-amz-cbor-1.1" {
			t.Errorf("%s: content type %q", op, got)
		}
		if len(answer) > 0 {
			if err := cbor.Unmarshal(answer, out); err != nil {
				t.Fatalf("%s: %v in %x", op, err, answer)
			}
		}
		return resp.StatusCode
	}
	type m = map[string]any
	if code := call("CreateStream", m{"StreamName": "java", "ShardCount": 1}, nil); code != http.StatusOK {
		t.Fatal(code)
	}
	var put struct{ SequenceNumber, ShardId string } //nolint:revive // the service's name
	data := []byte{0, 1, 0xfe, 0xff}
	eventually(t, 10*time.Second, "a record is put", func() bool {
		return call("PutRecord", m{"StreamName": "java", "PartitionKey": "ключ", "Data": data}, &put) == http.StatusOK
	})
	var at struct{ ShardIterator string }
	now := time.Now().Add(-time.Minute).UnixMilli()
	if code := call("GetShardIterator", m{"StreamName": "java", "ShardId": put.ShardId, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": cbor.Tag{Number: 1, Content: now}}, &at); code != http.StatusOK {
		t.Fatal(code)
	}
	var got struct {
		Records []struct {
			Data                        []byte
			PartitionKey                string
			SequenceNumber              string
			ApproximateArrivalTimestamp cbor.RawTag
		}
		MillisBehindLatest int64
	}
	if code := call("GetRecords", m{"ShardIterator": at.ShardIterator}, &got); code != http.StatusOK || len(got.Records) != 1 {
		t.Fatalf("%d, %+v", code, got)
	}
	r := got.Records[0]
	var ms int64
	if err := cbor.Unmarshal(r.ApproximateArrivalTimestamp.Content, &ms); err != nil || r.ApproximateArrivalTimestamp.Number != 1 {
		t.Errorf("arrival is %+v: %v", r.ApproximateArrivalTimestamp, err)
	}
	if !bytes.Equal(r.Data, data) || r.PartitionKey != "ключ" || r.SequenceNumber != put.SequenceNumber || ms < now || ms > now+120_000 {
		t.Errorf("read %+v, arrived %d", r, ms)
	}
	var refusal struct {
		Type    string `cbor:"__type"`
		Message string `cbor:"message"`
	}
	if code := call("DescribeStream", m{"StreamName": "nowhere"}, &refusal); code != http.StatusBadRequest || refusal.Type != "ResourceNotFoundException" || refusal.Message == "" {
		t.Errorf("%d, %+v", code, refusal)
	}
}

// TestKinesisWire sends what no SDK would and sees the service's answers.
func TestKinesisWire(t *testing.T) {
	s := serve(t, "")
	for _, tc := range []struct {
		name, target, kind, body string
		status                   int
		code                     string
	}{
		{"no such operation", "Kinesis_20131202.Nothing", "application/x-amz-json-1.1", "{}", 400, "UnknownOperationException"},
		{"not JSON", "Kinesis_20131202.ListStreams", "application/x-amz-json-1.1", "{", 400, "SerializationException"},
		{"wrong type", "Kinesis_20131202.ListStreams", "application/x-amz-json-1.1", `{"Limit":"many"}`, 400, "SerializationException"},
		{"required is missing", "Kinesis_20131202.CreateStream", "application/x-amz-json-1.1", `{}`, 400, "ValidationException"},
		{"bad base64", "Kinesis_20131202.PutRecord", "application/x-amz-json-1.1", `{"StreamName":"a","PartitionKey":"b","Data":"%"}`, 400, "SerializationException"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.http+"/", strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", tc.kind)
		r.Header.Set("X-Amz-Target", tc.target)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var refusal struct {
			Type string `json:"__type"`
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err := json.Unmarshal(body, &refusal); err != nil {
			t.Errorf("%s: %v in %q", tc.name, err, body)
		}
		if got := fmt.Sprint(resp.StatusCode, " ", refusal.Type); got != fmt.Sprint(tc.status, " ", tc.code) {
			t.Errorf("%s: %s", tc.name, got)
		}
		if resp.Header.Get("X-Amzn-Requestid") == "" {
			t.Errorf("%s: no request id", tc.name)
		}
	}
}

package kinesisapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/kineweir/kineweir/web/awswire"
)

// The inputs of records without their methods: what awswire then reaches by
// reflection.
type (
	plannedPutRecord  putRecordInput
	plannedEntry      putRecordsEntry
	plannedGetRecords getRecordsInput
	plannedPutRecords struct {
		Records    []plannedEntry `aws:"Records,required,min=1,max=500,shown=com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310"`
		StreamName string         `aws:"StreamName,min=1,max=128,pattern=name"`
		StreamARN  string         `aws:"StreamARN,min=1,max=2048,pattern=stream"`
		StreamID   string         `aws:"StreamId,min=1,max=24,pattern=id"`
		DryRun     bool           `aws:"DryRun"`
	}
)

// echo answers with its input.
func echo[T any](name string) awswire.Operation {
	return awswire.Op(name, func(_ context.Context, _ *awswire.Call, in *T) (*T, error) { return in, nil })
}

// bothWays are two services that say what they were asked.
func bothWays(t testing.TB) (direct, planned http.Handler) {
	t.Helper()
	service := func(ops ...awswire.Operation) http.Handler {
		h, err := awswire.New(awswire.Service{Target: Target, Patterns: patterns(), Operations: ops})
		must(t, err)
		return h
	}
	for _, in := range []any{
		&putRecordInput{}, &putRecordsInput{}, &putRecordsEntry{}, &getRecordsInput{}, &putRecordOutput{},
		&putRecordsOutput{}, &putRecordsResult{}, &getRecordsOutput{}, &recordShape{}, &subscribeToShardEvent{},
	} {
		if _, ok := in.(awswire.Direct); !ok {
			t.Fatalf("%T is reached by reflection", in)
		}
	}
	direct = service(echo[putRecordInput]("PutRecord"), echo[putRecordsInput]("PutRecords"), echo[getRecordsInput]("GetRecords"))
	planned = service(echo[plannedPutRecord]("PutRecord"), echo[plannedPutRecords]("PutRecords"), echo[plannedGetRecords]("GetRecords"))
	return direct, planned
}

var recordOps = [...]string{"PutRecord", "PutRecords", "GetRecords"}

// sameAnswer sends a body to both and returns the status.
func sameAnswer(t testing.TB, direct, planned http.Handler, op, content string, body []byte) int {
	t.Helper()
	var answers [2]*httptest.ResponseRecorder
	for i, h := range []http.Handler{direct, planned} {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("X-Amz-Target", Target+"."+op)
		r.Header.Set("Content-Type", content)
		answers[i] = httptest.NewRecorder()
		h.ServeHTTP(answers[i], r)
		answers[i].Header().Del("X-Amzn-Requestid")
		answers[i].Header().Del("X-Amz-Id-2")
	}
	a, b := answers[0], answers[1]
	if a.Code != b.Code || a.Body.String() != b.Body.String() || fmt.Sprint(a.Header()) != fmt.Sprint(b.Header()) {
		t.Fatalf("%s %q:\ndirect  %d %s\nplanned %d %s", op, body, a.Code, a.Body, b.Code, b.Body)
	}
	return a.Code
}

const (
	jsonContent = "application/x-amz-json-1.1"
	cborContent = "application/x-amz-cbor-1.1"
)

// recordBodies are requests to spoil.
func recordBodies() []string {
	return []string{
		`{"StreamName":"s","PartitionKey":"k","Data":"eA==","ExplicitHashKey":"7","SequenceNumberForOrdering":"0","DryRun":false}`,
		`{"StreamARN":"` + arnOf("s") + `","Records":[{"PartitionKey":"k","Data":"eA==","ExplicitHashKey":"7"},{"Data":"","PartitionKey":"\u00fc"}],"DryRun":true}`,
		`{"ShardIterator":"AAAA","Limit":10,"StreamARN":"` + arnOf("s") + `","StreamId":"aaaaaaaaaaaaaaaaaaaa-000","DryRun":true}`,
	}
}

// packedOf is a body in CBOR, its data as bytes.
func packedOf(t testing.TB, body string) []byte {
	t.Helper()
	var members map[string]any
	must(t, json.Unmarshal([]byte(body), &members))
	unpack := func(m map[string]any) {
		if text, ok := m["Data"].(string); ok {
			data, err := base64.StdEncoding.DecodeString(text)
			must(t, err)
			m["Data"] = data
		}
	}
	unpack(members)
	if list, ok := members["Records"].([]any); ok {
		for _, record := range list {
			unpack(record.(map[string]any))
		}
	}
	packed, err := cbor.Marshal(members)
	must(t, err)
	return packed
}

// TestDirectInputs spoils requests about records in both encodings: the answers
// are those of inputs that are reached by reflection.
func TestDirectInputs(t *testing.T) {
	const rounds, seed = 3000, 8
	direct, planned := bothWays(t)
	r := rand.New(rand.NewPCG(seed, seed))
	values := []string{`null`, `""`, `"x"`, `0`, `-1.5e30`, `true`, `[]`, `{}`, `[null]`, `[{}]`, `["x"]`, `"eA="`, `"eA==","StreamName":"t"`, `7,"Other":{"Data":7}`, `null,"Data":null`, ``}
	codes := map[int]int{}
	for round := range rounds {
		op := recordOps[round%len(recordOps)]
		body := recordBodies()[r.IntN(len(recordOps))]
		if r.IntN(4) > 0 {
			body = recordBodies()[round%len(recordOps)]
		}
		packed := packedOf(t, body)
		for range r.IntN(3) {
			at := r.IntN(len(body))
			if colon := strings.IndexByte(body[at:], ':'); colon >= 0 {
				at += colon + 1
				end := at + max(0, strings.IndexAny(body[at:], ",}]"))
				body = body[:at] + values[r.IntN(len(values))] + body[end:]
			}
			packed[r.IntN(len(packed))] ^= 1 << r.IntN(8)
		}
		codes[sameAnswer(t, direct, planned, op, jsonContent, []byte(body))]++
		codes[sameAnswer(t, direct, planned, op, cborContent, packed)]++
	}
	if codes[http.StatusOK] < rounds/10 || codes[http.StatusBadRequest] < rounds/10 {
		t.Errorf("one-sided: %v", codes)
	}
	t.Logf("%d rounds, seed %d: %v", rounds, seed, codes)
}

// FuzzDirectInputs is TestDirectInputs with bodies that no table has.
func FuzzDirectInputs(f *testing.F) {
	for i, body := range recordBodies() {
		f.Add(byte(i), false, []byte(body))
		f.Add(byte(i), true, packedOf(f, body))
	}
	direct, planned := bothWays(f)
	f.Fuzz(func(t *testing.T, op byte, packed bool, body []byte) {
		content := jsonContent
		if packed {
			content = cborContent
		}
		sameAnswer(t, direct, planned, recordOps[int(op)%len(recordOps)], content, body)
	})
}

package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/consumer"
)

// server answers each request with the next of some answers, and remembers the
// requests.
type server struct {
	answers []answer
	asked   []string
}

func (s *server) client(t *testing.T) *Client {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		line := r.Method + " " + r.URL.EscapedPath()
		for _, h := range []string{"X-Amz-Target", "Content-Type", "If-Match", "If-None-Match", "Authorization"} {
			if v := r.Header.Get(h); v != "" {
				line += " " + h + "=" + v
			}
		}
		s.asked = append(s.asked, strings.TrimSpace(line+" "+string(body)))
		if len(s.answers) == 0 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		a := s.answers[0]
		s.answers = s.answers[1:]
		for name, v := range a.header {
			w.Header()[name] = v
		}
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body)
	}))
	t.Cleanup(web.Close)
	return &Client{Endpoint: web.URL + "/"}
}

func ok(body string) answer { return answer{200, nil, []byte(body)} }

const amz = " Content-Type=application/x-amz-json-1.1 "

func TestSource(t *testing.T) {
	s := &server{answers: []answer{
		ok(`{"Shards":[{"ShardId":"shardId-000000000000","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}],"NextToken":"more"}`),
		ok(`{"Shards":[{"ShardId":"shardId-000000000003","ParentShardId":"shardId-000000000001","AdjacentParentShardId":"shardId-000000000002",
			"HashKeyRange":{"StartingHashKey":"10","EndingHashKey":"340282366920938463463374607431768211455"},"SequenceNumberRange":{"StartingSequenceNumber":"1"}}]}`),
		ok(`{"ShardIterator":"it1"}`), ok(`{"ShardIterator":"it2"}`), ok(`{"ShardIterator":"it3"}`),
		ok(`{"Records":[{"SequenceNumber":"123","PartitionKey":"k","Data":"aGk=","ApproximateArrivalTimestamp":1795000000.123,"EncryptionType":"NONE"}],
			"NextShardIterator":"it4","MillisBehindLatest":1500}`),
		ok(`{"Records":[],"MillisBehindLatest":0,"ChildShards":[]}`),
	}}
	src := s.client(t).Source("films")
	ctx := t.Context()
	check := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
		}
	}
	shards, err := src.Shards(ctx)
	check("shards", shards, []consumer.Shard{
		{ID: "shardId-000000000000", Range: datastream.HashRange{End: datastream.HashKey{Lo: 9}}},
		{
			ID: "shardId-000000000003", Parents: []string{"shardId-000000000001", "shardId-000000000002"},
			Range: datastream.HashRange{Start: datastream.HashKey{Lo: 10}, End: datastream.MaxHashKey},
		},
	}, err)
	it, err := src.Iterator(ctx, "s", datastream.Start{From: datastream.TrimHorizon})
	check("iterator", it, "it1", err)
	it, err = src.Iterator(ctx, "s", datastream.Start{From: datastream.AfterSequence, Sequence: "7"})
	check("iterator", it, "it2", err)
	it, err = src.Iterator(ctx, "s", datastream.Start{From: datastream.AtTimestamp, Time: time.UnixMilli(1795000000007)})
	check("iterator", it, "it3", err)
	page, err := src.Records(ctx, "it3", 100)
	check("records", page, consumer.Page{
		Records: []consumer.Record{{Sequence: "123", PartitionKey: "k", Data: []byte("hi"), Arrived: time.UnixMilli(1795000000123).UTC()}},
		Next:    "it4", Behind: 1500 * time.Millisecond,
	}, err)
	page, err = src.Records(ctx, "it4", 1)
	check("the end", page, consumer.Page{}, err)

	want := []string{
		`ListShards` + amz + `{"StreamName":"films"}`,
		`ListShards` + amz + `{"NextToken":"more"}`,
		`GetShardIterator` + amz + `{"ShardId":"s","ShardIteratorType":"TRIM_HORIZON","StreamName":"films"}`,
		`GetShardIterator` + amz + `{"ShardId":"s","ShardIteratorType":"AFTER_SEQUENCE_NUMBER","StartingSequenceNumber":"7","StreamName":"films"}`,
		`GetShardIterator` + amz + `{"ShardId":"s","ShardIteratorType":"AT_TIMESTAMP","StreamName":"films","Timestamp":1795000000.007}`,
		`GetRecords` + amz + `{"Limit":100,"ShardIterator":"it3"}`,
		`GetRecords` + amz + `{"Limit":1,"ShardIterator":"it4"}`,
	}
	for i, w := range want {
		if i >= len(s.asked) || s.asked[i] != "POST / X-Amz-Target=Kinesis_20131202."+w {
			t.Errorf("request %d: %q, want %q", i, s.asked[i], w)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		answer answer
		kind   error
		says   string
	}{
		"expired":    {answer{400, nil, []byte(`{"__type":"ExpiredIteratorException","message":"too old"}`)}, datastream.ErrExpired, "too old"},
		"namespace":  {answer{400, nil, []byte(`{"__type":"com.amazonaws.kinesis#ResourceNotFoundException","message":"none"}`)}, datastream.ErrNotFound, "ResourceNotFoundException"},
		"header":     {answer{400, http.Header{"X-Amzn-Errortype": {"ProvisionedThroughputExceededException:http://x/"}}, nil}, datastream.ErrThrottled, "ProvisionedThroughput"},
		"limit":      {answer{400, nil, []byte(`{"__type":"LimitExceededException"}`)}, datastream.ErrThrottled, "Limit"},
		"capital":    {answer{400, nil, []byte(`{"__type":"SerializationException","Message":"what"}`)}, datastream.ErrInvalid, "what"},
		"argument":   {answer{400, nil, []byte(`{"__type":"InvalidArgumentException"}`)}, datastream.ErrInvalid, "Invalid"},
		"inside":     {answer{500, nil, []byte(`{"__type":"InternalFailure"}`)}, datastream.ErrUnavailable, "InternalFailure"},
		"a proxy":    {answer{503, nil, []byte(`<html>busy</html>`)}, datastream.ErrUnavailable, "503"},
		"slow down":  {answer{429, nil, nil}, datastream.ErrThrottled, "429"},
		"no JSON":    {ok(`<html>`), nil, "answer"},
		"too large":  {answer{200, nil, bytes.Repeat([]byte(" "), maxAnswer+1)}, datastream.ErrUnavailable, "larger"},
		"bad number": {ok(`{"MillisBehindLatest":"x"}`), nil, "answer"},
	} {
		s := &server{answers: []answer{c.answer}}
		_, err := s.client(t).Source("x").Records(t.Context(), "it", 1)
		if err == nil || !strings.Contains(err.Error(), c.says) || c.kind != nil && !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v %q", name, err, c.kind, c.says)
		}
	}
	s := &server{answers: []answer{ok(`{"Shards":[{"ShardId":"s","HashKeyRange":{"StartingHashKey":"x"}}]}`)}}
	if _, err := s.client(t).Source("x").Shards(t.Context()); !errors.Is(err, datastream.ErrInvalid) {
		t.Errorf("a range that is none: %v", err)
	}
}

func TestLeases(t *testing.T) {
	etag := http.Header{"Etag": {`"12"`}}
	s := &server{answers: []answer{
		ok(`{"leases":[{"key":"s0","revision":"18446744073709551615","value":{"a":1}}]}`),
		{200, etag, []byte(`{"a":1}`)},
		{404, nil, []byte(`{"error":{"code":"no_such_lease","message":"none"}}`)},
		{201, etag, nil},
		{204, etag, nil},
		{412, nil, []byte(`{"error":{"code":"conflict","message":"changed","hint":"read it"}}`)},
		{204, nil, nil},
		{204, nil, nil},
		{412, nil, nil},
		{403, nil, []byte(`{"error":{"code":"forbidden","message":"no"}}`)},
	}}
	c := s.client(t)
	c.Sign = func(r *http.Request, body []byte) error {
		r.Header.Set("Authorization", fmt.Sprint("signed ", len(body)))
		return nil
	}
	l, ctx := c.Leases(), t.Context()
	list, err := l.List(ctx, "app")
	if err != nil || len(list) != 1 || list[0].Key != "s0" || list[0].Revision != 1<<64-1 || string(list[0].Value) != `{"a":1}` {
		t.Errorf("list: %+v, %v", list, err)
	}
	if item, err := l.Get(ctx, "app", "s0"); err != nil || item.Revision != 12 || string(item.Value) != `{"a":1}` || item.Key != "s0" {
		t.Errorf("get: %+v, %v", item, err)
	}
	if _, err := l.Get(ctx, "app", "s0"); !errors.Is(err, consumer.ErrAbsent) {
		t.Errorf("get of none: %v", err)
	}
	for _, expect := range []uint64{0, 11} {
		if revision, err := l.Put(ctx, "app", "s0", []byte("{}"), expect); err != nil || revision != 12 {
			t.Errorf("put: %d, %v", revision, err)
		}
	}
	if _, err := l.Put(ctx, "app", "a/b", []byte("{}"), 11); !errors.Is(err, consumer.ErrConflict) || !strings.Contains(err.Error(), "changed: read it") {
		t.Errorf("conflict: %v", err)
	}
	if revision, err := l.Put(ctx, "app", "s0", []byte("{}"), 11); err == nil {
		t.Errorf("no ETag: %d", revision)
	}
	if err := l.Delete(ctx, "app", "s0", 11); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := l.Delete(ctx, "app", "s0", 11); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("delete: %v", err)
	}
	var refused *Error
	if _, err := l.List(ctx, "app"); !errors.As(err, &refused) || refused.Status != 403 || refused.Code != "forbidden" {
		t.Errorf("forbidden: %v", err)
	}
	for i, want := range []string{
		"GET /api/leases/app Authorization=signed 0",
		"GET /api/leases/app/s0 Authorization=signed 0",
		"GET /api/leases/app/s0 Authorization=signed 0",
		"PUT /api/leases/app/s0 Content-Type=application/json If-None-Match=* Authorization=signed 2 {}",
		`PUT /api/leases/app/s0 Content-Type=application/json If-Match="11" Authorization=signed 2 {}`,
		`PUT /api/leases/app/a%2Fb Content-Type=application/json If-Match="11" Authorization=signed 2 {}`,
		`PUT /api/leases/app/s0 Content-Type=application/json If-Match="11" Authorization=signed 2 {}`,
		`DELETE /api/leases/app/s0 If-Match="11" Authorization=signed 0`,
	} {
		if s.asked[i] != want {
			t.Errorf("request %d: %s, want %s", i, s.asked[i], want)
		}
	}
	c.Sign = func(*http.Request, []byte) error { return errors.New("no key") }
	if _, err := l.List(ctx, "app"); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("unsigned: %v", err)
	}
}

// roundTrip is an http.RoundTripper without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzAnswers: whatever a server answers, calls give a value or an error.
func FuzzAnswers(f *testing.F) {
	f.Add(200, `"1"`, "", []byte(`{"Records":[{"Data":"aGk="}]}`))
	f.Add(200, ``, "", []byte(`{"leases":[{"key":"a","revision":"1","value":{}}]}`))
	f.Add(400, ``, "a#b:c", []byte(`{"__type":"x#y:z"}`))
	f.Fuzz(func(t *testing.T, status int, etag, errorType string, body []byte) {
		c := &Client{Endpoint: "http://x", HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Header: http.Header{"Etag": {etag}, "X-Amzn-Errortype": {errorType}},
				Body: io.NopCloser(bytes.NewReader(body)),
			}, nil
		})}}
		ctx := context.Background()
		if page, err := c.Source("s").Records(ctx, "i", 1); err == nil && (status != 200 || !json.Valid(body)) {
			t.Fatalf("status %d %q: %+v", status, body, page)
		}
		if item, err := c.Leases().Get(ctx, "a", "k"); err == nil && (status != 200 || item.Revision == 0) {
			t.Fatalf("status %d %q: %+v", status, etag, item)
		}
		if _, err := c.Leases().List(ctx, "a"); err == nil && status != 200 {
			t.Fatalf("status %d", status)
		}
		if revision, err := c.Leases().Put(ctx, "a", "k", nil, 1); err == nil && (status/100 != 2 || revision == 0) {
			t.Fatalf("status %d: %d", status, revision)
		}
	})
}

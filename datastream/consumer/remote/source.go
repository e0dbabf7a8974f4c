package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/consumer"
)

// Source reads a stream through the Kinesis API.
type Source struct {
	client *Client
	stream string
}

// Source returns the stream of a name.
func (c *Client) Source(stream string) *Source { return &Source{c, stream} }

var _ consumer.Source = (*Source)(nil)

// maxPages bounds a listing: 10000 open shards and ten times as many closed ones
// are 110 pages of the service's 1000.
const maxPages = 1000

type shardBody struct {
	ShardID               string `json:"ShardId"`
	ParentShardID         string `json:"ParentShardId"`
	AdjacentParentShardID string `json:"AdjacentParentShardId"`
	HashKeyRange          struct{ StartingHashKey, EndingHashKey string }
}

// Shards calls ListShards until it has all.
func (s *Source) Shards(ctx context.Context) ([]consumer.Shard, error) {
	in := map[string]any{"StreamName": s.stream}
	var list []consumer.Shard
	for range maxPages {
		var out struct {
			Shards    []shardBody
			NextToken string
		}
		if err := s.call(ctx, "ListShards", in, &out); err != nil {
			return nil, err
		}
		for _, b := range out.Shards {
			shard, err := b.shard()
			if err != nil {
				return nil, fmt.Errorf("ListShards: shard %q: %w", b.ShardID, err)
			}
			list = append(list, shard)
		}
		if out.NextToken == "" {
			return list, nil
		}
		in = map[string]any{"NextToken": out.NextToken}
	}
	return nil, fmt.Errorf("ListShards: more than %d pages: %w", maxPages, datastream.ErrUnavailable)
}

func (b *shardBody) shard() (s consumer.Shard, err error) {
	s.ID = b.ShardID
	for _, p := range []string{b.ParentShardID, b.AdjacentParentShardID} {
		if p != "" {
			s.Parents = append(s.Parents, p)
		}
	}
	if s.Range.Start, err = datastream.ParseHashKey(b.HashKeyRange.StartingHashKey); err != nil {
		return s, err
	}
	s.Range.End, err = datastream.ParseHashKey(b.HashKeyRange.EndingHashKey)
	return s, err
}

// Iterator calls GetShardIterator.
func (s *Source) Iterator(ctx context.Context, shard string, at datastream.Start) (string, error) {
	in := map[string]any{"StreamName": s.stream, "ShardId": shard, "ShardIteratorType": string(at.From)}
	switch at.From {
	case datastream.AtSequence, datastream.AfterSequence:
		in["StartingSequenceNumber"] = at.Sequence
	case datastream.AtTimestamp:
		in["Timestamp"] = epoch(at.Time)
	}
	var out struct{ ShardIterator string }
	if err := s.call(ctx, "GetShardIterator", in, &out); err != nil {
		return "", err
	}
	return out.ShardIterator, nil
}

// epoch is a time as seconds with milliseconds.
func epoch(t time.Time) json.Number {
	ms := t.UnixMilli()
	sign := ""
	if ms < 0 {
		sign, ms = "-", -ms
	}
	return json.Number(fmt.Sprintf("%s%d.%03d", sign, ms/1000, ms%1000))
}

// Records calls GetRecords.
func (s *Source) Records(ctx context.Context, iterator string, limit int) (consumer.Page, error) {
	var out struct {
		Records []struct {
			SequenceNumber              string
			PartitionKey                string
			Data                        []byte
			ApproximateArrivalTimestamp float64
		}
		NextShardIterator  string
		MillisBehindLatest int64
	}
	in := map[string]any{"ShardIterator": iterator, "Limit": limit}
	if err := s.call(ctx, "GetRecords", in, &out); err != nil {
		return consumer.Page{}, err
	}
	p := consumer.Page{Next: out.NextShardIterator, Behind: time.Duration(out.MillisBehindLatest) * time.Millisecond}
	for _, r := range out.Records {
		ms := int64(r.ApproximateArrivalTimestamp*1000 + 0.5)
		p.Records = append(p.Records, consumer.Record{
			Sequence: r.SequenceNumber, PartitionKey: r.PartitionKey, Data: r.Data, Arrived: time.UnixMilli(ms).UTC(),
		})
	}
	return p, nil
}

// call makes a call of the Kinesis API.
func (s *Source) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	a, err := s.client.do(ctx, http.MethodPost, "/", http.Header{
		"Content-Type": {"application/x-amz-json-1.1"},
		"X-Amz-Target": {"Kinesis_20131202." + operation},
	}, body)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%s: %w", operation, awsError(a))
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("%s: answer: %w", operation, err)
	}
	return nil
}

// awsError reads an error answer: the code stands in the body or a header,
// after a namespace and before a URL if there are any.
func awsError(a *answer) *Error {
	var body struct {
		Type     string `json:"__type"`
		Message  string `json:"message"`
		MessageB string `json:"Message"`
	}
	_ = json.Unmarshal(a.body, &body) // what is no JSON says nothing
	code := cmp.Or(body.Type, a.header.Get("X-Amzn-Errortype"))
	code, _, _ = strings.Cut(code, ":")
	code = code[strings.LastIndexByte(code, '#')+1:]
	return &Error{Status: a.status, Code: code, Message: cmp.Or(body.Message, body.MessageB), Kind: kindOf(code, a.status)}
}

func kindOf(code string, status int) error {
	switch code {
	case "ExpiredIteratorException", "ExpiredNextTokenException":
		return datastream.ErrExpired
	case "ResourceNotFoundException":
		return datastream.ErrNotFound
	case "ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException":
		return datastream.ErrThrottled
	case "InvalidArgumentException", "ValidationException", "SerializationException":
		return datastream.ErrInvalid
	}
	switch {
	case status == http.StatusTooManyRequests:
		return datastream.ErrThrottled
	case status >= http.StatusInternalServerError:
		return datastream.ErrUnavailable
	}
	return nil
}

package kinesisapi

import (
	"context"
	"errors"
	"strconv"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/awswire"
)

// maxPutBytes bounds data and partition keys of a request.
const maxPutBytes = 10 << 20

// PutRecords writes up to 500 records and answers when they are durable, each
// with its place or with why it has none.
//
// Honoured: everything. The records of one call that go to one shard keep their
// order, which the service does not promise. EncryptionType is told of encrypted
// records only.

type putRecordsInput struct {
	Records    []putRecordsEntry `aws:"Records,required,min=1,max=500,shown=com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310"`
	StreamName string            `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN  string            `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID   string            `aws:"StreamId,min=1,max=24,pattern=id"`
	DryRun     bool              `aws:"DryRun"`
}

type putRecordsEntry struct {
	PartitionKey    string `aws:"PartitionKey,min=1,max=256"`
	ExplicitHashKey string `aws:"ExplicitHashKey,pattern=hash"`
	Data            []byte `aws:"Data,required,max=10485760"`
}

type putRecordsOutput struct {
	FailedRecordCount int                `aws:"FailedRecordCount"`
	Records           []putRecordsResult `aws:"Records"`
	EncryptionType    string             `aws:"EncryptionType,omitempty"`
}

type putRecordsResult struct {
	SequenceNumber sequence `aws:"SequenceNumber,omitempty"`
	ShardID        shardID  `aws:"ShardId,omitempty"`
	ErrorCode      string   `aws:"ErrorCode,omitempty"`
	ErrorMessage   string   `aws:"ErrorMessage,omitempty"`
}

// Member gives the places of the members, for awswire.Direct.
func (in *putRecordsInput) Member(i int) any {
	switch i {
	case 0:
		return awswire.ListAt(&in.Records)
	case 1:
		return &in.StreamName
	case 2:
		return &in.StreamARN
	case 3:
		return &in.StreamID
	}
	return &in.DryRun
}

// Member gives the places of the members, for awswire.Direct.
func (e *putRecordsEntry) Member(i int) any {
	switch i {
	case 0:
		return &e.PartitionKey
	case 1:
		return &e.ExplicitHashKey
	}
	return &e.Data
}

// Member gives the places of the members, for awswire.Direct.
func (out *putRecordsOutput) Member(i int) any {
	switch i {
	case 0:
		return &out.FailedRecordCount
	case 1:
		return awswire.ListAt(&out.Records)
	}
	return &out.EncryptionType
}

// Member gives the places of the members, for awswire.Direct.
func (r *putRecordsResult) Member(i int) any {
	switch i {
	case 0:
		return &r.SequenceNumber
	case 1:
		return &r.ShardID
	case 2:
		return &r.ErrorCode
	}
	return &r.ErrorMessage
}

func (h *Handler) putRecords(ctx context.Context, c *call, in *putRecordsInput) (*putRecordsOutput, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	puts, err := batchOf(&s, in.Records)
	if err != nil {
		return nil, err
	}
	results, err := h.engine.Put(ctx, s.Name, puts, datastream.PutOptions{DryRun: in.DryRun, Batch: true})
	if err != nil {
		return nil, h.tellPut(err, s.Name)
	}
	if in.DryRun {
		return nil, dryRun()
	}
	out := &putRecordsOutput{Records: make([]putRecordsResult, len(results))}
	for i := range results {
		r, o := &results[i], &out.Records[i]
		if r.Err != nil {
			out.FailedRecordCount++
			o.ErrorCode, o.ErrorMessage = h.recordError(r, s.Name)
			continue
		}
		o.SequenceNumber, o.ShardID = sequence{r.Sequence}, shardIDOf(r.Shard)
		if r.Encrypted {
			out.EncryptionType = encryption(true)
		}
	}
	return out, nil
}

// batchOf are the records of a call.
func batchOf(s *datastream.Stream, records []putRecordsEntry) ([]datastream.Put, error) {
	puts := make([]datastream.Put, len(records))
	total := 0
	for i := range records {
		r, p := &records[i], &puts[i]
		if r.PartitionKey == "" && !s.AutoDistribution {
			return nil, validation("", "records."+strconv.Itoa(i+1)+".member.partitionKey", "Member must not be null")
		}
		hash, err := explicitHash(r.ExplicitHashKey)
		if err != nil {
			return nil, err
		}
		*p = datastream.Put{PartitionKey: r.PartitionKey, ExplicitHash: hash, Data: r.Data}
		if tooLarge(s, p) {
			return nil, sizeError(s, "records."+strconv.Itoa(i+1)+".member.data")
		}
		if total += len(p.Data) + len(p.PartitionKey); total > maxPutBytes {
			return nil, invalid("Records size exceeds 10 MB limit")
		}
	}
	return puts, nil
}

// recordError is what one record of a call is told: the service has two codes
// for it.
func (h *Handler) recordError(r *datastream.PutResult, stream string) (code, message string) {
	if errors.Is(r.Err, datastream.ErrThrottled) {
		return codeThroughput, h.tooFast(r.Shard, stream)
	}
	return codeInternal, "Internal service failure."
}

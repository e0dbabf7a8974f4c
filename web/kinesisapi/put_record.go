package kinesisapi

import (
	"context"
	"errors"

	"github.com/kineweir/kineweir/datastream"
)

// PutRecord writes a record and answers when it is durable.
//
// Honoured: everything; the stream's MaxRecordSizeInKiB bounds data and
// partition key together; DryRun after all checks. EncryptionType is told of
// encrypted records only.

type putRecordInput struct {
	SequenceNumberForOrdering string `aws:"SequenceNumberForOrdering,pattern=sequence"`
	PartitionKey              string `aws:"PartitionKey,min=1,max=256"`
	ExplicitHashKey           string `aws:"ExplicitHashKey,pattern=hash"`
	Data                      []byte `aws:"Data,required,max=10485760"`
	StreamName                string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN                 string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID                  string `aws:"StreamId,min=1,max=24,pattern=id"`
	DryRun                    bool   `aws:"DryRun"`
}

// Member gives the places of the members, for awswire.Direct.
func (in *putRecordInput) Member(i int) any {
	switch i {
	case 0:
		return &in.SequenceNumberForOrdering
	case 1:
		return &in.PartitionKey
	case 2:
		return &in.ExplicitHashKey
	case 3:
		return &in.Data
	case 4:
		return &in.StreamName
	case 5:
		return &in.StreamARN
	case 6:
		return &in.StreamID
	}
	return &in.DryRun
}

type putRecordOutput struct {
	ShardID        shardID  `aws:"ShardId"`
	SequenceNumber sequence `aws:"SequenceNumber"`
	EncryptionType string   `aws:"EncryptionType,omitempty"`
}

// Member gives the places of the members, for awswire.Direct.
func (out *putRecordOutput) Member(i int) any {
	switch i {
	case 0:
		return &out.ShardID
	case 1:
		return &out.SequenceNumber
	}
	return &out.EncryptionType
}

func (h *Handler) putRecord(ctx context.Context, c *call, in *putRecordInput) (*putRecordOutput, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	puts := [1]datastream.Put{{PartitionKey: in.PartitionKey, Data: in.Data}}
	if in.PartitionKey == "" && !s.AutoDistribution {
		return nil, validation("", "partitionKey", "Member must not be null")
	}
	if puts[0].ExplicitHash, err = explicitHash(in.ExplicitHashKey); err != nil {
		return nil, err
	}
	if tooLarge(&s, &puts[0]) {
		return nil, sizeError(&s, "data")
	}
	after := in.SequenceNumberForOrdering
	if _, old := oldShard(after); old {
		after = "" // every number is greater
	}
	results, err := h.engine.Put(ctx, s.Name, puts[:], datastream.PutOptions{After: after, DryRun: in.DryRun})
	if err != nil {
		if in.SequenceNumberForOrdering != "" {
			err = words(err, datastream.ErrInvalid, "ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s under account %s is invalid.",
				in.SequenceNumberForOrdering, s.Name, h.account)
		}
		return nil, h.tellPut(err, s.Name)
	}
	if in.DryRun {
		return nil, dryRun()
	}
	r := &results[0]
	if r.Err != nil {
		return nil, words(r.Err, datastream.ErrThrottled, "%s", h.tooFast(r.Shard, s.Name))
	}
	return &putRecordOutput{
		ShardID:        shardIDOf(r.Shard),
		SequenceNumber: sequence{r.Sequence},
		EncryptionType: encryption(r.Encrypted),
	}, nil
}

// explicitHash reads a hash key; "" is none.
func explicitHash(s string) (*datastream.HashKey, error) {
	if s == "" {
		return nil, nil
	}
	k, err := datastream.ParseHashKey(s)
	if err != nil {
		return nil, invalid("Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", s)
	}
	return &k, nil
}

// tooLarge reports whether a record is larger than its stream's may be.
func tooLarge(s *datastream.Stream, p *datastream.Put) bool {
	return len(p.Data)+len(p.PartitionKey) > s.MaxRecordKiB<<10
}

// sizeError is what the service says of such a record. path is where its data
// stands in the request.
func sizeError(s *datastream.Stream, path string) error {
	return unfit("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", path, s.MaxRecordKiB<<10)
}

// tellPut says that a stream that takes no records does not exist.
func (h *Handler) tellPut(err error, stream string) error {
	if errors.Is(err, datastream.ErrNotFound) {
		return h.noStream(stream)
	}
	return err
}

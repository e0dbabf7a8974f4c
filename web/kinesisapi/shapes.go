package kinesisapi

import (
	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/awswire"
)

// Structures that several operations share, as the service's model has them.

type modeDetails struct {
	StreamMode string `aws:"StreamMode,required,enum=PROVISIONED|ON_DEMAND"`
}

type hashKeyRange struct {
	StartingHashKey string `aws:"StartingHashKey"`
	EndingHashKey   string `aws:"EndingHashKey"`
}

type sequenceNumberRange struct {
	StartingSequenceNumber string `aws:"StartingSequenceNumber"`
	EndingSequenceNumber   string `aws:"EndingSequenceNumber,omitempty"`
}

type shardShape struct {
	ShardID               string              `aws:"ShardId"`
	ParentShardID         string              `aws:"ParentShardId,omitempty"`
	AdjacentParentShardID string              `aws:"AdjacentParentShardId,omitempty"`
	HashKeyRange          hashKeyRange        `aws:"HashKeyRange"`
	SequenceNumberRange   sequenceNumberRange `aws:"SequenceNumberRange"`
}

func shardShapes(list []datastream.Shard) []shardShape {
	out := make([]shardShape, len(list))
	for i := range list {
		s, o := &list[i], &out[i]
		o.ShardID = shardName(s.Index)
		if s.Parent != datastream.NoShard {
			o.ParentShardID = shardName(s.Parent)
		}
		if s.AdjacentParent != datastream.NoShard {
			o.AdjacentParentShardID = shardName(s.AdjacentParent)
		}
		o.HashKeyRange = rangeShape(s.Range)
		o.SequenceNumberRange.StartingSequenceNumber = s.First.String()
		if !s.Open() {
			o.SequenceNumberRange.EndingSequenceNumber = s.Last.String()
		}
	}
	return out
}

func rangeShape(r datastream.HashRange) hashKeyRange {
	return hashKeyRange{StartingHashKey: r.Start.String(), EndingHashKey: r.End.String()}
}

type childShard struct {
	ShardID      string       `aws:"ShardId"`
	ParentShards []string     `aws:"ParentShards"`
	HashKeyRange hashKeyRange `aws:"HashKeyRange"`
}

func childShards(list []datastream.Shard) []childShard {
	out := make([]childShard, len(list))
	for i := range list {
		s := &list[i]
		out[i] = childShard{ShardID: shardName(s.Index), HashKeyRange: rangeShape(s.Range), ParentShards: []string{}}
		for _, parent := range [...]uint32{s.Parent, s.AdjacentParent} {
			if parent != datastream.NoShard {
				out[i].ParentShards = append(out[i].ParentShards, shardName(parent))
			}
		}
	}
	return out
}

// sequence is a sequence number in an answer, for awswire.Text.
type sequence struct{ datastream.SequenceNumber }

// AppendTo appends the decimal number.
func (s sequence) AppendTo(b []byte) []byte { return s.Append(b) }

// IsZero reports whether there is none: no shard was made in the year 1970.
func (s sequence) IsZero() bool { return s.SequenceNumber == datastream.SequenceNumber{} }

// shardID is the name of a shard in an answer, for awswire.Text: its index and
// one, 0 for none.
type shardID uint64

func shardIDOf(index uint32) shardID { return shardID(index) + 1 }

// AppendTo appends the shard's name.
func (s shardID) AppendTo(b []byte) []byte { return appendShardName(b, uint32(s-1)) }

// IsZero reports whether there is none.
func (s shardID) IsZero() bool { return s == 0 }

type recordShape struct {
	SequenceNumber              sequence     `aws:"SequenceNumber"`
	ApproximateArrivalTimestamp awswire.Time `aws:"ApproximateArrivalTimestamp"`
	Data                        []byte       `aws:"Data"`
	PartitionKey                string       `aws:"PartitionKey"`
	EncryptionType              string       `aws:"EncryptionType,omitempty"`
}

// Member gives the places of the members, for awswire.Direct.
func (r *recordShape) Member(i int) any {
	switch i {
	case 0:
		return &r.SequenceNumber
	case 1:
		return &r.ApproximateArrivalTimestamp
	case 2:
		return &r.Data
	case 3:
		return &r.PartitionKey
	}
	return &r.EncryptionType
}

// encryption is how a record is kept: nothing is said of plain ones.
func encryption(encrypted bool) string {
	if encrypted {
		return "KMS"
	}
	return ""
}

// recordShapes are the records of a batch. Their data is shared, not copied.
func recordShapes(list []datastream.Record) []recordShape {
	out := make([]recordShape, len(list))
	for i := range list {
		r := &list[i]
		out[i] = recordShape{
			SequenceNumber:              sequence{r.Sequence},
			ApproximateArrivalTimestamp: awswire.Time{Time: r.Arrived},
			Data:                        r.Data,
			PartitionKey:                r.PartitionKey,
			EncryptionType:              encryption(r.Encrypted),
		}
		if r.Data == nil {
			out[i].Data = []byte{}
		}
	}
	return out
}

type enhancedMetrics struct {
	ShardLevelMetrics []string `aws:"ShardLevelMetrics"`
}

type warmThroughput struct {
	TargetMiBps  int `aws:"TargetMiBps"`
	CurrentMiBps int `aws:"CurrentMiBps"`
}

// warmOf is the warm throughput of a stream: a shard takes 1 MiB/s.
func warmOf(s *datastream.Stream) *warmThroughput {
	if s.Mode != datastream.OnDemand || s.WarmMiBps == 0 {
		return nil
	}
	return &warmThroughput{TargetMiBps: s.WarmMiBps, CurrentMiBps: min(s.WarmMiBps, s.OpenShards)}
}

func keyType(s *datastream.Stream) string {
	if s.KeyID == "" {
		return "NONE"
	}
	return "KMS"
}

// distribution is the name of a stream's way to spread records.
func distribution(auto bool) string {
	if auto {
		return "AUTO"
	}
	return "USER_PARTITION_KEY"
}

type consumerShape struct {
	ConsumerName              string       `aws:"ConsumerName"`
	ConsumerARN               string       `aws:"ConsumerARN"`
	ConsumerStatus            string       `aws:"ConsumerStatus"`
	ConsumerCreationTimestamp awswire.Time `aws:"ConsumerCreationTimestamp"`
}

func (h *Handler) consumerShape(stream string, k *datastream.Consumer) consumerShape {
	return consumerShape{
		ConsumerName:              k.Name,
		ConsumerARN:               h.consumerARN(stream, k),
		ConsumerStatus:            string(k.Status),
		ConsumerCreationTimestamp: awswire.At(k.Created),
	}
}

type tagShape struct {
	Key   string `aws:"Key"`
	Value string `aws:"Value"`
}

// number is an integer that may be absent.
func number(n *int, otherwise int) int {
	if n == nil {
		return otherwise
	}
	return *n
}

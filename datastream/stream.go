package datastream

import "time"

// Status is where a stream or consumer is in its life.
type Status string

// The statuses, as the service names them.
const (
	Creating Status = "CREATING"
	Active   Status = "ACTIVE"
	Updating Status = "UPDATING"
	Deleting Status = "DELETING"
)

// Mode says who decides how many shards a stream has.
type Mode string

// The modes, as the service names them.
const (
	Provisioned Mode = "PROVISIONED"
	OnDemand    Mode = "ON_DEMAND"
)

// Retention, in hours, and sizes of records, in KiB.
const (
	MinRetentionHours = 24
	MaxRetentionHours = 8760
	MinRecordKiB      = 1024
	MaxRecordKiB      = 10240
)

// Stream is a picture of a stream at one moment.
type Stream struct {
	Name           string
	ID             uint64 // never used twice
	Status         Status
	Mode           Mode
	Created        time.Time // to the millisecond
	RetentionHours int
	MaxRecordKiB   int
	// AutoDistribution: records need no partition key and are spread evenly.
	AutoDistribution bool
	// WarmMiBps is the throughput that an on-demand stream is kept ready for; 0 = none asked.
	WarmMiBps  int
	OpenShards int
	Consumers  int
	KeyID      string   // encryption key as the caller named it; "" = not encrypted
	Monitored  []string // enhanced monitoring flags, sorted
}

// Shard is a picture of a shard at one moment.
type Shard struct {
	Index          uint32 // its number in the stream; the name is "shardId-%012d"
	Range          HashRange
	Parent         uint32 // index of the parent; NoShard for none
	AdjacentParent uint32 // index of the other parent of a merge; NoShard for none
	Made           time.Time
	Closed         time.Time // zero while open
	First          SequenceNumber
	Last           SequenceNumber // of a closed shard: index EndIndex; zero while open
}

// NoShard is no shard's index.
const NoShard = ^uint32(0)

// Open reports whether the shard takes records.
func (s *Shard) Open() bool { return s.Closed.IsZero() }

// Consumer is a picture of an enhanced fan-out consumer.
type Consumer struct {
	Name    string
	Created time.Time // to the second: its ARN carries it
	Status  Status
}

// Record is one record as it is read. Data and PartitionKey are shared: they
// are not to be modified.
type Record struct {
	Sequence     SequenceNumber
	PartitionKey string
	Data         []byte
	Arrived      time.Time // to the millisecond; never goes back within a shard
	Encrypted    bool
}

// From says where in a shard to begin.
type From string

// The beginnings, as the service names them.
const (
	TrimHorizon   From = "TRIM_HORIZON"
	Latest        From = "LATEST"
	AtSequence    From = "AT_SEQUENCE_NUMBER"
	AfterSequence From = "AFTER_SEQUENCE_NUMBER"
	AtTimestamp   From = "AT_TIMESTAMP"
)

// Start is a place in a shard as a caller names it.
type Start struct {
	From     From
	Sequence string    // of AtSequence and AfterSequence, decimal
	Time     time.Time // of AtTimestamp
}

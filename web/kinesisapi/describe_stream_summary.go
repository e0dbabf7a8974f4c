package kinesisapi

import (
	"context"

	"github.com/kineweir/kineweir/web/awswire"
)

// DescribeStreamSummary gives what a stream is, without its shards.
//
// Honoured: everything. ChannelCount is 0: there are no channels. StreamId is
// of the service's form and no call takes it yet, as with the service.

type describeStreamSummaryInput struct {
	StreamName string `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN  string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID   string `aws:"StreamId,min=1,max=24,pattern=id"`
}

type describeStreamSummaryOutput struct {
	StreamDescriptionSummary streamDescriptionSummary `aws:"StreamDescriptionSummary"`
}

type streamDescriptionSummary struct {
	StreamName                 string            `aws:"StreamName"`
	StreamARN                  string            `aws:"StreamARN"`
	StreamID                   string            `aws:"StreamId"`
	StreamStatus               string            `aws:"StreamStatus"`
	StreamModeDetails          modeDetails       `aws:"StreamModeDetails"`
	RetentionPeriodHours       int               `aws:"RetentionPeriodHours"`
	StreamCreationTimestamp    awswire.Time      `aws:"StreamCreationTimestamp"`
	EnhancedMonitoring         []enhancedMetrics `aws:"EnhancedMonitoring"`
	EncryptionType             string            `aws:"EncryptionType"`
	KeyID                      string            `aws:"KeyId,omitempty"`
	OpenShardCount             int               `aws:"OpenShardCount"`
	ConsumerCount              int               `aws:"ConsumerCount"`
	ChannelCount               int               `aws:"ChannelCount"`
	WarmThroughput             *warmThroughput   `aws:"WarmThroughput"`
	MaxRecordSizeInKiB         int               `aws:"MaxRecordSizeInKiB"`
	RecordDistributionStrategy string            `aws:"RecordDistributionStrategy"`
}

func (h *Handler) describeStreamSummary(_ context.Context, c *call, in *describeStreamSummaryInput) (*describeStreamSummaryOutput, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	return &describeStreamSummaryOutput{streamDescriptionSummary{
		StreamName:                 s.Name,
		StreamARN:                  h.streamARN(s.Name),
		StreamID:                   streamID(&s),
		StreamStatus:               string(s.Status),
		StreamModeDetails:          modeDetails{string(s.Mode)},
		RetentionPeriodHours:       s.RetentionHours,
		StreamCreationTimestamp:    awswire.At(s.Created),
		EnhancedMonitoring:         []enhancedMetrics{{s.Monitored}},
		EncryptionType:             keyType(&s),
		KeyID:                      s.KeyID,
		OpenShardCount:             s.OpenShards,
		ConsumerCount:              s.Consumers,
		WarmThroughput:             warmOf(&s),
		MaxRecordSizeInKiB:         s.MaxRecordKiB,
		RecordDistributionStrategy: distribution(s.AutoDistribution),
	}}, nil
}

package kinesisapi

import (
	"context"
	"slices"
)

type monitoringInput struct {
	ShardLevelMetrics []string `aws:"ShardLevelMetrics,required,min=1,max=7,each.enum=IncomingBytes|IncomingRecords|OutgoingBytes|OutgoingRecords|WriteProvisionedThroughputExceeded|ReadProvisionedThroughputExceeded|IteratorAgeMilliseconds|ALL"`
	StreamName        string   `aws:"StreamName,min=1,max=128,pattern=name"`
	StreamARN         string   `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID          string   `aws:"StreamId,min=1,max=24,pattern=id"`
}

type monitoringOutput struct {
	StreamName               string   `aws:"StreamName"`
	StreamARN                string   `aws:"StreamARN"`
	CurrentShardLevelMetrics []string `aws:"CurrentShardLevelMetrics"`
	DesiredShardLevelMetrics []string `aws:"DesiredShardLevelMetrics"`
}

// allMetrics are what ALL stands for.
func allMetrics() []string {
	return []string{
		"IncomingBytes", "IncomingRecords", "IteratorAgeMilliseconds", "OutgoingBytes", "OutgoingRecords",
		"ReadProvisionedThroughputExceeded", "WriteProvisionedThroughputExceeded",
	}
}

// monitor sets or clears marks.
func (c *call) monitor(ctx context.Context, in *monitoringInput, on bool) (*monitoringOutput, error) {
	s, err := c.described(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	metrics := in.ShardLevelMetrics
	if slices.Contains(metrics, "ALL") {
		metrics = allMetrics()
	}
	before, after, err := c.h.engine.SetMonitored(ctx, s.Name, metrics, on)
	if err != nil {
		return nil, err
	}
	return &monitoringOutput{
		StreamName:               s.Name,
		StreamARN:                c.h.streamARN(s.Name),
		CurrentShardLevelMetrics: before,
		DesiredShardLevelMetrics: after,
	}, nil
}

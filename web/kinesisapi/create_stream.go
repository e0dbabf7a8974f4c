package kinesisapi

import (
	"context"
	"errors"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

// CreateStream makes a stream, which is CREATING for the engine's StateDelay.
//
// Honoured: everything. WarmThroughputMiBps needs mode ON_DEMAND and the
// account's billing commitment, AUTO distribution needs mode ON_DEMAND.
// ShardCount is required of a provisioned stream and ignored on demand. With
// neither a mode nor a ShardCount the stream is on demand, as the service makes
// it.

type createStreamInput struct {
	ShardCount                 *int              `aws:"ShardCount,min=1,max=100000"`
	StreamName                 string            `aws:"StreamName,required,min=1,max=128,pattern=name"`
	StreamModeDetails          *modeDetails      `aws:"StreamModeDetails"`
	Tags                       map[string]string `aws:"Tags,min=1,max=200,key.min=1,key.max=128,value.min=0,value.max=256"`
	WarmThroughputMiBps        *int              `aws:"WarmThroughputMiBps,min=0"`
	MaxRecordSizeInKiB         *int              `aws:"MaxRecordSizeInKiB,min=1024,max=10240"`
	RecordDistributionStrategy string            `aws:"RecordDistributionStrategy,enum=AUTO|USER_PARTITION_KEY"`
}

func (h *Handler) createStream(ctx context.Context, c *call, in *createStreamInput) (*none, error) {
	if err := c.may(h.streamARN(in.StreamName)); err != nil {
		return nil, err
	}
	o := datastream.CreateOptions{
		Name:             in.StreamName,
		Shards:           number(in.ShardCount, 0),
		Mode:             datastream.Provisioned,
		Tags:             in.Tags,
		MaxRecordKiB:     number(in.MaxRecordSizeInKiB, datastream.MinRecordKiB),
		WarmMiBps:        number(in.WarmThroughputMiBps, 0),
		AutoDistribution: in.RecordDistributionStrategy == "AUTO",
	}
	switch {
	case in.StreamModeDetails != nil:
		o.Mode = datastream.Mode(in.StreamModeDetails.StreamMode)
	case in.ShardCount == nil: // nobody said how large it is to be
		o.Mode = datastream.OnDemand
	}
	if err := h.checkCreate(&o, in); err != nil {
		return nil, err
	}
	return nil, h.tellCreate(h.engine.Create(ctx, o), &o)
}

// checkCreate refuses what does not go together.
func (h *Handler) checkCreate(o *datastream.CreateOptions, in *createStreamInput) error {
	for k, v := range in.Tags {
		if err := h.checkTags("add tags to", in.StreamName, k, v); err != nil {
			return err
		}
	}
	if o.Mode == datastream.OnDemand {
		o.Shards = 0 // the engine knows
		if in.WarmThroughputMiBps != nil {
			return h.committed()
		}
		return nil
	}
	switch {
	case in.ShardCount == nil:
		return unfit("ShardCount is required for a stream in PROVISIONED mode.")
	case in.WarmThroughputMiBps != nil:
		return unfit("WarmThroughputMiBps is only supported for a stream in ON_DEMAND mode.")
	case o.AutoDistribution:
		return invalid("RecordDistributionStrategy AUTO is only supported for a stream in ON_DEMAND mode.")
	}
	return nil
}

// committed refuses what the service gives only to those with a billing
// commitment.
func (h *Handler) committed() error {
	if h.settled.get().status(time.Now()) == commitmentOff {
		return unfit("Warm throughput needs the account's MinimumThroughputBillingCommitment to be ENABLED (UpdateAccountSettings).")
	}
	return nil
}

// tellCreate puts the service's texts to the engine's refusals.
func (h *Handler) tellCreate(err error, o *datastream.CreateOptions) error {
	if errors.Is(err, datastream.ErrInUse) {
		return words(err, datastream.ErrInUse, "Stream %s under account %s already exists.", o.Name, h.account)
	}
	if _, open, _ := h.engine.Counts(); errors.Is(err, datastream.ErrLimit) && o.Mode == datastream.Provisioned &&
		h.limits.ShardLimit > 0 && open+o.Shards > h.limits.ShardLimit {
		return words(err, datastream.ErrLimit, "%s", h.tooManyShards(open, o.Shards))
	}
	return err
}

package kinesisapi

import "context"

// UpdateMaxRecordSize says how large a record of a stream may be, its data and
// its partition key together.
//
// Honoured: everything. Larger records that are there already stay readable.

type updateMaxRecordSizeInput struct {
	MaxRecordSizeInKiB int    `aws:"MaxRecordSizeInKiB,required,min=1024,max=10240"`
	StreamARN          string `aws:"StreamARN,min=1,max=2048,pattern=stream"`
	StreamID           string `aws:"StreamId,min=1,max=24,pattern=id"`
}

func (h *Handler) updateMaxRecordSize(ctx context.Context, c *call, in *updateMaxRecordSizeInput) (*none, error) {
	s, err := c.described("", in.StreamARN)
	if err != nil {
		return nil, err
	}
	return nil, h.engine.SetMaxRecord(ctx, s.Name, in.MaxRecordSizeInKiB)
}

package kinesisapi

import "context"

// CreateChannel would make a channel.
//
// Honoured: the form of the request, and that its streams exist. Then it is
// refused with the reason: see channels.go.

type createChannelInput struct {
	ChannelName                      string                       `aws:"ChannelName,required,min=1"`
	ServiceExecutionRoleARN          string                       `aws:"ServiceExecutionRoleARN,required,min=1"`
	StreamConfigurationList          []channelStreamConfiguration `aws:"StreamConfigurationList,required,min=1,max=1,shown=ChannelStreamConfiguration"`
	EncryptionConfiguration          *channelEncryption           `aws:"EncryptionConfiguration"`
	LoggingConfiguration             *channelLogging              `aws:"LoggingConfiguration"`
	S3DestinationConfiguration       *s3Destination               `aws:"S3DestinationConfiguration"`
	S3TablesDestinationConfiguration *s3TablesDestination         `aws:"S3TablesDestinationConfiguration"`
	Tags                             map[string]string            `aws:"Tags,max=200,key.min=1,key.max=128,value.min=0,value.max=256"`
}

func (h *Handler) createChannel(_ context.Context, c *call, in *createChannelInput) (*none, error) {
	if (in.S3DestinationConfiguration == nil) == (in.S3TablesDestinationConfiguration == nil) {
		return nil, invalid("Exactly one of S3DestinationConfiguration and S3TablesDestinationConfiguration must be provided.")
	}
	for _, s := range in.StreamConfigurationList {
		if _, err := c.described("", s.StreamARN); err != nil {
			return nil, err
		}
	}
	return nil, unfit(noChannels)
}

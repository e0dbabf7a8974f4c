package kinesisapi

// The operations on channels. A channel delivers a stream to S3 without a
// delivery stream in between; this server has no writer to S3 yet, so none can
// be made, none exists, and the operations say so.

const noChannels = "Channels can not be created on this server yet: delivering to S3 needs the S3 writer of Firehose delivery streams, which is missing."

// noChannel is the answer about a channel: there is none.
func noChannel(arn string) error { return notFound("Channel %s not found.", arn) }

type channelStreamConfiguration struct {
	RecordConfiguration *recordConfiguration `aws:"RecordConfiguration,required"`
	StreamARN           string               `aws:"StreamARN,required,min=1,max=2048,pattern=stream"`
}

type recordConfiguration struct {
	RecordFormatType string `aws:"RecordFormatType,required,enum=GSR_JSON|JSON|STRING|BYTE_ARRAY"`
	GSRSchemaARN     string `aws:"GSRSchemaARN"`
}

type channelEncryption struct {
	EncryptionType string `aws:"EncryptionType,required,enum=KMS"`
	KeyID          string `aws:"KeyId,required,min=1,max=2048"`
}

type channelLogging struct {
	CloudWatchLogs *cloudWatchLogs `aws:"CloudWatchLogs,required"`
}

type cloudWatchLogs struct {
	Enabled       *bool  `aws:"Enabled,required"`
	LogGroupName  string `aws:"LogGroupName"`
	LogStreamName string `aws:"LogStreamName"`
}

type deadLetters struct {
	BucketARN           string `aws:"BucketARN,required"`
	ExpectedBucketOwner string `aws:"ExpectedBucketOwner,required"`
	ErrorOutputPrefix   string `aws:"ErrorOutputPrefix"`
}

type s3Destination struct {
	StorageConfiguration           *s3Storage   `aws:"StorageConfiguration,required"`
	DataFreshnessInSeconds         *int         `aws:"DataFreshnessInSeconds"`
	DeadLetterQueueS3Configuration *deadLetters `aws:"DeadLetterQueueS3Configuration"`
}

type s3Storage struct {
	BucketARN           string `aws:"BucketARN,required"`
	CompressionType     string `aws:"CompressionType,required,enum=NONE|GZIP|ZSTD"`
	ExpectedBucketOwner string `aws:"ExpectedBucketOwner,required"`
	OutputKeyTemplate   string `aws:"OutputKeyTemplate"`
	StorageClass        string `aws:"StorageClass,enum=STANDARD|INTELLIGENT_TIERING|GLACIER_IR"`
}

type s3TablesDestination struct {
	DeadLetterQueueS3Configuration *deadLetters `aws:"DeadLetterQueueS3Configuration,required"`
	S3TablesConfigurationList      []s3Table    `aws:"S3TablesConfigurationList,required"`
	DataFreshnessInSeconds         *int         `aws:"DataFreshnessInSeconds"`
}

type s3Table struct {
	CompressionType string         `aws:"CompressionType,required,enum=NONE|ZSTD|SNAPPY"`
	Namespace       string         `aws:"Namespace,required"`
	TableBucketARN  string         `aws:"TableBucketARN,required"`
	TableName       string         `aws:"TableName,required"`
	PartitionSpec   *partitionSpec `aws:"PartitionSpec"`
}

type partitionSpec struct {
	PartitionFields []partitionField `aws:"PartitionFields,required"`
}

type partitionField struct {
	SourceName string `aws:"SourceName,required"`
	Transform  string `aws:"Transform,required,enum=TIME_HOUR"`
}

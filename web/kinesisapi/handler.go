package kinesisapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web/awswire"
)

// Target is what X-Amz-Target begins with in calls of this service.
const Target = "Kinesis_20131202"

// Who the server is to its callers unless it is told otherwise.
const (
	DefaultAccount = "000000000000"
	DefaultRegion  = "us-east-1"
)

// maxBody is the largest request: 10 MiB of data in base64, and keys and names
// beside it.
const maxBody = 16 << 20

// Options are what a Handler stands on.
type Options struct {
	Engine *datastream.Engine
	// Meta keeps the key that seals tokens and the account's settings, under
	// "kinesisapi/". nil: they last as long as the Handler.
	Meta journal.Meta
	// Limits are the engine's: they are told by DescribeLimits, and ControlRates
	// holds calls that only look to the service's rates too.
	Limits  datastream.Limits
	Account string // 12 digits; "" = DefaultAccount
	Region  string // "" = DefaultRegion
	// Authenticate says who calls, or why not; nil lets everybody in. May of its
	// Caller is asked with an action like "kinesis:PutRecord" and the ARN of the
	// stream or consumer, or "*" where the operation is about none.
	Authenticate func(r *http.Request, body []byte) (awswire.Caller, *awswire.Error)
	Log          *slog.Logger // nil: slog.Default
	// Observe is told of each request, as awswire.Service.Observe.
	Observe func(op, code string, took time.Duration)
}

// Handler answers POST / of the service.
type Handler struct {
	*awswire.Handler
	engine  *datastream.Engine
	limits  datastream.Limits
	account string
	region  string
	arns    string // what the ARN of a stream begins with, before its name
	seal    *sealer
	settled *settings
	rates   rates
}

var accountForm = regexp.MustCompile(`^[0-9]{12}$`)

// New makes the Handler. The engine stays the caller's to close.
func New(ctx context.Context, o Options) (*Handler, error) {
	if o.Engine == nil {
		return nil, errors.New("kinesisapi: options without Engine")
	}
	if o.Account == "" {
		o.Account = DefaultAccount
	}
	if o.Region == "" {
		o.Region = DefaultRegion
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if !accountForm.MatchString(o.Account) {
		return nil, fmt.Errorf("kinesisapi: account %q is not 12 digits", o.Account)
	}
	h := &Handler{engine: o.Engine, limits: o.Limits, account: o.Account, region: o.Region}
	h.arns = "arn:" + partition(o.Region) + ":kinesis:" + o.Region + ":" + o.Account + ":stream/"
	if o.Limits.ControlRates {
		h.rates = newRates()
	}
	var err error
	if h.seal, err = openSealer(ctx, o.Meta); err != nil {
		return nil, fmt.Errorf("kinesisapi: key of tokens: %w", err)
	}
	if h.settled, err = openSettings(o.Meta); err != nil {
		return nil, fmt.Errorf("kinesisapi: account settings: %w", err)
	}
	h.Handler, err = awswire.New(awswire.Service{
		Target:       Target,
		Operations:   h.operations(),
		Patterns:     patterns(),
		Authenticate: o.Authenticate,
		Account:      o.Account,
		Region:       o.Region,
		MaxBody:      maxBody,
		Log:          o.Log,
		Observe:      o.Observe,
	})
	if err != nil {
		return nil, fmt.Errorf("kinesisapi: %w", err)
	}
	return h, nil
}

// patterns are the expressions of the service's model, whose texts stand in
// validation errors as they are here.
func patterns() map[string]string {
	return map[string]string{
		"name":     `[a-zA-Z0-9_.-]+`,
		"stream":   `arn:aws.*:kinesis:.*:\d{12}:stream/\S+`,
		"resource": `arn:aws.*:kinesis:.*:\d{12}:.*stream/\S+`,
		"consumer": `^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+`,
		"id":       `[a-z0-9]{20}-[a-z0-9]{3}`,
		"hash":     `0|([1-9]\d{0,38})`,
		"sequence": `0|([1-9]\d{0,128})`,
	}
}

// none is the answer that has no body.
type none struct{}

// call is one request of one operation.
type call struct {
	*awswire.Call
	h  *Handler
	op string
}

// op is the operation of a name: its rate first, then f, whose errors are put
// into the service's words.
func op[In, Out any](h *Handler, name string, f func(context.Context, *call, *In) (*Out, error)) awswire.Operation {
	return awswire.Op(name, func(ctx context.Context, c *awswire.Call, in *In) (*Out, error) {
		k := call{c, h, name}
		if err := h.rates.take(name); err != nil {
			return nil, err
		}
		out, err := f(ctx, &k, in)
		if err != nil {
			return nil, h.refusal(err)
		}
		return out, nil
	})
}

// operations are all there are, in the order of the alphabet.
func (h *Handler) operations() []awswire.Operation {
	return []awswire.Operation{
		op(h, "AddTagsToStream", h.addTagsToStream),
		op(h, "CreateChannel", h.createChannel),
		op(h, "CreateStream", h.createStream),
		op(h, "DecreaseStreamRetentionPeriod", h.decreaseStreamRetentionPeriod),
		op(h, "DeleteChannel", h.deleteChannel),
		op(h, "DeleteResourcePolicy", h.deleteResourcePolicy),
		op(h, "DeleteStream", h.deleteStream),
		op(h, "DeregisterStreamConsumer", h.deregisterStreamConsumer),
		op(h, "DescribeAccountSettings", h.describeAccountSettings),
		op(h, "DescribeChannel", h.describeChannel),
		op(h, "DescribeLimits", h.describeLimits),
		op(h, "DescribeStream", h.describeStream),
		op(h, "DescribeStreamConsumer", h.describeStreamConsumer),
		op(h, "DescribeStreamSummary", h.describeStreamSummary),
		op(h, "DisableEnhancedMonitoring", h.disableEnhancedMonitoring),
		op(h, "EnableEnhancedMonitoring", h.enableEnhancedMonitoring),
		op(h, "GetRecords", h.getRecords),
		op(h, "GetResourcePolicy", h.getResourcePolicy),
		op(h, "GetShardIterator", h.getShardIterator),
		op(h, "IncreaseStreamRetentionPeriod", h.increaseStreamRetentionPeriod),
		op(h, "ListChannels", h.listChannels),
		op(h, "ListShards", h.listShards),
		op(h, "ListStreamConsumers", h.listStreamConsumers),
		op(h, "ListStreams", h.listStreams),
		op(h, "ListTagsForResource", h.listTagsForResource),
		op(h, "ListTagsForStream", h.listTagsForStream),
		op(h, "MergeShards", h.mergeShards),
		op(h, "PutRecord", h.putRecord),
		op(h, "PutRecords", h.putRecords),
		op(h, "PutResourcePolicy", h.putResourcePolicy),
		op(h, "RegisterStreamConsumer", h.registerStreamConsumer),
		op(h, "RemoveTagsFromStream", h.removeTagsFromStream),
		op(h, "SplitShard", h.splitShard),
		op(h, "StartStreamEncryption", h.startStreamEncryption),
		op(h, "StopStreamEncryption", h.stopStreamEncryption),
		h.subscribeToShard(),
		op(h, "TagResource", h.tagResource),
		op(h, "UntagResource", h.untagResource),
		op(h, "UpdateAccountSettings", h.updateAccountSettings),
		op(h, "UpdateChannel", h.updateChannel),
		op(h, "UpdateMaxRecordSize", h.updateMaxRecordSize),
		op(h, "UpdateShardCount", h.updateShardCount),
		op(h, "UpdateStreamMode", h.updateStreamMode),
		op(h, "UpdateStreamRecordDistributionStrategy", h.updateStreamRecordDistributionStrategy),
		op(h, "UpdateStreamWarmThroughput", h.updateStreamWarmThroughput),
	}
}

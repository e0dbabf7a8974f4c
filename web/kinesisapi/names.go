package kinesisapi

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kineweir/kineweir/datastream"
)

// partition is the part of AWS that a region belongs to, by its name.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// streamARN is arn:aws:kinesis:<region>:<account>:stream/<name>.
func (h *Handler) streamARN(stream string) string { return h.arns + stream }

// consumerARN is <ARN of the stream>/consumer/<name>:<made, unix seconds>.
func (h *Handler) consumerARN(stream string, c *datastream.Consumer) string {
	return h.arns + stream + "/consumer/" + c.Name + ":" + strconv.FormatInt(c.Created.Unix(), 10)
}

// resource is what an ARN names: a stream, or a consumer of it.
type resource struct {
	arn      string
	stream   string
	consumer string // "" = the stream
	made     int64  // of a consumer, unix seconds
}

// parseARN reads the ARN of a stream or consumer. That of another account,
// region or partition names nothing here.
func (h *Handler) parseARN(arn string) (resource, error) {
	rest, ours := strings.CutPrefix(arn, h.arns)
	if !ours {
		account := h.account
		if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
			account = parts[4]
			rest = strings.TrimPrefix(parts[5], "stream/")
		}
		return resource{}, notFound("Stream %s under account %s not found.", rest, account)
	}
	stream, rest, isConsumer := strings.Cut(rest, "/")
	if !isConsumer {
		return resource{arn: arn, stream: stream}, nil
	}
	name, ok := strings.CutPrefix(rest, "consumer/")
	name, seconds, hasSeconds := strings.Cut(name, ":")
	made, err := strconv.ParseInt(seconds, 10, 64)
	if !ok || !hasSeconds || err != nil {
		return resource{}, invalid("%s is not the ARN of a stream or of a consumer.", arn)
	}
	return resource{arn: arn, stream: stream, consumer: name, made: made}, nil
}

// maxShard is the largest index that a shard's name may have.
const maxShard = 1<<31 - 1

// shardName is shardId-000000000012.
func shardName(index uint32) string {
	if index == 0 {
		return "shardId-000000000000"
	}
	var b [20]byte
	return string(appendShardName(b[:0], index))
}

func appendShardName(b []byte, index uint32) []byte {
	b = append(b, "shardId-000000000000"...)
	for i := len(b) - 1; index > 0; i-- {
		b[i] = byte('0' + index%10)
		index /= 10
	}
	return b
}

// parseShard reads a shard's name as the service does: whatever stands before
// the first dash and however many zeros after it do not matter.
func parseShard(name string) (uint32, bool) {
	digits := name
	if _, after, ok := strings.Cut(name, "-"); ok && after != "" {
		digits, _, _ = strings.Cut(after, "-")
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > maxShard {
		return 0, false
	}
	return uint32(n), true
}

// streamID is the name of a stream that no later stream of that name shares, in
// the service's form: 20 and 3 letters or digits.
func streamID(s *datastream.Stream) string {
	return fmt.Sprintf("%020s-000", strconv.FormatUint(s.ID, 36))
}

package kinesisapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/awswire"
)

// may refuses what the caller has no right to. An empty resource is all.
func (c *call) may(resource string) error {
	if c.Caller.May == nil {
		return nil
	}
	if resource == "" {
		resource = "*"
	}
	if c.Caller.May("kinesis:"+c.op, resource) {
		return nil
	}
	return &awswire.Error{Code: codeAccessDenied, Message: fmt.Sprintf(
		"User: arn:%s:iam::%s:user/%s is not authorized to perform: kinesis:%s on resource: %s because no identity-based policy allows the kinesis:%s action",
		partition(c.h.region), c.h.account, c.Caller.User, c.op, resource, c.op)}
}

// stream is the name of the stream that a request is about, given by name, by
// ARN or by both, after asking whether the caller may.
func (c *call) stream(name, arn string) (string, error) {
	switch {
	case name == "" && arn == "":
		return "", invalid("Either StreamName or StreamARN must be provided.")
	case arn != "":
		r, err := c.h.parseARN(arn)
		if err != nil {
			return "", err
		}
		if r.consumer != "" {
			return "", invalid("StreamARN %s is the ARN of a consumer.", arn)
		}
		if name != "" && name != r.stream {
			return "", invalid("StreamName %s and StreamARN %s name different streams.", name, arn)
		}
		name = r.stream
	}
	return name, c.mayStream(name)
}

// mayStream is may of a stream's name.
func (c *call) mayStream(name string) error {
	if c.Caller.May == nil {
		return nil
	}
	return c.may(c.h.streamARN(name))
}

// described is stream, and a picture of it.
func (c *call) described(name, arn string) (datastream.Stream, error) {
	name, err := c.stream(name, arn)
	if err != nil {
		return datastream.Stream{}, err
	}
	s, err := c.h.engine.Stream(name)
	if errors.Is(err, datastream.ErrNotFound) {
		return s, c.h.noStream(name)
	}
	return s, err
}

// resource is what a ResourceARN names: a stream or a consumer that exists, and
// that the caller may have to do with.
func (c *call) resource(arn string) (resource, error) {
	r, err := c.h.parseARN(arn)
	if err != nil {
		return r, err
	}
	if err := c.may(arn); err != nil {
		return r, err
	}
	if _, err := c.h.engine.Stream(r.stream); err != nil {
		if errors.Is(err, datastream.ErrNotFound) {
			err = c.h.noStream(r.stream)
		}
		return r, err
	}
	if r.consumer != "" {
		_, err = c.h.consumer(r)
	}
	return r, err
}

// consumer is the picture of a consumer. One of the same name that was
// registered at another time is another one.
func (h *Handler) consumer(r resource) (datastream.Consumer, error) {
	k, err := h.engine.Consumer(r.stream, r.consumer)
	switch {
	case errors.Is(err, datastream.ErrNotFound):
		return k, h.noConsumer(r.name())
	case err != nil:
		return k, err
	case r.made != 0 && k.Created.Unix() != r.made:
		return k, h.noConsumer(r.name())
	}
	return k, nil
}

// name is how an error calls a consumer: as the caller did.
func (r resource) name() string {
	if r.arn != "" {
		return r.arn
	}
	return r.consumer
}

// namedConsumer is the consumer of a request that names it by its ARN, by its
// stream's ARN and its name, or by all three.
func (c *call) namedConsumer(consumerARN, streamARN, name string) (resource, error) {
	r := resource{consumer: name}
	switch {
	case consumerARN != "":
		var err error
		if r, err = c.h.parseARN(consumerARN); err != nil {
			return r, err
		}
		if streamARN != "" && !strings.HasPrefix(consumerARN, streamARN+"/consumer/") || name != "" && name != r.consumer {
			return r, invalid("ConsumerARN, StreamARN and ConsumerName name different consumers.")
		}
	case streamARN == "" || name == "":
		return r, invalid("Either ConsumerARN, or StreamARN and ConsumerName, must be provided.")
	default:
		s, err := c.h.parseARN(streamARN)
		if err != nil {
			return r, err
		}
		r.stream = s.stream
	}
	asked := r.arn
	if asked == "" {
		asked = streamARN + "/consumer/" + name
	}
	if err := c.may(asked); err != nil {
		return r, err
	}
	if _, err := c.h.engine.Stream(r.stream); errors.Is(err, datastream.ErrNotFound) {
		return r, c.h.noStream(r.stream)
	}
	return r, nil
}

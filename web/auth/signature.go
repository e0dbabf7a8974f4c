package auth

import (
	"strings"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// Signed requests are not slowed down as other proofs are: a signature tells
// nothing about its secret that could be tried faster than by guessing one of
// 16 characters or more, and SDKs send several with a wrong clock before they
// set it right.

// Secret returns the secret of an access key id, to check a signature with. A
// user's name is no key id, and a password signs nothing.
func (s *Store) Secret(accessKey string) (secret string, ok bool) {
	k, ok := s.book().ids[accessKey]
	return k.secret, ok
}

// Caller is who signed a call, with the rights of this moment.
type Caller struct{ user *user }

// Caller returns the owner of an access key id. Where no credentials are
// needed, everybody may do everything, whatever the key.
func (s *Store) Caller(accessKey string) (c Caller, ok bool) {
	if s.open {
		return Caller{everybody}, true
	}
	k, ok := s.book().ids[accessKey]
	return Caller{k.user}, ok
}

// Name returns the user's name; "" is everybody where no credentials are
// needed.
func (c Caller) Name() string {
	if c.user == nil {
		return ""
	}
	return c.user.name
}

// May reports whether the caller has the right to an operation of the AWS
// record APIs, such as "PutRecord" or "kinesis:PutRecord", on a stream, given
// by its name or by the ARN of it or of one of its consumers; "" is no stream
// in particular. Publish patterns give the right to put, view patterns the
// right to read, both the right to ask what a stream looks like; the right
// admin gives everything else. What is about all streams (ListStreams) needs a
// pattern that fits all, "*".
func (c Caller) May(action, resource string) bool {
	if c.user == nil {
		return false
	}
	if c.user.Admin {
		return true
	}
	if _, op, ok := strings.Cut(action, ":"); ok {
		action = op
	}
	name := fragments.StreamName(streamOf(resource))
	need := rightOf(action)
	return need&toPut != 0 && c.user.may(ingest.Publish, name) || need&toRead != 0 && c.user.may(ingest.View, name)
}

// right is a set of what patterns give.
type right uint8

const (
	toPut right = 1 << iota
	toRead
)

// rightOf returns the rights of which one is enough for an operation; none
// means that it needs admin. An operation that is not listed needs admin too,
// so that a new one is never open by mistake.
func rightOf(operation string) right {
	switch operation {
	case "PutRecord", "PutRecords":
		return toPut
	case "GetRecords", "GetShardIterator", "SubscribeToShard",
		"DescribeStreamConsumer", "ListStreamConsumers":
		return toRead
	case "DescribeStream", "DescribeStreamSummary", "ListShards", "ListStreams",
		"ListTagsForStream", "ListTagsForResource", "DescribeLimits":
		return toPut | toRead
	}
	return 0
}

// streamOf returns the name of the stream that a resource is or belongs to:
// arn:aws:kinesis:us-east-1:000000000000:stream/yard/consumer/app:1700000000.
func streamOf(resource string) string {
	if !strings.HasPrefix(resource, "arn:") {
		return resource
	}
	_, name, ok := strings.Cut(resource, ":stream/")
	if !ok {
		return "/" // of something else: no pattern fits a slash
	}
	name, _, _ = strings.Cut(name, "/")
	return name
}

package kinesisapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web/awswire"
)

// Codes of errors, as the service's model names them. InternalFailure is
// modelled as InternalFailureException and has always been this on the wire.
const (
	codeAccessDenied     = "AccessDeniedException"
	codeDryRun           = "DryRunOperationException"
	codeExpiredIterator  = "ExpiredIteratorException"
	codeExpiredNextToken = "ExpiredNextTokenException"
	codeInternal         = "InternalFailure"
	codeInvalid          = "InvalidArgumentException"
	codeKMSDisabled      = "KMSDisabledException"
	codeKMSNotFound      = "KMSNotFoundException"
	codeLimit            = "LimitExceededException"
	codeThroughput       = "ProvisionedThroughputExceededException"
	codeInUse            = "ResourceInUseException"
	codeNotFound         = "ResourceNotFoundException"
	codeValidation       = "ValidationException"
)

// codeOf is the one place where the engine's kinds of errors become the
// service's codes; "" for what is no kind of the engine's.
func codeOf(err error) string {
	for _, k := range [...]struct {
		kind error
		code string
	}{
		{datastream.ErrNotFound, codeNotFound},
		{datastream.ErrInUse, codeInUse},
		{datastream.ErrInvalid, codeInvalid},
		{datastream.ErrMode, codeValidation},
		{datastream.ErrLimit, codeLimit},
		{datastream.ErrThrottled, codeThroughput},
		{datastream.ErrExpired, codeExpiredIterator},
		{datastream.ErrKeyNotFound, codeKMSNotFound},
		{datastream.ErrKeyDisabled, codeKMSDisabled},
		{datastream.ErrUnavailable, codeInternal},
		{datastream.ErrSubscriptions, codeInUse},
		{journal.ErrFull, codeInternal},
		{journal.ErrClosed, codeInternal},
	} {
		if errors.Is(err, k.kind) {
			return k.code
		}
	}
	return ""
}

// refusal is an error of an operation as its caller gets it.
func (h *Handler) refusal(err error) error {
	var known *awswire.Error
	if errors.As(err, &known) {
		return known
	}
	code := codeOf(err)
	if code == "" {
		return err // awswire makes it an InternalFailure and logs it
	}
	e := &awswire.Error{Code: code, Message: err.Error(), Cause: err}
	if code == codeInternal {
		e.Status = http.StatusInternalServerError
	}
	var words *datastream.Error
	if errors.As(err, &words) {
		e.Message = words.Message
		if code == codeNotFound && words.Stream != "" && h.gone(words.Stream) {
			e.Message = h.noStream(words.Stream).Message
		}
		if state, ok := strings.CutPrefix(words.Message, "not ACTIVE, "); ok {
			e.Message = "Stream " + words.Stream + " under account " + h.account + " not ACTIVE, " + state
		}
	}
	return e
}

// gone reports whether a stream does not exist, so that an error of it is not
// about something in it.
func (h *Handler) gone(stream string) bool {
	_, err := h.engine.Stream(stream)
	return errors.Is(err, datastream.ErrNotFound)
}

// words puts the service's text in place of the engine's, when the error is of
// that kind.
func words(err, kind error, format string, args ...any) error {
	if !errors.Is(err, kind) {
		return err
	}
	return &awswire.Error{Code: codeOf(kind), Message: fmt.Sprintf(format, args...), Cause: err}
}

func invalid(format string, args ...any) *awswire.Error {
	return &awswire.Error{Code: codeInvalid, Message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *awswire.Error {
	return &awswire.Error{Code: codeNotFound, Message: fmt.Sprintf(format, args...)}
}

// validation is a refusal in the shape of those that awswire makes of tags, for
// rules that depend on the stream or on other members. value is shown quoted,
// "" as null.
func validation(value, path, constraint string) *awswire.Error {
	if value == "" {
		value = "null"
	} else {
		value = "'" + value + "'"
	}
	return &awswire.Error{Code: codeValidation, Message: fmt.Sprintf(
		"1 validation error detected: Value %s at '%s' failed to satisfy constraint: %s", value, path, constraint)}
}

// unfit is a ValidationException in words of its own.
func unfit(format string, args ...any) *awswire.Error {
	return &awswire.Error{Code: codeValidation, Message: fmt.Sprintf(format, args...)}
}

func (h *Handler) noStream(name string) *awswire.Error {
	return notFound("Stream %s under account %s not found.", name, h.account)
}

// noShard is what operations that change shards say.
func (h *Handler) noShard(shard, stream string) *awswire.Error {
	return notFound("Could not find shard %s in stream %s under account %s.", shard, stream, h.account)
}

// shardGone is what operations that read shards say.
func (h *Handler) shardGone(shard uint32, stream string) *awswire.Error {
	return notFound("Shard %s in stream %s under account %s does not exist", shardName(shard), stream, h.account)
}

func (h *Handler) noConsumer(name string) *awswire.Error {
	return notFound("Consumer %s, account %s not found.", name, h.account)
}

// tooFast is the text of a shard's limits.
func (h *Handler) tooFast(shard uint32, stream string) string {
	return fmt.Sprintf("Rate exceeded for shard %s in stream %s under account %s.", shardName(shard), stream, h.account)
}

// dryRun is the answer to a call that would have succeeded.
func dryRun() *awswire.Error {
	return &awswire.Error{
		Code:    codeDryRun,
		Message: "The request would have succeeded, but the DryRun parameter is set.",
	}
}

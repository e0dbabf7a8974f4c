package kinesisapi

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web/awswire"
)

// TestCodes: a row for each kind of error of the engine.
func TestCodes(t *testing.T) {
	h := &Handler{engine: newRig(t).engine, account: account}
	for _, row := range []struct {
		kind   error
		code   string
		status int
	}{
		{datastream.ErrNotFound, "ResourceNotFoundException", 400},
		{datastream.ErrInUse, "ResourceInUseException", 400},
		{datastream.ErrInvalid, "InvalidArgumentException", 400},
		{datastream.ErrMode, "ValidationException", 400},
		{datastream.ErrLimit, "LimitExceededException", 400},
		{datastream.ErrThrottled, "ProvisionedThroughputExceededException", 400},
		{datastream.ErrExpired, "ExpiredIteratorException", 400},
		{datastream.ErrKeyNotFound, "KMSNotFoundException", 400},
		{datastream.ErrKeyDisabled, "KMSDisabledException", 400},
		{datastream.ErrUnavailable, "InternalFailure", 500},
		{datastream.ErrSubscriptions, "ResourceInUseException", 400},
		{journal.ErrFull, "InternalFailure", 500},
		{journal.ErrClosed, "InternalFailure", 500},
	} {
		err := h.refusal(fmt.Errorf("while: %w", &datastream.Error{Kind: row.kind, Message: "words"}))
		var e *awswire.Error
		if !errors.As(err, &e) {
			t.Errorf("%v: %v", row.kind, err)
			continue
		}
		if e.Status == 0 {
			e.Status = 400
		}
		if e.Code != row.code || e.Status != row.status || e.Message != "words" || !errors.Is(e, row.kind) {
			t.Errorf("%v: %d %s: %s", row.kind, e.Status, e.Code, e.Message)
		}
	}
	other := errors.New("other")
	equal(t, "unknown", h.refusal(other), other)
	equal(t, "gone", h.refusal(&datastream.Error{Kind: datastream.ErrNotFound, Stream: "s", Message: "x"}).Error(),
		"ResourceNotFoundException: Stream s under account "+account+" not found.")
}

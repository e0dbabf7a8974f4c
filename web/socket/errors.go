package socket

import (
	"errors"
	"net/http"

	"github.com/gorilla/websocket"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web"
)

// ending is why a connection ends.
type ending struct {
	code   int    // of the close frame
	reason string // for it
	told   *web.Error
}

// Error returns the reason.
func (e *ending) Error() string { return e.reason }

var (
	errGone     = &ending{code: websocket.CloseNormalClosure, reason: "the client went"}
	errStopping = &ending{code: websocket.CloseGoingAway, reason: "the server stops; come back with resume"}
	errNoMore   = &ending{code: websocket.CloseNormalClosure, reason: "there is no more to read"}
	errSlow     = endingOf(&web.Error{
		Status: http.StatusRequestTimeout, Code: "slow_reader",
		Message: "you took nothing for too long although there was something to take",
		Hint:    "come back with the last resume token, and read without pauses or with credit=",
	})
	errStuck = &ending{code: websocket.CloseAbnormalClosure, reason: "the client took nothing for too long and could not be told"}
)

// endingOf closes with 4000 and the status of an error, after it has been told.
func endingOf(e *web.Error) *ending {
	return &ending{code: 4000 + e.Status, reason: e.Code, told: e}
}

// asEnding makes any error one that a client can be told.
func asEnding(err error) *ending {
	var end *ending
	if errors.As(err, &end) {
		return end
	}
	return endingOf(asWebError(err))
}

// asWebError words the errors of the engine.
func asWebError(err error) *web.Error {
	var e *web.Error
	if errors.As(err, &e) {
		return e
	}
	for _, t := range [...]struct {
		is    error
		shown web.Error
	}{
		{datastream.ErrNotFound, web.Error{Status: http.StatusNotFound, Code: "no_such_stream", Hint: "kineweir put --create makes it"}},
		{datastream.ErrInvalid, web.Error{Status: http.StatusBadRequest, Code: "invalid"}},
		{datastream.ErrExpired, web.Error{Status: http.StatusGone, Code: "expired", Hint: "begin with from=trim_horizon"}},
		{datastream.ErrInUse, web.Error{Status: http.StatusConflict, Code: "in_use", Hint: "try again in a moment"}},
		{datastream.ErrThrottled, web.Error{Status: http.StatusTooManyRequests, Code: "too_fast", Hint: "try again in a second"}},
		{datastream.ErrLimit, web.Error{Status: http.StatusTooManyRequests, Code: "limit"}},
		{datastream.ErrKeyNotFound, web.Error{Status: http.StatusConflict, Code: "no_such_key", Hint: "the encryption key of the stream is not in the key ring"}},
		{datastream.ErrKeyDisabled, web.Error{Status: http.StatusConflict, Code: "key_disabled", Hint: "the encryption key of the stream may not be used"}},
		{datastream.ErrUnavailable, web.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Hint: "the server's log says why"}},
	} {
		if errors.Is(err, t.is) {
			t.shown.Message, t.shown.Err = wording(err), err
			return &t.shown
		}
	}
	return &web.Error{Status: http.StatusInternalServerError, Code: "internal", Message: "something failed inside the server", Hint: "the server's log says what", Err: err}
}

// wording is what the engine says to the caller, without what was wrapped
// around it on the way.
func wording(err error) string {
	var e *datastream.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}

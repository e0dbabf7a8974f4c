package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// Error is an answer other than the one asked for. Any handler may return or
// wrap one; [WriteError] turns it into the JSON envelope
//
//	{"error":{"code":"no_such_stream","message":"...","hint":"..."}}
//
// whose code is for programs, message for people, and hint what to do next.
type Error struct {
	Status  int    // HTTP status code
	Code    string // lower_case_word, stable
	Message string
	Hint    string // may be empty
	// Challenge is the value of WWW-Authenticate, for status 401.
	Challenge string
	// RetryAfter in seconds, for status 429 and 503; 0 says nothing.
	RetryAfter int
	// Err is the cause. It is logged, never sent.
	Err error
}

// Error returns the message with the hint and the cause.
func (e *Error) Error() string {
	s := e.Message
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// HTTPStatus returns the status, for handlers that know this error only by
// this method.
func (e *Error) HTTPStatus() int { return e.Status }

type errorBody struct {
	Error errorFields `json:"error"`
}

type errorFields struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// WriteError answers with err. An [*Error] anywhere in its chain says how; any
// other error is an internal one, whose text the client does not get to see
// because it may name files or addresses, and the request log does.
func WriteError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Code: "internal", Message: "something failed inside the server", Hint: "the server's log says what"}
	}
	if r, ok := w.(interface{ noteError(error) }); ok {
		r.noteError(err)
	}
	if e.Challenge != "" {
		w.Header().Set("WWW-Authenticate", e.Challenge)
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", itoa(e.RetryAfter))
	}
	WriteJSON(w, e.Status, errorBody{errorFields{Code: e.Code, Message: e.Message, Hint: e.Hint}})
}

// WriteJSON answers with v as JSON. v must be encodable.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // hints show <stream>; the type is JSON and nosniff is set
	if err := enc.Encode(v); err != nil {
		// A value that cannot be encoded is a mistake in this program; it must not
		// look like an empty success.
		status = http.StatusInternalServerError
		body.Reset()
		body.WriteString(`{"error":{"code":"internal","message":"the answer could not be encoded"}}` + "\n")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// Limits of a JSON body: how large, and how long it may take to come.
const (
	maxBody     = 1 << 20
	bodyTimeout = 30 * time.Second
)

// ReadJSON decodes the body of r into v. Unknown fields, a second value and
// more than 1 MiB are refused; the error is an [*Error] with status 400 or 413.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = control.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "the body is larger than 1 MiB"}
	case err != nil:
		return &Error{Status: http.StatusBadRequest, Code: "bad_body", Message: "the body did not arrive whole", Err: err}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &Error{Status: http.StatusBadRequest, Code: "bad_json", Message: "the body is not the JSON expected here: " + jsonComplaint(err)}
	}
	if d.More() {
		return &Error{Status: http.StatusBadRequest, Code: "bad_json", Message: "the body holds more than one JSON value"}
	}
	return nil
}

// jsonComplaint words err without the decoder's own prefix.
func jsonComplaint(err error) string {
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) { // its own words are of Go
		if mismatch.Field == "" {
			return "it is " + article(mismatch.Value) + ", and should be an object"
		}
		return mismatch.Field + " cannot be " + article(mismatch.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// article names a kind of JSON value as a sentence does.
func article(kind string) string {
	switch {
	case kind == "bool":
		return "true or false"
	case strings.HasPrefix(kind, "a"), strings.HasPrefix(kind, "o"):
		return "an " + kind
	}
	return "a " + kind
}

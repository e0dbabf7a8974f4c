package awswire

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// Content types of requests and answers.
const (
	jsonType   = "application/x-amz-json-1.1"
	cborType   = "application/x-amz-cbor-1.1"
	plainType  = "application/json" // taken and always refused, as the service does
	streamType = "application/vnd.amazon.eventstream"
)

// exchange is one request and its answer.
type exchange struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	control http.ResponseController
	id      string
	arrived time.Time  // when the body was there
	op      *operation // nil until known
	cbor    bool
	code    string  // of the error that was answered
	begun   bool    // the status has been written
	body    *[]byte // borrowed, as blobs
	blobs   *[]byte
	stream  *eventStream // of a StreamOp, once begun
	values  [4]string    // of the headers
}

// ServeHTTP answers one request. The path is not looked at, as the service does
// not.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	x := &exchange{h: h, w: w, r: r, control: *http.NewResponseController(w)}
	defer func() {
		if h.service.Observe != nil {
			h.service.Observe(x.opName(), x.code, time.Since(began))
		}
	}()
	defer x.release()
	defer x.recover()
	x.header()
	x.serve()
}

func (x *exchange) opName() string {
	if x.op == nil {
		return ""
	}
	return x.op.name
}

// recover turns a panic into an answer for this client alone.
func (x *exchange) recover() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	x.h.service.Log.Error("an operation panicked", "operation", x.opName(), "request", x.id, "panic", p, "stack", string(debug.Stack()))
	x.fail(&Error{Code: internalFailure, Status: http.StatusInternalServerError})
}

// serve makes the checks in the order of the service: method, size, body there
// at all, content type, encoding, operation, who it is, types, rules.
func (x *exchange) serve() {
	if x.r.Method != http.MethodPost {
		x.xml(http.StatusForbidden, accessDenied, noOperation)
		return
	}
	body, err := x.readBody()
	if err != nil {
		return
	}
	service, name, _ := strings.Cut(x.r.Header.Get("X-Amz-Target"), ".")
	if service == x.h.service.Target {
		x.op = x.h.ops[name]
	}
	content, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";")
	content = strings.TrimSpace(content)
	x.cbor = content == cborType
	switch {
	case len(body) == 0:
		x.cbor = content != jsonType
		if x.op == nil {
			x.fail(&Error{Code: unknownOperation})
			return
		}
		x.fail(&Error{Code: serialization})
	case content == jsonType || content == cborType:
		x.call(body)
	case content == plainType:
		x.refusePlain(validJSON(body))
	case service == "" || name == "":
		x.xml(http.StatusForbidden, accessDenied, noOperation)
	default:
		x.xml(http.StatusNotFound, unknownOperation, "")
	}
}

const (
	accessDenied     = "AccessDeniedException"
	noOperation      = "Unable to determine service/operation name to be authorized"
	unknownOperation = "UnknownOperationException"
	serialization    = "SerializationException"
)

// call decodes the input and runs the operation.
func (x *exchange) call(body []byte) {
	if x.op == nil {
		code := serialization
		if x.valid(body) {
			code = unknownOperation
		}
		x.fail(&Error{Code: code})
		return
	}
	in := x.op.input()
	decode := decodeJSON
	if x.cbor {
		decode = decodeCBOR
	}
	taken, err := decode(x.op.inShape, body, in, &x.h.memory)
	x.blobs = taken.blobs
	if err == errSyntax {
		x.fail(&Error{Code: serialization})
		return
	}
	call, refusal := x.newCall(body)
	if refusal != nil {
		x.fail(refusal)
		return
	}
	if err != nil {
		x.fail(&Error{Code: serialization, Message: err.Error()})
		return
	}
	if !taken.shares { // The body is not needed while the operation runs.
		x.h.memory.put(x.body)
		x.body = nil
	}
	if e := validate(x.op.inShape, in, taken); e != nil {
		x.fail(e)
		return
	}
	x.run(call, in)
}

// run runs the operation and answers.
func (x *exchange) run(call *Call, in any) {
	if x.op.stream != nil {
		x.runStream(call, in)
		return
	}
	out, err := x.op.run(x.r.Context(), call, in)
	if err != nil {
		x.fail(x.errorOf(err))
		return
	}
	x.answer(out)
}

func (x *exchange) valid(body []byte) bool {
	if x.cbor {
		return validCBOR(body)
	}
	return validJSON(body)
}

func (x *exchange) newCall(body []byte) (*Call, *Error) {
	s := &x.h.service
	c := &Call{Account: s.Account, Region: s.Region, CBOR: x.cbor, Request: x.r, ID: x.id}
	if s.Authenticate != nil {
		var refusal *Error
		if c.Caller, refusal = s.Authenticate(x.r, body); refusal != nil {
			return nil, refusal
		}
	}
	if c.Caller.Account != "" {
		c.Account = c.Caller.Account
	}
	return c, nil
}

// errorOf is the answer to the error of an operation.
func (x *exchange) errorOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Cause != nil && e.Status >= http.StatusInternalServerError {
			x.h.service.Log.Error("an operation failed", "operation", x.opName(), "request", x.id, "code", e.Code, "error", e.Cause)
		}
		return e
	}
	level := slog.LevelError
	if x.r.Context().Err() != nil {
		level = slog.LevelDebug // The client is gone; so would be any answer.
	}
	x.h.service.Log.Log(context.WithoutCancel(x.r.Context()), level, "an operation failed", "operation", x.opName(), "request", x.id, "error", err)
	return &Error{Code: internalFailure, Status: http.StatusInternalServerError, Cause: err}
}

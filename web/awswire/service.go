package awswire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultMaxBody is the largest body of a request unless the service says
// otherwise, in bytes: 10 MiB of records in base64, and their keys.
const DefaultMaxBody = 16 << 20

// Service is one AWS service: what it is called and what it can do.
type Service struct {
	Target     string // the part of X-Amz-Target before the dot, such as "Kinesis_20131202"
	Operations []Operation
	// Patterns are the expressions that tags name. They match whole values.
	Patterns map[string]string
	// Authenticate says who calls, or why not. The body is only valid during the
	// call and not to be changed. nil lets everybody in.
	Authenticate func(r *http.Request, body []byte) (Caller, *Error)
	Account      string // of a Call whose Caller has none
	Region       string // of every Call
	MaxBody      int64  // bytes; 0 = DefaultMaxBody
	// Stall is how long a client may take none of an answer before it is cut off. A
	// body has to be there after as long and a second for each 64 KiB. 0 = 30 s.
	Stall time.Duration
	Log   *slog.Logger
	// Observe is told of each request: the operation ("" for an unknown one), the
	// code of the error ("" for none) and how long it took. It may be nil.
	Observe func(op, code string, took time.Duration)
}

// Caller is who signed a request.
type Caller struct {
	AccessKey, Account, User string
	// May says whether the caller may do the action to the resource. It is nil when
	// nobody is asked who he is: then he may.
	May func(action, resource string) bool
}

// Call is what an operation may want to know of its request beside the input.
type Call struct {
	Caller          Caller
	Account, Region string
	CBOR            bool          // the caller speaks CBOR
	Request         *http.Request // its body has been read
	ID              string        // of the request; it is in the answer and in the log
}

// Error is an answer other than the one asked for.
type Error struct {
	Code    string // as SDKs know it, such as "ResourceNotFoundException"
	Status  int    // HTTP status; 0 = 400
	Message string // for people; empty leaves it out
	Cause   error  // for the log alone
}

// Error gives the code and the words.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// internalFailure is the code of whatever is not the caller's fault.
const internalFailure = "InternalFailure"

// Operation is one thing that a service can do; [Op] and [StreamOp] make them.
type Operation struct {
	name    string
	in, out reflect.Type
	events  []reflect.Type
	input   func() any
	run     func(context.Context, *Call, any) (any, error)
	stream  func(context.Context, *Call, any, func(string, any) error) error
}

// Op is the operation of a name. f gets an input that is valid by its tags; the
// context ends when the client is gone. An *Error that f returns or wraps is
// the answer, any other error is an InternalFailure. A nil output, and one of a
// struct without fields, is an empty body. Blobs of the input are valid until f
// returns, and in the output that it returns; who keeps them copies them.
func Op[In, Out any](name string, f func(ctx context.Context, c *Call, in *In) (*Out, error)) Operation {
	return Operation{
		name:  name,
		in:    reflect.TypeFor[In](),
		out:   reflect.TypeFor[Out](),
		input: func() any { return new(In) },
		run: func(ctx context.Context, c *Call, in any) (any, error) {
			out, err := f(ctx, c, in.(*In))
			if err != nil || out == nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// InitialResponse is the first message of every event stream.
const InitialResponse = "initial-response"

// StreamOp is the operation of a name that answers with an event stream. The
// stream begins, with the message that SDKs wait for before their call returns,
// at the first send. When f may have to wait for its first event it calls
// send(InitialResponse, nil) at once.
//
// An error of f before that is an ordinary error answer, afterwards an exception
// in the stream; nil ends the stream. send writes a message whole and returns
// when it is written; an error of send means that the client is gone or does not
// read, and f should return. send is not for concurrent use. events are the
// payloads that f sends, for [New] to check; a payload of a type that is not
// among them is compiled when it is first sent.
func StreamOp[In any](name string, f func(ctx context.Context, c *Call, in *In, send func(event string, payload any) error) error, events ...any) Operation {
	op := Operation{
		name:  name,
		in:    reflect.TypeFor[In](),
		input: func() any { return new(In) },
		stream: func(ctx context.Context, c *Call, in any, send func(string, any) error) error {
			return f(ctx, c, in.(*In), send)
		},
	}
	for _, e := range events {
		op.events = append(op.events, reflect.TypeOf(e))
	}
	return op
}

// operation is an Operation whose types are compiled.
type operation struct {
	Operation
	inShape  *shape
	outShape *shape       // nil of an event stream
	usual    atomic.Int64 // length of the last answer without its large blobs
}

// Handler answers the requests of one service.
type Handler struct {
	service  Service
	patterns map[string]*pattern
	ops      map[string]*operation
	payloads sync.Map // reflect.Type of an event -> *shape; as many as the program has
	memory   memory
}

// New checks the service and compiles the types of its operations.
func New(s Service) (*Handler, error) {
	if s.Target == "" {
		return nil, errors.New("aws service: no target")
	}
	if s.MaxBody <= 0 {
		s.MaxBody = DefaultMaxBody
	}
	if s.Stall <= 0 {
		s.Stall = 30 * time.Second
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{service: s, patterns: map[string]*pattern{}, ops: map[string]*operation{}}
	for name, text := range s.Patterns {
		p, err := newPattern(text)
		if err != nil {
			return nil, fmt.Errorf("pattern %s: %w", name, err)
		}
		h.patterns[name] = p
	}
	for _, o := range s.Operations {
		if err := h.add(o); err != nil {
			return nil, fmt.Errorf("operation %s: %w", o.name, err)
		}
	}
	return h, nil
}

func (h *Handler) add(o Operation) error {
	if o.name == "" || o.input == nil {
		return errors.New("not made by Op or StreamOp")
	}
	if h.ops[o.name] != nil {
		return errors.New("given twice")
	}
	op := &operation{Operation: o}
	var err error
	if op.inShape, err = h.compileInput(o.in); err != nil {
		return fmt.Errorf("input: %w", err)
	}
	if o.out != nil {
		if op.outShape, err = h.compile(o.out); err != nil {
			return fmt.Errorf("output: %w", err)
		}
	}
	for _, e := range o.events {
		if _, err := h.payload(e); err != nil {
			return fmt.Errorf("event: %w", err)
		}
	}
	h.ops[o.name] = op
	return nil
}

// payload is the compiled type of an event.
func (h *Handler) payload(t reflect.Type) (*shape, error) {
	if s, ok := h.payloads.Load(t); ok {
		return s.(*shape), nil
	}
	s, err := h.compile(t)
	if err != nil {
		return nil, err
	}
	h.payloads.Store(t, s)
	return s, nil
}

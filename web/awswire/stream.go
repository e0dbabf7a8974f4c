package awswire

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
)

// eventStream is an answer that goes on. It holds one message at a time.
type eventStream struct {
	x       *exchange
	content string // type of the payloads
	broken  error  // the client is gone, or a message was cut short
}

// clientGone is what Observe is told of a stream that its client left or did not
// read.
const clientGone = "ClientGone"

// runStream runs an operation that answers with an event stream.
func (x *exchange) runStream(call *Call, in any) {
	err := x.op.stream(x.r.Context(), call, in, x.sendEvent)
	if err != nil {
		if x.stream != nil && x.stream.broken != nil {
			x.code = clientGone
			return
		}
		x.fail(x.errorOf(err))
		return
	}
	if x.begin() != nil {
		x.code = clientGone
	}
}

// begin writes the status and the initial response, once.
func (x *exchange) begin() error {
	if x.stream != nil {
		return x.stream.broken
	}
	s := &eventStream{x: x, content: "application/json"}
	empty := []byte("{}")
	if x.cbor {
		s.content, empty = "application/cbor", []byte{byte(majorMap)}
	}
	h := x.w.Header()
	h.Set("Content-Type", streamType)
	h.Set("Cache-Control", "no-store")
	x.begun, x.stream = true, s
	x.holdBack(streamBytes)
	x.moveDeadline()
	x.w.WriteHeader(http.StatusOK)
	return s.write(AppendEvent((*x.buffer())[:0], empty,
		":message-type", "event", ":event-type", InitialResponse, ":content-type", s.content))
}

// sendEvent is the send of a StreamOp.
func (x *exchange) sendEvent(event string, payload any) error {
	if err := x.begin(); err != nil || event == InitialResponse {
		return err
	}
	v := reflect.ValueOf(payload)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return fmt.Errorf("event %s: its payload is no struct", event)
	}
	if !v.CanAddr() {
		p := reflect.New(v.Type()).Elem()
		p.Set(v)
		v = p
	}
	shape, err := x.h.payload(v.Type())
	if err != nil {
		return fmt.Errorf("event %s: %w", event, err)
	}
	b := beginEvent((*x.buffer())[:0], ":message-type", "event", ":event-type", event, ":content-type", x.stream.content)
	headers := len(b)
	b = x.encode(b, shape, v)
	if len(b)-headers > MaxEventPayload {
		return fmt.Errorf("event %s: its payload has %d bytes", event, len(b)-headers)
	}
	return x.stream.write(endEvent(b, 0))
}

// write writes a message and gives it to the client now. Its memory is given
// back: between two messages a stream has none.
func (s *eventStream) write(message []byte) error {
	*s.x.buf = message // It may have grown.
	defer s.x.release()
	if s.broken != nil {
		return s.broken
	}
	err := s.x.write(message)
	if err == nil {
		err = s.x.control.Flush()
		if errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	if err != nil {
		s.broken = fmt.Errorf("write event: %w", err)
	}
	return s.broken
}

// exception ends the stream with an error.
func (s *eventStream) exception(e *Error) {
	if s.broken != nil {
		return
	}
	code := e.Code
	if code == internalFailure {
		code = "InternalFailureException" // Its name among the events of the model.
	}
	payload := s.x.appendError(nil, e, false)
	_ = s.write(AppendEvent((*s.x.buffer())[:0], payload,
		":message-type", "exception", ":exception-type", code, ":content-type", s.content))
}

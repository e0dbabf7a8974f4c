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
	if x.beginStream() != nil {
		x.code = clientGone
	}
}

// beginStream writes the status and the initial response, once.
func (x *exchange) beginStream() error {
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
	return s.write(AppendEvent(nil, empty,
		":message-type", "event", ":event-type", InitialResponse, ":content-type", s.content))
}

// sendEvent is the send of a StreamOp.
func (x *exchange) sendEvent(event string, payload any) error {
	if err := x.beginStream(); err != nil || event == InitialResponse {
		return err
	}
	t := reflect.TypeOf(payload)
	pointer := t != nil && t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return fmt.Errorf("event %s: its payload is no struct", event)
	}
	if !pointer {
		p := reflect.New(t)
		p.Elem().Set(reflect.ValueOf(payload))
		payload = p.Interface()
	}
	shape, err := x.h.payload(t)
	if err != nil {
		return fmt.Errorf("event %s: %w", event, err)
	}
	return x.sendPayload(event, shape, payload)
}

// sendPayload writes a message. Its memory is given back: between two messages a
// stream has none.
func (x *exchange) sendPayload(event string, s *shape, p any) error {
	m := &x.h.memory
	d, buf := m.draft(x.cbor), m.get(int(x.op.usual.Load()))
	defer func() {
		m.put(buf)
		m.putDraft(d)
	}()
	b := beginEvent(*buf, ":message-type", "event", ":event-type", event, ":content-type", x.stream.content)
	headers := len(b)
	b = d.append(b, s, p)
	*buf = b
	x.op.usual.Store(int64(len(b)))
	if n := len(b) - headers + d.extra; n > MaxEventPayload {
		return fmt.Errorf("event %s: its payload has %d bytes", event, n)
	}
	if len(d.holes) == 0 {
		*buf = endEvent(b, 0)
		return x.stream.write(*buf)
	}
	whole := m.get(len(b) + d.extra + crcLength) // The checksum is of all of it.
	defer m.put(whole)
	return d.fill(*whole, b, func(message []byte) error { return x.stream.write(endEvent(message, 0)) })
}

// write writes a message and gives it to the client now.
func (s *eventStream) write(message []byte) error {
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
	_ = s.write(AppendEvent(nil, payload,
		":message-type", "exception", ":exception-type", code, ":content-type", s.content))
}

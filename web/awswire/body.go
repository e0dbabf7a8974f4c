package awswire

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// firstBuffer is how much is made ready for a body before any of it is there.
	firstBuffer = 16 << 10
	// trusted is how much of a body has to be there before its announced length is
	// believed.
	trusted = 256 << 10
	// slowest is the speed at which a body has to come, in bytes a second.
	slowest = 64 << 10
)

// release gives back what was borrowed for the request. The operation and the
// answer are done with its blobs.
func (x *exchange) release() {
	x.h.memory.put(x.body)
	x.h.memory.put(x.blobs)
	x.body, x.blobs = nil, nil
}

// readBody reads the request's body, or has answered when it can not.
func (x *exchange) readBody() ([]byte, error) {
	limit := x.h.service.MaxBody
	if x.r.ContentLength > limit {
		return nil, x.tooLarge()
	}
	allowed := x.h.service.Stall + time.Duration(max(x.r.ContentLength, 0)/slowest)*time.Second
	if x.r.ContentLength < 0 {
		allowed = x.h.service.Stall + time.Duration(limit/slowest)*time.Second
	}
	_ = x.control.SetReadDeadline(time.Now().Add(allowed))
	body := x.r.Body
	if x.r.ContentLength < 0 {
		body = http.MaxBytesReader(x.w, body, limit)
	}
	err := x.readAll(body)
	// The connection is watched for the client's going while the operation runs:
	// that has no deadline.
	_ = x.control.SetReadDeadline(time.Time{})
	x.arrived = time.Now()
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, x.tooLarge()
	}
	if err != nil {
		x.code = "RequestTimeout" // Nobody is there to be told.
		x.w.Header().Set("Connection", "close")
		x.send(http.StatusRequestTimeout, "", nil)
	}
	return *x.body, err
}

// tooLarge answers a body that is beyond the limit, and ends the connection on
// which the rest of it would come.
func (x *exchange) tooLarge() error {
	x.w.Header().Set("Connection", "close")
	x.cbor = x.r.Header.Get("Content-Type") == cborType
	e := &Error{
		Code: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge,
		Message: "the body of the request is larger than this service takes",
	}
	x.fail(e)
	return e
}

// readAll reads the body. The announced length saves copies; memory is made for
// it when some of the body has come, and not before.
func (x *exchange) readAll(r io.Reader) error {
	announced, expected := int(x.r.ContentLength), firstBuffer
	if announced >= 0 {
		expected = announced + 1 // One more, to see the end without growing.
	}
	if x.body = x.h.memory.spare(expected); x.body == nil {
		x.body = x.h.memory.get(min(expected, firstBuffer))
	}
	for {
		b := *x.body
		if len(b) == cap(b) {
			size := 2 * cap(b)
			if len(b) >= trusted && announced >= len(b) {
				size = expected
			}
			x.body = x.h.memory.grow(x.body, size)
			b = *x.body
		}
		n, err := r.Read(b[len(b):cap(b)])
		*x.body = b[:len(b)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

package awswire

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// firstBuffer is how much is made ready for a body before any of it is there.
	firstBuffer = 32 << 10
	// trusted is how much of a body has to be there before its announced length is
	// believed.
	trusted = 256 << 10
	// slowest is the speed at which a body has to come, in bytes a second.
	slowest = 64 << 10
)

// buffer is the memory of this exchange: of the body, then of the answer.
func (x *exchange) buffer() *[]byte {
	if x.buf == nil {
		x.buf, _ = x.h.buffers.Get().(*[]byte)
		if x.buf == nil {
			b := make([]byte, 0, firstBuffer)
			x.buf = &b
		}
	}
	return x.buf
}

// release gives the memory back.
func (x *exchange) release() {
	if x.buf == nil {
		return
	}
	if cap(*x.buf) <= int(x.h.service.MaxBody)+trusted {
		*x.buf = (*x.buf)[:0]
		x.h.buffers.Put(x.buf)
	}
	x.buf = nil
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
	buf := x.buffer()
	var err error
	*buf, err = readAll((*buf)[:0], http.MaxBytesReader(x.w, x.r.Body, limit), x.r.ContentLength)
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
	return *buf, err
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

// readAll reads r into b. The announced length, -1 for unknown, saves copies; it
// is not believed before some of it has come.
func readAll(b []byte, r io.Reader, announced int64) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			size := 2 * cap(b)
			if len(b) >= trusted && announced >= int64(len(b)) {
				size = int(announced) + 1 // One more, to see the end without growing.
			}
			b = append(make([]byte, 0, size), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

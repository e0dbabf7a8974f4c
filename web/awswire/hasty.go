package awswire

import (
	"strings"
	"time"
)

// The AWS SDK for Go (smithy-go v1.28.8) closes the body of its request as soon
// as the answer's header is there, and net/http takes that for a failed request
// when it has not yet looked whether the body ends where it should: it cuts the
// connection in the middle of the answer. Between the last byte of the body on
// its way and that look lie microseconds, in which the service has never
// answered; this server can. So an answer to that SDK that does not fit into
// what has arrived with its header is held back until the look is most likely
// over; a client too busy to look even then tries again, as the SDK does by
// itself. HTTP/2 has no such trouble.
const (
	hasty     = "aws-sdk-go-v2/"
	lookTime  = 5 * time.Millisecond
	fitsWhole = 2 << 10 // bytes
	// streamBytes stands for the length of an event stream, which nobody knows.
	streamBytes = 1 << 20
)

// holdBack waits, if need be, before an answer of so many bytes begins.
func (x *exchange) holdBack(bytes int) {
	if bytes <= fitsWhole || x.r.ProtoMajor != 1 || !strings.Contains(x.r.UserAgent(), hasty) {
		return
	}
	if rest := lookTime - time.Since(x.arrived); rest > 0 {
		time.Sleep(rest)
	}
}

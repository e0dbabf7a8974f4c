package web

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// stall is how long a client may take no byte of what is being sent to it
// before its connection is given up. It is not a limit on the whole answer:
// media lasts for hours.
const stall = 60 * time.Second

// chunk is how much is sent under one deadline when an answer is copied from a
// file: small enough that 17 kB/s count as alive, large enough for sendfile.
const chunk = 1 << 20

// answer is the http.ResponseWriter that handlers get: it remembers what the
// log needs and moves the write deadline on with every write.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	now     func() time.Time
	status  int
	bytes   int64
	err     error // noted by WriteError
	extend  time.Time
}

func newAnswer(w http.ResponseWriter) *answer {
	return &answer{ResponseWriter: w, control: http.NewResponseController(w), now: time.Now}
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) noteError(err error) { a.err = err }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.touch()
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.begin()
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom, so that a file goes out without passing
// through this program's memory.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	rest := int64(1<<63 - 1)
	limited, _ := r.(*io.LimitedReader)
	if limited != nil {
		// Go finds the file below one LimitedReader, not below two.
		r, rest = limited.R, limited.N
	}
	var total int64
	for rest > 0 {
		a.begin()
		part := &io.LimitedReader{R: r, N: min(chunk, rest)}
		want := part.N
		n, err := io.Copy(a.ResponseWriter, part)
		total, rest, a.bytes = total+n, rest-n, a.bytes+n
		if limited != nil {
			limited.N = rest
		}
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

// Flush implements http.Flusher, for handlers that ask for it by that name.
func (a *answer) Flush() {
	a.begin()
	_ = a.control.Flush()
}

// Hijack implements http.Hijacker: the connection is the caller's from here on.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := a.control.Hijack()
	if err == nil {
		a.status = http.StatusSwitchingProtocols
	}
	return c, rw, err
}

// begin marks the answer as begun.
func (a *answer) begin() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.touch()
}

// touch gives the client another stall to take what comes. The deadline is
// moved at most once a second; it outlives the request, so every request must
// touch it before its first byte goes out.
func (a *answer) touch() {
	if now := a.now(); now.After(a.extend) {
		_ = a.control.SetWriteDeadline(now.Add(stall))
		a.extend = now.Add(time.Second)
	}
}

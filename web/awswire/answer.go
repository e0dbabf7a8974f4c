package awswire

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// writePiece is how much is written under one deadline, in bytes: a client that
// takes 9 kB/s is slow, one that takes less is cut off.
const writePiece = 256 << 10

// newIDs makes the ids of an exchange, a random UUID (RFC 9562, version 4) and
// what the service has beside it.
func newIDs() (id, id2 string) {
	var random [16 + 72]byte
	rand.Read(random[:]) // It never fails.
	return uuid([16]byte(random[:16])), base64.StdEncoding.EncodeToString(random[16:])
}

func uuid(u [16]byte) string {
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	var t [36]byte
	hex.Encode(t[:8], u[:4])
	hex.Encode(t[9:13], u[4:6])
	hex.Encode(t[14:18], u[6:8])
	hex.Encode(t[19:23], u[8:10])
	hex.Encode(t[24:], u[10:])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return string(t[:])
}

// header sets what every answer has.
func (x *exchange) header() {
	x.id, x.values[1] = newIDs()
	x.values[0] = x.id
	h := x.w.Header()
	h["X-Amzn-Requestid"] = x.values[0:1:1]
	h["X-Amz-Id-2"] = x.values[1:2:2]
}

// answer writes the output of an operation, which may be nil.
func (x *exchange) answer(out any) {
	s := x.op.outShape
	if out == nil || len(s.fields) == 0 {
		x.send(http.StatusOK, x.contentType(), nil)
		return
	}
	m := &x.h.memory
	d := m.draft(x.cbor)
	buf := m.get(int(x.op.usual.Load()))
	*buf = d.append(*buf, s, out)
	x.op.usual.Store(int64(len(*buf)))
	x.begin(http.StatusOK, x.contentType(), len(*buf)+d.extra)
	if len(d.holes) == 0 {
		_ = x.write(*buf) // A client that is gone needs no answer.
	} else {
		piece := m.get(writePiece)
		_ = d.fill((*piece)[:0:writePiece], *buf, x.write)
		m.put(piece)
	}
	m.put(buf)
	m.putDraft(d)
}

func (x *exchange) contentType() string {
	if x.cbor {
		return cborType
	}
	return jsonType
}

// fail answers with an error, or says it in the stream when one has begun.
func (x *exchange) fail(e *Error) {
	x.code = e.Code
	if x.stream != nil {
		x.stream.exception(e)
		return
	}
	if x.begun {
		return
	}
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	x.w.Header().Set("X-Amzn-Errortype", e.Code)
	x.send(status, x.contentType(), x.appendError(nil, e, true))
}

// appendError writes the envelope of an error. Serialization errors have another
// name for the words than all others.
func (x *exchange) appendError(b []byte, e *Error, typed bool) []byte {
	words := "message"
	if e.Code == serialization {
		words = "Message"
	}
	pairs := make([]string, 0, 4)
	if typed {
		pairs = append(pairs, "__type", e.Code)
	}
	if e.Message != "" {
		pairs = append(pairs, words, e.Message)
	}
	if x.cbor {
		b = appendHead(b, majorMap, uint64(len(pairs)/2))
		for _, p := range pairs {
			b = appendCBORText(b, p)
		}
		return b
	}
	b = append(b, '{')
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ",:"[i&1])
		}
		b = appendText(b, p)
	}
	return append(b, '}')
}

// refusePlain answers requests of the content type application/json, which the
// service knows and does not serve.
func (x *exchange) refusePlain(readable bool) {
	status := http.StatusBadRequest
	x.code = serialization
	if readable {
		status, x.code = http.StatusNotFound, unknownOperation
	}
	x.send(status, plainType, []byte(`{"Output":{"__type":"com.amazon.coral.service#`+x.code+`"},"Version":"1.0"}`))
}

// xml answers requests that have no encoding to answer in.
func (x *exchange) xml(status int, code, message string) {
	x.code = code
	body := "<" + code + "/>\n"
	if message != "" {
		body = "<" + code + ">\n  <Message>" + message + "</Message>\n</" + code + ">\n"
	}
	x.w.Header()["Content-Type"] = nil // The service gives none, and none is to be guessed.
	x.send(status, "", []byte(body))
}

func (x *exchange) send(status int, contentType string, body []byte) {
	x.begin(status, contentType, len(body))
	_ = x.write(body) // A client that is gone needs no answer.
}

// begin writes the header of an answer of so many bytes.
func (x *exchange) begin(status int, contentType string, length int) {
	h := x.w.Header()
	if contentType != "" {
		x.values[2] = contentType
		h["Content-Type"] = x.values[2:3:3]
	}
	x.values[3] = strconv.Itoa(length)
	h["Content-Length"] = x.values[3:4:4]
	x.begun = true
	x.holdBack(length)
	if length == 0 {
		x.moveDeadline() // Nothing is written that would.
	}
	x.w.WriteHeader(status)
}

// write writes all of b as long as the client takes some of it.
func (x *exchange) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writePiece)
		x.moveDeadline()
		if _, err := x.w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// moveDeadline gives the client another while to take what comes. The deadline
// stays on the connection when the answer is over: it holds for what is still in
// buffers, and whoever writes next sets his own.
func (x *exchange) moveDeadline() {
	_ = x.control.SetWriteDeadline(time.Now().Add(x.h.service.Stall))
}

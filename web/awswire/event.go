package awswire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Bounds of a message of an event stream, in bytes, as the SDKs have them, and
// how its parts are laid out: prelude (total length, length of the headers,
// CRC-32 of these two), headers, payload, CRC-32 of all before.
const (
	maxEventHeaders = 128 << 10
	// MaxEventPayload is the largest payload of a message.
	MaxEventPayload = 24 << 20
	preludeLength   = 12
	crcLength       = 4
	eventString     = 7 // the type of a header whose value is text
)

// ErrEvent is what [ReadEvent] returns for bytes that are no message.
var ErrEvent = errors.New("bad event stream message")

// Header is a header of an event stream message. Only those with text are kept.
type Header struct{ Name, Value string }

// Event is a message of an event stream.
type Event struct {
	Headers []Header
	Payload []byte
}

// Get is the value of a header, "" if there is none.
func (e *Event) Get(name string) string {
	for _, h := range e.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// beginEvent appends the prelude, yet without lengths, and the headers; the
// payload is to be appended, then [endEvent] called with the length of b before.
func beginEvent(b []byte, headers ...string) []byte {
	from := len(b)
	b = append(b, make([]byte, preludeLength)...)
	for i := 0; i < len(headers); i += 2 {
		name, value := headers[i], headers[i+1]
		b = append(b, byte(len(name)))
		b = append(b, name...)
		b = append(b, eventString)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	binary.BigEndian.PutUint32(b[from+4:], uint32(len(b)-from-preludeLength))
	return b
}

// endEvent completes the message that begins at from and ends where b does.
func endEvent(b []byte, from int) []byte {
	m := b[from:]
	binary.BigEndian.PutUint32(m, uint32(len(m)+crcLength))
	binary.BigEndian.PutUint32(m[8:], crc32.ChecksumIEEE(m[:8]))
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(m))
}

// AppendEvent appends a message to b. headers are names and values in turn, names
// of at most 255 and values of at most 32 767 bytes.
func AppendEvent(b []byte, payload []byte, headers ...string) []byte {
	from := len(b)
	b = beginEvent(b, headers...)
	return endEvent(append(b, payload...), from)
}

// ReadEvent reads one message. The error is io.EOF at a clean end between
// messages, wraps [ErrEvent] when the bytes are no message or are damaged, and
// else is r's.
func ReadEvent(r io.Reader) (*Event, error) {
	var prelude [preludeLength]byte
	if _, err := io.ReadFull(r, prelude[:]); err != nil {
		return nil, err
	}
	total, headers := binary.BigEndian.Uint32(prelude[:]), binary.BigEndian.Uint32(prelude[4:])
	if crc32.ChecksumIEEE(prelude[:8]) != binary.BigEndian.Uint32(prelude[8:]) {
		return nil, fmt.Errorf("%w: checksum of the prelude", ErrEvent)
	}
	if headers > maxEventHeaders || total < preludeLength+crcLength+headers || total-headers > MaxEventPayload+preludeLength+crcLength {
		return nil, fmt.Errorf("%w: %d bytes, %d of headers", ErrEvent, total, headers)
	}
	m, err := readGrowing(r, int(total)-preludeLength)
	if err != nil {
		return nil, err
	}
	body := m[:len(m)-crcLength]
	sum := crc32.Update(crc32.ChecksumIEEE(prelude[:]), crc32.IEEETable, body)
	if sum != binary.BigEndian.Uint32(m[len(body):]) {
		return nil, fmt.Errorf("%w: checksum", ErrEvent)
	}
	e := &Event{Payload: body[headers:]}
	return e, e.readHeaders(body[:headers])
}

// readGrowing reads n bytes, with memory for what has come and not for what was
// announced.
func readGrowing(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, 0, min(n, trusted))
	for len(b) < n {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(n, 4*cap(b))), b...)
		}
		got, err := io.ReadFull(r, b[len(b):cap(b)])
		b = b[:len(b)+got]
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// eventWidth is the length of a header's value by its type: true, false, byte,
// short, integer, long, bytes and text with their length before them, timestamp,
// UUID.
var eventWidth = [...]int{0, 0, 1, 2, 4, 8, -1, -1, 8, 16}

func (e *Event) readHeaders(b []byte) error {
	bad := fmt.Errorf("%w: headers", ErrEvent)
	for len(b) > 0 {
		n := 1 + int(b[0])
		if len(b) < n+1 || int(b[n]) >= len(eventWidth) {
			return bad
		}
		name, kind := string(b[1:n]), b[n]
		b = b[n+1:]
		width := eventWidth[kind]
		if width < 0 {
			if len(b) < 2 {
				return bad
			}
			width = int(binary.BigEndian.Uint16(b))
			b = b[2:]
		}
		if len(b) < width {
			return bad
		}
		if kind == eventString {
			e.Headers = append(e.Headers, Header{name, string(b[:width])})
		}
		b = b[width:]
	}
	return nil
}

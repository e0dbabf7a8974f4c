package awswire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// TestEventGolden compares with messages of the published test vectors of the
// format: without headers and payload, and with a payload and a header.
func TestEventGolden(t *testing.T) {
	for _, c := range []struct {
		want    string
		payload string
		headers []string
	}{
		{"00000010 00000000 05c248eb 7d98c8ff", "", nil},
		{"0000001d 00000000 fd528c5a 7b27666f6f273a27626172277d c3653936", "{'foo':'bar'}", nil},
		{
			"0000003d 00000020 07fd8396 0c 636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e 7b27666f6f273a27626172277d 8d9c08b1",
			"{'foo':'bar'}",
			[]string{"content-type", "application/json"},
		},
	} {
		got := AppendEvent([]byte("before"), []byte(c.payload), c.headers...)
		if hex.EncodeToString(got[6:]) != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("got  %x\nwant %s", got[6:], strings.ReplaceAll(c.want, " ", ""))
		}
	}
}

// TestEventForeign has the SDK's own codec read ours and us read its.
func TestEventForeign(t *testing.T) {
	ours := AppendEvent(nil, []byte("payload"), ":message-type", "event", ":event-type", "SubscribeToShardEvent")
	m, err := eventstream.NewDecoder().Decode(bytes.NewReader(ours), nil)
	if err != nil || string(m.Payload) != "payload" || m.Headers.Get(":event-type").String() != "SubscribeToShardEvent" {
		t.Errorf("%v %v", err, m)
	}
	var theirs bytes.Buffer
	h := eventstream.Headers{
		{Name: "true", Value: eventstream.BoolValue(true)},
		{Name: "false", Value: eventstream.BoolValue(false)},
		{Name: "byte", Value: eventstream.Int8Value(-1)},
		{Name: "short", Value: eventstream.Int16Value(2)},
		{Name: "int", Value: eventstream.Int32Value(3)},
		{Name: "long", Value: eventstream.Int64Value(4)},
		{Name: "bytes", Value: eventstream.BytesValue("ab")},
		{Name: "uuid", Value: eventstream.UUIDValue{1, 2}},
		{Name: "text", Value: eventstream.StringValue("ü")},
	}
	if err := eventstream.NewEncoder().Encode(&theirs, eventstream.Message{Headers: h, Payload: []byte("p")}); err != nil {
		t.Fatal(err)
	}
	e, err := ReadEvent(&theirs)
	if err != nil || string(e.Payload) != "p" || len(e.Headers) != 1 || e.Get("text") != "ü" || e.Get("long") != "" {
		t.Errorf("%v %+v", err, e)
	}
}

// TestEventDamage flips every bit of a message, and cuts it everywhere: no
// damage passes.
func TestEventDamage(t *testing.T) {
	whole := AppendEvent(nil, []byte("payload"), ":event-type", "x")
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if _, err := ReadEvent(bytes.NewReader(b)); !errors.Is(err, ErrEvent) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for n := range whole {
		_, err := ReadEvent(bytes.NewReader(whole[:n]))
		if n == 0 && err != io.EOF || n > 0 && err != io.ErrUnexpectedEOF {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// TestEventBounds announces more than there may be: it is refused before there
// is memory for it.
func TestEventBounds(t *testing.T) {
	prelude := func(total, headers uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, total)
		b = binary.BigEndian.AppendUint32(b, headers)
		return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	for _, c := range []struct {
		total, headers uint32
		want           error
	}{
		{15, 0, ErrEvent},
		{16, 1, ErrEvent},
		{1<<32 - 1, 0, ErrEvent},
		{MaxEventPayload + 17, 0, ErrEvent},
		{MaxEventPayload + 16, 0, io.ErrUnexpectedEOF},
		{1 << 20, maxEventHeaders + 1, ErrEvent},
		{16, 1<<32 - 1, ErrEvent},
	} {
		before := allocated()
		if _, err := ReadEvent(bytes.NewReader(prelude(c.total, c.headers))); !errors.Is(err, c.want) {
			t.Errorf("%d, %d: %v", c.total, c.headers, err)
		}
		if took := allocated() - before; took > 1<<20 {
			t.Errorf("%d, %d: took %d bytes of memory", c.total, c.headers, took)
		}
	}
}

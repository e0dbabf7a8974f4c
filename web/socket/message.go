package socket

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web"
)

// Messages are written by hand: records make up nearly all of them, and their
// JSON goes out as it came in.

func helloMessage(stream string, p *place) []byte {
	b := append([]byte(`{"hello":{"stream":`), '"')
	b = append(append(b, stream...), '"') // its characters need no escape
	if p != nil {
		b = append(b, `,"shards":`...)
		b = appendNames(b, p.shards())
	}
	b = append(b, '}')
	b = appendResume(b, p)
	return append(b, '}')
}

func closedMessage(shard uint32, children []datastream.Shard, p *place) []byte {
	b := append([]byte(`{"closed":{"shard":"`), shardName(shard)...)
	b = append(b, `","children":`...)
	names := make([]string, len(children))
	for i, s := range children {
		names[i] = shardName(s.Index)
	}
	b = append(appendNames(b, names), '}')
	return append(appendResume(b, p), '}')
}

func appendNames(b []byte, names []string) []byte {
	b = append(b, '[')
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), n...), '"')
	}
	return append(b, ']')
}

func appendResume(b []byte, p *place) []byte {
	if p == nil {
		return b
	}
	b = append(b, `,"resume":"`...)
	return append(p.appendToken(b), '"')
}

// appendRecords writes the message of a batch.
func appendRecords(b []byte, shard uint32, batch *datastream.Batch, raw bool, p *place) []byte {
	b = append(b, `{"records":[`...)
	head := `{"shard":"` + shardName(shard) + `","sequence":"`
	for i := range batch.Records {
		r := &batch.Records[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, head...), r.Sequence.String()...)
		b = append(b, `","key":`...)
		b = appendString(b, r.PartitionKey)
		b = append(b, `,"arrived":`...)
		b = r.Arrived.UTC().AppendFormat(b, `"2006-01-02T15:04:05.000Z"`)
		if !raw {
			b = appendData(b, r.Data)
		}
		b = append(b, '}')
	}
	b = append(b, `],"behind_ms":`...)
	b = strconv.AppendInt(b, batch.Behind.Milliseconds(), 10)
	return append(appendResume(b, p), '}')
}

// appendData writes data in the form that shows most of it.
func appendData(b, data []byte) []byte {
	text := utf8.Valid(data)
	if text {
		inner := bytes.TrimSpace(data)
		if len(inner) > 0 && (inner[0] == '{' || inner[0] == '[') && json.Valid(inner) {
			b = append(b, `,"json":`...)
			return append(b, inner...)
		}
	}
	if text && !bytes.ContainsFunc(data, unprintable) {
		b = append(b, `,"text":`...)
		return appendString(b, string(data))
	}
	b = append(b, `,"data":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, '"')
}

// unprintable are the characters that no text has.
func unprintable(r rune) bool {
	return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f
}

// appendString writes s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string always can be
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// toldError is an error as it stands in a message.
type toldError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func tell(e *web.Error) *toldError { return &toldError{e.Code, e.Message, e.Hint} }

func errorMessage(e *web.Error) []byte {
	return encode(struct {
		Error *toldError `json:"error"`
	}{tell(e)})
}

// encode writes small messages, whose types always can be encoded.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("socket: encode %T: %v", v, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

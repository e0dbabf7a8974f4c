package awswire

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

type entry struct {
	Data         []byte  `aws:"Data,required,max=1048576"`
	PartitionKey string  `aws:"PartitionKey,required,min=1,max=256"`
	HashKey      *string `aws:"ExplicitHashKey,pattern=hash"`
}

// putInput has a member of each kind.
type putInput struct {
	Records    []entry           `aws:"Records,required,min=1,max=500,shown=com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310,omitempty"`
	StreamName string            `aws:"StreamName,required,min=1,max=128,pattern=name"`
	DryRun     bool              `aws:"DryRun,omitempty"`
	Limit      *int64            `aws:"Limit,min=1,max=10000"`
	Long       int64             `aws:"Long,long,omitempty"`
	When       *Time             `aws:"When"`
	Type       string            `aws:"Type,enum=A|B,omitempty"`
	Tags       map[string]string `aws:"Tags,min=1,max=3,key.min=1,key.max=8,value.min=0,value.max=8,omitempty"`
	TagKeys    []string          `aws:"TagKeys,min=1,max=3,each.min=1,each.max=8,omitempty"`
	Metrics    []string          `aws:"Metrics,each.enum=X|Y,omitempty"`
	Start      *startPosition    `aws:"StartingPosition"`
}

// Member gives the places of an entry, as those of the service's own inputs do.
func (e *entry) Member(i int) any {
	switch i {
	case 0:
		return &e.Data
	case 1:
		return &e.PartitionKey
	}
	return &e.HashKey
}

// Member gives the places of an input, a list of another type among them.
func (p *putInput) Member(i int) any {
	return [...]any{
		ListAt(&p.Records), &p.StreamName, &p.DryRun, &p.Limit, &p.Long, &p.When,
		&p.Type, &p.Tags, &p.TagKeys, &p.Metrics, &p.Start,
	}[i]
}

type startPosition struct {
	Type string `aws:"Type,required,enum=A|B"`
	Time Time   `aws:"Timestamp"`
}

const (
	target     = "Kinesis_20131202"
	putTarget  = target + ".PutRecords"
	listTarget = target + ".ListStreams"
)

func mustNew(t testing.TB, s Service) *Handler {
	t.Helper()
	s.Target = target
	s.Patterns = map[string]string{"name": `[a-zA-Z0-9_.-]+`, "hash": `0|([1-9]\d{0,38})`}
	h, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustCompile(t testing.TB, v any) *shape {
	t.Helper()
	s, err := mustNew(t, Service{}).compile(reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// echo answers with its input.
func echo() Operation {
	return Op("PutRecords", func(_ context.Context, _ *Call, in *putInput) (*putInput, error) { return in, nil })
}

func post(h http.Handler, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/any/path", strings.NewReader(body))
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// appendJSON and appendCBOR write a struct as an answer is written, in small
// pieces.
func appendJSON(b []byte, s *shape, p any) []byte { return filled(draft{}, b, s, p) }

func appendCBOR(b []byte, s *shape, p any) []byte { return filled(draft{cbor: true}, b, s, p) }

func filled(d draft, b []byte, s *shape, p any) []byte {
	text := d.append(nil, s, p)
	before := len(b)
	_ = d.fill(make([]byte, 0, 1003), text, func(piece []byte) error {
		b = append(b, piece...)
		return nil
	})
	if len(b)-before != len(text)+d.extra {
		panic("the length of an answer is not what was announced")
	}
	return b
}

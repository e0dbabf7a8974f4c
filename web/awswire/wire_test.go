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

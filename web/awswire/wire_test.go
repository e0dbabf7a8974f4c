package awswire

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type entry struct {
	Data         []byte  `aws:"Data,required,max=1048576"`
	PartitionKey string  `aws:"PartitionKey,required,min=1,max=256"`
	HashKey      *string `aws:"ExplicitHashKey,pattern=hash"`
}

type putInput struct {
	Records    []entry           `aws:"Records,required,min=1,max=500,shown=com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310"`
	StreamName string            `aws:"StreamName,required,min=1,max=128,pattern=name"`
	DryRun     bool              `aws:"DryRun"`
	Limit      *int64            `aws:"Limit,min=1,max=10000"`
	Long       int64             `aws:"Long,long"`
	When       *Time             `aws:"When"`
	Type       string            `aws:"Type,enum=A|B"`
	Tags       map[string]string `aws:"Tags,min=1,max=3,key.min=1,key.max=8,value.min=0,value.max=8"`
	TagKeys    []string          `aws:"TagKeys,min=1,max=3,each.min=1,each.max=8"`
	Metrics    []string          `aws:"Metrics,each.enum=X|Y"`
	Start      *startPosition    `aws:"StartingPosition"`
}

type startPosition struct {
	Type string `aws:"Type,required,enum=A|B"`
	Time Time   `aws:"Timestamp"`
}

func patterns() map[string]string {
	return map[string]string{"name": `[a-zA-Z0-9_.-]+`, "hash": `0|([1-9]\d{0,38})`}
}

func mustNew(t testing.TB, s Service) *Handler {
	t.Helper()
	s.Target, s.Patterns = "Kinesis_20131202", patterns()
	h, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func post(h http.Handler, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", target)
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPut(t *testing.T) {
	h := mustNew(t, Service{Operations: []Operation{
		Op("PutRecords", func(_ context.Context, _ *Call, in *putInput) (*putInput, error) { return in, nil }),
	}})
	w := post(h, "Kinesis_20131202.PutRecords", jsonType, `{"StreamName":"s","Records":[{"Data":"AAEC","PartitionKey":"\u00e4\ud83d\ude00"}],"When":1700000000.125,"Limit":1e2,"Unknown":{"a":[1,null]}}`)
	want := `{"Records":[{"Data":"AAEC","PartitionKey":"ä😀"}],"StreamName":"s","DryRun":false,"Limit":100,"Long":0,"When":1700000000.125,"Type":"","Tags":{},"TagKeys":[],"Metrics":[]}`
	if w.Code != 200 || w.Body.String() != want {
		t.Fatalf("%d %s %v", w.Code, w.Body, w.Header())
	}
}

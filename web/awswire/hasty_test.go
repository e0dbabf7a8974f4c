package awswire

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestHoldBack has a row for each kind of client and answer: one is held back.
func TestHoldBack(t *testing.T) {
	h := mustNew(t, Service{Operations: []Operation{echo()}})
	const sdk = "aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26 api/kinesis#1.56.11"
	for _, c := range []struct {
		name, agent string
		proto, size int
		held        bool
	}{
		{"the SDK", sdk, 1, fitsWhole + 1000, true},
		{"a small answer", sdk, 1, 100, false},
		{"HTTP/2", sdk, 2, fitsWhole + 1000, false},
		{"another SDK", "Boto3/1.43.67", 1, fitsWhole + 1000, false},
	} {
		least := time.Hour
		for range 5 { // The machine may be busy once, not five times.
			body := `{"StreamName":"a","Records":[{"PartitionKey":"k","Data":"` + strings.Repeat("AAAA", c.size/4) + `"}]}`
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.ProtoMajor = c.proto
			r.Header.Set("User-Agent", c.agent)
			r.Header.Set("X-Amz-Target", putTarget)
			r.Header.Set("Content-Type", jsonType)
			w := httptest.NewRecorder()
			began := time.Now()
			h.ServeHTTP(w, r)
			least = min(least, time.Since(began))
			if w.Code != http.StatusOK {
				t.Fatalf("%s: %d %s", c.name, w.Code, w.Body)
			}
		}
		if held := least >= lookTime; held != c.held {
			t.Errorf("%s: answered after %v", c.name, least)
		}
	}
}

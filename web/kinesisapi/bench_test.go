package kinesisapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// sink is an answer that keeps only its status and length.
type sink struct {
	header http.Header
	status int
	bytes  int
}

func (s *sink) Header() http.Header { return s.header }

func (s *sink) WriteHeader(status int) { s.status = status }

func (s *sink) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	s.bytes += len(b)
	return len(b), nil
}

func onDisk(s *setup) { s.fs = vfs.OS{} }

// request sends one request through the handler, without a network.
func (r *rig) request(b *testing.B, op string, body []byte) *sink {
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	req.Header["Content-Type"] = []string{"application/x-amz-json-1.1"}
	req.Header["X-Amz-Target"] = []string{Target + "." + op}
	req.Header["X-Amz-Date"] = []string{"20261123T000000Z"}
	req.Header["Authorization"] = []string{"AWS4-HMAC-SHA256 Credential=a/20261123/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=b"}
	w := &sink{header: http.Header{}}
	r.h.ServeHTTP(w, req)
	if w.status != http.StatusOK {
		b.Fatalf("%s: %d", op, w.status)
	}
	return w
}

func batchBody(n, size int) []byte {
	data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xAB}, size))
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"Data":%q,"PartitionKey":"key-%06d"}`, data, i))
	}
	return []byte(`{"StreamName":"s","Records":[` + strings.Join(list, ",") + `]}`)
}

// BenchmarkPutRecords is a request of 500 records of 1 KiB, from its JSON to its
// answer when all are durable on disk.
func BenchmarkPutRecords(b *testing.B) {
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			r := newRig(b, onDisk)
			r.made("s", 8)
			body := batchBody(500, 1<<10)
			b.SetBytes(500 << 10)
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					r.request(b, "PutRecords", body)
				}
			})
			b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkPutRecord is a request of one record of 1 KiB.
func BenchmarkPutRecord(b *testing.B) {
	r := newRig(b, onDisk)
	r.made("s", 8)
	body := []byte(`{"StreamName":"s","PartitionKey":"key","Data":"` + base64.StdEncoding.EncodeToString(make([]byte, 1<<10)) + `"}`)
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r.request(b, "PutRecord", body)
		}
	})
}

// BenchmarkGetRecords reads 10,000 records of 1 KiB, which are in memory.
func BenchmarkGetRecords(b *testing.B) {
	r := newRig(b)
	r.made("s", 1)
	body := batchBody(500, 1<<10)
	for range 20 {
		r.request(b, "PutRecords", body)
	}
	ask, err := json.Marshal(map[string]string{"ShardIterator": r.iterator("s", 0, "TRIM_HORIZON")})
	must(b, err)
	b.SetBytes(10000 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if w := r.request(b, "GetRecords", ask); w.bytes < 10<<20 {
			b.Fatalf("%d bytes", w.bytes)
		}
	}
}

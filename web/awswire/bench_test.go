package awswire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// plainEntry and plainPut are entry and putInput as encoding/json reads them.
type plainEntry struct {
	Data            []byte
	PartitionKey    string
	ExplicitHashKey *string
}

type plainPut struct {
	Records    []plainEntry
	StreamName string
}

type record struct {
	SequenceNumber string `aws:"SequenceNumber" json:"SequenceNumber"`
	Arrival        Time   `aws:"ApproximateArrivalTimestamp" json:"ApproximateArrivalTimestamp"`
	Data           []byte `aws:"Data" json:"Data"`
	PartitionKey   string `aws:"PartitionKey" json:"PartitionKey"`
	EncryptionType string `aws:"EncryptionType,omitempty" json:"EncryptionType,omitempty"`
}

type records struct {
	Records            []record `aws:"Records" json:"Records"`
	NextShardIterator  *string  `aws:"NextShardIterator" json:"NextShardIterator"`
	MillisBehindLatest int64    `aws:"MillisBehindLatest,long" json:"MillisBehindLatest"`
}

func randomBytes(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// samplePut is a PutRecords of n records.
func samplePut(n, size int) plainPut {
	p := plainPut{StreamName: "frames"}
	data := randomBytes(size)
	for i := range n {
		p.Records = append(p.Records, plainEntry{Data: data, PartitionKey: fmt.Sprintf("camera-%d", i)})
	}
	return p
}

func sampleRecords(n, size int) *records {
	out := &records{MillisBehindLatest: 17}
	data := randomBytes(size)
	for i := range n {
		out.Records = append(out.Records, record{
			SequenceNumber: "49590338271490256608559692538361571095921575989136588898",
			Arrival:        At(time.UnixMilli(1700000000000 + int64(i))), Data: data, PartitionKey: fmt.Sprintf("camera-%d", i),
		})
	}
	return out
}

func BenchmarkDecodePutRecords(b *testing.B) {
	for _, size := range []struct{ n, bytes int }{{1, 100}, {500, 100}, {500, 1024}, {10, 1 << 20}} {
		body, err := json.Marshal(samplePut(size.n, size.bytes))
		if err != nil {
			b.Fatal(err)
		}
		s := mustCompile(b, putInput{})
		var in putInput
		if _, err := decodeJSON(s, body, &in, nil); err != nil {
			b.Fatal(err)
		}
		cbor := appendCBOR(nil, s, &in)
		run := func(name string, body []byte, f func() error) {
			b.Run(fmt.Sprintf("%dx%d/%s", size.n, size.bytes, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		var home memory
		decoded := func(body []byte, decode decoder) error {
			var in putInput
			taken, err := decode(s, body, &in, &home)
			if err == nil && validate(s, &in, taken) != nil {
				err = errSyntax
			}
			home.put(taken.blobs)
			return err
		}
		run("json", body, func() error { return decoded(body, decodeJSON) })
		run("cbor", cbor, func() error { return decoded(cbor, decodeCBOR) })
		run("encoding-json", body, func() error {
			var in plainPut
			return json.Unmarshal(body, &in)
		})
	}
}

func BenchmarkEncodeGetRecords(b *testing.B) {
	for _, size := range []struct{ n, bytes int }{{1, 100}, {10000, 100}, {500, 1024}, {10, 1 << 20}} {
		out := sampleRecords(size.n, size.bytes)
		s := mustCompile(b, out)
		v := out
		run := func(name string, f func() int) {
			b.Run(fmt.Sprintf("%dx%d/%s", size.n, size.bytes, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(f()))
				for b.Loop() {
					f()
				}
			})
		}
		var buf []byte
		piece := make([]byte, 0, writePiece)
		var home memory
		encode := func(cbor bool) int {
			d := home.draft(cbor)
			defer home.putDraft(d)
			buf = d.append(buf[:0], s, v)
			_ = d.fill(piece, buf, func([]byte) error { return nil })
			return len(buf) + d.extra
		}
		run("json", func() int { return encode(false) })
		run("cbor", func() int { return encode(true) })
		run("encoding-json", func() int {
			j, err := json.Marshal(out)
			if err != nil {
				b.Fatal(err)
			}
			return len(j)
		})
	}
}

// BenchmarkValidate has records with an ExplicitHashKey, whose pattern takes
// longest.
func BenchmarkValidate(b *testing.B) {
	in := &putInput{StreamName: "frames"}
	key := "340282366920938463463374607431768211455"
	for range 500 {
		in.Records = append(in.Records, entry{Data: []byte{1}, PartitionKey: "camera-1", HashKey: &key})
	}
	s := mustCompile(b, in)
	b.ReportAllocs()
	for b.Loop() {
		if e := validate(s, in, &intake{}); e != nil {
			b.Fatal(e)
		}
	}
}

// BenchmarkServe is a whole PutRecords of 500 x 1 KiB through the handler,
// without a network.
func BenchmarkServe(b *testing.B) {
	body, err := json.Marshal(samplePut(500, 1024))
	if err != nil {
		b.Fatal(err)
	}
	type result struct {
		Records []putEntry `aws:"Records"`
	}
	h := mustNew(b, Service{Operations: []Operation{Op("PutRecords", func(_ context.Context, _ *Call, in *putInput) (*result, error) {
		return &result{Records: make([]putEntry, len(in.Records))}, nil
	})}})
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("X-Amz-Target", putTarget)
		r.Header.Set("Content-Type", jsonType)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

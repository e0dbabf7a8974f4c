package kinesisapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/datastream/segment"
)

const account = "123456789012"

// rig is the API over a real engine, store and log, on files in memory.
type rig struct {
	t      testing.TB
	engine *datastream.Engine
	meta   journal.Meta
	h      *Handler
	url    string
	sdk    *kinesis.Client
	close  func()
}

// setup is what a test may change of a rig.
type setup struct {
	fs     vfs.FS
	engine datastream.Options
	api    Options
}

func newRig(t testing.TB, change ...func(*setup)) *rig {
	t.Helper()
	s := &setup{fs: vfs.NewMemory(), api: Options{Account: account}}
	for _, f := range change {
		f(s)
	}
	r := &rig{t: t}
	r.open(s)
	server := httptest.NewServer(r.h)
	r.url = server.URL
	r.sdk = client(server.URL)
	var closed atomic.Bool
	r.close = func() {
		if closed.CompareAndSwap(false, true) {
			server.CloseClientConnections()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			must(t, r.engine.Close(ctx)) // first: it ends subscriptions
			server.Close()
		}
	}
	t.Cleanup(r.close)
	return r
}

// open stacks the parts up; a cleanup takes lane and store down.
func (r *rig) open(s *setup) {
	r.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	dir := "/data"
	if _, real := s.fs.(vfs.OS); real {
		dir = r.t.TempDir()
	}
	meta, err := wal.OpenMeta(filepath.Join(dir, "streams"), wal.Options{FS: s.fs, MaxFileBytes: 1 << 20, ReserveBytes: -1})
	must(r.t, err)
	lane, err := wal.Open(filepath.Join(dir, "records"), wal.Options{FS: s.fs, MaxFileBytes: 16 << 20, ReserveBytes: -1})
	must(r.t, err)
	var engine atomic.Pointer[datastream.Engine]
	store, err := segment.Open(context.Background(), segment.Options{
		Lane: lane, Meta: meta, FS: s.fs, Dir: filepath.Join(dir, "segments"), Logger: quiet, ScrubEvery: -1,
		Keep: func(stream uint64) (time.Duration, bool) {
			if e := engine.Load(); e != nil {
				return e.Keep(stream)
			}
			return 24 * time.Hour, true
		},
	})
	must(r.t, err)
	s.engine.Log, s.engine.Meta, s.engine.Logger = store, meta, quiet
	r.engine, err = datastream.Open(context.Background(), s.engine)
	must(r.t, err)
	engine.Store(r.engine)
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(r.t, store.Close(ctx))
		must(r.t, lane.Close())
		must(r.t, meta.Close())
	})
	s.api.Engine, s.api.Meta, s.api.Log, s.api.Limits = r.engine, meta, quiet, s.engine.Limits
	r.meta = meta
	r.h, err = New(context.Background(), s.api)
	must(r.t, err)
}

// client is the AWS SDK as a user sets it up, but without its retries.
func client(url string) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region:       DefaultRegion,
		BaseEndpoint: aws.String(url),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret-of-the-example", ""),
		Retryer:      aws.NopRetryer{},
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what one request got.
type answer struct {
	status int
	code   string // of an error
	text   string // of an error
	body   map[string]any
	raw    string
}

// try sends a raw JSON request.
func (r *rig) try(op, body string) answer {
	r.t.Helper()
	return r.send(op, "application/x-amz-json-1.1", []byte(body))
}

func (r *rig) send(op, contentType string, body []byte) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+"/", bytes.NewReader(body))
	must(r.t, err)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Amz-Target", Target+"."+op)
	req.Header.Set("X-Amz-Date", "20261123T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20261123/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=b")
	res, err := http.DefaultClient.Do(req)
	must(r.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	must(r.t, err)
	a := answer{status: res.StatusCode, raw: string(raw)}
	if strings.Contains(contentType, "json") && len(raw) > 0 {
		must(r.t, json.Unmarshal(raw, &a.body))
		a.code, _ = a.body["__type"].(string)
		a.text, _ = a.body["message"].(string)
	}
	return a
}

// do sends a raw request that has to succeed.
func (r *rig) do(op, body string) map[string]any {
	r.t.Helper()
	a := r.try(op, body)
	if a.status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", op, body, a.status, a.raw)
	}
	return a.body
}

func arnOf(stream string) string {
	return "arn:aws:kinesis:us-east-1:" + account + ":stream/" + stream
}

// dig walks a decoded answer: names, and numbers of list members.
func dig(t testing.TB, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch k := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: no object at %v in %v", path, p, v)
			}
			v = m[k]
		case int:
			l, ok := v.([]any)
			if !ok || k >= len(l) {
				t.Fatalf("%v: no list at %v in %v", path, p, v)
			}
			v = l[k]
		}
	}
	return v
}

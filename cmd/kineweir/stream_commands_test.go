package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/sigv4"
	"github.com/kineweir/kineweir/web/socket"
)

// oneShard is a stream "yard" of one shard in memory.
type oneShard struct {
	mu      sync.Mutex
	made    bool
	making  int // looks at the stream that do not find it yet
	records []datastream.Record
	changed chan struct{}
	hot     int // puts to refuse as too fast
}

func (e *oneShard) there(name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.making > 0 && e.made {
		e.making--
		name = "that is being made"
	}
	if name != "yard" || !e.made {
		return &datastream.Error{Kind: datastream.ErrNotFound, Message: "Stream " + name + " under account 000000000000 not found."}
	}
	return nil
}

func (e *oneShard) Stream(name string) (datastream.Stream, error) {
	return datastream.Stream{Name: name, ID: 1}, e.there(name)
}

func (e *oneShard) Shards(name string, _ datastream.ShardFilter) ([]datastream.Shard, error) {
	return []datastream.Shard{{Parent: datastream.NoShard, AdjacentParent: datastream.NoShard}}, e.there(name)
}

func (e *oneShard) Seek(name string, _ uint32, s datastream.Start) (c datastream.Cursor, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.Stream = 1
	if s.From == datastream.Latest {
		c.Next.Frame = uint64(len(e.records)) + 1
	}
	return c, nil
}

func (e *oneShard) Read(_ context.Context, name string, c datastream.Cursor, limit, _ int) (b datastream.Batch, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	from := max(1, c.Next.Frame) - 1
	b.Records = e.records[from:min(uint64(len(e.records)), from+uint64(limit))]
	b.Next = c
	b.Next.Next.Frame = from + uint64(len(b.Records)) + 1
	return b, nil
}

func (e *oneShard) Wait(ctx context.Context, _ string, c datastream.Cursor) error {
	for {
		e.mu.Lock()
		n, changed := len(e.records), e.changed
		e.mu.Unlock()
		if max(1, c.Next.Frame) <= uint64(n) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (e *oneShard) Put(_ context.Context, name string, puts []datastream.Put, _ datastream.PutOptions) ([]datastream.PutResult, error) {
	if err := e.there(name); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	results := make([]datastream.PutResult, len(puts))
	for i, p := range puts {
		if i%2 == 0 && e.hot > 0 {
			e.hot--
			results[i].Err = &datastream.Error{Kind: datastream.ErrThrottled, Message: "Rate exceeded"}
			continue
		}
		n := datastream.SequenceNumber{Index: datastream.IndexOf(journal.Position{Frame: uint64(len(e.records)) + 1})}
		e.records = append(e.records, datastream.Record{Sequence: n, PartitionKey: p.PartitionKey, Data: p.Data, Arrived: time.UnixMilli(1795413600123)})
		results[i].Sequence = n
	}
	close(e.changed)
	e.changed = make(chan struct{})
	return results, nil
}

// keyed lets in who has the key of the tests.
type keyed struct{}

func (keyed) Stream(r *http.Request, a ingest.Action, _ fragments.StreamName) error {
	if _, p, _ := r.BasicAuth(); p == "the-secret-of-tests" || r.Header.Get("Authorization") == "Bearer the-secret-of-tests" {
		return nil
	}
	return &web.Error{Status: 401, Code: "sign_in", Message: "this needs the right to " + string(a) + " stream yard"}
}

// streamServer serves the stream; cut cuts all connections.
type streamServer struct {
	*httptest.Server
	engine *oneShard
	region string // of signatures; "" is any

	mu    sync.Mutex
	conns []net.Conn
}

func (s *streamServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func newStreamServer(t *testing.T) *streamServer {
	e := &oneShard{made: true, changed: make(chan struct{})}
	h, err := socket.New(socket.Options{Engine: e, Access: keyed{}, Log: slog.New(slog.DiscardHandler), Patience: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s := &streamServer{engine: e}
	mux := http.NewServeMux()
	for _, r := range h.Routes() {
		mux.Handle(r.Pattern, r.Handler)
	}
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, refused := sigv4.Verify(r, body, sigv4.Options{Service: "kinesis", Region: s.region, Secret: func(k string) (string, bool) { return "the-secret-of-tests", k == "KWTEST" }})
		if refused == nil && r.Header.Get("X-Amz-Target") == "Kinesis_20131202.CreateStream" {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.made {
				refused = &sigv4.Error{Code: "ResourceInUseException", Status: 400}
			}
			e.made = true
		}
		if refused != nil {
			w.WriteHeader(refused.Status)
			_ = json.NewEncoder(w).Encode(map[string]string{"__type": refused.Code, "message": refused.Message})
		}
	})
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conns = append(s.conns, c)
		}
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s
}

// runCommand runs a command line against the server and returns what it prints.
func (s *streamServer) runCommand(ctx context.Context, args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	c := console{out: &o, err: &e, env: func() []string { return []string{keyVariable + "=the-secret-of-tests"} }}
	code = run(ctx, append(args, "--server", s.URL), c)
	return o.String(), e.String(), code
}

func TestPutCommand(t *testing.T) {
	s := newStreamServer(t)
	out, errs, code := s.runCommand(t.Context(), "put", "yard", "hello", "\xff", "--partition-key", "k")
	if code != 0 || errs != "" || strings.Count(out, "shardId-000000000000 ") != 2 {
		t.Fatalf("%q %q %d", out, errs, code)
	}
	r := s.engine.records
	if len(r) != 2 || string(r[0].Data) != "hello" || string(r[1].Data) != "\xff" || r[0].PartitionKey != "k" {
		t.Errorf("put %+v", r)
	}
	for _, c := range []struct{ args, want string }{
		{"put gate x", `kineweir: Stream gate under account 000000000000 not found.; kineweir put --create makes it`},
		{"put yard x --key wrong", "this needs the right to publish stream yard; give a key with --key or in KINEWEIR_KEY"},
		{"put yard x --create", "give it as --key ID:SECRET"},
		{"put yard x --create --key KWOTHER:the-secret-of-tests", "The security token included in the request is invalid. (UnrecognizedClientException)"},
		{"put yard " + strings.Repeat("k", 5) + " --partition-key " + strings.Repeat("k", 257), "its key has more than 256 characters"},
	} {
		if out, errs, code := s.runCommand(t.Context(), strings.Fields(c.args)...); code != 1 || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%.60s: %q %q %d", c.args, out, errs, code)
		}
	}
	s.region = "eu-west-1"
	if _, errs, code := s.runCommand(t.Context(), "put", "yard", "x", "--create", "--key", "KWTEST:the-secret-of-tests"); code != 1 || !strings.Contains(errs, "another region than us-east-1; set KINEWEIR_AWS_REGION to its aws.region") {
		t.Errorf("another region: %q %d", errs, code)
	}
	s.region = "us-east-1"
	s.engine.made, s.engine.making = false, 60
	for range 2 { // the second finds it made
		s.engine.making += 3
		if out, errs, code := s.runCommand(t.Context(), "put", "yard", "x", "--quiet", "--create", "--key", "KWTEST:the-secret-of-tests"); code != 0 || out+errs != "" {
			t.Errorf("create: %q %q %d", out, errs, code)
		}
	}
}

// TestPutLines puts many lines, some of them too fast at first.
func TestPutLines(t *testing.T) {
	s := newStreamServer(t)
	s.engine.hot = 4
	var in bytes.Buffer
	const n = 3000
	for i := range n {
		fmt.Fprintf(&in, "line %d\n", i)
	}
	var out bytes.Buffer
	p := &putting{remote: &remote{server: s.URL, key: "the-secret-of-tests"}, stream: "yard", out: &out}
	if err := p.run(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range s.engine.records {
		seen[string(r.Data)] = true
	}
	if len(s.engine.records) != n || len(seen) != n || strings.Count(out.String(), "\n") != n || s.engine.hot != 0 {
		t.Errorf("%d records, %d different, %d lines", len(s.engine.records), len(seen), strings.Count(out.String(), "\n"))
	}
	if err := p.run(t.Context(), strings.NewReader(strings.Repeat("x", maxPutLine+1))); err == nil || !strings.Contains(err.Error(), "longer than 10 MiB") {
		t.Errorf("a long line: %v", err)
	}
}

// TestPutRegion signs for the region of the environment.
func TestPutRegion(t *testing.T) {
	r := remote{server: "http://127.0.0.1:1"}
	if err := r.check(nil); err != nil || r.region != "us-east-1" {
		t.Errorf("the default is %q (%v)", r.region, err)
	}
	if err := r.check([]string{"KINEWEIR_AWS_REGION=eu-west-1"}); err != nil || r.region != "eu-west-1" {
		t.Errorf("the environment is not asked: %q (%v)", r.region, err)
	}
}

// TestRemoteWithoutAnswer sees that what is wrong with HTTPS is told from a
// server that is not there.
func TestRemoteWithoutAnswer(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	defer secure.Close()
	open := httptest.NewServer(http.NotFoundHandler())
	defer open.Close()
	for _, c := range []struct{ name, server, want string }{
		{"a certificate of its own", secure.URL, "is not trusted: x509: certificate signed by unknown authority; a server that made its own keeps it in its data folder: set SSL_CERT_FILE"},
		{"HTTPS without it", "http" + strings.TrimPrefix(secure.URL, "https"), "speaks HTTPS; write --server https://"},
		{"HTTPS where there is none", "https" + strings.TrimPrefix(open.URL, "http"), "does not speak HTTPS; write --server http://"},
		{"another server", open.URL, "is no kineweir"},
	} {
		for _, args := range [][]string{{"tail", "yard"}, {"put", "yard", "x"}, {"put", "yard", "x", "--create"}} {
			var o, e bytes.Buffer
			code := run(t.Context(), append(args, "--server", c.server), console{out: &o, err: &e, env: func() []string { return nil }})
			if code != 1 || !strings.Contains(e.String(), c.want) || strings.Contains(e.String(), "start one") {
				t.Errorf("%s: %v: %d %s", c.name, args, code, e.String())
			}
		}
	}
}

func TestTailCommand(t *testing.T) {
	s := newStreamServer(t)
	for _, d := range []string{`{"a": 1}`, "two\nlines\n", "\x00"} {
		if _, err := s.engine.Put(t.Context(), "yard", []datastream.Put{{PartitionKey: "cam\x1b[2J", Data: []byte(d)}}, datastream.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	seq := s.engine.records[0].Sequence.String()
	const at = "2026-11-23T06:00:00.123Z"
	for _, c := range []struct{ args, want string }{
		{"--limit 3", at + `  0  "cam\x1b[2J"  {"a":1}` + "\n" + at + `  0  "cam\x1b[2J"  "two\nlines"` + "\n" + at + `  0  "cam\x1b[2J"  base64:AA==` + "\n"},
		{"--raw --limit 3", "{\"a\": 1}\ntwo\nlines\n\x00\n"},
		{"--json --limit 1", `{"shard":"shardId-000000000000","sequence":"` + seq + `","key":"cam\u001b[2J","arrived":"` + at + `","json":{"a":1}}` + "\n"},
		{"--limit 1 --shard 0 --raw", "{\"a\": 1}\n"},
	} {
		out, errs, code := s.runCommand(t.Context(), append([]string{"tail", "yard", "--from", "trim_horizon"}, strings.Fields(c.args)...)...)
		if code != 0 || errs != "" || out != c.want {
			t.Errorf("%s: %d %q\n%s\nwant\n%s", c.args, code, errs, out, c.want)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"tail gate", "Stream gate under account 000000000000 not found."},
		{"tail yard --from yesterday", "use latest, trim_horizon"},
		{"tail yard --shard 7", "the stream has no shard shardId-000000000007"},
		{"tail yard --key wrong", "give a key with --key or in KINEWEIR_KEY"},
	} {
		if _, errs, code := s.runCommand(t.Context(), strings.Fields(c.args)...); code != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d %q", c.args, code, errs)
		}
	}
	s.Close()
	if _, errs, code := s.runCommand(t.Context(), "tail", "yard"); code != 1 || !strings.Contains(errs, `start one with "kineweir serve"`) {
		t.Errorf("no server: %d %q", code, errs)
	}
}

// TestTailGoesOn cuts the connection again and again.
func TestTailGoesOn(t *testing.T) {
	const n = 400
	for _, raw := range []bool{true, false} {
		s := newStreamServer(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		go func() {
			for i := range n {
				_, _ = s.engine.Put(ctx, "yard", []datastream.Put{{PartitionKey: "k", Data: []byte(strconv.Itoa(i))}}, datastream.PutOptions{})
				if i%40 == 0 {
					time.Sleep(20 * time.Millisecond)
					s.cut()
				}
			}
		}()
		r, w := io.Pipe()
		var notes bytes.Buffer
		tl := &tailing{remote: &remote{server: s.URL, key: "the-secret-of-tests"}, stream: "yard", from: "trim_horizon", raw: raw, limit: n, notes: &notes, wait: func(int) time.Duration { return time.Millisecond }}
		tl.out = bufio.NewWriter(&cutter{w: w, cut: s.cut})
		done := make(chan error, 1)
		go func() { done <- tl.run(ctx); w.Close() }()
		text, _ := io.ReadAll(r)
		if err := <-done; err != nil {
			t.Fatalf("%v\n%s", err, notes.String())
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		for i, l := range lines {
			if !strings.HasSuffix(" "+l, " "+strconv.Itoa(i)) {
				t.Fatalf("line %d is %q\n%s", i, l, notes.String())
			}
		}
		if len(lines) != n || !strings.Contains(notes.String(), "trying again") {
			t.Errorf("%d lines, notes %q", len(lines), notes.String())
		}
	}
}

// cutter cuts connections while lines are written.
type cutter struct {
	w   io.Writer
	n   int
	cut func()
}

func (c *cutter) Write(b []byte) (int, error) {
	if c.n++; c.n <= 3 {
		c.cut()
	}
	return c.w.Write(b)
}

// TestTailEnds stops when it is told to.
func TestTailEnds(t *testing.T) {
	s := newStreamServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if out, errs, code := s.runCommand(ctx, "tail", "yard"); code != 0 || out+errs != "" {
		t.Errorf("%d %q %q", code, out, errs)
	}
}

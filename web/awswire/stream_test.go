package awswire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type shardEvent struct {
	Records      []record `aws:"Records"`
	Continuation *string  `aws:"ContinuationSequenceNumber"`
	Behind       int64    `aws:"MillisBehindLatest,long"`
}

type sendFunc = func(event string, payload any) error

func subscribe(f func(ctx context.Context, send sendFunc) error) Operation {
	return StreamOp("SubscribeToShard", func(ctx context.Context, _ *Call, _ *struct{}, send func(string, any) error) error {
		return f(ctx, send)
	}, shardEvent{})
}

const subscribeTarget = target + ".SubscribeToShard"

func streamRequest(t *testing.T, ctx context.Context, url, contentType string) *http.Request {
	t.Helper()
	body := "{}"
	if contentType == cborType {
		body = "\xa0"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", subscribeTarget)
	r.Header.Set("Content-Type", contentType)
	return r
}

// TestStreamAnswers has a row for each way that a stream can go.
func TestStreamAnswers(t *testing.T) {
	one := shardEvent{Behind: 5}
	type message struct{ kind, name, content, payload string }
	const (
		event   = `{"Records":[],"MillisBehindLatest":5}`
		content = "application/json"
	)
	initial := message{"event", InitialResponse, content, "{}"}
	for _, c := range []struct {
		name   string
		f      func(context.Context, sendFunc) error
		status int
		error  string // body of an ordinary answer
		want   []message
	}{
		{"nothing", func(context.Context, sendFunc) error { return nil }, 200, "", []message{initial}},
		{"one", func(_ context.Context, send sendFunc) error { return send("E", &one) }, 200, "", []message{initial, {"event", "E", content, event}}},
		{"early begin", func(_ context.Context, send sendFunc) error {
			return errors.Join(send(InitialResponse, nil), send("E", one), send("E", one))
		}, 200, "", []message{initial, {"event", "E", content, event}, {"event", "E", content, event}}},
		{"refused", func(context.Context, sendFunc) error { return &Error{Code: "ResourceInUseException", Message: "m"} }, 400, `{"__type":"ResourceInUseException","message":"m"}`, nil},
		{"broken at first", func(context.Context, sendFunc) error { return errors.New("x") }, 500, `{"__type":"InternalFailure"}`, nil},
		{"panic at first", func(context.Context, sendFunc) error { panic("x") }, 500, `{"__type":"InternalFailure"}`, nil},
		{"taken over", func(_ context.Context, send sendFunc) error {
			_ = send("E", one)
			return fmt.Errorf("read: %w", &Error{Code: "ResourceInUseException", Message: "m"})
		}, 200, "", []message{initial, {"event", "E", content, event}, {"exception", "ResourceInUseException", content, `{"message":"m"}`}}},
		{"broken", func(_ context.Context, send sendFunc) error {
			_ = send(InitialResponse, nil)
			return errors.New("x")
		}, 200, "", []message{initial, {"exception", "InternalFailureException", content, `{}`}}},
		{"panic", func(_ context.Context, send sendFunc) error {
			_ = send("E", one)
			panic("x")
		}, 200, "", []message{initial, {"event", "E", content, event}, {"exception", "InternalFailureException", content, `{}`}}},
		{"no struct", func(_ context.Context, send sendFunc) error { return send("E", "text") }, 200, "", []message{initial, {"exception", "InternalFailureException", content, `{}`}}},
		{"nil", func(_ context.Context, send sendFunc) error { return send("E", nil) }, 200, "", []message{initial, {"exception", "InternalFailureException", content, `{}`}}},
		{"bad type", func(_ context.Context, send sendFunc) error { return send("E", struct{ A chan int }{}) }, 200, "", []message{initial, {"exception", "InternalFailureException", content, `{}`}}},
		{"too large", func(_ context.Context, send sendFunc) error {
			return send("E", shardEvent{Records: []record{{Data: make([]byte, MaxEventPayload)}}})
		}, 200, "", []message{initial, {"exception", "InternalFailureException", content, `{}`}}},
	} {
		h := mustNew(t, Service{Operations: []Operation{subscribe(c.f)}})
		w := post(h, subscribeTarget, jsonType, "{}")
		if w.Code != c.status {
			t.Errorf("%s: status %d", c.name, w.Code)
		}
		if c.error != "" {
			if w.Body.String() != c.error || w.Header().Get("Content-Type") != jsonType {
				t.Errorf("%s: %s", c.name, w.Body)
			}
			continue
		}
		if got := w.Header().Get("Content-Type"); got != streamType {
			t.Errorf("%s: content type %s", c.name, got)
		}
		var got []message
		for {
			e, err := ReadEvent(w.Body)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got = append(got, message{e.Get(":message-type"), e.Get(":event-type") + e.Get(":exception-type"), e.Get(":content-type"), string(e.Payload)})
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s:\n got %v\nwant %v", c.name, got, c.want)
		}
	}
}

// TestStreamCBOR answers a CBOR caller in kind.
func TestStreamCBOR(t *testing.T) {
	h := mustNew(t, Service{Operations: []Operation{subscribe(func(_ context.Context, send sendFunc) error {
		_ = send("E", shardEvent{Behind: 5})
		return &Error{Code: "ResourceInUseException", Message: "m"}
	})}})
	w := post(h, subscribeTarget, cborType, "\xa0")
	var payloads []string
	for {
		e, err := ReadEvent(w.Body)
		if err != nil {
			break
		}
		payloads = append(payloads, e.Get(":content-type")+fmt.Sprintf(" %x", e.Payload))
	}
	want := "application/cbor a0," +
		"application/cbor bf675265636f72647380724d696c6c6973426568696e644c617465737405ff," +
		"application/cbor a1676d657373616765616d"
	if got := strings.Join(payloads, ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestStreamFlushed reads each message before the next is made, over HTTP/1.1 and
// HTTP/2, and sees the operation's context end with the client.
func TestStreamFlushed(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		next, ended := make(chan struct{}), make(chan error, 1)
		h := mustNew(t, Service{Operations: []Operation{subscribe(func(ctx context.Context, send sendFunc) error {
			_ = send(InitialResponse, nil)
			for {
				select {
				case <-next:
					if err := send("E", shardEvent{}); err != nil {
						return err
					}
				case <-ctx.Done():
					ended <- ctx.Err()
					return ctx.Err()
				}
			}
		})}})
		server := httptest.NewUnstartedServer(h)
		server.EnableHTTP2 = proto == "HTTP/2.0"
		server.StartTLS()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		resp, err := server.Client().Do(streamRequest(t, ctx, server.URL, jsonType))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Proto != proto {
			t.Errorf("spoke %s, want %s", resp.Proto, proto)
		}
		if e, err := ReadEvent(resp.Body); err != nil || e.Get(":event-type") != InitialResponse {
			t.Fatalf("%s: %v %v", proto, err, e)
		}
		for range 3 {
			next <- struct{}{}
			if e, err := ReadEvent(resp.Body); err != nil || e.Get(":event-type") != "E" {
				t.Fatalf("%s: %v %v", proto, err, e)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", proto, err)
		}
		server.Close()
	}
}

// TestStreamSlow has a client that takes a little and then reads nothing: it is
// cut off, the operation's send fails, and little is kept for it.
func TestStreamSlow(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		var sent atomic.Int64
		failed, code := make(chan error, 1), make(chan string, 1)
		h := mustNew(t, Service{
			Stall:   300 * time.Millisecond,
			Observe: func(_, c string, _ time.Duration) { code <- c },
			Operations: []Operation{subscribe(func(_ context.Context, send sendFunc) error {
				big := shardEvent{Records: []record{{Data: make([]byte, 1<<20)}}}
				for {
					if err := send("E", &big); err != nil {
						failed <- err
						return err
					}
					sent.Add(1)
				}
			})},
		})
		server := httptest.NewUnstartedServer(h)
		server.EnableHTTP2 = proto == "HTTP/2.0"
		server.StartTLS()
		resp, err := server.Client().Do(streamRequest(t, t.Context(), server.URL, jsonType))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		select {
		case err := <-failed:
			if took := time.Since(began); sent.Load() > 30 || took < 200*time.Millisecond {
				t.Errorf("%s: %d messages in %v, then %v", proto, sent.Load(), took, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: a client that does not read is served for ever", proto)
		}
		if c := <-code; c != clientGone {
			t.Errorf("%s: observed %q", proto, c)
		}
		resp.Body.Close()
		server.CloseClientConnections()
		server.Close()
	}
}

// TestAnswerSlow has a client that does not read an ordinary answer.
func TestAnswerSlow(t *testing.T) {
	done := make(chan struct{})
	h := mustNew(t, Service{
		Stall:   300 * time.Millisecond,
		Observe: func(string, string, time.Duration) { close(done) },
		Operations: []Operation{Op("GetRecords", func(context.Context, *Call, *struct{}) (*records, error) {
			return sampleRecords(16, 1<<20), nil
		})},
	})
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: %s.GetRecords\r\nContent-Type: %s\r\nContent-Length: 2\r\n\r\n{}", target, jsonType)
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("a client that does not read is waited for")
	}
}

// TestKeepAlive sends requests over one connection with pauses longer than the
// deadline of an answer: no deadline may outlive its answer.
func TestKeepAlive(t *testing.T) {
	h := mustNew(t, Service{Operations: []Operation{echo()}, Stall: 100 * time.Millisecond})
	server := httptest.NewServer(h)
	defer server.Close()
	var conns atomic.Int32
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conns.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}}
	for range 3 {
		r, err := http.NewRequest(http.MethodPost, server.URL, bytes.NewReader([]byte(`{"StreamName":"a","Records":[{"Data":"","PartitionKey":"k"}]}`)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", putTarget)
		r.Header.Set("Content-Type", jsonType)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			t.Errorf("%d %v", resp.StatusCode, err)
		}
		resp.Body.Close()
		time.Sleep(200 * time.Millisecond)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

package socket

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// rights is the Access of tests: the Bearer names what its holder may do.
type rights struct {
	mu      sync.Mutex
	revoked bool
	asked   []*http.Request
}

func (a *rights) Stream(r *http.Request, action ingest.Action, name fragments.StreamName) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r)
	proof := r.Header.Get("Authorization") + " " + r.URL.Query().Get("token")
	if c, err := r.Cookie("session"); err == nil {
		proof += " " + c.Value
	}
	if a.revoked || !strings.Contains(proof, string(action)) {
		return &web.Error{Status: http.StatusForbidden, Code: "forbidden", Message: "this needs the right to " + string(action) + " stream " + string(name)}
	}
	return nil
}

const everything = "Bearer view publish"

type server struct {
	*Handler
	engine *fakeEngine
	rights *rights
	http   *httptest.Server
}

func newServer(t testing.TB, e *fakeEngine, set ...func(*Options)) *server {
	t.Helper()
	a := &rights{}
	o := Options{Engine: e, Access: a, Log: slog.New(slog.DiscardHandler)}
	for _, f := range set {
		f(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range h.Routes() {
		mux.Handle(r.Pattern, r.Handler)
	}
	s := &server{h, e, a, httptest.NewServer(mux)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		s.http.Close()
	})
	return s
}

// client is a WebSocket client that reads what the server sends.
type client struct {
	t      testing.TB
	ws     *websocket.Conn
	binary [][]byte // since the last text message
}

// dial connects, or returns the answer that refuses.
func (s *server) dial(query string, header http.Header) (*websocket.Conn, *http.Response, error) {
	u := strings.Replace(s.http.URL, "http", "ws", 1) + "/ws/streams/yard"
	if query != "" {
		u += "?" + query
	}
	if header == nil {
		header = http.Header{"Authorization": {everything}}
	}
	return websocket.DefaultDialer.Dial(u, header)
}

func (s *server) open(t testing.TB, query string) *client {
	t.Helper()
	ws, answer, err := s.dial(query, nil)
	if err != nil {
		if answer != nil {
			var b [500]byte
			n, _ := answer.Body.Read(b[:])
			t.Fatalf("dial %q: %v: %s", query, err, b[:n])
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &client{t: t, ws: ws}
}

// got is any message of the server.
type got struct {
	Hello *struct {
		Stream string
		Shards []string
	}
	Records []gotRecord
	Resume  string
	Behind  int64 `json:"behind_ms"`
	Closed  *struct {
		Shard    string
		Children []string
	}
	Ack *struct {
		ID      json.RawMessage
		Records []struct {
			Shard, Sequence string
			Error           *toldError
		}
		Error *toldError
	}
	Error *toldError
}

type gotRecord struct {
	Shard, Sequence, Key, Arrived string
	JSON                          json.RawMessage
	Text                          *string
	Data                          []byte
}

// next returns the next text message; binary ones before it are kept.
func (c *client) next() (got, error) {
	c.t.Helper()
	c.binary = nil
	_ = c.ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		kind, b, err := c.ws.ReadMessage()
		if err != nil {
			return got{}, err
		}
		if kind == websocket.BinaryMessage {
			c.binary = append(c.binary, b)
			continue
		}
		var m got
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.DisallowUnknownFields()
		if err := d.Decode(&m); err != nil {
			c.t.Fatalf("%v in %s", err, b)
		}
		return m, nil
	}
}

func (c *client) must() got {
	c.t.Helper()
	m, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// records reads until n records have come.
func (c *client) records(n int) (list []gotRecord, last got) {
	c.t.Helper()
	for len(list) < n {
		last = c.must()
		if last.Error != nil {
			c.t.Fatalf("%+v after %d records", *last.Error, len(list))
		}
		list = append(list, last.Records...)
	}
	return list, last
}

func (c *client) say(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// end reads to the end and returns the error told and the close code.
func (c *client) end() (told string, code int) {
	c.t.Helper()
	for {
		m, err := c.next()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed):
			return told, closed.Code
		case err != nil:
			c.t.Fatal(err)
		case m.Error != nil:
			told = m.Error.Code
		}
	}
}

func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q.Encode()
}

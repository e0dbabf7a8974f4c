package socket

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kineweir/kineweir/datastream"
)

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestSlowReader has a client take nothing: it is dropped, what it has been
// told can still be read, and little was read for it in the meantime.
func TestSlowReader(t *testing.T) {
	e := newFake(1)
	const size, n = 10 << 10, 2000
	for i := range n {
		e.mustPut("k", strconv.Itoa(i)+strings.Repeat("x", size))
	}
	var log syncBuffer
	s := newServer(t, e, func(o *Options) {
		o.Window, o.Patience = 100<<10, time.Second
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	s.pace.bye = 100 * time.Millisecond
	c := s.open(t, "from=trim_horizon")
	began := time.Now()
	for !strings.Contains(log.String(), "slow_reader") {
		if time.Since(began) > 8*time.Second {
			t.Fatal("the reader is not dropped")
		}
		time.Sleep(10 * time.Millisecond)
	}
	e.do(func() {
		if most := 100<<10 + 2*batchBytes; e.read > most {
			t.Errorf("%d bytes were read for who takes nothing, with a window of %d", e.read, 100<<10)
		}
	})
	time.Sleep(300 * time.Millisecond) // it begins to read later than others have time to say goodbye
	var got int
	for {
		m, err := c.next()
		if err != nil {
			t.Fatalf("%v after %d records, before it was told", err, got)
		}
		got += len(m.Records)
		if m.Error != nil {
			if m.Error.Code != "slow_reader" || m.Error.Hint == "" {
				t.Errorf("told %+v", m.Error)
			}
			break
		}
	}
	if _, code := c.end(); code != 4408 {
		t.Errorf("closed with %d", code)
	}
	if got == 0 {
		t.Error("nothing came")
	}
}

// TestStuckReader cannot even be told: its connection takes no byte more.
func TestStuckReader(t *testing.T) {
	e := newFake(1)
	e.mustPut("k", strings.Repeat("x", 32<<20)) // more than any buffer on the way
	s := newServer(t, e, func(o *Options) { o.Patience = 200 * time.Millisecond })
	_ = s.open(t, "from=trim_horizon&format=raw")
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		n := len(s.conns)
		s.mu.Unlock()
		if n == 0 && time.Since(began) > 200*time.Millisecond {
			return
		}
		if time.Since(began) > 8*time.Second {
			t.Fatal("the reader is not dropped")
		}
	}
}

// TestLeisurelyReader takes a message now and then, and is waited for.
func TestLeisurelyReader(t *testing.T) {
	e := newFake(1)
	for i := range 60 {
		e.mustPut("k", strings.Repeat("x", 100<<10)+strconv.Itoa(i))
	}
	s := newServer(t, e, func(o *Options) { o.Window, o.Patience = 200<<10, time.Second })
	c := s.open(t, "from=trim_horizon")
	for n := 0; n < 60; {
		m := c.must()
		if m.Error != nil {
			t.Fatalf("dropped: %+v", *m.Error)
		}
		n += len(m.Records)
		time.Sleep(50 * time.Millisecond)
	}
}

func TestCredit(t *testing.T) {
	e := newFake(2)
	for i := range 30 {
		e.mustPut("k"+strconv.Itoa(i), strconv.Itoa(i))
	}
	s := newServer(t, e, func(o *Options) { o.Patience = 200 * time.Millisecond })
	c := s.open(t, "from=trim_horizon&credit=3")
	var list []gotRecord
	for i, want := range []int{3, 5, 22} {
		if i > 0 {
			c.say(`{"credit":` + strconv.Itoa(want) + `}`)
		}
		some, _ := c.records(want)
		list = append(list, some...)
		if len(some) != want {
			t.Fatalf("%d records for a credit of %d", len(some), want)
		}
		time.Sleep(250 * time.Millisecond) // longer than Patience: who gives no credit is not slow
		if i == 0 {
			e.do(func() {
				if e.read > 10 {
					t.Errorf("%d bytes were read without credit", e.read)
				}
			})
		}
	}
	checkOrder(t, list, 30)
}

func TestPut(t *testing.T) {
	e := newFake(1)
	s := newServer(t, e)
	c := s.open(t, "from=none")
	if hello := c.must(); hello.Hello == nil || hello.Resume != "" {
		t.Fatalf("hello is %+v", hello)
	}
	b64 := base64.StdEncoding.EncodeToString([]byte("\x00bin"))
	for _, m := range []struct{ say, want, kept string }{
		{`{"put":[{"key":"a","text":"hello"}],"id":7}`, "7 shardId-000000000000", "hello"},
		{`{"put":[{"key":"a","json":{"a": [1,2]} }],"id":"x"}`, `"x" shardId-000000000000`, `{"a": [1,2]}`},
		{`{"put":[{"key":"a","data":"` + b64 + `"}]}`, " shardId-000000000000", "\x00bin"},
		{`{"put":[{"key":"a","text":""}]}`, " shardId-000000000000", ""},
		{`{"put":[{"key":"a","hash":"12","text":"1"},{"key":"hot","text":"2"}],"id":null}`, "null shardId-000000000000 too_fast", "1"},
		{`{"put":[]}`, " bad_put", ""},
		{`{"put":[{"text":"no key"}]}`, " invalid", ""},
		{`{"put":[{"key":"a"}]}`, " bad_put", ""},
		{`{"put":[{"key":"a","text":"1","json":1}]}`, " bad_put", ""},
		{`{"put":[{"key":"a","text":"1","hash":"-1"}]}`, " bad_put", ""},
		{`{"put":[{"key":"` + strings.Repeat("k", 257) + `","text":"1"}]}`, " bad_put", ""},
		{`{"put":[` + strings.Repeat(`{"key":"a","text":"1"},`, 500) + `{"key":"a","text":"1"}]}`, " bad_put", ""},
		{`{"put":[{"key":"a","text":"` + strings.Repeat("x", 10<<20) + `"}]}`, " bad_put", ""},
		{`{"put":[{"key":"a","text":"` + strings.Repeat("x", 9<<20) + `"}]}`, " shardId-000000000000", strings.Repeat("x", 9<<20)},
	} {
		before := len(e.shards[0].records)
		c.say(m.say)
		a := c.must().Ack
		if a == nil {
			t.Fatalf("no ack for %.80s", m.say)
		}
		got := string(a.ID)
		for _, r := range a.Records {
			if r.Error != nil {
				got += " " + r.Error.Code
			} else if got += " " + r.Shard; r.Sequence == "" {
				t.Errorf("%.80s: no sequence", m.say)
			}
		}
		if a.Error != nil {
			got += " " + a.Error.Code
		}
		if got != m.want {
			t.Errorf("%.80s: %s, want %s (%+v)", m.say, got, m.want, a.Error)
		}
		kept := e.shards[0].records[before:]
		if strings.Contains(m.want, "shardId") != (len(kept) == 1) || len(kept) == 1 && string(kept[0].Data) != m.kept {
			t.Errorf("%.80s: kept %d records", m.say, len(kept))
		}
	}
	e.refuse = func(op string) error {
		if op == "Put" {
			return &datastream.Error{Kind: datastream.ErrUnavailable, Message: "the disk is full"}
		}
		return nil
	}
	c.say(`{"put":[{"key":"a","text":"1"}]}`)
	if a := c.must().Ack; a == nil || a.Error == nil || a.Error.Code != "unavailable" || a.Error.Message != "the disk is full" {
		t.Errorf("got %+v", a)
	}
}

// TestBadMessages ends connections with what is wrong.
func TestBadMessages(t *testing.T) {
	s := newServer(t, newFake(1))
	viewer := http.Header{"Authorization": {"Bearer view"}}
	for _, c := range []struct {
		kind   int
		say    string
		header http.Header
		told   string
		code   int
	}{
		{websocket.TextMessage, `{`, nil, "bad_message", 4400},
		{websocket.TextMessage, `{}`, nil, "bad_message", 4400},
		{websocket.TextMessage, `[]`, nil, "bad_message", 4400},
		{websocket.TextMessage, `{"put":[{"key":"a","text":"1","colour":"red"}]}`, nil, "bad_message", 4400},
		{websocket.TextMessage, `{"credit":5}`, nil, "bad_message", 4400},
		{websocket.TextMessage, `{"credit":-5}`, nil, "bad_message", 4400},
		{websocket.TextMessage, `{"credit":5} {}`, nil, "bad_message", 4400},
		{websocket.TextMessage, `{"put":[{"key":"a","text":"1"}],"id":"` + strings.Repeat("x", 300) + `"}`, nil, "bad_message", 4400},
		{websocket.BinaryMessage, `{"put":[]}`, nil, "bad_message", 4400},
		{websocket.TextMessage, strings.Repeat(" ", maxMessage+1), nil, "", websocket.CloseMessageTooBig},
		{websocket.TextMessage, strings.Repeat(" ", freeMessage+1), viewer, "too_large", 4413},
	} {
		ws, _, err := s.dial("", c.header)
		if err != nil {
			t.Fatal(err)
		}
		cl := &client{t: t, ws: ws}
		go func() { _ = ws.WriteMessage(c.kind, []byte(c.say)) }()
		if told, code := cl.end(); told != c.told || code != c.code {
			t.Errorf("%.60s: %q %d, want %q %d", c.say, told, code, c.told, c.code)
		}
		_ = ws.Close()
	}
}

// TestPutWithoutRight answers and goes on: reading is allowed.
func TestPutWithoutRight(t *testing.T) {
	e := newFake(1)
	s := newServer(t, e)
	ws, _, err := s.dial("", http.Header{"Authorization": {"Bearer view"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	c := &client{t: t, ws: ws}
	c.must()
	c.say(`{"put":[{"key":"a","text":"1"}]}`)
	if a := c.must().Ack; a == nil || a.Error == nil || a.Error.Code != "forbidden" {
		t.Errorf("got %+v", a)
	}
	if len(e.shards[0].records) != 0 {
		t.Error("it was put")
	}
}

func TestRevoked(t *testing.T) {
	s := newServer(t, newFake(1))
	s.pace.ask = 20 * time.Millisecond
	c := s.open(t, "")
	c.must()
	s.rights.mu.Lock()
	s.rights.revoked = true
	s.rights.mu.Unlock()
	if told, code := c.end(); told != "forbidden" || code != 4403 {
		t.Errorf("ended with %q %d", told, code)
	}
}

// TestStreamMadeAnew has the stream made anew just before a shard of it is opened:
// its reader must not go on with the other stream of that name.
func TestStreamMadeAnew(t *testing.T) {
	e := newFake(1)
	seeks := 0
	e.refuse = func(op string) error {
		if op == "Seek" {
			if seeks++; seeks == 2 { // the first was for the place to begin
				e.id = 8
			}
		}
		return nil
	}
	c := newServer(t, e).open(t, "")
	c.must()
	if told, code := c.end(); told != "no_such_stream" || code != 4404 {
		t.Errorf("ended with %q %d", told, code)
	}
}

func TestDeletedStream(t *testing.T) {
	for _, how := range []string{"gone", "made anew"} {
		e := newFake(2)
		s := newServer(t, e)
		c := s.open(t, "")
		hello := c.must()
		e.do(func() { e.gone, e.id = how == "gone", 8 })
		if told, code := c.end(); told != "no_such_stream" || code != 4404 {
			t.Errorf("%s: ended with %q %d", how, told, code)
		}
		_, answer, err := s.dial("resume="+hello.Resume, nil)
		if want := map[string]int{"gone": 404, "made anew": 410}[how]; err == nil || answer.StatusCode != want {
			t.Errorf("%s: resumed: %v", how, err)
		}
	}
}

// TestEngineTrouble: what passes is tried again, what does not ends.
func TestEngineTrouble(t *testing.T) {
	for _, c := range []struct {
		err  error
		told string
		code int
	}{
		{datastream.ErrThrottled, "", 0},
		{datastream.ErrUnavailable, "unavailable", 4503},
		{fmt.Errorf("disk /dev/sda1 is broken"), "internal", 4500},
	} {
		e := newFake(1)
		s := newServer(t, e)
		cl := s.open(t, "")
		cl.must()
		var failures atomic.Int32
		e.do(func() {
			e.refuse = func(op string) error {
				if op == "Read" && failures.Add(1) <= 2 {
					return c.err
				}
				return nil
			}
		})
		e.mustPut("k", "1")
		if c.told == "" {
			cl.records(1)
			continue
		}
		if told, code := cl.end(); told != c.told || code != c.code {
			t.Errorf("%v: ended with %q %d", c.err, told, code)
		}
	}
}

// TestSilentClient answers no ping: it is gone.
func TestSilentClient(t *testing.T) {
	s := newServer(t, newFake(1))
	s.pace.ping, s.pace.gone = 20*time.Millisecond, 200*time.Millisecond
	quiet := s.open(t, "")
	quiet.ws.SetPingHandler(func(string) error { return nil })
	alive := s.open(t, "")
	go func() {
		for {
			if _, _, err := quiet.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	alive.must()
	began := time.Now()
	go func() {
		time.Sleep(600 * time.Millisecond)
		s.engine.mustPut("k", "1")
	}()
	alive.records(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) != 1 {
		t.Errorf("%d connections after %v, of which one is silent", len(s.conns), time.Since(began))
	}
}

func TestClose(t *testing.T) {
	e := newFake(2)
	s := newServer(t, e)
	c, stuck := s.open(t, ""), s.open(t, "from=none")
	c.must()
	e.slow = 300 * time.Millisecond
	stuck.say(`{"put":[{"key":"a","text":"1"}]}`)
	time.Sleep(50 * time.Millisecond)
	done := make(chan error)
	go func() { done <- s.Handler.Close(context.Background()) }()
	if told, code := c.end(); told != "" || code != websocket.CloseGoingAway {
		t.Errorf("ended with %q %d", told, code)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(e.shards[0].records)+len(e.shards[1].records) != 1 || e.putting != 0 {
		t.Error("a put under way was not waited for")
	}
	if _, answer, err := s.dial("", nil); err == nil || answer.StatusCode != 503 {
		t.Errorf("a new client: %v", err)
	}
}

// TestCloseInTime cuts off who does not end in time.
func TestCloseInTime(t *testing.T) {
	s := newServer(t, newFake(1))
	u := strings.TrimPrefix(s.http.URL, "http://")
	raw, err := net.Dial("tcp", u) // never answers a close frame
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	fmt.Fprintf(raw, "GET /ws/streams/yard HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", u, everything)
	for {
		s.mu.Lock()
		n := len(s.conns)
		s.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := s.Handler.Close(ctx); err == nil || time.Since(began) > time.Second {
		t.Errorf("Close = %v after %v", err, time.Since(began))
	}
}

// TestCrowd has 100 clients come and go, in every way, several times.
func TestCrowd(t *testing.T) {
	e := newFake(4)
	s := newServer(t, e)
	before := runtime.NumGoroutine()
	for round := range 3 {
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				c := s.open(t, []string{"", "from=trim_horizon", "from=none", "shard=1", "credit=2"}[i%5])
				c.must()
				if i%2 == 0 {
					c.say(`{"put":[{"key":"` + strconv.Itoa(i) + `","text":"x"}]}`)
				}
				if i%3 == 0 {
					_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
				}
				_ = c.ws.Close()
			})
		}
		wg.Wait()
		if round == 1 {
			e.split(0)
		}
	}
	after := 0
	for range 500 {
		http.DefaultClient.CloseIdleConnections()
		s.mu.Lock()
		left := len(s.conns)
		s.mu.Unlock()
		if after = runtime.NumGoroutine(); after <= before+2 && left == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if after > before+2 {
		buf := make([]byte, 1<<20)
		t.Fatalf("%d goroutines before, %d after\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) != 0 || s.opening != 0 || len(s.large) != 0 {
		t.Errorf("%d connections, %d counted, %d large messages", len(s.conns), s.opening, len(s.large))
	}
}

package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// logBuffer is a log that tests read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func serve(t *testing.T, o Options) (base string, s *Server) {
	t.Helper()
	if o.Addrs == nil {
		o.Addrs = []string{"127.0.0.1:0"}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Close(ctx)
	})
	return "http://" + s.Addrs()[0].String(), s
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

func do(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestAnswers(t *testing.T) {
	base, _ := serve(t, Options{Routes: []Route{
		{"GET /api/thing/{name}", API, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			WriteJSON(w, 200, map[string]string{"name": r.PathValue("name")})
		})},
		{"PUT /api/thing/{name}", API, text("put")},
		{"GET /api/known", API, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			WriteError(w, fmt.Errorf("look: %w", &Error{Status: 409, Code: "busy", Message: "it is busy", Hint: "wait", Err: errors.New("secret")}))
		})},
		{"GET /api/unknown", API, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			WriteError(w, errors.New("open /var/secret"))
		})},
		{"GET /dir/", Page, text("dir")},
	}})
	for _, c := range []struct {
		method, path string
		status       int
		body         string
		header       string // name=value
	}{
		{"GET", "/api/thing/a", 200, `{"name":"a"}`, "Cache-Control=no-store"},
		{"HEAD", "/api/thing/a", 200, ``, "Content-Type=application/json; charset=utf-8"},
		{"DELETE", "/api/thing/a", 405, `{"error":{"code":"method_not_allowed","message":"DELETE is not possible here","hint":"use GET, HEAD, PUT"}}`, "Allow=GET, HEAD, PUT"},
		{"GET", "/api/nothing", 404, `{"error":{"code":"not_found","message":"there is nothing at this path","hint":"the console is at /, the API under /api/, live video at /hls/<stream>/live.m3u8"}}`, ""},
		{"HEAD", "/dir", 307, ``, "Location=/dir/"},
		{"GET", "/api/known", 409, `{"error":{"code":"busy","message":"it is busy","hint":"wait"}}`, ""},
		{"GET", "/api/unknown", 500, `{"error":{"code":"internal","message":"something failed inside the server","hint":"the server's log says what"}}`, ""},
	} {
		res, body := do(t, c.method, base+c.path)
		if res.StatusCode != c.status || strings.TrimSpace(body) != c.body {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, res.StatusCode, body, c.status, c.body)
		}
		if name, want, ok := strings.Cut(c.header, "="); ok && res.Header.Get(name) != want {
			t.Errorf("%s %s: %s = %q, want %q", c.method, c.path, name, res.Header.Get(name), want)
		}
	}
}

func TestPanicHurtsOnlyItsClient(t *testing.T) {
	var log logBuffer
	base, s := serve(t, Options{Log: log.logger(), Routes: []Route{
		{"GET /early", API, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("early trouble") })},
		{"GET /late", Media, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic("late trouble")
		})},
		{"GET /fine", API, text("fine")},
	}})
	res, body := do(t, "GET", base+"/early?token=hush")
	if res.StatusCode != 500 || !strings.Contains(body, `"internal"`) {
		t.Errorf("early panic: %d %s", res.StatusCode, body)
	}
	res, err := http.Get(base + "/late")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("late panic: body %q read without an error, as if it were whole", b)
	}
	_ = res.Body.Close()
	if _, body := do(t, "GET", base+"/fine"); body != "fine" {
		t.Errorf("after panics: %q", body)
	}
	if st := s.Stats(); st.Panics != 2 || st.InFlight != 0 || st.Answered != [5]uint64{0, 2, 0, 0, 1} || st.Bytes == 0 {
		t.Errorf("stats = %+v", st)
	}
	for _, want := range []string{"early trouble", "late trouble", "server_test.go", "status=500"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q", want)
		}
	}
	if strings.Contains(log.String(), "hush") {
		t.Error("log holds a token")
	}
}

func TestLogHoldsNoSecret(t *testing.T) {
	var log logBuffer
	base, _ := serve(t, Options{Log: log.logger(), Routes: []Route{
		{"GET /hls/{path...}", Media, text("ok")},
		{"POST /api/x", API, text("ok")},
	}})
	do(t, "GET", base+"/hls/cam/live.m3u8?start=5&token=SECRET1&end=6&SECRET2", "Authorization", "Bearer SECRET3", "Cookie", "kineweir_session=SECRET4")
	do(t, "POST", base+"/api/x?Token=SECRET5&start="+strings.Repeat("SECRET6", 20))
	got := log.String()
	for i := 1; i <= 6; i++ {
		// SECRET2 is a bare key; keys are shown.
		if secret := fmt.Sprintf("SECRET%d", i); i != 2 && strings.Contains(got, secret) {
			t.Errorf("log holds %s: %s", secret, got)
		}
	}
	for _, want := range []string{"start=5&token=...&end=6", "method=GET", "method=POST", "status=200", "level=DEBUG", "level=INFO"} {
		if !strings.Contains(got, want) {
			t.Errorf("log lacks %q: %s", want, got)
		}
	}
}

func TestBusyPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	_, err = New(Options{Addrs: []string{free.Addr().String(), l.Addr().String()}, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "--http") {
		t.Fatalf("error = %v, want the address and a hint", err)
	}
	again, err := net.Listen("tcp", free.Addr().String())
	if err != nil {
		t.Fatalf("the other address was left open: %v", err)
	}
	_ = again.Close()
}

func TestCloseLetsRequestsFinish(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	base, s := serve(t, Options{Routes: []Route{
		{"GET /slow", Media, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			_, _ = io.WriteString(w, "whole")
		})},
	}})
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get(base + "/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		answer <- string(b)
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- s.Close(context.Background()) }()
	for {
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			break // no longer listening
		}
		_ = c.Close()
		time.Sleep(time.Millisecond)
	}
	close(leave)
	if got := <-answer; got != "whole" {
		t.Errorf("answer = %q", got)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestCloseEndsWaitersAndCutsTheRest(t *testing.T) {
	entered := make(chan struct{}, 2)
	stuck := make(chan struct{})
	base, s := serve(t, Options{Routes: []Route{
		{"GET /wait", Media, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			entered <- struct{}{}
			<-r.Context().Done() // a live playlist that waits for the next part
		})},
		{"GET /stuck", Media, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			entered <- struct{}{}
			<-stuck
		})},
	}})
	defer close(stuck)
	for _, p := range []string{"/wait", "/stuck"} {
		go func() {
			if res, err := http.Get(base + p); err == nil {
				_ = res.Body.Close()
			}
		}()
	}
	<-entered
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close = %v, want a deadline that passed", err)
	}
}

func TestCloseEndsWaitersInTime(t *testing.T) {
	entered := make(chan struct{})
	base, s := serve(t, Options{Routes: []Route{
		{"GET /wait", Media, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		})},
	}})
	s.drain = 50 * time.Millisecond
	go func() {
		if res, err := http.Get(base + "/wait"); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestHealth(t *testing.T) {
	var down error
	block := make(chan struct{})
	defer close(block)
	h := newHealth([]Check{
		{"rtsp 127.0.0.1:8554", func(context.Context) error { return down }},
		{"archive", func(context.Context) error { return nil }},
	})
	get := func(remote string) (int, healthBody) {
		h.found = nil
		w := newRecorder()
		r, _ := http.NewRequest("GET", "/healthz", nil)
		r.RemoteAddr = remote
		h.ServeHTTP(w, r)
		var b healthBody
		if err := json.Unmarshal(w.body.Bytes(), &b); err != nil {
			t.Fatal(err)
		}
		return w.status, b
	}
	if status, b := get("127.0.0.1:5"); status != 200 || b.Status != "ok" || !slices.Equal(b.Up, []string{"archive", "rtsp 127.0.0.1:8554"}) || len(b.Down) != 0 {
		t.Errorf("all up: %d %+v", status, b)
	}
	down = errors.New("accept 10.0.0.7: too many open files")
	status, b := get("127.0.0.1:5")
	if status != 503 || b.Status != "down" || !slices.Equal(b.Down, []string{"rtsp 127.0.0.1:8554"}) || !slices.Equal(b.Up, []string{"archive"}) {
		t.Errorf("one down: %d %+v", status, b)
	}
	if b.Errors["rtsp 127.0.0.1:8554"] != down.Error() {
		t.Errorf("on loopback the reason is told, got %v", b.Errors)
	}
	if _, b := get("192.0.2.1:5"); len(b.Errors) != 0 {
		t.Errorf("from elsewhere the reason is not told, got %v", b.Errors)
	}
}

func TestHealthCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		defer close(block)
		h := newHealth([]Check{{"hung", func(context.Context) error { <-block; return nil }}})
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a client that has gone decides nothing
		began := time.Now()
		if f := h.run(ctx); f[0].err == nil || time.Since(began) != checkTimeout {
			t.Errorf("first: %v after %s, want no answer after %s", f[0].err, time.Since(began), checkTimeout)
		}
		time.Sleep(time.Second)
		began = time.Now()
		if f := h.run(t.Context()); f[0].err == nil || time.Since(began) != 0 {
			t.Errorf("second: %v after %s, want an error at once", f[0].err, time.Since(began))
		}
	})
}

func TestHealthSeesADeadListener(t *testing.T) {
	base, s := serve(t, Options{Addrs: []string{"127.0.0.1:0", "127.0.0.1:0"}})
	if res, body := do(t, "GET", base+"/healthz"); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if len(s.Addrs()) != 2 {
		t.Fatalf("addrs = %v", s.Addrs())
	}
	var l listenerState
	if err := l.check(context.Background()); err != nil {
		t.Errorf("running listener: %v", err)
	}
	l.ended(net.ErrClosed)
	if err := l.check(context.Background()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended listener: %v", err)
	}
}

// recorder is a ResponseWriter without a connection.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder                         { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header              { return r.header }
func (r *recorder) WriteHeader(status int)           { r.status = status }
func (r *recorder) Write(b []byte) (int, error)      { return r.body.Write(b) }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

func TestAnswerCopiesFilesInChunks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "media")
	data := bytes.Repeat([]byte("0123456789abcdef"), 3*chunk/16+5)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{0, 1, chunk - 1, chunk, chunk + 1, int64(len(data)), int64(len(data)) + 100} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		rec := newRecorder()
		a := newAnswer(rec)
		got, err := io.CopyN(a, f, n)
		want := min(n, int64(len(data)))
		if got != want || (err == nil) != (n <= int64(len(data))) || !bytes.Equal(rec.body.Bytes(), data[:want]) || a.bytes != want {
			t.Errorf("copy %d: %d bytes, counted %d, %v", n, got, a.bytes, err)
		}
		_ = f.Close()
	}
}

func TestStalledClientIsGivenUp(t *testing.T) {
	deadlines := &deadlineRecorder{recorder: newRecorder()}
	a := newAnswer(deadlines)
	now := time.Unix(1000, 0)
	a.now = func() time.Time { return now }
	for range 3 {
		_, _ = a.Write([]byte("x"))
	}
	now = now.Add(90 * time.Second) // the client was slow, but took it all
	_, _ = a.Write([]byte("x"))
	want := []time.Time{time.Unix(1000, 0).Add(stall), time.Unix(1090, 0).Add(stall)}
	if !slices.EqualFunc(deadlines.set, want, time.Time.Equal) {
		t.Errorf("deadlines = %v, want %v", deadlines.set, want)
	}
}

type deadlineRecorder struct {
	*recorder
	set []time.Time
}

func (d *deadlineRecorder) SetWriteDeadline(t time.Time) error { d.set = append(d.set, t); return nil }

func TestReadJSON(t *testing.T) {
	type body struct {
		A int `json:"a"`
	}
	for _, c := range []struct {
		in     string
		status int
		says   string
	}{
		{`{"a":1}`, 0, ""},
		{`{"a":1} `, 0, ""},
		{``, 400, "empty"},
		{`{"a":1,"b":2}`, 400, `unknown field "b"`},
		{`{"a":"x"}`, 400, "expected here: a cannot be a string"},
		{`{"a":[1]}`, 400, "expected here: a cannot be an array"},
		{`{"a":1.5}`, 400, "expected here: a cannot be a number 1.5"},
		{`{"a":true}`, 400, "expected here: a cannot be true or false"},
		{`[1]`, 400, "expected here: it is an array, and should be an object"},
		{`{"a":1}{"a":2}`, 400, "more than one"},
		{`{"a":` + strings.Repeat(" ", maxBody) + `1}`, 413, "larger"},
	} {
		r, _ := http.NewRequest("PUT", "/", strings.NewReader(c.in))
		var b body
		err := ReadJSON(newRecorder(), r, &b)
		var e *Error
		if c.status == 0 {
			if err != nil || b.A != 1 {
				t.Errorf("%.20s: %v %+v", c.in, err, b)
			}
		} else if !errors.As(err, &e) || e.Status != c.status || !strings.Contains(e.Message, c.says) {
			t.Errorf("%.20s: %v, want %d %q", c.in, err, c.status, c.says)
		}
	}
}

// TestHTTP2WithoutTLS asks as an SDK does that speaks HTTP/2 from its first byte.
func TestHTTP2WithoutTLS(t *testing.T) {
	base, _ := serve(t, Options{Routes: []Route{{"GET /proto", API, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})}}})
	for _, tc := range []struct {
		want string
		set  func(*http.Protocols)
	}{
		{"HTTP/1.1", func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"HTTP/2.0", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
	} {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tc.set(tr.Protocols)
		resp, err := (&http.Client{Transport: tr}).Get(base + "/proto")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		tr.CloseIdleConnections()
		if err != nil || string(body) != tc.want {
			t.Errorf("got %q (%v), want %s", body, err, tc.want)
		}
	}
}

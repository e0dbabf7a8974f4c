package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// request makes a request; each option adds a proof.
func request(target string, options ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	for _, o := range options {
		o(r)
	}
	return r
}

func basic(user, key string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, key) }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func withToken(token string) func(*http.Request) {
	return func(r *http.Request) { r.URL.RawQuery = url.Values{"token": {token}}.Encode() }
}

func status(err error) int {
	var e *web.Error
	if err == nil {
		return 200
	}
	if !errors.As(err, &e) {
		return 500
	}
	return e.Status
}

func TestHTTPProofs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // wrong guesses are answered late
		s := sampleStore(t, sample)
		for _, c := range []struct {
			name   string
			proof  func(*http.Request)
			user   int // status
			view   int // of front-door
			lobby  int
			admin  int
			metric int
		}{
			{"nothing", func(*http.Request) {}, 200, 401, 200, 401, 401},
			{"password", basic("family", "family-password"), 200, 200, 403, 403, 403},
			{"key as password", basic("family", "family-secret-01"), 200, 200, 403, 403, 403},
			{"key id", basic("KWFAMILY", "family-secret-01"), 200, 200, 403, 403, 403},
			{"bearer", header("Authorization", "Bearer family-secret-01"), 200, 200, 403, 403, 403},
			{"bearer, lower case", header("Authorization", "bearer family-secret-01"), 200, 200, 403, 403, 403},
			{"admin", basic("admin", "admin-secret-0002"), 200, 200, 200, 200, 200},
			{"metrics", header("Authorization", "Bearer prom-secret-00001"), 200, 403, 403, 403, 200},
			{"wrong password", basic("family", "wrong"), 401, 401, 401, 401, 401},
			{"password of another", basic("cam", "family-password"), 401, 401, 401, 401, 401},
			{"no such user", basic("eve", "family-password"), 401, 401, 401, 401, 401},
			{"password as bearer", header("Authorization", "Bearer family-password"), 401, 401, 401, 401, 401},
			{"empty bearer", header("Authorization", "Bearer "), 401, 401, 401, 401, 401},
			{"unreadable basic", header("Authorization", "Basic !!"), 401, 401, 401, 401, 401},
			{"unknown scheme", header("Authorization", "Digest x"), 401, 401, 401, 401, 401},
			{"rubbish token", withToken("rubbish"), 401, 401, 401, 401, 401},
			{"rubbish cookie", func(r *http.Request) { c := s.cookie(r); c.Value = "rubbish"; r.AddCookie(c) }, 200, 401, 200, 401, 401},
		} {
			time.Sleep(time.Hour) // credit for guesses
			synctest.Wait()
			_, err := s.User(request("/", c.proof))
			got := []int{
				status(err), status(s.Stream(request("/", c.proof), ingest.View, "front-door")), status(s.Stream(request("/", c.proof), ingest.View, "lobby")),
				status(s.Admin(request("/", c.proof))), status(s.Metrics(request("/", c.proof))),
			}
			want := []int{c.user, c.view, c.lobby, c.admin, c.metric}
			for i, what := range []string{"user", "view front-door", "view lobby", "admin", "metrics"} {
				if got[i] != want[i] {
					t.Errorf("%s: %s = %d, want %d", c.name, what, got[i], want[i])
				}
			}
		}
	})
}

func TestChallenge(t *testing.T) {
	s := sampleStore(t, sample)
	for name, c := range map[string]struct {
		r    *http.Request
		want string
	}{
		"player":  {request("/hls/front-door/live.m3u8"), `Basic realm="kineweir", charset="UTF-8"`},
		"console": {request("/api/streams", header(ConsoleHeader, "1")), `Bearer realm="kineweir"`},
	} {
		w := httptest.NewRecorder()
		_, err := s.Viewer(c.r, "front-door", time.Time{}, time.Time{})
		web.WriteError(w, err)
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") != c.want {
			t.Errorf("%s: %d %q, want %q", name, w.Code, w.Header().Get("WWW-Authenticate"), c.want)
		}
	}
}

func TestViewer(t *testing.T) {
	s := sampleStore(t, sample)
	never := time.Time{}
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	end := start.Add(time.Minute)
	family := basic("family", "family-password")

	live, err := s.Viewer(request("/", family), "front-door", never, never)
	if err != nil || live == "" {
		t.Fatalf("live: %q %v", live, err)
	}
	if again, _ := s.Viewer(request("/", family), "front-door", never, never); again != live {
		t.Error("the token changes between two loads of a playlist")
	}
	past, err := s.Viewer(request("/", family), "front-door", start, end)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		proof      func(*http.Request)
		stream     fragments.StreamName
		start, end time.Time
		status     int
		token      string
	}{
		{"the live token", withToken(live), "front-door", never, never, 200, live},
		{"the live token as bearer", header("Authorization", "Bearer "+live), "front-door", never, never, 200, live},
		{"the live token for a range", withToken(live), "front-door", start, end, 200, live},
		{"the live token elsewhere", withToken(live), "back-door", never, never, 403, ""},
		{"the past token", withToken(past), "front-door", start, end, 200, past},
		{"the past token, live", withToken(past), "front-door", never, never, 403, ""},
		{"the past token, more", withToken(past), "front-door", start, end.Add(time.Hour), 403, ""},
		{"no right", basic("cam", "cam-password"), "front-door", never, never, 403, ""},
		{"anonymous", func(*http.Request) {}, "front-door", never, never, 401, ""},
		{"anonymous where it may", func(*http.Request) {}, "lobby", never, never, 200, ""},
	} {
		token, err := s.Viewer(request("/", c.proof), c.stream, c.start, c.end)
		if status(err) != c.status || token != c.token {
			t.Errorf("%s: %d %q (%v), want %d %q", c.name, status(err), token, err, c.status, c.token)
		}
	}
	root, err := s.Viewer(request("/", basic("admin", "admin-secret-0001")), "front-door", never, never)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{live, root} {
		r := request("/", withToken(token))
		if a, m := status(s.Admin(r)), status(s.Metrics(r)); a != 403 || m != 403 {
			t.Errorf("a token opens the API (%d) or the metrics (%d)", a, m)
		}
	}
	if err := s.tokens.RevokeUser("family"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Viewer(request("/", withToken(live)), "front-door", never, never); status(err) != 401 {
		t.Errorf("revoked: %v", err)
	}
}

func TestOpenStoreLetsEverybodyIn(t *testing.T) {
	s, _, err := Prepare(Options{DataDir: t.TempDir(), Addrs: []string{"127.0.0.1:1"}, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, r := range []*http.Request{request("/"), request("/", basic("who", "ever")), request("/", withToken("old"))} {
		token, err := s.Viewer(r, "x", time.Time{}, time.Time{})
		if err != nil || token != "" {
			t.Errorf("viewer: %q %v", token, err)
		}
		if err := errors.Join(s.Admin(r), s.Metrics(r), s.Stream(r, ingest.Publish, "x")); err != nil {
			t.Error(err)
		}
	}
}

func TestGrantingAndRevoking(t *testing.T) {
	s := sampleStore(t, sample)
	family := basic("family", "family-password")
	g := Grant{Stream: "front-door", Actions: ActView}
	token, issued, err := s.Grant(request("/", family), g, time.Minute)
	if err != nil || issued.User != "family" || time.Until(issued.Expires) > time.Minute {
		t.Fatalf("%+v %v", issued, err)
	}
	for _, c := range []struct {
		name   string
		proof  func(*http.Request)
		g      Grant
		life   time.Duration
		status int
	}{
		{"another stream", family, Grant{Stream: "yard-2", Actions: ActView}, 0, 403},
		{"another right", family, Grant{Stream: "front-door", Actions: ActView | ActPublish}, 0, 403},
		{"from a token", withToken(token), g, 0, 403},
		{"anonymous", func(*http.Request) {}, g, 0, 401},
		{"too long", family, g, MaxTokenLife + 1, 400},
		{"negative", family, g, -1, 400},
		{"publish", basic("cam", "cam-password"), Grant{Stream: "front-door", Actions: ActPublish}, 0, 200},
		{"admin", basic("admin", "admin-secret-0001"), Grant{Stream: "any", Actions: ActView | ActPublish}, MaxTokenLife, 200},
	} {
		if _, _, err := s.Grant(request("/", c.proof), c.g, c.life); status(err) != c.status {
			t.Errorf("%s: %v, want %d", c.name, err, c.status)
		}
	}
	for _, c := range []struct {
		name   string
		proof  func(*http.Request)
		token  string
		status int
	}{
		{"of another", basic("cam", "cam-password"), token, 403},
		{"anonymous", func(*http.Request) {}, token, 401},
		{"itself", withToken(token), token, 403},
		{"rubbish", family, "rubbish", 400},
		{"own", family, token, 200},
		{"again", family, token, 200},
	} {
		if err := s.Revoke(request("/", c.proof), c.token); status(err) != c.status {
			t.Errorf("revoke, %s: %v, want %d", c.name, err, c.status)
		}
	}
	if _, err := s.tokens.Check(token); !errors.Is(err, ErrRevokedToken) {
		t.Errorf("after revoking: %v", err)
	}
	for _, c := range []struct {
		name   string
		proof  func(*http.Request)
		user   string
		status int
	}{
		{"another", family, "cam", 403},
		{"nobody's", func(*http.Request) {}, "", 401},
		{"own", family, "family", 200},
		{"by admin", basic("admin", "admin-secret-0001"), "cam", 200},
		{"unknown", basic("admin", "admin-secret-0001"), "nobody", 200},
	} {
		if err := s.RevokeUser(request("/", c.proof), c.user); status(err) != c.status {
			t.Errorf("revoke user, %s: %v, want %d", c.name, err, c.status)
		}
	}
}

// serveSession calls the route of method and returns the answer.
func serveSession(t *testing.T, s *Store, method, body string, options ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "/api/session", strings.NewReader(body))
	for _, o := range options {
		o(r)
	}
	w := httptest.NewRecorder()
	for _, route := range s.Routes() {
		if strings.HasPrefix(route.Pattern, method+" ") {
			route.Handler.ServeHTTP(w, r)
			return w
		}
	}
	t.Fatalf("no route for %s", method)
	return nil
}

func TestSession(t *testing.T) {
	s := sampleStore(t, sample)
	w := serveSession(t, s, "POST", `{"user":"family","key":"family-password"}`)
	cookies := w.Result().Cookies()
	if w.Code != 200 || len(cookies) != 1 {
		t.Fatalf("%d %s %v", w.Code, w.Body, cookies)
	}
	c := cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.MaxAge <= 0 || c.Path != "/" {
		t.Errorf("cookie = %+v", c)
	}
	signedIn := func(r *http.Request) { r.AddCookie(c) }
	var who sessionBody
	w = serveSession(t, s, "GET", "", signedIn)
	if err := json.Unmarshal(w.Body.Bytes(), &who); err != nil || who != (sessionBody{SignedIn: true, User: "family", Anonymous: true}) {
		t.Errorf("who: %+v %v", who, err)
	}
	if err := s.Stream(request("/", signedIn), ingest.View, "front-door"); err != nil {
		t.Error(err)
	}
	if _, err := s.Viewer(request("/?token=expired", signedIn), "front-door", time.Time{}, time.Time{}); err != nil {
		t.Errorf("a console left open outlives the token in its URL: %v", err)
	}
	if status(s.Stream(request("/", withToken(c.Value)), ingest.View, "front-door")) != 401 {
		t.Error("the session is accepted in a URL")
	}
	if w := serveSession(t, s, "DELETE", "", signedIn); w.Code != 204 || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign out: %d %v", w.Code, w.Result().Cookies())
	}
	if status(s.Stream(request("/", signedIn), ingest.View, "front-door")) != 401 {
		t.Error("the cookie is good after signing out")
	}
	w = serveSession(t, s, "GET", "")
	if err := json.Unmarshal(w.Body.Bytes(), &who); err != nil || who != (sessionBody{Anonymous: true}) {
		t.Errorf("who: %+v %v", who, err)
	}
	overTLS := serveSession(t, s, "POST", `{"user":"admin","key":"admin-secret-0001"}`, func(r *http.Request) {
		*r = *httptest.NewRequest("POST", "https://cams.example.org/api/session", r.Body)
	})
	if c := overTLS.Result().Cookies(); len(c) != 1 || !c[0].Secure {
		t.Errorf("over TLS: %v", c)
	}
}

func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sampleStore(t, sample)
		from := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
		try := func(addr, key string) int {
			_, err := s.User(request("/", basic("family", key), from(addr)))
			return status(err)
		}
		if got := try("192.0.2.1:1000", "family-password"); got != 200 {
			t.Fatal(got)
		}
		for i := range guessCredit {
			began := time.Now()
			if got := try("192.0.2.1:1000", "guess"); got != 401 || time.Since(began) != guessDelay {
				t.Fatalf("guess %d: %d after %s, want 401 after %s", i, got, time.Since(began), guessDelay)
			}
		}
		w := serveSession(t, s, "POST", `{"user":"family","key":"family-secret-01"}`, from("192.0.2.1:2000"))
		if w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Errorf("credit used up, another way in: %d %v", w.Code, w.Header())
		}
		if got := try("192.0.2.1:1000", "family-password"); got != 200 {
			t.Errorf("what was right before: %d", got)
		}
		if got := try("192.0.2.2:1000", "family-secret-01"); got != 200 {
			t.Errorf("another address: %d", got)
		}
		time.Sleep(guessRefill)
		if got := try("192.0.2.1:1000", "family-secret-01"); got != 200 {
			t.Errorf("after a while: %d", got)
		}
		time.Sleep(guessRefill * guessCredit)
		if _, err := s.User(request("/", basic("KWFAMILY", "family-secret-01"), from("192.0.2.1:9"))); err != nil {
			t.Error(err)
		}
		if n := len(s.guard.guessers); n != 0 {
			t.Errorf("%d addresses remembered after all is forgiven", n)
		}
	})
}

func TestGuessersAreBounded(t *testing.T) {
	s := sampleStore(t, sample)
	for i := range maxGuessers + 100 {
		a := guessAddr((&url.URL{Host: "[2001:db8:" + hex4(i) + "::1]:5"}).Host)
		s.guard.charge(a, time.Now())
	}
	if n := len(s.guard.guessers); n != maxGuessers {
		t.Errorf("%d addresses remembered, want %d", n, maxGuessers)
	}
	a, b, c := guessAddr("[2001:db8:1:1::1]:5"), guessAddr("[2001:db8:1:1:ffff::2]:6"), guessAddr("[2001:db8:1:2::1]:5")
	if a != b || a == c {
		t.Errorf("addresses of one /64 count together: %v %v %v", a, b, c)
	}
	if guessAddr("[::ffff:192.0.2.1]:5") != guessAddr("192.0.2.1:7") {
		t.Error("one IPv4 address counts as two")
	}
}

func hex4(i int) string {
	return string("0123456789abcdef"[i>>12&15]) + string("0123456789abcdef"[i>>8&15]) + string("0123456789abcdef"[i>>4&15]) + string("0123456789abcdef"[i&15])
}

package whip

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// fakeAccess lets "Bearer good" do all, and "Bearer other" nothing.
type fakeAccess struct{}

func (fakeAccess) Stream(r *http.Request, a ingest.Action, name fragments.StreamName) error {
	switch {
	case r.Header.Get("Authorization") == "Bearer good", r.URL.Query().Get("token") == "good":
		return nil
	case r.Header.Get("Authorization") == "Bearer other":
		return &web.Error{Status: http.StatusForbidden, Code: "forbidden", Message: string(a) + " " + string(name)}
	}
	return &web.Error{Status: http.StatusUnauthorized, Code: "sign_in", Message: "who?", Challenge: `Basic realm="x"`}
}

func (fakeAccess) User(*http.Request) (string, error) { return "ada", nil }

// TestStatus has a row for each answer that a client can get.
func TestStatus(t *testing.T) {
	r := newRig(t, nil)
	c := r.newClient(true, r.engine)
	offer := c.makeOffer()
	viewer := r.newClient(false, r.engine).makeOffer()
	res, _ := r.send("POST", "/whip/door", offer, "Content-Type", typeSDP)
	session, etag := res.Header.Get("Location"), res.Header.Get("ETag")
	fragment := fragmentOf(t, offer, true)
	other := fragment[:strings.Index(fragment, "m=")]
	withCandidates := func(n int) string {
		return offer + strings.Repeat("a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n", n)
	}
	for _, row := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}{
		{"no type", "POST", "/whip/door", offer, nil, 415, "bad_type"},
		{"JSON", "POST", "/whip/door", offer, []string{"Content-Type", "application/json"}, 415, "bad_type"},
		{"type with parameters", "POST", "/whip/door", "", []string{"Content-Type", "Application/SDP; charset=utf-8"}, 400, "bad_offer"},
		{"empty", "POST", "/whep/door", "", []string{"Content-Type", typeSDP}, 400, "bad_offer"},
		{"no SDP", "POST", "/whip/door", "hello", []string{"Content-Type", typeSDP}, 400, "bad_offer"},
		{"no media", "POST", "/whip/door", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", []string{"Content-Type", typeSDP}, 400, "bad_offer"},
		{"bad candidate", "POST", "/whip/door", strings.Replace(offer, "a=candidate:", "a=candidate:x ", 1), []string{"Content-Type", typeSDP}, 400, "bad_offer"},
		{"no credentials", "POST", "/whip/door", strings.ReplaceAll(offer, "a=ice-", "a=ace-"), []string{"Content-Type", typeSDP}, 422, "bad_offer"},
		{"passive", "POST", "/whip/door", strings.ReplaceAll(offer, "setup:actpass", "setup:passive"), []string{"Content-Type", typeSDP}, 201, ""},
		{"a viewer's offer to WHIP", "POST", "/whip/door", viewer, []string{"Content-Type", typeSDP}, 422, "bad_offer"},
		{"a publisher's offer to WHEP", "POST", "/whep/door", offer, []string{"Content-Type", typeSDP}, 422, "bad_offer"},
		{"inactive", "POST", "/whip/door", strings.ReplaceAll(offer, "a=sendonly", "a=inactive"), []string{"Content-Type", typeSDP}, 422, "bad_offer"},
		{"no known codec", "POST", "/whip/door", strings.NewReplacer("VP8", "QQ8", "VP9", "QQ9", "H264", "Q264", "H265", "Q265", "AV1", "QV1").Replace(offer), []string{"Content-Type", typeSDP}, 422, "unknown_codec"},
		{"no fingerprint", "POST", "/whip/door", strings.ReplaceAll(offer, "a=fingerprint", "a=fingerprunt"), []string{"Content-Type", typeSDP}, 422, "bad_offer"},
		{"huge", "POST", "/whip/door", offer + strings.Repeat("a=x\r\n", 20_000), []string{"Content-Type", typeSDP}, 413, "too_large"},
		{"many candidates", "POST", "/whip/door", withCandidates(500), []string{"Content-Type", typeSDP}, 201, ""},
		{"sendrecv", "POST", "/whip/door", strings.ReplaceAll(offer, "a=sendonly", "a=sendrecv"), []string{"Content-Type", typeSDP}, 201, ""},
		{"active", "POST", "/whip/door", strings.ReplaceAll(offer, "setup:actpass", "setup:active"), []string{"Content-Type", typeSDP}, 201, ""},
		{"bad stream", "POST", "/whip/do%20or", offer, []string{"Content-Type", typeSDP}, 400, "bad_stream_name"},
		{"GET of WHIP", "GET", "/whip/door", "", nil, 200, ""},
		{"HEAD of WHEP", "HEAD", "/whep/door", "", nil, 200, ""},
		{"PUT", "PUT", "/whip/door", offer, nil, 405, ""},
		{"PATCH of the endpoint", "PATCH", "/whip/door", offer, nil, 405, ""},
		{"OPTIONS", "OPTIONS", "/whip/door", "", nil, 200, ""},
		{"OPTIONS of a session", "OPTIONS", session, "", nil, 200, ""},
		{"GET of a session", "GET", session, "", nil, 204, ""},
		{"GET of its report", "GET", session, "", []string{"Accept", "application/json"}, 200, ""},
		{"GET of another", "GET", "/whip/door/nothing", "", nil, 404, "no_such_session"},
		{"session of another stream", "GET", strings.Replace(session, "door", "gate", 1), "", nil, 404, "no_such_session"},
		{"session of the other protocol", "GET", strings.Replace(session, "whip", "whep", 1), "", nil, 404, "no_such_session"},
		{"PATCH without ETag", "PATCH", session, fragment, []string{"Content-Type", typeFragment}, 428, "no_etag"},
		{"PATCH for another ICE session", "PATCH", session, fragment, []string{"Content-Type", typeFragment, "If-Match", `"other"`}, 412, "other_ice_session"},
		{"PATCH with a weak ETag", "PATCH", session, fragment, []string{"Content-Type", typeFragment, "If-Match", "W/" + etag}, 412, "other_ice_session"},
		{"PATCH with one of two", "PATCH", session, fragment, []string{"Content-Type", typeFragment, "If-Match", `"other", ` + etag}, 204, ""},
		{"PATCH of another type", "PATCH", session, fragment, []string{"Content-Type", typeSDP, "If-Match", etag}, 415, "bad_type"},
		{"PATCH that is none", "PATCH", session, "v=0\r\n", []string{"Content-Type", typeFragment, "If-Match", etag}, 400, "bad_fragment"},
		{"PATCH with a bad candidate", "PATCH", session, fragment + "a=candidate:1 1 udp\r\n", []string{"Content-Type", typeFragment, "If-Match", etag}, 400, "bad_fragment"},
		{"PATCH with a strange transport", "PATCH", session, other + "a=candidate:1 1 sctp 1 127.0.0.1 9 typ host\r\n", []string{"Content-Type", typeFragment, "If-Match", etag}, 204, ""},
		{"PATCH with a name", "PATCH", session, other + "a=candidate:1 1 udp 1 not.there.invalid 9 typ host\r\n", []string{"Content-Type", typeFragment, "If-Match", etag}, 204, ""},
		{"PATCH of nothing new", "PATCH", session, other, []string{"Content-Type", typeFragment, "If-Match", "*"}, 204, ""},
		{"PATCH of no session", "PATCH", "/whip/door/nothing", fragment, []string{"Content-Type", typeFragment, "If-Match", etag}, 404, "no_such_session"},
		{"DELETE of no session", "DELETE", "/whip/door/nothing", "", nil, 404, "no_such_session"},
		{"DELETE with a wrong ETag", "DELETE", session, "", []string{"If-Match", `"other"`}, 200, ""},
		{"DELETE again", "DELETE", session, "", nil, 200, ""},
		{"PATCH afterwards", "PATCH", session, fragment, []string{"Content-Type", typeFragment, "If-Match", etag}, 410, "session_ended"},
		{"GET afterwards", "GET", session, "", nil, 200, ""},
	} {
		res, body := r.send(row.method, row.path, row.body, row.headers...)
		if res.StatusCode != row.status {
			t.Errorf("%s: %s, want %d: %s", row.name, res.Status, row.status, body)
		}
		if row.code != "" && !strings.Contains(body, `"code":"`+row.code+`"`) {
			t.Errorf("%s: want code %s: %s", row.name, row.code, body)
		}
	}
}

func TestHeaders(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.ICEServers = func() []webrtc.ICEServer {
			return []webrtc.ICEServer{
				{URLs: []string{"stun:stun.example.net"}},
				{URLs: []string{"turn:turn.example.net?transport=udp", "turns:turn.example.net?transport=tcp"}, Username: `u"1`, Credential: `p\w`},
				{URLs: []string{"turn:x>; rel=\"evil\""}, Username: "u", Credential: "p"},
			}
		}
	})
	links := []string{
		`<stun:stun.example.net>; rel="ice-server"`,
		`<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u\"1"; credential="p\\w"; credential-type="password"`,
		`<turns:turn.example.net?transport=tcp>; rel="ice-server"; username="u\"1"; credential="p\\w"; credential-type="password"`,
	}
	offer := r.newClient(true, r.engine).makeOffer()
	for _, row := range []struct{ method, path, header, want string }{
		{"POST", "/whip/door", "Link", strings.Join(links, "|")},
		{"OPTIONS", "/whip/door", "Link", strings.Join(links, "|")},
		{"OPTIONS", "/whip/door", "Accept-Post", "application/sdp"},
		{"OPTIONS", "/whep/door/x", "Accept-Patch", "application/trickle-ice-sdpfrag"},
		{"HEAD", "/whep/door", "Content-Type", "application/sdp"},
		{"GET", "/whip/door", "Content-Length", "0"},
		{"PUT", "/whip/door", "Allow", "GET, HEAD, OPTIONS, POST"},
	} {
		res, _ := r.send(row.method, row.path, offer, "Content-Type", typeSDP)
		if got := strings.Join(res.Header.Values(row.header), "|"); got != row.want {
			t.Errorf("%s %s: %s is %q, want %q", row.method, row.path, row.header, got, row.want)
		}
	}
}

// TestMuxOnly wants rtcp-mux-only where it is offered (RFC 9725 section 4.4.1).
func TestMuxOnly(t *testing.T) {
	r := newRig(t, nil)
	offer := r.newClient(true, r.engine).makeOffer()
	for _, row := range []struct {
		offer string
		want  int
	}{{offer, 0}, {strings.ReplaceAll(offer, "a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n"), 1}} {
		_, answer := r.send("POST", "/whip/door", row.offer, "Content-Type", typeSDP)
		if n := strings.Count(answer, "a=rtcp-mux-only\r\n"); n != row.want {
			t.Errorf("%d times rtcp-mux-only, want %d:\n%s", n, row.want, answer)
		}
	}
}

func TestAccess(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Access = fakeAccess{}
		o.ICEServers = func() []webrtc.ICEServer {
			return []webrtc.ICEServer{{URLs: []string{"turn:t"}, Username: "u", Credential: "p"}}
		}
	})
	offer := r.newClient(true, r.engine).makeOffer()
	res, _ := r.send("POST", "/whip/door", offer, "Content-Type", typeSDP, "Authorization", "Bearer good")
	if res.StatusCode != http.StatusCreated {
		t.Fatal(res.Status)
	}
	session := res.Header.Get("Location")
	for _, method := range []string{"POST", "PATCH", "DELETE", "GET"} {
		path := session
		if method == "POST" {
			path = "/whip/door"
		}
		for _, row := range []struct{ token, challenge string }{
			{"", `Bearer realm="kineweir"`},
			{"Bearer bad", `Bearer realm="kineweir", error="invalid_token"`},
			{"Bearer other", `Bearer realm="kineweir", error="insufficient_scope"`},
		} {
			var headers []string
			want := http.StatusUnauthorized
			if row.token != "" {
				headers = []string{"Authorization", row.token}
			}
			if row.token == "Bearer other" {
				want = http.StatusForbidden
			}
			res, body := r.send(method, path, offer, headers...)
			if res.StatusCode != want || res.Header.Get("WWW-Authenticate") != row.challenge {
				t.Errorf("%s as %q: %s, %q: %s", method, row.token, res.Status, res.Header.Get("WWW-Authenticate"), body)
			}
		}
	}
	if res, _ := r.send("OPTIONS", "/whip/door", ""); res.StatusCode != http.StatusOK || res.Header.Get("Link") != "" {
		t.Errorf("OPTIONS of a stranger: %s, Link %q", res.Status, res.Header.Get("Link"))
	}
	if res, _ := r.send("OPTIONS", "/whip/door", "", "Authorization", "Bearer good"); res.Header.Get("Link") == "" {
		t.Error("OPTIONS of a publisher has no Link")
	}
	// A client with a token in its URL needs it in the session's.
	res, _ = r.send("POST", "/whip/door?token=good", offer, "Content-Type", typeSDP)
	if u, err := url.Parse(res.Header.Get("Location")); err != nil || u.Query().Get("token") != "good" {
		t.Errorf("Location %q", res.Header.Get("Location"))
	}
	if res, body := r.send("DELETE", res.Header.Get("Location"), ""); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %s %s", res.Status, body)
	}
}

// TestOpenRefused passes the answer of who makes the connections on.
func TestOpenRefused(t *testing.T) {
	r := newRig(t, nil)
	offer := r.newClient(false, r.engine).makeOffer()
	for _, row := range []struct {
		err    error
		status int
		retry  string
	}{
		{&web.Error{Status: http.StatusConflict, Code: "not_live", Message: "nobody publishes", RetryAfter: 5}, http.StatusConflict, "5"},
		{&web.Error{Status: http.StatusServiceUnavailable, Code: "too_many", Message: "full", RetryAfter: 9}, http.StatusServiceUnavailable, "9"},
		{errors.New("secret"), http.StatusInternalServerError, ""},
	} {
		r.refusal = row.err
		res, body := r.send("POST", "/whep/door", offer, "Content-Type", typeSDP)
		if res.StatusCode != row.status || res.Header.Get("Retry-After") != row.retry || strings.Contains(body, "secret") {
			t.Errorf("%v: %s %s", row.err, res.Status, body)
		}
	}
	if s := r.h.Stats()[1]; s.Refused != 3 || s.Open != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestLimit(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxSessions = 1 })
	offer := r.newClient(true, r.engine).makeOffer()
	res, _ := r.send("POST", "/whip/door", offer, "Content-Type", typeSDP)
	first := res.Header.Get("Location")
	res, body := r.send("POST", "/whip/gate", offer, "Content-Type", typeSDP)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a session too many: %s %s", res.Status, body)
	}
	r.send("DELETE", first, "")
	if res, body := r.send("POST", "/whip/gate", offer, "Content-Type", typeSDP); res.StatusCode != http.StatusCreated {
		t.Errorf("after the first has ended: %s %s", res.Status, body)
	}
	r.h.Close()
	if res, body := r.send("POST", "/whip/gate", offer, "Content-Type", typeSDP); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "stopping") {
		t.Errorf("while stopping: %s %s", res.Status, body)
	}
}

// report reads that of a session.
func (r *rig) report(path string) Report {
	r.t.Helper()
	res, body := r.send("GET", path, "", "Accept", "application/json")
	var x Report
	if err := json.Unmarshal([]byte(body), &x); err != nil || res.StatusCode != http.StatusOK {
		r.t.Fatalf("GET %s: %s %s", path, res.Status, body)
	}
	return x
}

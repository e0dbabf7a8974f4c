package web

import (
	"net/http"
	"strings"
	"testing"
)

func originServer(t *testing.T, open bool) string {
	base, _ := serve(t, Options{
		Open: open, Hosts: []string{"cams.example.org"}, Origins: []string{"https://wall.example"},
		Routes: []Route{
			{"GET /api/x", API, text("api")},
			{"PUT /api/x", API, text("changed")},
			{"GET /hls/x", Media, text("media")},
			{"GET /{$}", Page, text("page")},
			{"POST /whip/x", Signal, text("signal")},
		},
	})
	return base
}

func TestHostNames(t *testing.T) {
	open, closed := originServer(t, true), originServer(t, false)
	for _, c := range []struct {
		host string
		ok   bool
	}{
		{"127.0.0.1:8080", true},
		{"127.0.0.1", true},
		{"192.168.1.9:8080", true},
		{"[::1]:8080", true},
		{"[fd00::5]", true},
		{"localhost:8080", true},
		{"nas", true},
		{"nas.local:8080", true},
		{"Cams.Example.ORG:8080", true},
		{"app.localhost", true},
		{"evil.example:8080", false},
		{"127.0.0.1.evil.example", false},
		{"localhost.evil.example:8080", false},
		{"evil.example.", false},
	} {
		for _, path := range []string{"/api/x", "/hls/x", "/"} {
			res, body := do(t, "GET", open+path, "Host", c.host)
			if got := res.StatusCode == 200; got != c.ok {
				t.Errorf("open, host %s, %s: %d %s", c.host, path, res.StatusCode, body)
			}
			if !c.ok && (res.StatusCode != http.StatusMisdirectedRequest || !strings.Contains(body, "auth.file")) {
				t.Errorf("open, host %s, %s: %d %s", c.host, path, res.StatusCode, body)
			}
		}
		if res, _ := do(t, "GET", closed+"/api/x", "Host", c.host); res.StatusCode != 200 {
			t.Errorf("with credentials, host %s: %d", c.host, res.StatusCode)
		}
		if res, _ := do(t, "GET", open+"/healthz", "Host", c.host); res.StatusCode != 200 {
			t.Errorf("probe, host %s: %d", c.host, res.StatusCode)
		}
	}
}

func TestForgedRequests(t *testing.T) {
	for _, c := range []struct {
		name       string
		open       bool
		header     []string
		wantStatus int
	}{
		{"no browser", true, nil, 200},
		{"own page", true, []string{"Sec-Fetch-Site", "same-origin", "Origin", "SELF"}, 200},
		{"own page, old browser", true, []string{"Origin", "SELF"}, 200},
		{"other site", true, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"other site, old browser", true, []string{"Origin", "https://evil.example"}, 403},
		{"other program on this machine", true, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:3000"}, 403},
		{"sandboxed page", true, []string{"Origin", "null"}, 403},
		{"named origin", true, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://wall.example"}, 200},
		{"other site, credentials needed", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"other site with a key", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example", "Authorization", "Bearer k"}, 200},
		{"a key means nothing when open", true, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example", "Authorization", "Bearer k"}, 403},
		{"basic may be the browser's own", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example", "Authorization", "Basic eDp5"}, 403},
	} {
		base := originServer(t, c.open)
		var header []string
		for _, h := range c.header {
			header = append(header, strings.ReplaceAll(h, "SELF", base))
		}
		res, body := do(t, "PUT", base+"/api/x", header...)
		if res.StatusCode != c.wantStatus {
			t.Errorf("%s: %d %s, want %d", c.name, res.StatusCode, body, c.wantStatus)
		}
		if res, _ := do(t, "GET", base+"/api/x", header...); res.StatusCode != 200 {
			t.Errorf("%s: GET %d; reading is the browser's to refuse", c.name, res.StatusCode)
		}
	}
}

func TestCrossOriginReads(t *testing.T) {
	for _, c := range []struct {
		open   bool
		path   string
		origin string
		want   string // Access-Control-Allow-Origin
	}{
		{true, "/api/x", "https://evil.example", ""},
		{true, "/hls/x", "https://evil.example", ""},
		{true, "/hls/x", "null", ""},
		{true, "/hls/x", "http://localhost.evil.example", ""},
		{true, "/hls/x", "http://localhost:3000", "http://localhost:3000"},
		{true, "/hls/x", "http://127.0.0.1:3000", "http://127.0.0.1:3000"},
		{true, "/api/x", "https://wall.example", "https://wall.example"},
		{false, "/api/x", "https://any.example", "*"},
		{false, "/hls/x", "https://any.example", "*"},
		{false, "/", "https://any.example", ""},
	} {
		base := originServer(t, c.open)
		res, _ := do(t, "GET", base+c.path, "Origin", c.origin)
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != c.want {
			t.Errorf("open %v, %s from %s: allowed %q, want %q", c.open, c.path, c.origin, got, c.want)
		}
		if res.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("credentials must never be allowed")
		}
		pre, body := do(t, "OPTIONS", base+c.path, "Origin", c.origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range")
		if got := pre.Header.Get("Access-Control-Allow-Origin"); got != c.want || pre.StatusCode != 204 {
			t.Errorf("open %v, preflight of %s from %s: %d %q %s, want %q", c.open, c.path, c.origin, pre.StatusCode, got, body, c.want)
		}
		if c.want != "" && !strings.Contains(pre.Header.Get("Access-Control-Allow-Headers"), "Range") {
			t.Errorf("preflight allows %q, a player needs Range", pre.Header.Get("Access-Control-Allow-Headers"))
		}
		// RFC 9725 is spoken by pages, too.
		if h := pre.Header; c.want != "" && !(strings.Contains(h.Get("Access-Control-Allow-Headers"), "If-Match") && strings.Contains(h.Get("Access-Control-Allow-Methods"), "PATCH") && strings.Contains(h.Get("Access-Control-Expose-Headers"), "Location, Link, Accept-Patch")) {
			t.Errorf("a page cannot speak WHIP: %v", h)
		}
	}
}

// RFC 9725 section 4.2: the answer to any OPTIONS is 200 and says what to post,
// that to a browser's question too.
func TestPreflightOfSignaling(t *testing.T) {
	for _, open := range []bool{true, false} {
		res, _ := do(t, "OPTIONS", originServer(t, open)+"/whip/x", "Origin", "http://localhost:3000", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
		if res.StatusCode != http.StatusOK || res.Header.Get("Accept-Post") != "application/sdp" || res.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("open %v: %s, %v", open, res.Status, res.Header)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	for _, c := range []struct {
		open         bool
		path         string
		header, want string
	}{
		{true, "/", "Content-Security-Policy", pagePolicy},
		{true, "/", "X-Frame-Options", "DENY"},
		{true, "/", "Referrer-Policy", "no-referrer"},
		{true, "/", "X-Content-Type-Options", "nosniff"},
		{true, "/api/x", "Content-Security-Policy", restPolicy},
		{true, "/nothing", "Content-Security-Policy", restPolicy},
		{true, "/hls/x", "Cross-Origin-Resource-Policy", "same-origin"},
		{false, "/hls/x", "Cross-Origin-Resource-Policy", "cross-origin"},
		{false, "/api/x", "Cross-Origin-Resource-Policy", "same-origin"},
		{false, "/hls/x", "Referrer-Policy", "no-referrer"},
	} {
		res, _ := do(t, "GET", originServer(t, c.open)+c.path)
		if got := res.Header.Get(c.header); got != c.want {
			t.Errorf("open %v, %s: %s = %q, want %q", c.open, c.path, c.header, got, c.want)
		}
	}
	if strings.Contains(pagePolicy, "unsafe") || strings.Contains(pagePolicy, "http") {
		t.Errorf("the page policy is not strict: %s", pagePolicy)
	}
}

package minio_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket/buckettest"
	"github.com/kineweir/kineweir/archive/bucket/minio"
)

// proxy stands between a store and a real server and lets a test spoil requests and answers.
type proxy struct {
	*httptest.Server
	real  http.Handler
	mu    sync.Mutex
	spoil func(w http.ResponseWriter, r *http.Request, real http.Handler)
	log   []string
}

func startProxy(t *testing.T, server *buckettest.Server) *proxy {
	t.Helper()
	p := newProxy(server)
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func newProxy(server *buckettest.Server) *proxy {
	target := &url.URL{Scheme: "http", Host: server.Endpoint}
	return &proxy{real: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { drop(w) },
	}}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.log = append(p.log, r.Method+" "+r.URL.RequestURI())
	spoil := p.spoil
	p.mu.Unlock()
	if spoil == nil {
		p.real.ServeHTTP(w, r)
		return
	}
	spoil(w, r, p.real)
}

// with sets what the proxy does to requests from now on, and forgets those it had.
func (p *proxy) with(spoil func(w http.ResponseWriter, r *http.Request, real http.Handler)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoil, p.log = spoil, nil
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.log...)
}

// drop breaks the connection instead of answering.
func drop(w http.ResponseWriter) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		c.Close()
	}
}

// refuse answers with an S3 error.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>spoilt by the test</Message></Error>`, code)
}

// times lets the first n requests that match be spoilt, and the others pass.
func times(n int, match func(r *http.Request) bool, spoil func(w http.ResponseWriter, r *http.Request, real http.Handler)) func(http.ResponseWriter, *http.Request, http.Handler) {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, real http.Handler) {
		mu.Lock()
		hit := match(r) && n > 0
		if hit {
			n--
		}
		mu.Unlock()
		if hit {
			spoil(w, r, real)
			return
		}
		real.ServeHTTP(w, r)
	}
}

func method(m string) func(r *http.Request) bool {
	return func(r *http.Request) bool { return r.Method == m }
}

// proxied is a store behind the proxy.
func proxied(t *testing.T, server *buckettest.Server, p *proxy) *minio.Store {
	t.Helper()
	opts := options(server)
	opts.Endpoint = p.Listener.Addr().String()
	opts.Backoff = time.Millisecond
	opts.PartSize = 5 << 20
	return open(t, opts)
}

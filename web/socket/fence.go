package socket

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/kineweir/kineweir/web"
)

// fence decides what the page of a browser may do. The rules are those of
// package web; they need to be here because a WebSocket begins with a GET, which
// harms nobody, and goes on to write.
//
// A page of this server, or of an origin that was named, may do everything. Of
// any other page counts only what it has brought itself, a token or a key, and
// nothing that the browser adds. Where no credentials are needed, pages of this
// machine may read, and others nothing.
type fence struct {
	open     bool
	crossing *http.CrossOriginProtection
}

func newFence(open bool, origins []string) (*fence, error) {
	f := &fence{open: open, crossing: http.NewCrossOriginProtection()}
	for _, o := range origins {
		if err := f.crossing.AddTrustedOrigin(o); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// look returns the request to ask for rights with, and whether it may read only.
func (f *fence) look(r *http.Request) (asked *http.Request, readOnly bool, err error) {
	writes := *r
	writes.Method = http.MethodPost
	if f.crossing.Check(&writes) == nil {
		return r, false, nil
	}
	if f.open {
		u, err := url.Parse(r.Header.Get("Origin"))
		if err != nil || !isLoopback(u.Hostname()) {
			return nil, false, &web.Error{
				Status: http.StatusForbidden, Code: "cross_origin",
				Message: "a page of another origin may not read this",
				Hint:    "name it in http.origins, or have the server ask for credentials (auth.file)",
			}
		}
		return r, true, nil
	}
	own := r.Clone(r.Context())
	own.Header.Del("Cookie")
	if !strings.HasPrefix(own.Header.Get("Authorization"), "Bearer ") {
		own.Header.Del("Authorization") // the browser may have added what it remembers
	}
	return own, false, nil
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

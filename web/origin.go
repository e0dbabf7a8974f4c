package web

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// origins holds the rules about who a browser may be speaking for.
//
// Where credentials are required (open is false) they alone decide: a page of
// another origin may call the API and play media, because the browser adds
// neither our cookie (SameSite=Strict) nor a cached password to such calls, so
// that the page must hold a key or a token of its own.
//
// Where none are required (open), the only fence between the cameras and any
// web page that the user happens to visit is the browser's. Then pages of other
// origins are refused unless they come from this machine or are named, and so
// are requests for a host name that public DNS could hold: a page may have its
// own name resolve to our address and so become "same origin" with us (DNS
// rebinding).
type origins struct {
	open     bool
	hosts    []string // extra names of this server, lower case
	allowed  []string // extra origins, as browsers write them
	crossing *http.CrossOriginProtection
}

func newOrigins(open bool, hosts, allowed []string) (*origins, error) {
	o := &origins{open: open, allowed: allowed, crossing: http.NewCrossOriginProtection()}
	for _, h := range hosts {
		o.hosts = append(o.hosts, strings.ToLower(h))
	}
	for _, a := range allowed {
		if err := o.crossing.AddTrustedOrigin(a); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// checkHost refuses names that this server is not known by.
func (o *origins) checkHost(r *http.Request) error {
	if !o.open || o.knownHost(hostOnly(r.Host)) {
		return nil
	}
	return &Error{
		Status: http.StatusMisdirectedRequest, Code: "unknown_host",
		Message: "this server does not answer to the name " + strconv.Quote(hostOnly(r.Host)) + " without credentials",
		Hint:    "use its address, or have it ask for credentials (auth.file)",
	}
}

// knownHost reports whether nobody outside can own the name: an address, a name
// without a dot, a name under a suffix that is local by its nature (RFC 6761,
// RFC 6762, RFC 8375, and .internal, reserved by ICANN in 2024), or one that
// the operator gave.
func (o *origins) knownHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || !strings.Contains(host, ".") && !strings.Contains(host, ":") {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	for _, suffix := range [...]string{".localhost", ".local", ".home.arpa", ".internal", ".lan"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return slices.Contains(o.hosts, host)
}

// checkForged refuses a state-changing request that a browser sends for a page
// of another origin. A Bearer key is proof enough: a page cannot make the
// browser add one. A player of media is let in from wherever media may be read,
// for setting up a connection is how WebRTC reads it; where credentials are
// required they decide, and no page can send those of somebody else.
func (o *origins) checkForged(r *http.Request, kind Kind) error {
	if !o.open && strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		return nil
	}
	if origin := r.Header.Get("Origin"); kind == Signal && origin != "" && o.readable(origin) {
		return nil
	}
	if err := o.crossing.Check(r); err != nil {
		return &Error{
			Status: http.StatusForbidden, Code: "cross_origin",
			Message: "a page of another origin may not change anything here",
			Hint:    "use the console of this server, or send a key as Authorization: Bearer",
			Err:     err,
		}
	}
	return nil
}

// readable reports whether pages of the request's Origin may read the answer.
func (o *origins) readable(origin string) bool {
	if !o.open || slices.Contains(o.allowed, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && isLoopbackName(u.Hostname())
}

func isLoopbackName(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// hostOnly returns the host of "host", "host:port" or "[v6]:port".
func hostOnly(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return strings.Trim(hostport, "[]")
}

// Headers of cross-origin reads: what a player in a browser sends and needs.
const (
	corsRequestHeaders  = "Authorization, Content-Type, Range, If-Match, If-None-Match, If-Range, " + sdkRequestHeaders
	corsResponseHeaders = "Content-Length, Content-Range, Content-Disposition, Accept-Ranges, Date, ETag, Location, Link, Accept-Patch, Accept-Post, Kineweir-Left-Out, Retry-After, " + sdkResponseHeaders
	// Of the AWS SDK for JavaScript.
	sdkRequestHeaders  = "Amz-Sdk-Invocation-Id, Amz-Sdk-Request, X-Amz-Content-Sha256, X-Amz-Date, X-Amz-Security-Token, X-Amz-Target, X-Amz-User-Agent"
	sdkResponseHeaders = "X-Amz-Id-2, X-Amzn-Errortype, X-Amzn-Requestid"
	corsMethods        = "GET, HEAD, POST, PUT, PATCH, DELETE"
)

// allowRead adds the headers that let a page of the request's origin read the
// answer; it reports whether it may.
func (o *origins) allowRead(h http.Header, r *http.Request) bool {
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !o.readable(origin) {
		return false
	}
	if o.open {
		h.Set("Access-Control-Allow-Origin", origin)
	} else {
		h.Set("Access-Control-Allow-Origin", "*")
	}
	h.Set("Access-Control-Expose-Headers", corsResponseHeaders)
	return true
}

// preflight answers a browser's question whether a page may send a request.
func (o *origins) preflight(w http.ResponseWriter, r *http.Request, kind Kind) {
	h := w.Header()
	if kind.shared() && o.allowRead(h, r) {
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", corsRequestHeaders)
		h.Set("Access-Control-Max-Age", "7200")
		if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
			h.Set("Access-Control-Allow-Private-Network", "true")
		}
	}
	if kind == Signal {
		// RFC 9725 section 4.2: each answer to OPTIONS, and it is 200.
		h.Set("Accept-Post", "application/sdp")
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

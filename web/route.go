package web

import (
	"net/http"
	"strconv"
)

// Kind says which of the common rules hold for a route.
type Kind uint8

// The kinds of routes.
const (
	// API is JSON: never cached, guarded against forged requests from other
	// sites, readable from pages of other origins where credentials are required.
	API Kind = iota
	// Page is what a browser shows: a strict content security policy, no access
	// from other origins.
	Page
	// Media is played: readable from pages of other origins as API is; may last
	// for hours.
	Media
	// Signal sets up a connection that carries media, WHIP and WHEP: whoever may
	// read media may send it.
	Signal
	// Call is API for machines that call a thousand times a second: what went as
	// it should is worth a line in the log no more than a GET is.
	Call
	// Probe is asked by machines every few seconds: not worth a line in the log.
	Probe
)

// shared reports whether pages of other origins may be let read the answers.
func (k Kind) shared() bool { return k == API || k == Call || k == Media || k == Signal }

// Route is a line of the table of routes.
type Route struct {
	// Pattern is one of http.ServeMux, with its method: "GET /api/streams/{name}".
	Pattern string
	Kind    Kind
	Handler http.Handler
}

func itoa(n int) string { return strconv.Itoa(n) }

// table finds the route of a request.
type table struct {
	mux    *http.ServeMux
	routes map[string]*Route // by pattern
}

func newTable(routes []Route) *table {
	t := &table{mux: http.NewServeMux(), routes: map[string]*Route{}}
	for i := range routes {
		r := &routes[i]
		t.mux.Handle(r.Pattern, r.Handler) // panics on two equal patterns: a mistake in this program
		t.routes[r.Pattern] = r
	}
	return t
}

// find returns the route that serves r with the given method, or nil.
func (t *table) find(r *http.Request, method string) *Route {
	if method != r.Method {
		c := *r
		c.Method = method
		r = &c
	}
	_, pattern := t.mux.Handler(r)
	return t.routes[pattern]
}

// answerNone answers a request that no route serves. The mux knows whether the
// path is served with other methods or under a cleaner path; only the words
// are ours.
func (t *table) answerNone(w http.ResponseWriter, r *http.Request) {
	rec := verdict{header: http.Header{}}
	t.mux.ServeHTTP(&rec, r)
	switch rec.status {
	case http.StatusMethodNotAllowed:
		allow := rec.header.Get("Allow")
		w.Header().Set("Allow", allow)
		WriteError(w, &Error{
			Status: rec.status, Code: "method_not_allowed",
			Message: r.Method + " is not possible here", Hint: "use " + allow,
		})
	case http.StatusNotFound:
		WriteError(w, &Error{
			Status: rec.status, Code: "not_found",
			Message: "there is nothing at this path", Hint: "the console is at /, the API under /api/, live video at /hls/<stream>/live.m3u8",
		})
	default:
		if l := rec.header.Get("Location"); l != "" {
			w.Header().Set("Location", l)
		}
		w.WriteHeader(rec.status)
	}
}

// verdict catches the status and the headers of an answer and drops its body.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }

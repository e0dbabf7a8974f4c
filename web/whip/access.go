package whip

import (
	"errors"
	"net/http"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// Access decides who may publish and view; [auth.Store] answers. Its errors are
// [*web.Error]. Its methods may be called concurrently.
type Access interface {
	// Stream returns nil when who sent r may do a with the stream.
	Stream(r *http.Request, a ingest.Action, name fragments.StreamName) error
	// User returns the name of who sent r, "" for nobody in particular.
	User(r *http.Request) (string, error)
}

// allow returns nil when r may do a with the stream. What is asked for is a
// Bearer token, which every client of this protocol can send (RFC 9725 section
// 4.7.1), with the reasons of RFC 6750 section 3.1; a challenge for a password
// would have browsers ask for one over the page's own words.
func (h *Handler) allow(r *http.Request, a ingest.Action, name fragments.StreamName) error {
	if h.o.Access == nil {
		return nil
	}
	err := h.o.Access.Stream(r, a, name)
	var refused *web.Error
	if !errors.As(err, &refused) {
		return err
	}
	bearer := *refused
	switch {
	case bearer.Status == http.StatusUnauthorized && r.Header.Get("Authorization") == "":
		bearer.Challenge = `Bearer realm="kineweir"`
	case bearer.Status == http.StatusUnauthorized:
		bearer.Challenge = `Bearer realm="kineweir", error="invalid_token"`
	case bearer.Status == http.StatusForbidden:
		bearer.Challenge = `Bearer realm="kineweir", error="insufficient_scope"`
	}
	return &bearer
}

// who tells who sent r, for logs and for the maker of the connection.
func (h *Handler) who(r *http.Request) Who {
	w := Who{Remote: r.RemoteAddr}
	if h.o.Access != nil {
		w.User, _ = h.o.Access.User(r) // whoever is unknown here has been refused before
	}
	return w
}

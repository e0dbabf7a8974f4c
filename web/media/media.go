package media

import (
	"compress/gzip"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/hls"
)

// ErrUnauthenticated is what an Access returns, wrapped or not, when a request
// names nobody, or nobody it knows: the answer asks for a name and a password.
// Any other error means that the one it names may not.
var ErrUnauthenticated = errors.New("name and password, or a token, are needed")

// Access decides who may watch. Its methods may be called concurrently.
type Access interface {
	// Viewer checks that a request may watch the stream from start to end, which
	// are zero where the request is open: both in a live playlist. It is asked at
	// every playlist and every segment; a segment is asked for with the range of
	// its playlist, and Viewer need not look whether it lies within. The token it
	// returns is written into every URL of the playlist, for players do not pass
	// headers on; "" writes none.
	Viewer(r *http.Request, name fragments.StreamName, start, end time.Time) (token string, err error)
}

// Options of a Handler.
type Options struct {
	HLS    *hls.Packager
	Clips  *clip.Maker
	Access Access // nil: anybody may watch anything
	// Origins are the web origins, like "https://example.org", whose pages may
	// play; "*" is every one. Default: every one when there is an Access, for a
	// page needs a token then; else those of this machine, or any web page that
	// its user visits could look through its cameras.
	Origins []string
	Log     *slog.Logger // default: nothing is logged
}

// Handler serves playlists, segments and clips.
type Handler struct {
	o    Options
	mux  *http.ServeMux
	zips sync.Pool // of *gzip.Writer
}

// New returns a Handler for the routes of this package.
func New(o Options) (*Handler, error) {
	if o.HLS == nil || o.Clips == nil {
		return nil, errors.New("media: options need HLS and Clips")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Origins == nil && o.Access != nil {
		o.Origins = []string{"*"}
	}
	h := &Handler{o: o, mux: http.NewServeMux()}
	h.zips.New = func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
		return z
	}
	h.mux.HandleFunc("GET /hls/{stream}/{path...}", h.hls)
	h.mux.HandleFunc("GET /clip/{file}", h.clip)
	h.mux.HandleFunc("OPTIONS /hls/", h.preflight)
	h.mux.HandleFunc("OPTIONS /clip/", h.preflight)
	return h, nil
}

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.allowOrigin(w, r)
	h.mux.ServeHTTP(w, r)
}

// allowOrigin lets scripts of other origins read the answer.
func (h *Handler) allowOrigin(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	origin := r.Header.Get("Origin")
	switch {
	case slices.Contains(h.o.Origins, "*"):
		head.Set("Access-Control-Allow-Origin", "*")
	case origin != "" && (slices.Contains(h.o.Origins, origin) || h.o.Origins == nil && local(origin)):
		head.Set("Access-Control-Allow-Origin", origin)
		head.Add("Vary", "Origin")
	default:
		head.Add("Vary", "Origin")
		return
	}
	head.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, Content-Disposition, Date, ETag")
}

// local reports whether a page comes from this machine.
func local(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
}

func (h *Handler) preflight(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	w.Header().Set("Access-Control-Allow-Headers", "Range, Authorization, If-None-Match")
	w.Header().Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// viewer checks the rights of a request for a range.
func (h *Handler) viewer(r *http.Request, name fragments.StreamName, span playback.Range) (token string, err error) {
	if h.o.Access == nil {
		return "", nil
	}
	token, err = h.o.Access.Viewer(r, name, span.Start, span.End)
	if err != nil {
		return "", &accessError{err}
	}
	return token, nil
}

// accessError marks what came from Access.
type accessError struct{ error }

func (e *accessError) Unwrap() error { return e.error }

package media

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/dash"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/image"
)

// Access decides who may watch. Its methods may be called concurrently.
type Access interface {
	// Viewer checks that a request may watch the stream from start to end, which
	// are zero where the request is open: both in a live playlist. It is asked at
	// every playlist and every segment; a segment is asked for with the range of
	// its playlist, and Viewer need not look whether it lies within. The token it
	// returns is written into every URL of the playlist, for players do not pass
	// headers on; "" writes none. Its errors are *web.Error.
	Viewer(r *http.Request, name fragments.StreamName, start, end time.Time) (token string, err error)
}

// Options of a Handler.
type Options struct {
	HLS    *hls.Packager
	DASH   *dash.Packager // nil: no DASH
	Clips  *clip.Maker
	Images *image.Maker // nil: no pictures
	Access Access       // nil: anybody may watch anything
	Log    *slog.Logger // of clips that end early; default: nothing is logged
}

// Handler serves playlists, segments, clips and pictures.
type Handler struct {
	o   Options
	mux *http.ServeMux
}

// New returns a Handler for the routes of this package.
func New(o Options) (*Handler, error) {
	if o.HLS == nil || o.Clips == nil {
		return nil, errors.New("media: options need HLS and Clips")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{o: o, mux: http.NewServeMux()}
	h.mux.HandleFunc("GET /hls/{stream}/{path...}", h.hls)
	if o.DASH != nil {
		h.mux.HandleFunc("GET /dash/{stream}/{path...}", h.dash)
		h.mux.HandleFunc("GET /dash/time", h.time)
	}
	h.mux.HandleFunc("GET /clip/{file}", h.clip)
	h.mux.HandleFunc("GET /image/{file}", h.image)
	return h, nil
}

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// viewer checks the rights of a request for a range.
func (h *Handler) viewer(r *http.Request, name fragments.StreamName, span playback.Range) (token string, err error) {
	if h.o.Access == nil {
		return "", nil
	}
	return h.o.Access.Viewer(r, name, span.Start, span.End)
}

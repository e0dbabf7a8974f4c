package media

import (
	"errors"
	"net/http"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/hls"
)

// fail answers with the status that err stands for. What a person can mend is
// told; what is broken here is logged.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody is there to read it
	}
	status := statusOf(err)
	text := err.Error()
	switch status {
	case http.StatusInternalServerError:
		h.o.Log.Error("cannot play", "path", r.URL.Path, "error", err)
		text = "this cannot be read now; the server's log says why"
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="Kineweir", charset="UTF-8"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, status)
}

// statusOf is the table from the errors of playback to HTTP.
func statusOf(err error) int {
	var param *playback.ParamError
	var playable *hls.NotPlayableError
	var clipped *clip.NotPlayableError
	var access *accessError
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return http.StatusUnauthorized
	case errors.As(err, &access), errors.Is(err, hls.ErrOutside):
		return http.StatusForbidden
	case errors.As(err, &param):
		return http.StatusBadRequest
	case errors.As(err, &playable), errors.As(err, &clipped):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, hls.ErrNotLive):
		return http.StatusServiceUnavailable
	case errors.Is(err, archive.ErrNoStream), errors.Is(err, archive.ErrNoFragment),
		errors.Is(err, hls.ErrNothing), errors.Is(err, hls.ErrNoName), errors.Is(err, clip.ErrNothing):
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

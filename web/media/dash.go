package media

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/dash"
)

// dash serves /dash/<stream>/manifest.mpd. The segments it names are those under
// /hls/.
func (h *Handler) dash(w http.ResponseWriter, r *http.Request) {
	if err := h.serveDASH(w, r); err != nil {
		fail(w, r, err)
	}
}

func (h *Handler) serveDASH(w http.ResponseWriter, r *http.Request) error {
	name, err := fragments.ParseStreamName(r.PathValue("stream"))
	if err != nil {
		return &playback.ParamError{Name: "path", Reason: err.Error()}
	}
	req, err := dash.ParseRequest(r.PathValue("path"), r.URL.Query())
	if err != nil {
		return err
	}
	if req.Token, err = h.viewer(r, name, req.Range); err != nil {
		return err
	}
	list, err := h.o.DASH.Manifest(r.Context(), name, req)
	if err != nil {
		return err
	}
	// Players ask more often than there is news.
	sum := sha256.Sum256(list.Text)
	tag := `W/"` + hex.EncodeToString(sum[:8]) + `"`
	w.Header().Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Add("Vary", "Accept-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return h.playlist(w, r, "application/dash+xml", list)
}

// matches reports whether a list of entity tags has one that is equal by weak
// comparison (RFC 9110, 13.1.2).
func matches(list, tag string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// time serves /dash/time: the clock of the server, by which DASH players know what
// there is (UTCTiming, urn:mpeg:dash:utc:http-xsdate:2014).
func (h *Handler) time(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(time.Now().UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z")) //nolint:errcheck // the player has gone
}

package media

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/hls"
)

// zipFrom is the size from which playlists are compressed, bytes: what fits one
// packet gains nothing.
const zipFrom = 1400

// hls serves /hls/<stream>/<path>.
func (h *Handler) hls(w http.ResponseWriter, r *http.Request) {
	if err := h.serveHLS(w, r); err != nil {
		fail(w, r, err)
	}
}

func (h *Handler) serveHLS(w http.ResponseWriter, r *http.Request) error {
	name, err := fragments.ParseStreamName(r.PathValue("stream"))
	if err != nil {
		return &playback.ParamError{Name: "path", Reason: err.Error()}
	}
	req, err := hls.ParseRequest(r.PathValue("path"), r.URL.Query())
	if err != nil {
		return err
	}
	if req.Token, err = h.viewer(r, name, req.Range); err != nil {
		return err
	}
	if req.Kind == hls.Multivariant || req.Kind == hls.Media {
		list, err := h.o.HLS.List(r.Context(), name, req)
		if err != nil {
			return err
		}
		return h.playlist(w, r, "application/vnd.apple.mpegurl", list)
	}
	c, err := h.o.HLS.Content(r.Context(), name, req)
	if err != nil {
		return err
	}
	h.cacheFor(w, "max-age=31536000, immutable")
	w.Header().Set("Content-Type", c.Type)
	w.Header().Set("ETag", c.ETag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.Data))
	return nil
}

// cacheFor sets Cache-Control; only what anybody may watch goes into caches
// that are shared.
func (h *Handler) cacheFor(w http.ResponseWriter, age string) {
	who := "public, "
	if h.o.Access != nil {
		who = "private, "
	}
	w.Header().Set("Cache-Control", who+age)
}

// playlist answers with a playlist or manifest, compressed where that is wanted
// and worth it.
func (h *Handler) playlist(w http.ResponseWriter, r *http.Request, contentType string, list *hls.List) error {
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("Cache-Control", "no-cache")
	head.Add("Vary", "Accept-Encoding")
	text := list.Text
	if len(text) >= zipFrom && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		head.Set("Content-Encoding", "gzip")
		text = list.Gzip()
	}
	head.Set("Content-Length", strconv.Itoa(len(text)))
	if r.Method != http.MethodHead {
		w.Write(text) //nolint:errcheck // the player has gone
	}
	return nil
}

// acceptsGzip reads Accept-Encoding (RFC 9110, 12.5.3) as far as needed.
func acceptsGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		coding, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q := strings.ReplaceAll(quality, " ", "")
			return q != "q=0" && !strings.HasPrefix(q, "q=0.000") && q != "q=0.0" && q != "q=0.00"
		}
	}
	return false
}

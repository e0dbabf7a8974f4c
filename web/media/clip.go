package media

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

// clip serves /clip/<stream>.mp4.
func (h *Handler) clip(w http.ResponseWriter, r *http.Request) {
	if err := h.serveClip(w, r); err != nil {
		fail(w, r, err)
	}
}

func (h *Handler) serveClip(w http.ResponseWriter, r *http.Request) error {
	file := r.PathValue("file")
	base, ok := strings.CutSuffix(file, ".mp4")
	if !ok {
		return &playback.ParamError{Name: "path", Value: file, Reason: "a clip is asked for as /clip/<stream>.mp4?start=…&end=…"}
	}
	name, err := fragments.ParseStreamName(base)
	if err != nil {
		return &playback.ParamError{Name: "path", Reason: err.Error()}
	}
	span, err := playback.ParseRange(r.URL.Query())
	if err != nil {
		return err
	}
	if _, err := h.viewer(r, name, span); err != nil {
		return err
	}
	c, err := h.o.Clips.Clip(r.Context(), name, span)
	if err != nil {
		return err
	}
	head := w.Header()
	head.Set("Content-Type", c.Type())
	head.Set("ETag", c.ETag())
	head.Set("Content-Disposition", disposition(c.FileName()))
	h.cacheFor(w, "no-cache")
	for _, reason := range c.LeftOut() {
		head.Add("Kineweir-Left-Out", reason)
	}
	body := noted{ReadSeeker: c.Open(r.Context())}
	http.ServeContent(w, r, "", time.Time{}, &body)
	if body.err != nil && r.Context().Err() == nil {
		// The length was promised: the client sees that the rest is missing.
		h.o.Log.Warn("clip ended early", "stream", name, "start", span.Start, "end", span.End, "error", body.err)
	}
	return nil
}

// noted notes the error that ended the reading.
type noted struct {
	io.ReadSeeker
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	k, err := n.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return k, err
}

// disposition tells a browser to save what comes under a name (RFC 6266): as it
// is for ASCII, and encoded (RFC 8187) for all else.
func disposition(name string) string {
	plain := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '/' {
			return '_'
		}
		return c
	}, name)
	d := fmt.Sprintf(`attachment; filename="%s"`, plain)
	if plain != name {
		d += "; filename*=UTF-8''" + url.PathEscape(name)
	}
	return d
}

package media

import (
	"encoding/json"
	"errors"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"github.com/kineweir/kineweir/playback/image"
)

// manyImages answers with the pictures of an interval as they are made: as
// multipart/mixed (RFC 2046, 5.1.3), each once, those that cannot be made left
// out.
func (h *Handler) manyImages(w http.ResponseWriter, r *http.Request, req imageRequest) error {
	var parts *multipart.Writer
	var last time.Time
	var none error // why the first instant has none
	for p, err := range h.o.Images.Pictures(r.Context(), req.name, req.span, req.every, req.Request) {
		var instant *image.InstantError
		if errors.As(err, &instant) {
			if none == nil {
				none = instant.Err
			}
			continue
		}
		if err != nil {
			return h.endEarly(req, parts != nil, err)
		}
		if p.Time.Equal(last) {
			continue
		}
		last = p.Time
		if parts == nil {
			parts = multipart.NewWriter(w)
			w.Header().Set("Content-Type", "multipart/mixed; boundary="+parts.Boundary())
			w.Header().Set("Cache-Control", "no-store")
		}
		if writePart(parts, p) != nil {
			return nil // the client has gone
		}
		http.NewResponseController(w).Flush() //nolint:errcheck // as above
	}
	if parts == nil {
		return none
	}
	parts.Close() //nolint:errcheck // as above
	return nil
}

func writePart(parts *multipart.Writer, p *image.Picture) error {
	head := textproto.MIMEHeader{}
	describe(head, p)
	head.Set("Content-Length", strconv.Itoa(len(p.Data)))
	part, err := parts.CreatePart(head)
	if err != nil {
		return err
	}
	_, err = part.Write(p.Data)
	return err
}

// endEarly ends an answer that has begun: the client sees that the last
// boundary is missing.
func (h *Handler) endEarly(req imageRequest, begun bool, err error) error {
	if !begun {
		return err
	}
	h.o.Log.Warn("pictures ended early", "stream", req.name, "start", req.span.Start, "end", req.span.End, "error", err)
	panic(http.ErrAbortHandler)
}

// listed is one picture of a list.
type listed struct {
	Asked    time.Time `json:"asked"`
	Time     time.Time `json:"time,omitzero"`
	Fragment string    `json:"fragment,omitempty"`
	Key      bool      `json:"key,omitempty"`
	Width    int       `json:"width,omitempty"`
	Height   int       `json:"height,omitempty"`
	URL      string    `json:"url,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// listImages answers with a list, one item for each instant: where the picture
// is or, inline, itself. It is written as it is made.
func (h *Handler) listImages(w http.ResponseWriter, r *http.Request, req imageRequest, token string) error {
	pictures := h.o.Images.Moments
	if req.inline {
		pictures = h.o.Images.Pictures
	}
	begun := false
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for p, err := range pictures(r.Context(), req.name, req.span, req.every, req.Request) {
		var instant *image.InstantError
		var item listed
		switch {
		case errors.As(err, &instant):
			item = listed{Asked: instant.Time, Error: instant.Err.Error()}
		case err != nil:
			return h.endEarly(req, begun, err)
		default:
			item = listed{Asked: p.Asked, Time: p.Time, Fragment: p.Fragment.String(), Key: p.Key, Width: p.Width, Height: p.Height}
			if req.inline {
				item.URL = dataURL(p)
			} else {
				item.URL = imageURL(&req, r.URL.Query(), p.Asked, token)
			}
		}
		comma := ","
		if !begun {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			begun, comma = true, "["
		}
		if _, err := w.Write([]byte(comma)); err != nil {
			return nil // the client has gone
		}
		if enc.Encode(item) != nil {
			return nil
		}
	}
	_, err := w.Write([]byte("]\n")) // an interval has an instant at least
	_ = err                          // the client may have gone
	return nil
}

package console

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/detect"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/api"
)

// image serves a still picture, whose colour tells its time, where the server
// is to make any.
func (h *house) image(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.images = append(h.images, r.URL.RequestURI())
	makes := h.stills
	h.mu.Unlock()
	if !makes {
		web.WriteError(w, &web.Error{Status: http.StatusServiceUnavailable, Code: "no_decoder", Message: "ffmpeg is not there"})
		return
	}
	at := time.Now()
	if v := r.URL.Query().Get("time"); v != "" {
		ms, _ := strconv.ParseInt(v, 10, 64)
		at = time.UnixMilli(ms)
	}
	m := image.NewRGBA(image.Rect(0, 0, 320, 180))
	for x := range 320 {
		for y := range 180 {
			m.Set(x, y, color.RGBA{uint8(x), uint8(y), uint8(at.Unix() * 31), 255})
		}
	}
	var b bytes.Buffer
	_ = jpeg.Encode(&b, m, nil)
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Kineweir-Time", at.UTC().Format(time.RFC3339Nano))
	_, _ = w.Write(b.Bytes())
}

// makesStills has the server make pictures.
func makesStills(h *house) []web.Route {
	h.stills = true
	return nil
}

// asked returns the queries of the pictures of a stream that were asked for.
func (h *house) asked(name string) (list []url.Values) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, uri := range h.images {
		if rest, ok := strings.CutPrefix(uri, "/image/"+name+".jpg"); ok {
			q, _ := url.ParseQuery(strings.TrimPrefix(rest, "?"))
			list = append(list, q)
		}
	}
	return list
}

// settings keeps those of streams.
type settings struct{ h *house }

func (s settings) Get(name fragments.StreamName) api.StreamSettings {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if v, ok := s.h.settings[name]; ok {
		return v
	}
	return api.StreamSettings{Before: 5 * time.Second, After: 10 * time.Second}
}

func (s settings) Set(_ context.Context, name fragments.StreamName, v api.StreamSettings) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.h.settings[name].Fixed {
		return api.ErrFixedSettings
	}
	s.h.settings[name] = v
	return nil
}

func (s settings) Delete(_ context.Context, name fragments.StreamName) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	delete(s.h.settings, name)
	return nil
}

func (s settings) Detectors(name fragments.StreamName) (list []detect.Status) {
	if v := s.Get(name); v.Detect.Motion != nil {
		list = append(list, detect.Status{Camera: name, Kind: "motion", State: "looking", Pictures: 1234, Events: 7})
	}
	return list
}

package media

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/web"
)

// maxPictures is how many pictures of a span one answer may have.
const maxPictures = 1000

// imageRequest is a URL under /image/, read.
type imageRequest struct {
	image.Request
	name   fragments.StreamName
	list   bool           // .json
	inline bool           // with the pictures in the list
	span   playback.Range // of an interval
	every  time.Duration  // zero: one picture
}

// image serves /image/<stream>.jpg, .png and .json.
func (h *Handler) image(w http.ResponseWriter, r *http.Request) {
	if err := h.serveImage(w, r); err != nil {
		fail(w, r, imageAnswer(err))
	}
}

func (h *Handler) serveImage(w http.ResponseWriter, r *http.Request) error {
	if h.o.Images == nil {
		return &web.Error{Status: http.StatusNotFound, Code: "no_images", Message: "this server makes no pictures"}
	}
	req, err := parseImage(r.PathValue("file"), r.URL.Query())
	if err != nil {
		return err
	}
	span := req.span
	if req.every == 0 && !req.Time.IsZero() {
		span = playback.Range{Clock: req.Clock, Start: req.Time, End: req.Time.Add(1)}
	}
	token, err := h.viewer(r, req.name, span)
	if err != nil {
		return err
	}
	switch {
	case req.list:
		return h.listImages(w, r, req, token)
	case req.every > 0:
		return h.manyImages(w, r, req)
	}
	p, err := h.o.Images.Picture(r.Context(), req.name, req.Request)
	if err != nil {
		return err
	}
	head := w.Header()
	describe(head, p)
	switch {
	case req.Time.IsZero():
		head.Set("Cache-Control", "no-store")
	case p.Settled:
		h.cacheFor(w, "max-age=31536000, immutable")
	default:
		h.cacheFor(w, "no-cache")
	}
	sum := sha256.Sum256(p.Data)
	head.Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	var date time.Time
	if p.Settled && !req.Time.IsZero() {
		// Of others none is told: a second has many frames, and the clock of a camera
		// may be set back.
		date = p.Time
	}
	http.ServeContent(w, r, "", date, bytes.NewReader(p.Data))
	return nil
}

// describe says in headers what a picture is.
func describe(head interface{ Set(name, value string) }, p *image.Picture) {
	head.Set("Content-Type", p.Type)
	head.Set("Kineweir-Time", p.Time.Format(time.RFC3339Nano))
	if !p.Fragment.IsZero() {
		head.Set("Kineweir-Fragment", p.Fragment.String())
	}
}

const imagePath = "pictures are asked for as /image/<stream>.jpg or .png, and lists of them as /image/<stream>.json?start=…&end=…&interval=…"

func parseImage(file string, q url.Values) (req imageRequest, err error) {
	base, format, list, ok := imageFile(file)
	if !ok {
		return req, &playback.ParamError{Name: "path", Value: file, Reason: imagePath}
	}
	req.Format, req.list = format, list
	if req.name, err = fragments.ParseStreamName(base); err != nil {
		return req, &playback.ParamError{Name: "path", Reason: err.Error()}
	}
	if req.Clock, err = parseClock(q); err != nil {
		return req, err
	}
	switch v := q.Get("exact"); v {
	case "", "key", "false":
	case "frame", "true":
		req.Exact = true
	default:
		return req, &playback.ParamError{Name: "exact", Value: v, Reason: "write frame (what was shown at the time) or key (the key frame before it, which is cheaper)"}
	}
	for _, p := range []struct {
		name string
		max  int
		into *int
	}{{"width", image.MaxSize, &req.Width}, {"height", image.MaxSize, &req.Height}, {"quality", 100, &req.Quality}, {"video", 1 << 30, &req.Video}} {
		if v := q.Get(p.name); v != "" {
			if *p.into, err = strconv.Atoi(v); err != nil || *p.into < 1 || *p.into > p.max {
				return req, &playback.ParamError{Name: p.name, Value: v, Reason: "write a number from 1 to " + strconv.Itoa(p.max)}
			}
		}
	}
	if err = req.format(base, q.Get("format")); err != nil {
		return req, err
	}
	if list || q.Has("start") || q.Has("end") || q.Has("interval") {
		return req, req.interval(q)
	}
	if v := q.Get("time"); v != "" && !isClock(v) {
		req.Time, err = parseInstant(v)
	}
	return req, err
}

// format reads the format of the pictures of a list. That of one picture is its
// ending, which it must not contradict.
func (req *imageRequest) format(base, v string) error {
	f := image.JPEG
	switch v {
	case "":
		return nil
	case "jpg", "jpeg":
	case "png":
		f = image.PNG
	default:
		return &playback.ParamError{Name: "format", Value: v, Reason: "write jpg or png"}
	}
	if !req.list && f != req.Format {
		return &playback.ParamError{Name: "format", Value: v, Reason: "the ending of the path says otherwise: ask for /image/" + base + "." + v}
	}
	req.Format = f
	return nil
}

func imageFile(file string) (base string, f image.Format, list, ok bool) {
	for _, k := range []struct {
		suffix string
		format image.Format
		list   bool
	}{{".jpg", image.JPEG, false}, {".jpeg", image.JPEG, false}, {".png", image.PNG, false}, {".json", image.JPEG, true}} {
		if base, ok = strings.CutSuffix(file, k.suffix); ok {
			return base, k.format, k.list, true
		}
	}
	return "", 0, false, false
}

// parseClock reads the clock of the times: the parameter clock, and, as
// elsewhere, time, which here may also be an instant.
func parseClock(q url.Values) (fragments.Clock, error) {
	v := q.Get("clock")
	if v == "" && isClock(q.Get("time")) {
		v = q.Get("time")
	}
	switch v {
	case "", "producer":
		return fragments.ByProducer, nil
	case "server":
		return fragments.ByServer, nil
	}
	return 0, &playback.ParamError{Name: "clock", Value: v, Reason: "write producer (when it was filmed) or server (when it arrived)"}
}

func isClock(v string) bool { return v == "producer" || v == "server" }

// parseInstant reads one time as [playback.ParseRange] reads a start.
func parseInstant(v string) (time.Time, error) {
	r, err := playback.ParseRange(url.Values{"start": {v}})
	var p *playback.ParamError
	if errors.As(err, &p) {
		return time.Time{}, &playback.ParamError{Name: "time", Value: v, Reason: strings.ReplaceAll(p.Reason, "start=", "time=")}
	}
	return r.Start, err
}

// interval reads start, end and interval, and the format of a list.
func (req *imageRequest) interval(q url.Values) (err error) {
	if v := q.Get("time"); v != "" && !isClock(v) {
		return &playback.ParamError{Name: "time", Value: v, Reason: "is for one picture; with start and end write clock=producer or clock=server"}
	}
	if req.span, err = playback.ParseRange(url.Values{"start": q["start"], "end": q["end"]}); err != nil {
		return err
	}
	req.span.Clock = req.Clock
	if req.span.Open() {
		return &playback.ParamError{Name: "end", Reason: "missing: write where the pictures end, as for start"}
	}
	switch v := q.Get("inline"); v {
	case "", "false", "0":
	case "true", "1":
		req.inline = true
	default:
		return &playback.ParamError{Name: "inline", Value: v, Reason: "write true or false"}
	}
	req.every, err = parseInterval(q.Get("interval"), req.span.End.Sub(req.span.Start))
	return err
}

// parseInterval reads the time between two pictures of a span.
func parseInterval(v string, span time.Duration) (every time.Duration, err error) {
	if every, err = time.ParseDuration(v); err != nil {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > 1<<40 {
			return 0, &playback.ParamError{Name: "interval", Value: v, Reason: "write the time between two pictures like 5s, or milliseconds like 5000"}
		}
		every = time.Duration(max(n, 0)) * time.Millisecond
	}
	if every < time.Millisecond {
		return 0, &playback.ParamError{Name: "interval", Value: v, Reason: "write the time between two pictures, 1ms or more"}
	}
	if (span-1)/every >= maxPictures {
		return 0, &playback.ParamError{Name: "interval", Value: v, Reason: "that are more than " + strconv.Itoa(maxPictures) +
			" pictures: write interval=" + (span/maxPictures + time.Second).Truncate(time.Second).String() + " or ask for a shorter span"}
	}
	return every, nil
}

// imageURL returns the URL of one picture of a list.
func imageURL(req *imageRequest, q url.Values, asked time.Time, token string) string {
	u := url.Values{"time": {asked.UTC().Format(time.RFC3339Nano)}}
	for _, name := range []string{"exact", "width", "height", "quality", "video"} {
		if v := q.Get(name); v != "" {
			u.Set(name, v)
		}
	}
	if req.Clock == fragments.ByServer {
		u.Set("clock", "server")
	}
	if token != "" {
		u.Set("token", token)
	}
	suffix := ".jpg"
	if req.Format == image.PNG {
		suffix = ".png"
	}
	return "/image/" + url.PathEscape(string(req.name)) + suffix + "?" + u.Encode()
}

func dataURL(p *image.Picture) string {
	return "data:" + p.Type + ";base64," + base64.StdEncoding.EncodeToString(p.Data)
}

// imageAnswer is the part of the table from errors to HTTP that is of pictures.
func imageAnswer(err error) error {
	var none *image.NothingError
	var blind *image.NoVideoError
	var bad *image.DecodeError
	var missing *image.NoDecoderError
	var busy *image.BusyError
	var asleep *image.AsleepError
	var slow *image.SlowError
	e := &web.Error{Message: err.Error()}
	switch {
	case errors.As(err, &none):
		e.Status, e.Code = http.StatusNotFound, "nothing_recorded"
		if !none.Nearest.IsZero() {
			e.Hint = "ask for time=" + none.Nearest.UTC().Format(time.RFC3339Nano)
		}
	case errors.As(err, &blind):
		e.Status, e.Code = http.StatusNotFound, "no_video"
	case errors.As(err, &bad) && bad.Timeout:
		e.Status, e.Code = http.StatusGatewayTimeout, "decoder_timeout"
	case errors.As(err, &bad):
		e.Status, e.Code = http.StatusUnprocessableEntity, "not_decodable"
	case errors.As(err, &missing):
		e.Status, e.Code = http.StatusServiceUnavailable, "no_decoder"
	case errors.As(err, &busy):
		e.Status, e.Code, e.RetryAfter = http.StatusServiceUnavailable, "busy", int((busy.After+time.Second-1)/time.Second)
	case errors.As(err, &asleep):
		e.Status, e.Code, e.RetryAfter = http.StatusServiceUnavailable, "not_live", 5
	case errors.As(err, &slow):
		e.Status, e.Code, e.RetryAfter = http.StatusGatewayTimeout, "bucket_timeout", 10
	case errors.Is(err, image.ErrClosed):
		e.Status, e.Code = http.StatusServiceUnavailable, "stopping"
	case errors.Is(err, archive.ErrNoFragment):
		e.Status, e.Code, e.Message = http.StatusNotFound, "nothing_recorded", "what was recorded there has just been deleted"
	default:
		return err
	}
	return e
}

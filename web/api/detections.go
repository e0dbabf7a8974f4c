package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// Detections is what detectors saw.
type Detections interface {
	Find(ctx context.Context, q events.Query) (events.Page, error)
	// Cameras lists those that anything was seen by.
	Cameras() []fragments.StreamName
}

type detectionBody struct {
	ID         string          `json:"id"`
	Camera     string          `json:"camera"`
	Time       stamp           `json:"time"`
	End        *stamp          `json:"end,omitempty"`
	Label      string          `json:"label"`
	Score      float64         `json:"score,omitempty"`
	Box        *events.Box     `json:"box,omitempty"`
	Source     string          `json:"source,omitempty"`
	Fragment   string          `json:"fragment,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
}

type detectionsBody struct {
	Detections []detectionBody `json:"detections"`
	Next       string          `json:"next,omitempty"` // page
}

// detections lists what was seen by a camera, or by all that may be viewed.
func (a *API) detections(w http.ResponseWriter, r *http.Request) error {
	q, err := detectionsQuery(r)
	if err != nil {
		return err
	}
	if q.Cameras, err = a.detectionCameras(r); err != nil {
		return err
	}
	page, err := a.o.Detections.Find(r.Context(), q)
	if errors.Is(err, events.ErrPage) {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_page", Message: "page: is none that was given out", Hint: "use what next says", Err: err}
	}
	if err != nil {
		return err
	}
	b := detectionsBody{Detections: make([]detectionBody, len(page.Detections)), Next: page.Next}
	for i := range page.Detections {
		b.Detections[i] = detectionOf(&page.Detections[i])
	}
	web.WriteJSON(w, http.StatusOK, b)
	return nil
}

// detectionCameras returns the cameras that are asked for and may be viewed.
func (a *API) detectionCameras(r *http.Request) ([]fragments.StreamName, error) {
	stream := r.URL.Query().Get("stream")
	if stream == "" {
		// Who it is decides first: wrong credentials are an error, not an empty list.
		if _, err := a.o.Access.User(r); err != nil {
			return nil, err
		}
		if a.o.Detections == nil {
			return nil, missing("detections")
		}
		return slices.DeleteFunc(a.o.Detections.Cameras(), func(n fragments.StreamName) bool {
			return a.o.Access.Stream(r, ingest.View, n) != nil
		}), nil
	}
	name, err := fragments.ParseStreamName(stream)
	if err != nil {
		return nil, &web.Error{Status: http.StatusBadRequest, Code: "bad_name", Message: err.Error()}
	}
	if err := a.o.Access.Stream(r, ingest.View, name); err != nil {
		return nil, err
	}
	if a.o.Detections == nil {
		return nil, missing("detections")
	}
	return []fragments.StreamName{name}, nil
}

// detectionsQuery reads start, end, label, order, limit and page.
func detectionsQuery(r *http.Request) (q events.Query, err error) {
	bad := func(code, message, hint string) error {
		return &web.Error{Status: http.StatusBadRequest, Code: code, Message: message, Hint: hint}
	}
	if q.Start, err = web.QueryTime(r, "start"); err != nil {
		return q, err
	}
	if q.End, err = web.QueryTime(r, "end"); err != nil {
		return q, err
	}
	if !q.Start.IsZero() && !q.End.IsZero() && !q.Start.Before(q.End) {
		return q, bad("bad_range", "start is not before end", "")
	}
	values := r.URL.Query()
	q.Label, q.Page = values.Get("label"), values.Get("page")
	switch order := values.Get("order"); order {
	case "", "oldest":
	case "newest":
		q.Newest = true
	default:
		return q, bad("bad_order", "order: "+strconv.Quote(order)+" is none", "use oldest or newest")
	}
	if l := values.Get("limit"); l != "" {
		if q.Limit, err = strconv.Atoi(l); err != nil || q.Limit < 1 || q.Limit > events.MaxLimit {
			return q, bad("bad_limit", "limit: "+strconv.Quote(l)+" is not between 1 and "+strconv.Itoa(events.MaxLimit), "")
		}
	}
	return q, nil
}

func detectionOf(d *events.Detection) detectionBody {
	b := detectionBody{
		ID: d.ID, Camera: string(d.Camera), Time: stampOf(d.Time), Label: d.Label, Score: d.Score, Box: d.Box,
		Source: d.Source, Attributes: d.Attributes,
	}
	if !d.End.IsZero() {
		end := stampOf(d.End)
		b.End = &end
	}
	if !d.Fragment.IsZero() {
		b.Fragment = d.Fragment.String()
	}
	return b
}

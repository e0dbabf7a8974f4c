package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/detect"
	"github.com/kineweir/kineweir/web"
)

// ErrFixedSettings refuses to change what stands in the config file.
var ErrFixedSettings = errors.New("the settings of the stream stand in the config file")

// StreamSettings say how one stream is recorded and watched.
type StreamSettings struct {
	EventsOnly bool          // recorded around detections only
	Before     time.Duration // of an event, where EventsOnly
	After      time.Duration
	Late       time.Duration // how late detections may come; 0: as late as the detector may be
	Detect     detect.Settings
	Fixed      bool // they stand in the config file
}

// Settings keeps the settings of streams. Set and Delete are durable when they
// return nil, and count at once.
type Settings interface {
	// Get returns those of a stream, the defaults when it has none.
	Get(name fragments.StreamName) StreamSettings
	Set(ctx context.Context, name fragments.StreamName, s StreamSettings) error
	Delete(ctx context.Context, name fragments.StreamName) error
	// Detectors returns how the detectors of a stream fare.
	Detectors(name fragments.StreamName) []detect.Status
}

// settingsBody is what the API shows and takes of StreamSettings. Spans of time
// are seconds.
type settingsBody struct {
	Record    string        `json:"record"` // "all" or "events"
	Before    float64       `json:"before"`
	After     float64       `json:"after"`
	Late      float64       `json:"late"`
	Motion    *motionBody   `json:"motion"`
	Detector  *detectorBody `json:"detector"`
	Fixed     bool          `json:"fixed"`
	Detectors []statusBody  `json:"detectors"`
}

type motionBody struct {
	Sensitivity int           `json:"sensitivity"`
	FPS         float64       `json:"fps"`
	Quiet       float64       `json:"quiet"`
	Zones       []detect.Zone `json:"zones"`
}

type detectorBody struct {
	Name     string   `json:"name"`
	URL      string   `json:"url,omitempty"`
	Command  []string `json:"command,omitempty"`
	FPS      float64  `json:"fps"`
	Width    int      `json:"width"`
	Height   int      `json:"height"`
	Timeout  float64  `json:"timeout"`
	MinScore float64  `json:"min_score"`
	Sure     int      `json:"sure"`
	Quiet    float64  `json:"quiet"`
}

type statusBody struct {
	Kind     string `json:"kind"`
	State    string `json:"state"`
	Error    string `json:"error,omitempty"`
	Pictures int64  `json:"pictures"`
	Skipped  int64  `json:"skipped"`
	Events   int64  `json:"events"`
	Lost     int64  `json:"lost"`
	Wakes    int64  `json:"wakes"`
	Restarts int64  `json:"restarts"`
}

const (
	recordAll    = "all"
	recordEvents = "events"
)

// settingsOf returns what keeps settings and the stream that the path names, if
// who sent r may know.
func (a *API) settingsOf(r *http.Request) (Settings, fragments.StreamName, error) {
	name, err := pathName(r)
	if err != nil {
		return nil, "", err
	}
	if err := a.o.Access.Admin(r); err != nil {
		return nil, "", err
	}
	if a.o.Settings == nil {
		return nil, "", missing("settings of streams")
	}
	return a.o.Settings, name, nil
}

func (a *API) showSettings(w http.ResponseWriter, r *http.Request) error {
	s, name, err := a.settingsOf(r)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, bodyOfSettings(s, name))
	return nil
}

func (a *API) putSettings(w http.ResponseWriter, r *http.Request) error {
	s, name, err := a.settingsOf(r)
	if err != nil {
		return err
	}
	body := bodyOfSettings(s, name) // what is left out stays
	body.Detectors = nil
	// Zones are given all or not at all: decoding into those there are would change
	// what is stored, and let one zone inherit from another.
	zones := body.takeZones()
	if err := web.ReadJSON(w, r, &body); err != nil {
		return err
	}
	if body.Motion != nil && body.Motion.Zones == nil {
		body.Motion.Zones = zones
	}
	set, err := body.settings()
	if err != nil {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_settings", Message: err.Error()}
	}
	if err := s.Set(r.Context(), name, set); err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, bodyOfSettings(s, name))
	return nil
}

func (a *API) deleteSettings(w http.ResponseWriter, r *http.Request) error {
	s, name, err := a.settingsOf(r)
	if err != nil {
		return err
	}
	if err := s.Delete(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func bodyOfSettings(s Settings, name fragments.StreamName) settingsBody {
	set := s.Get(name)
	b := settingsBody{Record: recordAll, Before: set.Before.Seconds(), After: set.After.Seconds(), Late: set.Late.Seconds(), Fixed: set.Fixed, Detectors: []statusBody{}}
	if set.EventsOnly {
		b.Record = recordEvents
	}
	in := set.Detect.InForce()
	if m := in.Motion; m != nil {
		b.Motion = &motionBody{Sensitivity: m.Sensitivity, FPS: m.FPS, Quiet: m.Quiet.Seconds(), Zones: m.Zones}
		if b.Motion.Zones == nil {
			b.Motion.Zones = []detect.Zone{}
		}
	}
	if e := in.External; e != nil {
		b.Detector = &detectorBody{
			Name: e.Name, URL: e.URL, Command: e.Command, FPS: e.FPS, Width: e.Width, Height: e.Height,
			Timeout: e.Timeout.Seconds(), MinScore: e.MinScore, Sure: e.Sure, Quiet: e.Quiet.Seconds(),
		}
	}
	for _, d := range s.Detectors(name) {
		st := statusBody{Kind: d.Kind, State: d.State, Pictures: d.Pictures, Skipped: d.Skipped, Events: d.Events, Lost: d.Lost, Wakes: d.Wakes, Restarts: d.Restarts}
		if d.Err != nil {
			st.Error = d.Err.Error()
		}
		b.Detectors = append(b.Detectors, st)
	}
	return b
}

// takeZones returns the zones and leaves none.
func (b *settingsBody) takeZones() (zones []detect.Zone) {
	if b.Motion != nil {
		zones, b.Motion.Zones = b.Motion.Zones, nil
	}
	return zones
}

// maxAround bounds what is recorded before and after an event, seconds: it waits
// in memory.
const maxAround = 300

func (b *settingsBody) settings() (StreamSettings, error) {
	if b.Record != recordAll && b.Record != recordEvents {
		return StreamSettings{}, errors.New("record: write all, or events")
	}
	for _, v := range []float64{b.Before, b.After, b.Late} {
		if !(v >= 0 && v <= maxAround) {
			return StreamSettings{}, errors.New("before, after and late: write seconds, 0 to 300")
		}
	}
	s := StreamSettings{EventsOnly: b.Record == recordEvents, Before: secondsOf(b.Before), After: secondsOf(b.After), Late: secondsOf(b.Late)}
	if m := b.Motion; m != nil {
		s.Detect.Motion = &detect.Motion{Sensitivity: m.Sensitivity, FPS: m.FPS, Quiet: secondsOf(m.Quiet), Zones: m.Zones}
	}
	if d := b.Detector; d != nil {
		if len(d.Command) > 0 {
			return StreamSettings{}, errors.New("detector: a command is taken from the config file only, as it runs with the rights of this server; write the url of a service")
		}
		s.Detect.External = &detect.External{
			Name: d.Name, URL: d.URL, FPS: d.FPS, Width: d.Width, Height: d.Height,
			Timeout: secondsOf(d.Timeout), MinScore: d.MinScore, Sure: d.Sure, Quiet: secondsOf(d.Quiet),
		}
	}
	return s, s.Detect.Validate()
}

// secondsOf is a span of time of seconds; what is out of reason is refused later.
func secondsOf(seconds float64) time.Duration {
	if math.IsNaN(seconds) || math.Abs(seconds) > 1e6 {
		return -1
	}
	return time.Duration(seconds * float64(time.Second))
}

package api

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"runtime"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/auth"
)

// Streams is what the archive knows.
type Streams interface {
	Streams() []archive.StreamInfo
	Stream(name fragments.StreamName) (archive.StreamInfo, error)
	Fragments(ctx context.Context, name fragments.StreamName, sel fragments.Selector) iter.Seq2[*archive.Entry, error]
	Track(name fragments.StreamName, hash fragments.ConfigHash) (*fragments.Track, error)
}

// Deleter deletes all that is recorded of a stream, for good.
type Deleter interface {
	DeleteStream(ctx context.Context, name fragments.StreamName) error
}

// Hub knows who publishes now.
type Hub interface {
	Names() []fragments.StreamName
	Live(name fragments.StreamName) (*live.Publisher, error)
}

// Publisher is one who publishes now.
type Publisher struct {
	Source ingest.Source
	Stats  ingest.Stats
}

// Publishers measures who publishes. LastError also answers for streams that
// nobody publishes any more: "" when the last publisher left in good order.
type Publishers interface {
	Publisher(name fragments.StreamName) (Publisher, bool)
	LastError(name fragments.StreamName) string
}

// PublishersOf returns the sessions as Publishers.
func PublishersOf(s *ingest.Sessions) Publishers { return sessions{s} }

type sessions struct{ *ingest.Sessions }

func (s sessions) Publisher(name fragments.StreamName) (Publisher, bool) {
	ss := s.Get(name)
	if ss == nil {
		return Publisher{}, false
	}
	return Publisher{ss.Source(), ss.Stats()}, true
}

// Access decides who may do what; its errors are [*web.Error].
type Access interface {
	User(r *http.Request) (string, error)
	Admin(r *http.Request) error
	Stream(r *http.Request, a ingest.Action, name fragments.StreamName) error
}

// Tokens hands rights on.
type Tokens interface {
	Grant(r *http.Request, g auth.Grant, life time.Duration) (string, auth.Grant, error)
	Revoke(r *http.Request, token string) error
	RevokeUser(r *http.Request, user string) error
}

// Options are the parts behind the API. Streams, Hub, Access and Tokens are
// required; what else is nil is answered with status 501 or left out.
type Options struct {
	Streams    Streams
	Hub        Hub
	Access     Access
	Tokens     Tokens
	Deleter    Deleter
	Publishers Publishers
	Cameras    Cameras
	Settings   Settings
	Detections Detections
	Leases     Leases
	// CodecString names the codec of a track as RFC 6381 does.
	CodecString func(*fragments.Track) (string, error)
	// Playable returns why a browser cannot play a track, or nil.
	Playable func(*fragments.Track) error
	// Version of this program.
	Version string
	// RTSP and RTSPS are the addresses listened on, host:port, "" for none: the
	// console shows the URLs of streams.
	RTSP, RTSPS string
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// API answers the routes.
type API struct {
	o       Options
	started time.Time
}

// New returns the API.
func New(o Options) (*API, error) {
	if o.Streams == nil || o.Hub == nil || o.Access == nil || o.Tokens == nil {
		return nil, errors.New("api: Streams, Hub, Access and Tokens are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &API{o: o, started: o.Now()}, nil
}

// Routes returns the routes of the API.
func (a *API) Routes() []web.Route {
	route := func(pattern string, h func(w http.ResponseWriter, r *http.Request) error) web.Route {
		return web.Route{Pattern: pattern, Kind: web.API, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				web.WriteError(w, translate(err))
			}
		})}
	}
	return []web.Route{
		route("GET /api/info", a.info),
		route("GET /api/streams", a.listStreams),
		route("GET /api/streams/{name}", a.showStream),
		route("DELETE /api/streams/{name}", a.deleteStream),
		route("GET /api/streams/{name}/timeline", a.timeline),
		route("GET /api/streams/{name}/settings", a.showSettings),
		route("PUT /api/streams/{name}/settings", a.putSettings),
		route("DELETE /api/streams/{name}/settings", a.deleteSettings),
		route("POST /api/streams/{name}/token", a.issueToken),
		route("POST /api/tokens/revoke", a.revokeToken),
		route("GET /api/detections", a.detections),
		route("GET /api/cameras", a.listCameras),
		route("GET /api/cameras/{name}", a.showCamera),
		route("PUT /api/cameras/{name}", a.putCamera),
		route("DELETE /api/cameras/{name}", a.deleteCamera),
		route("GET /api/leases/{app}", a.listLeases),
		route("GET /api/leases/{app}/{key}", a.showLease),
		route("PUT /api/leases/{app}/{key}", a.putLease),
		route("DELETE /api/leases/{app}/{key}", a.deleteLease),
	}
}

// translate words the errors of the parts behind the API.
func translate(err error) error {
	for _, t := range [...]struct {
		is    error
		shown web.Error
	}{
		{archive.ErrNoStream, web.Error{Status: http.StatusNotFound, Code: "no_such_stream", Message: "there is no stream of this name", Hint: "GET /api/streams lists them"}},
		{live.ErrNotLive, web.Error{Status: http.StatusNotFound, Code: "not_live", Message: "nobody publishes this stream now"}},
		{ErrNoCamera, web.Error{Status: http.StatusNotFound, Code: "no_such_camera", Message: "there is no camera of this name", Hint: "GET /api/cameras lists them"}},
		{ErrFixedCamera, web.Error{Status: http.StatusConflict, Code: "fixed_camera", Message: "this camera stands in the config file", Hint: "change it there"}},
		{ErrFixedSettings, web.Error{Status: http.StatusConflict, Code: "fixed_settings", Message: "the settings of this stream stand in the config file", Hint: "change them there, under streams"}},
		{journal.ErrFull, web.Error{Status: http.StatusInsufficientStorage, Code: "full", Message: "the server's disk is full", Hint: "nothing was changed; make room, and try again"}},
	} {
		if errors.Is(err, t.is) {
			t.shown.Err = err
			return &t.shown
		}
	}
	return err
}

// streamName returns the stream that the path names, if who sent r may do
// action with it.
func (a *API) streamName(r *http.Request, action ingest.Action) (fragments.StreamName, error) {
	name, err := pathName(r)
	if err != nil {
		return "", err
	}
	return name, a.o.Access.Stream(r, action, name)
}

func pathName(r *http.Request) (fragments.StreamName, error) {
	name, err := fragments.ParseStreamName(r.PathValue("name"))
	if err != nil {
		return "", &web.Error{Status: http.StatusBadRequest, Code: "bad_name", Message: err.Error()}
	}
	return name, nil
}

func missing(what string) error {
	return &web.Error{Status: http.StatusNotImplemented, Code: "not_available", Message: "this server has no " + what}
}

type infoBody struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Go      string `json:"go"`
	Now     stamp  `json:"now"`
	Started stamp  `json:"started"`
	Uptime  int64  `json:"uptime"` // seconds
	RTSP    string `json:"rtsp,omitempty"`
	RTSPS   string `json:"rtsps,omitempty"`
	Cameras bool   `json:"cameras"` // can be added
	Delete  bool   `json:"delete"`  // of streams is possible
	// Detections are kept.
	Detections bool `json:"detections"`
}

func (a *API) info(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.o.Access.User(r); err != nil {
		return err
	}
	now := a.o.Now()
	web.WriteJSON(w, http.StatusOK, infoBody{
		Name: "kineweir", Version: a.o.Version, Go: runtime.Version(), Now: stampOf(now), Started: stampOf(a.started),
		Uptime: int64(now.Sub(a.started).Seconds()), RTSP: a.o.RTSP, RTSPS: a.o.RTSPS,
		Cameras: a.o.Cameras != nil, Delete: a.o.Deleter != nil, Detections: a.o.Detections != nil,
	})
	return nil
}

// stamp is a time in an answer: RFC 3339 in UTC with milliseconds, or null.
type stamp struct{ time.Time }

func stampOf(t time.Time) stamp { return stamp{t} }

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) {
	if s.IsZero() {
		return []byte("null"), nil
	}
	return s.UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

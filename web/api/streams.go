package api

import (
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/auth"
)

// States of a stream, as the console shows them.
const (
	stateLive       = "live"       // somebody publishes
	stateConnecting = "connecting" // its camera is being reached
	stateError      = "error"      // its camera cannot be reached
	stateIdle       = "idle"       // its camera is pulled when somebody watches
	stateOffline    = "offline"    // nobody publishes
)

type streamBody struct {
	Name          string      `json:"name"`
	State         string      `json:"state"`
	Live          bool        `json:"live"`
	LiveSince     stamp       `json:"live_since"`
	Recording     bool        `json:"recording"`
	Source        *sourceBody `json:"source"`
	Camera        bool        `json:"camera"` // pulled by this server
	Error         string      `json:"error,omitempty"`
	Created       stamp       `json:"created"`
	First         stamp       `json:"first"` // producer time of the oldest kept video
	Last          stamp       `json:"last"`  // producer time at which the newest ends
	Fragments     int64       `json:"fragments"`
	Bytes         int64       `json:"bytes"`
	SpoolBytes    int64       `json:"spool_bytes"`
	FPS           float64     `json:"fps"`
	BitRate       float64     `json:"bit_rate"`
	Lag           float64     `json:"lag,omitempty"`   // seconds since the newest frame was captured
	Clock         string      `json:"clock,omitempty"` // of capture times: "report" (the publisher's) or "arrival"
	PacketsLost   uint64      `json:"packets_lost"`
	FragmentsLost int64       `json:"fragments_lost"` // not stored
	Jitter        float64     `json:"jitter"`
	Subscribers   int         `json:"subscribers"`
	Dropped       int64       `json:"dropped"`
	Width         int         `json:"width,omitempty"`
	Height        int         `json:"height,omitempty"`
	Tracks        []trackBody `json:"tracks"`
}

type sourceBody struct {
	Protocol string `json:"protocol"`
	Remote   string `json:"remote,omitempty"`
	User     string `json:"user,omitempty"`
}

type trackBody struct {
	ID         int    `json:"id"`
	Kind       string `json:"kind"`
	Codec      string `json:"codec"`
	CodecID    string `json:"codec_string,omitempty"` // RFC 6381
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
	SampleRate int    `json:"sample_rate,omitempty"`
	Channels   int    `json:"channels,omitempty"`
	Playable   bool   `json:"playable"`
	Why        string `json:"why,omitempty"` // it is not
}

func (a *API) listStreams(w http.ResponseWriter, r *http.Request) error {
	// Who it is decides first: wrong credentials are one error, not one per stream.
	if _, err := a.o.Access.User(r); err != nil {
		return err
	}
	recorded := map[fragments.StreamName]archive.StreamInfo{}
	names := map[fragments.StreamName]bool{}
	for _, s := range a.o.Streams.Streams() {
		recorded[s.Name], names[s.Name] = s, true
	}
	for _, n := range a.o.Hub.Names() {
		names[n] = true
	}
	cameras := a.camerasByName()
	for n := range cameras {
		names[n] = true
	}
	list := []streamBody{}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if a.o.Access.Stream(r, ingest.View, n) == nil {
			list = append(list, a.describe(n, recorded[n], cameras))
		}
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"streams": list})
	return nil
}

func (a *API) showStream(w http.ResponseWriter, r *http.Request) error {
	name, err := a.streamName(r, ingest.View)
	if err != nil {
		return err
	}
	cameras := a.camerasByName()
	info, err := a.o.Streams.Stream(name)
	if errors.Is(err, archive.ErrNoStream) {
		_, isCamera := cameras[name]
		if _, notLive := a.o.Hub.Live(name); notLive == nil || isCamera {
			err = nil // it is there, only nothing of it is kept yet
		}
	}
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, a.describe(name, info, cameras))
	return nil
}

// describe says all that is known of a stream; info is zero when nothing is
// kept of it.
func (a *API) describe(name fragments.StreamName, info archive.StreamInfo, cameras map[fragments.StreamName]Camera) streamBody {
	b := streamBody{
		Name: string(name), State: stateOffline, Recording: info.Recording, Created: stampOf(info.Created),
		Fragments: info.Fragments, Bytes: info.Bytes, SpoolBytes: info.Spooled, Tracks: []trackBody{},
	}
	if info.First != nil {
		b.First = stampOf(info.First.Producer.Time())
	}
	if info.Last != nil {
		b.Last = stampOf(info.Last.End().Time())
	}
	camera, isCamera := cameras[name]
	if isCamera {
		b.Camera, b.State, b.Error = true, stateOf(camera), maskText(camera.Error)
	}
	var tracks []*fragments.Track
	if p, err := a.o.Hub.Live(name); err == nil {
		b.State, b.Live, b.LiveSince = stateLive, true, stampOf(p.Started())
		b.Subscribers, b.Dropped = p.Subscribers(), p.Dropped()
		tracks = p.Tracks()
		b.FPS, b.BitRate = ratesOf(info.Last)
	} else {
		tracks = a.recordedTracks(name, info.Last)
	}
	a.addMeasured(&b, name)
	for _, t := range tracks {
		b.Tracks = append(b.Tracks, a.track(t))
		if t.Kind() == fragments.KindVideo && b.Width == 0 {
			b.Width, b.Height = t.Width, t.Height
		}
	}
	return b
}

// addMeasured adds what the publisher's session measures.
func (a *API) addMeasured(b *streamBody, name fragments.StreamName) {
	if a.o.Publishers == nil {
		return
	}
	if p, ok := a.o.Publishers.Publisher(name); ok {
		st := p.Stats
		b.Source = &sourceBody{Protocol: p.Source.Protocol, Remote: p.Source.Remote, User: p.Source.User}
		b.FPS, b.BitRate = finite(st.FPS), finite(st.BitRate)
		b.PacketsLost, b.Jitter, b.FragmentsLost = st.LostPackets, finite(st.Jitter), st.Dropped
		b.Clock = "arrival"
		if st.Source == fragments.FromReport {
			b.Clock = "report"
		}
		if !st.LastUnit.IsZero() {
			b.Lag = (a.o.Now().Sub(st.LastUnit) + st.Lag).Seconds()
		}
		if st.Err != nil {
			b.Error = maskText(st.Err.Error())
		}
	}
	if b.Error == "" {
		b.Error = maskText(a.o.Publishers.LastError(name))
	}
}

// finite keeps what JSON cannot hold out of an answer.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func (a *API) recordedTracks(name fragments.StreamName, last *archive.Entry) []*fragments.Track {
	if last == nil {
		return nil
	}
	var tracks []*fragments.Track
	for i := range last.Runs {
		if t, err := a.o.Streams.Track(name, last.Runs[i].Config); err == nil {
			tracks = append(tracks, t)
		}
	}
	return tracks
}

func (a *API) track(t *fragments.Track) trackBody {
	b := trackBody{
		ID: t.ID, Kind: t.Kind().String(), Codec: string(t.Codec), Width: t.Width, Height: t.Height,
		SampleRate: t.SampleRate, Channels: t.Channels, Playable: true,
	}
	if t.CodecID != "" {
		b.Codec = t.CodecID
	}
	if a.o.CodecString != nil {
		if s, err := a.o.CodecString(t); err == nil {
			b.CodecID = s
		}
	}
	if a.o.Playable != nil {
		if err := a.o.Playable(t); err != nil {
			b.Playable, b.Why = false, err.Error()
		}
	}
	return b
}

// ratesOf estimates frame and bit rate from the newest fragment.
func ratesOf(e *archive.Entry) (fps, bitRate float64) {
	if e == nil || e.Duration <= 0 {
		return 0, 0
	}
	seconds := e.Duration.Seconds()
	for _, run := range e.Runs {
		if run.Kind == fragments.KindVideo {
			fps = float64(run.Samples) / seconds
			break
		}
	}
	return fps, float64(e.Size) * 8 / seconds
}

func (a *API) deleteStream(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	if err := a.o.Access.Admin(r); err != nil {
		return err
	}
	if a.o.Deleter == nil {
		return missing("way to delete streams")
	}
	info, err := a.o.Streams.Stream(name)
	if err != nil {
		return err
	}
	if info.Recording {
		return &web.Error{
			Status: http.StatusConflict, Code: "recording", Message: "the stream is being recorded",
			Hint: "stop its publisher, or remove its camera, then delete it",
		}
	}
	if err := a.o.Deleter.DeleteStream(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// issueToken hands the right to view (or publish) on to somebody without a name.
func (a *API) issueToken(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	var body struct {
		Actions   []ingest.Action `json:"actions"`
		Start     *looseTime      `json:"start"`
		End       *looseTime      `json:"end"`
		ExpiresIn float64         `json:"expires_in"` // seconds
	}
	if r.ContentLength != 0 {
		if err := web.ReadJSON(w, r, &body); err != nil {
			return err
		}
	}
	g := auth.Grant{Stream: name, Start: body.Start.time(), End: body.End.time()}
	if len(body.Actions) == 0 {
		body.Actions = []ingest.Action{ingest.View}
	}
	for _, action := range body.Actions {
		switch action {
		case ingest.View:
			g.Actions |= auth.ActView
		case ingest.Publish:
			g.Actions |= auth.ActPublish
		default:
			return &web.Error{Status: http.StatusBadRequest, Code: "bad_action", Message: "actions: " + string(action) + " is none", Hint: "use view or publish"}
		}
	}
	if !g.Start.IsZero() && !g.End.IsZero() && !g.Start.Before(g.End) {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_range", Message: "start is not before end"}
	}
	life := time.Duration(min(max(body.ExpiresIn, -1), 1e9) * float64(time.Second)) // beyond any limit, but no overflow
	token, g, err := a.o.Tokens.Grant(r, g, life)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusCreated, map[string]any{
		"token": token, "stream": name, "actions": body.Actions,
		"start": stampOf(g.Start), "end": stampOf(g.End), "expires": stampOf(g.Expires),
	})
	return nil
}

func (a *API) revokeToken(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Token string  `json:"token"`
		User  *string `json:"user"`
	}
	if err := web.ReadJSON(w, r, &body); err != nil {
		return err
	}
	var err error
	switch {
	case (body.Token == "") == (body.User == nil):
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_body", Message: "give either token or user"}
	case body.User != nil:
		err = a.o.Tokens.RevokeUser(r, *body.User)
	default:
		err = a.o.Tokens.Revoke(r, body.Token)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// looseTime is a time in a body: RFC 3339 in a string, or milliseconds.
type looseTime struct{ t time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (l *looseTime) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(s) >= 2 && s[0] == '"' {
		s = s[1 : len(s)-1] // no time holds an escape
	}
	t, err := web.ParseTime(s)
	l.t = t
	return err
}

func (l *looseTime) time() time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.t
}

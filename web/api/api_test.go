package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/auth"
)

var (
	day   = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	video = &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Width: 1280, Height: 720}
	audio = &fragments.Track{ID: 2, Codec: fragments.MP3, TimeScale: 90000, SampleRate: 44100, Channels: 2}
)

// fakeArchive holds streams as lists of entries.
type fakeArchive struct {
	entries   map[fragments.StreamName][]*archive.Entry
	recording map[fragments.StreamName]bool
	deleted   []fragments.StreamName
	failing   error // met after the first entry
}

func (f *fakeArchive) Streams() []archive.StreamInfo {
	var list []archive.StreamInfo
	for n := range f.entries {
		s, _ := f.Stream(n)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b archive.StreamInfo) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

func (f *fakeArchive) Stream(name fragments.StreamName) (archive.StreamInfo, error) {
	es, ok := f.entries[name]
	if !ok {
		return archive.StreamInfo{}, archive.ErrNoStream
	}
	s := archive.StreamInfo{Name: name, Created: day, Recording: f.recording[name], Fragments: int64(len(es)), Spooled: 7}
	for _, e := range es {
		s.Bytes += e.Size
	}
	if len(es) > 0 {
		s.First, s.Last = es[0], es[len(es)-1]
	}
	return s, nil
}

func (f *fakeArchive) Fragments(_ context.Context, name fragments.StreamName, sel fragments.Selector) iter.Seq2[*archive.Entry, error] {
	return func(yield func(*archive.Entry, error) bool) {
		for _, e := range f.entries[name] {
			at := e.Producer.Time()
			if sel.Clock == fragments.ByServer {
				at = e.Server.Time()
			}
			if at.Before(sel.End) && at.Add(e.Duration).After(sel.Start) && !yield(e, nil) {
				return
			}
			if f.failing != nil {
				yield(nil, f.failing)
				return
			}
		}
	}
}

func (f *fakeArchive) Track(_ fragments.StreamName, h fragments.ConfigHash) (*fragments.Track, error) {
	for _, t := range []*fragments.Track{video, audio} {
		if t.Hash() == h {
			return t, nil
		}
	}
	return nil, errors.New("no such track")
}

func (f *fakeArchive) DeleteStream(_ context.Context, name fragments.StreamName) error {
	f.deleted = append(f.deleted, name)
	delete(f.entries, name)
	return nil
}

// entry makes an entry that begins seconds after day.
func entry(n uint64, seconds, length float64) *archive.Entry {
	at := day.Add(time.Duration(seconds * float64(time.Second)))
	return &archive.Entry{
		Number: fragments.Number{Epoch: 1, Counter: n}, Producer: fragments.ProducerTime(at), Server: fragments.ServerTime(at.Add(time.Hour)),
		Duration: time.Duration(length * float64(time.Second)), Size: 1000,
		Runs: []archive.EntryRun{
			{Track: 1, Config: video.Hash(), Kind: fragments.KindVideo, Samples: int(25 * length)},
			{Track: 2, Config: audio.Hash(), Kind: fragments.KindAudio, Samples: 5},
		},
	}
}

// fakeAccess knows "root" and whoever is named as the one stream it may view.
type fakeAccess struct{}

func (fakeAccess) User(r *http.Request) (string, error) {
	u := r.Header.Get("User")
	if u == "wrong" {
		return "", &web.Error{Status: 401, Code: "bad_credentials", Message: "no"}
	}
	return u, nil
}

func (fakeAccess) Admin(r *http.Request) error {
	if r.Header.Get("User") != "root" {
		return &web.Error{Status: 403, Code: "forbidden", Message: "no"}
	}
	return nil
}

func (fakeAccess) Stream(r *http.Request, _ ingest.Action, name fragments.StreamName) error {
	if u := r.Header.Get("User"); u != "root" && u != string(name) {
		return &web.Error{Status: 403, Code: "forbidden", Message: "no"}
	}
	return nil
}

type fakeTokens struct {
	granted auth.Grant
	life    time.Duration
	revoked string
}

func (f *fakeTokens) Grant(_ *http.Request, g auth.Grant, life time.Duration) (string, auth.Grant, error) {
	f.granted, f.life = g, life
	g.Expires = day.Add(time.Hour)
	return "T0KEN", g, nil
}

func (f *fakeTokens) Revoke(_ *http.Request, token string) error {
	f.revoked = "token " + token
	return nil
}

func (f *fakeTokens) RevokeUser(_ *http.Request, user string) error {
	f.revoked = "user " + user
	return nil
}

type fakeCameras struct {
	list []Camera
	err  error
}

func (f *fakeCameras) List() []Camera { return f.list }

func (f *fakeCameras) Set(_ context.Context, c Camera) error {
	if f.err != nil {
		return f.err
	}
	f.list = slices.DeleteFunc(f.list, func(o Camera) bool { return o.Name == c.Name })
	f.list = append(f.list, c)
	return nil
}

func (f *fakeCameras) Delete(_ context.Context, name fragments.StreamName) error {
	n := len(f.list)
	f.list = slices.DeleteFunc(f.list, func(o Camera) bool { return o.Name == name })
	if len(f.list) == n {
		return ErrNoCamera
	}
	return f.err
}

type fakePublishers struct {
	err map[fragments.StreamName]string
}

func (fakePublishers) Publisher(name fragments.StreamName) (Publisher, bool) {
	if name != "front-door" {
		return Publisher{}, false
	}
	return Publisher{
		Source: ingest.Source{Protocol: "rtsp", Remote: "192.0.2.7:1234", User: "cam"},
		Stats: ingest.Stats{
			FPS: 24.5, BitRate: 2e6, LostPackets: 3, Jitter: 0.002, Source: fragments.FromReport, Dropped: 4,
			LastUnit: day.Add(time.Hour - 200*time.Millisecond), Lag: 50 * time.Millisecond,
		},
	}, true
}

func (f fakePublishers) LastError(name fragments.StreamName) string { return f.err[name] }

// fixture is an API over fakes.
type fixture struct {
	archive *fakeArchive
	hub     *live.Hub
	tokens  *fakeTokens
	cameras *fakeCameras
	mux     *http.ServeMux
}

func newFixture(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{
		archive: &fakeArchive{entries: map[fragments.StreamName][]*archive.Entry{}, recording: map[fragments.StreamName]bool{}},
		hub:     live.New(), tokens: &fakeTokens{}, cameras: &fakeCameras{}, mux: http.NewServeMux(),
	}
	o := Options{
		Streams: f.archive, Deleter: f.archive, Hub: f.hub, Access: fakeAccess{}, Tokens: f.tokens, Cameras: f.cameras,
		Publishers: fakePublishers{err: map[fragments.StreamName]string{"garage": "dial rtsp://u:hush@192.0.2.9/x: refused"}},
		Playable: func(t *fragments.Track) error {
			if t.Codec == fragments.MP3 {
				return errors.New("MP3 cannot play as fMP4")
			}
			return nil
		},
		CodecString: func(t *fragments.Track) (string, error) { return "str." + string(t.Codec), nil },
		Version:     "1.2.3", RTSP: "127.0.0.1:8554", Now: func() time.Time { return day.Add(time.Hour) },
	}
	if change != nil {
		change(&o)
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range a.Routes() {
		f.mux.Handle(r.Pattern, r.Handler)
	}
	return f
}

func (f *fixture) do(user, method, path, body string) (int, string) {
	var in io.Reader = http.NoBody
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, in)
	r.Header.Set("User", user)
	w := httptest.NewRecorder()
	f.mux.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

// get decodes the answer to a GET as root.
func (f *fixture) get(t *testing.T, path string) map[string]any {
	t.Helper()
	status, body := f.do("root", "GET", path, "")
	m := map[string]any{}
	if err := json.Unmarshal([]byte(body), &m); err != nil || status != 200 {
		t.Fatalf("GET %s: %d %s %v", path, status, body, err)
	}
	return m
}

func TestStreams(t *testing.T) {
	f := newFixture(t, nil)
	f.archive.entries["front-door"] = []*archive.Entry{entry(1, 0, 2), entry(2, 2, 2)}
	f.archive.recording["front-door"] = true
	f.archive.entries["garage"] = []*archive.Entry{entry(1, 0, 2)}
	f.archive.entries["empty"] = nil
	f.hub.Publish("front-door", []*fragments.Track{video, audio})
	f.hub.Publish("new", []*fragments.Track{video})
	f.cameras.list = []Camera{{Name: "yard", URL: "rtsp://x", State: "error", Error: "dial rtsp://u:hush@h: no"}, {Name: "gate", URL: "rtsp://x", State: "idle"}, {Name: "new", URL: "rtsp://x", State: "live"}}

	var got []string
	for _, s := range f.get(t, "/api/streams")["streams"].([]any) {
		m := s.(map[string]any)
		got = append(got, m["name"].(string)+" "+m["state"].(string))
	}
	want := []string{"empty offline", "front-door live", "garage offline", "gate idle", "new live", "yard error"}
	if !slices.Equal(got, want) {
		t.Errorf("streams = %v, want %v", got, want)
	}

	s := f.get(t, "/api/streams/front-door")
	for key, want := range map[string]any{
		"live": true, "recording": true, "fps": 24.5, "bit_rate": 2e6, "lag": 0.25, "packets_lost": 3.0, "fragments_lost": 4.0, "clock": "report", "jitter": 0.002,
		"width": 1280.0, "height": 720.0, "fragments": 2.0, "bytes": 2000.0, "spool_bytes": 7.0, "subscribers": 0.0, "camera": false,
		"created": "2026-11-20T10:00:00.000Z", "first": "2026-11-20T10:00:00.000Z", "last": "2026-11-20T10:00:04.000Z",
	} {
		if s[key] != want {
			t.Errorf("front-door: %s = %v, want %v", key, s[key], want)
		}
	}
	raw, _ := json.Marshal(s["tracks"])
	if want := `[{"codec":"H264","codec_string":"str.H264","height":720,"id":1,"kind":"video","playable":true,"width":1280},` +
		`{"channels":2,"codec":"MP3","codec_string":"str.MP3","id":2,"kind":"audio","playable":false,"sample_rate":44100,"why":"MP3 cannot play as fMP4"}]`; string(raw) != want {
		t.Errorf("tracks = %s, want %s", raw, want)
	}
	raw, _ = json.Marshal(s["source"])
	if want := `{"protocol":"rtsp","remote":"192.0.2.7:1234","user":"cam"}`; string(raw) != want {
		t.Errorf("source = %s", raw)
	}

	garage := f.get(t, "/api/streams/garage")
	if len(garage["tracks"].([]any)) != 2 || garage["width"] != 1280.0 || garage["fps"] != 0.0 {
		t.Errorf("offline: tracks from the newest fragment, no rates: %v", garage)
	}
	if garage["error"] != "dial rtsp://u:***@192.0.2.9/x: refused" {
		t.Errorf("error = %v", garage["error"])
	}
	if y := f.get(t, "/api/streams/yard"); y["error"] != "dial rtsp://u:***@h: no" || y["first"] != nil || y["camera"] != true {
		t.Errorf("yard = %v", y)
	}
	// Without a session's measurements the newest fragment gives an estimate.
	plain := newFixture(t, func(o *Options) { o.Publishers = nil })
	plain.archive.entries["x"] = []*archive.Entry{entry(1, 0, 2)}
	plain.hub.Publish("x", []*fragments.Track{video})
	if s := plain.get(t, "/api/streams/x"); s["fps"] != 25.0 || s["bit_rate"] != 4000.0 {
		t.Errorf("estimate: fps %v, bit rate %v", s["fps"], s["bit_rate"])
	}
}

func TestRightsAndErrors(t *testing.T) {
	f := newFixture(t, nil)
	f.archive.entries["a"] = []*archive.Entry{entry(1, 0, 2)}
	f.archive.entries["b"] = nil
	f.archive.entries["busy"] = nil
	f.archive.recording["busy"] = true
	f.cameras.list = []Camera{{Name: "cam", URL: "rtsp://h/x"}}
	for _, c := range []struct {
		user, method, path, body string
		status                   int
		says                     string
	}{
		{"wrong", "GET", "/api/streams", "", 401, "bad_credentials"},
		{"wrong", "GET", "/api/info", "", 401, "bad_credentials"},
		{"a", "GET", "/api/streams/a", "", 200, `"name":"a"`},
		{"a", "GET", "/api/streams/b", "", 403, "forbidden"},
		{"a", "GET", "/api/streams/none", "", 403, "forbidden"}, // not: whether it exists
		{"root", "GET", "/api/streams/none", "", 404, "no_such_stream"},
		{"root", "GET", "/api/streams/a%2Fb", "", 400, `try \"a-b\"`},
		{"root", "GET", "/api/streams/a%20b", "", 400, "bad_name"},
		{"a", "GET", "/api/streams/a/timeline", "", 200, `"spans"`},
		{"a", "GET", "/api/streams/b/timeline", "", 403, "forbidden"},
		{"root", "GET", "/api/streams/none/timeline", "", 404, "no_such_stream"},
		{"a", "DELETE", "/api/streams/a", "", 403, "forbidden"},
		{"root", "DELETE", "/api/streams/none", "", 404, "no_such_stream"},
		{"root", "DELETE", "/api/streams/busy", "", 409, "recording"},
		{"root", "DELETE", "/api/streams/b", "", 204, ""},
		{"a", "GET", "/api/cameras", "", 403, "forbidden"},
		{"a", "GET", "/api/cameras/cam", "", 403, "forbidden"},
		{"a", "PUT", "/api/cameras/cam", `{"url":"rtsp://h/x"}`, 403, "forbidden"},
		{"a", "DELETE", "/api/cameras/cam", "", 403, "forbidden"},
		{"root", "GET", "/api/cameras/none", "", 404, "no_such_camera"},
		{"root", "DELETE", "/api/cameras/none", "", 404, "no_such_camera"},
		{"root", "DELETE", "/api/cameras/cam", "", 204, ""},
		{"root", "GET", "/api/streams/a/timeline?start=x", "", 400, "bad_time"},
		{"root", "GET", "/api/streams/a/timeline?end=x", "", 400, "bad_time"},
		{"root", "GET", "/api/streams/a/timeline?time=mine", "", 400, "bad_clock"},
		{"root", "GET", "/api/streams/a/timeline?points=0", "", 400, "bad_points"},
		{"root", "GET", "/api/streams/a/timeline?points=10001", "", 400, "bad_points"},
		{"root", "GET", "/api/streams/a/timeline?start=2000&end=2000", "", 400, "bad_range"},
		{"root", "GET", "/api/streams/a/timeline?start=0", "", 400, "long_range"},
		{"root", "POST", "/api/streams/a/token", `{"actions":["erase"]}`, 400, "bad_action"},
		{"root", "POST", "/api/streams/a/token", `{"start":"yesterday"}`, 400, "bad_json"},
		{"root", "POST", "/api/streams/a/token", `{"start":2000,"end":1000}`, 400, "bad_range"},
		{"root", "POST", "/api/streams/a/token", `{"expiry":1}`, 400, `unknown field`},
		{"root", "POST", "/api/tokens/revoke", `{}`, 400, "either token or user"},
		{"root", "POST", "/api/tokens/revoke", `{"token":"x","user":"y"}`, 400, "either token or user"},
	} {
		status, body := f.do(c.user, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %s %s %s: %d %s, want %d %s", c.user, c.method, c.path, c.body, status, body, c.status, c.says)
		}
	}
	if !slices.Equal(f.archive.deleted, []fragments.StreamName{"b"}) {
		t.Errorf("deleted = %v", f.archive.deleted)
	}
	_, body := f.do("a", "GET", "/api/streams", "")
	if strings.Count(body, `"name"`) != 1 || !strings.Contains(body, `"name":"a"`) {
		t.Errorf("the list shows what one may not view: %s", body)
	}
	bare := newFixture(t, func(o *Options) { o.Cameras, o.Deleter = nil, nil })
	bare.archive.entries["a"] = nil
	for _, c := range [][2]string{{"GET", "/api/cameras"}, {"PUT", "/api/cameras/x"}, {"DELETE", "/api/streams/a"}} {
		if status, body := bare.do("root", c[0], c[1], "{}"); status != 501 || !strings.Contains(body, "not_available") {
			t.Errorf("%s: %d %s, want 501", c, status, body)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("an API without parts")
	}
}

func TestInfo(t *testing.T) {
	now := day
	f := newFixture(t, func(o *Options) { o.Now = func() time.Time { return now } })
	now = now.Add(90 * time.Second)
	i := f.get(t, "/api/info")
	for key, want := range map[string]any{
		"name": "kineweir", "version": "1.2.3", "uptime": 90.0, "now": "2026-11-20T10:01:30.000Z", "rtsp": "127.0.0.1:8554", "rtsps": nil, "cameras": true, "delete": true,
	} {
		if i[key] != want {
			t.Errorf("%s = %v, want %v", key, i[key], want)
		}
	}
}

func TestTokens(t *testing.T) {
	f := newFixture(t, nil)
	status, body := f.do("a", "POST", "/api/streams/a/token", "")
	if want := `{"actions":["view"],"end":null,"expires":"2026-11-20T11:00:00.000Z","start":null,"stream":"a","token":"T0KEN"}`; status != 201 || body != want {
		t.Errorf("%d %s, want %s", status, body, want)
	}
	if f.tokens.granted != (auth.Grant{Stream: "a", Actions: auth.ActView}) || f.tokens.life != 0 {
		t.Errorf("granted %+v for %s", f.tokens.granted, f.tokens.life)
	}
	end := day.Add(time.Minute)
	in := bytes.NewBufferString(`{"actions":["view","publish"],"start":"2026-11-20T12:00:00+02:00","end":`)
	_ = json.NewEncoder(in).Encode(end.UnixMilli())
	in.WriteString(`,"expires_in":60}`)
	if status, body := f.do("a", "POST", "/api/streams/a/token", in.String()); status != 201 || !strings.Contains(body, `"end":"2026-11-20T10:01:00.000Z"`) {
		t.Errorf("%d %s", status, body)
	}
	if f.tokens.granted != (auth.Grant{Stream: "a", Actions: auth.ActView | auth.ActPublish, Start: day, End: end}) || f.tokens.life != time.Minute {
		t.Errorf("granted %+v for %s", f.tokens.granted, f.tokens.life)
	}
	if f.do("a", "POST", "/api/streams/a/token", `{"expires_in":1e300}`); f.tokens.life < auth.MaxTokenLife {
		t.Errorf("a life beyond all bounds became %s", f.tokens.life)
	}
	for body, want := range map[string]string{`{"token":"x"}`: "token x", `{"user":"bob"}`: "user bob", `{"user":""}`: "user "} {
		if status, _ := f.do("a", "POST", "/api/tokens/revoke", body); status != 204 || f.tokens.revoked != want {
			t.Errorf("%s: %d revoked %q, want %q", body, status, f.tokens.revoked, want)
		}
	}
}

package media_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/dash"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/media"
)

var created = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

const (
	picture = "-f lavfi -i testsrc2=size=160x90:rate=25:duration=12 -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 50 -bf 2"
	sound   = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=12 "
)

var video = sync.OnceValue(func() *encoded { return &encoded{} })

// encoded is media that is encoded once for all tests.
type encoded struct {
	once         sync.Once
	video, audio playbacktest.Media
}

func camera(tb testing.TB) (v, a playbacktest.Media) {
	tb.Helper()
	e := video()
	e.once.Do(func() {
		e.video = playbacktest.Encode(tb, 1, picture)
		e.audio = playbacktest.Encode(tb, 2, sound+"-c:a aac")
	})
	return e.video, e.audio
}

// server is a server of an archive whose clock stands still unless moved.
type server struct {
	*httptest.Server
	archive *playbacktest.Archive
	tb      testing.TB
	mu      sync.Mutex
	now     time.Time
}

func (s *server) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *server) setClock(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = t
}

func serve(tb testing.TB, h hls.Options, o media.Options) *server {
	tb.Helper()
	s := &server{archive: playbacktest.New(), tb: tb, now: created.Add(time.Hour)}
	h.Now = s.clock
	if h.StartTimeout == 0 {
		h.StartTimeout = 50 * time.Millisecond
	}
	var err error
	if o.HLS, err = hls.New(s.archive, h); err != nil {
		tb.Fatal(err)
	}
	if o.DASH, err = dash.New(o.HLS, dash.Options{}); err != nil {
		tb.Fatal(err)
	}
	if o.Clips, err = clip.New(s.archive, clip.Options{Location: time.UTC}); err != nil {
		tb.Fatal(err)
	}
	handler, err := media.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	s.Server = httptest.NewServer(handler)
	tb.Cleanup(s.Close)
	return s
}

// record records 12 s of the camera from 100 s after the creation on.
func (s *server) record(tb testing.TB, name fragments.StreamName) {
	tb.Helper()
	s.archive.Create(name, created)
	v, a := camera(tb)
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second, Lag: time.Second}
	for _, f := range c.Cut(tb, v, a) {
		f.AddTo(s.archive, name)
	}
	s.archive.Recording(name, false)
}

func at(seconds float64) string {
	return strconv.FormatInt(created.Add(time.Duration(seconds*1000)*time.Millisecond).UnixMilli(), 10)
}

// span is a range in seconds after the creation.
func span(from, to float64) string { return "start=" + at(from) + "&end=" + at(to) }

// get asks for a path; the header is name, value, name, value …
func (s *server) get(path string, header ...string) (*http.Response, string) {
	return s.do(http.MethodGet, path, header...)
}

func (s *server) do(method, path string, header ...string) (*http.Response, string) {
	s.tb.Helper()
	r, err := http.NewRequest(method, s.URL+path, nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.tb.Fatal(err)
	}
	return resp, string(body)
}

// uris returns the lines of a playlist that are URIs, resolved.
func uris(tb testing.TB, base, list string) (all []string) {
	tb.Helper()
	b, err := url.Parse(base)
	if err != nil {
		tb.Fatal(err)
	}
	add := func(ref string) {
		u, err := b.Parse(ref)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, u.RequestURI())
	}
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if _, rest, ok := strings.Cut(line, `URI="`); ok {
			ref, _, _ := strings.Cut(rest, `"`)
			add(ref)
		} else if line != "" && line[0] != '#' {
			add(line)
		}
	}
	return all
}

func TestStatusAndWhatAPersonReads(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.record(t, "front")
	s.archive.Create("empty", created)
	s.archive.Create("mute", created)
	c := playbacktest.Cutter{Created: created, Start: time.Second}
	for _, f := range c.Cut(t, playbacktest.Encode(t, 1, "-f lavfi -i sine=duration=2 -c:a libmp3lame -write_xing 0")) {
		f.AddTo(s.archive, "mute")
	}
	for _, c := range []struct {
		path   string
		status int
		says   string
	}{
		{"/hls/nobody/live.m3u8", 404, "no such stream"},
		{"/hls/nobody/index.m3u8?" + span(100, 110), 404, "no such stream"},
		{"/hls/empty/live.m3u8", 404, "no fragment has been recorded yet"},
		{"/hls/front/index.m3u8?" + span(500, 510), 404, "it has 2026-11-23T14:01:40Z to 2026-11-23T14:01:52Z"},
		{"/hls/front/index.m3u8", 400, "start: missing: write a time like 2026-11-23T14:05:00Z"},
		{"/hls/front/index.m3u8?start=noon", 400, "start=noon: not a time"},
		{"/hls/front/live.m3u8?window=week", 400, "window=week: write how many seconds"},
		{"/hls/front/live.m3u8?window=86400", 400, "at most 3600 seconds"},
		{"/hls/front/stream.m3u8", 404, "ask for live.m3u8"},
		{"/hls/front/", 404, "ask for live.m3u8"},
		{"/hls/front/mwtc1q80/1-0-999.m4s", 404, "no such fragment"},
		{"/hls/front/mwtc1q80/9-0-1.m4s", 404, "nothing of track 9"},
		{"/hls/front/zzz/1-1-1.m4s", 404, "deleted and made anew"},
		{"/hls/front%2Fdoor/live.m3u8", 400, `try \"front-door\"`},
		{"/hls/mute/live.m3u8", 415, "MP3"},
		{"/clip/nobody.mp4?" + span(100, 110), 404, "no such stream"},
		{"/clip/front.mp4", 400, "start: missing"},
		{"/clip/front.mp4?start=" + at(100), 400, "end: missing"},
		{"/clip/front.mp4?" + span(500, 510), 404, "it has 2026-11-23T14:01:40Z"},
		{"/clip/front.avi?" + span(100, 110), 400, "/clip/<stream>.mp4"},
		{"/other", 404, ""},
	} {
		resp, body := s.get(c.path)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %q, want %d that says %q", c.path, resp.StatusCode, body, c.status, c.says)
		}
		if c.path != "/other" && resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", c.path, resp.Header.Get("Cache-Control"))
		}
	}
	if resp, _ := s.do(http.MethodPost, "/hls/front/live.m3u8"); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func TestHeaders(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.record(t, "front")
	_, list := s.get("/hls/front/index-1.m3u8?" + span(100, 112))
	found := uris(t, "/hls/front/index-1.m3u8", list)
	_, audio := s.get("/hls/front/index-2.m3u8?" + span(100, 112))
	found = append(found, uris(t, "/hls/front/index-2.m3u8", audio)...)
	if len(found) != 14 {
		t.Fatalf("%d URIs, want 2 initialisation segments and 12 segments:\n%s", len(found), list)
	}
	for i, path := range found {
		resp, body := s.get(path)
		h := resp.Header
		want := "video/mp4"
		if i >= len(found)/2 {
			want = "audio/mp4"
		}
		if resp.StatusCode != 200 || h.Get("Content-Type") != want || resp.ContentLength != int64(len(body)) || len(body) == 0 ||
			h.Get("Cache-Control") != "public, max-age=31536000, immutable" || h.Get("ETag") == "" {
			t.Errorf("%s: %d, %v", path, resp.StatusCode, h)
		}
		head, nothing := s.do(http.MethodHead, path)
		if head.ContentLength != int64(len(body)) || nothing != "" || head.Header.Get("ETag") != h.Get("ETag") {
			t.Errorf("HEAD %s: %v", path, head.Header)
		}
		if not, _ := s.get(path, "If-None-Match", h.Get("ETag")); not.StatusCode != 304 {
			t.Errorf("%s again: %d", path, not.StatusCode)
		}
		part, some := s.get(path, "Range", "bytes=10-29")
		if part.StatusCode != 206 || some != body[10:30] {
			t.Errorf("%s in part: %d, %d bytes", path, part.StatusCode, len(some))
		}
	}
	resp, _ := s.get("/hls/front/index.m3u8?" + span(100, 112))
	if h := resp.Header; h.Get("Content-Type") != "application/vnd.apple.mpegurl" || h.Get("Cache-Control") != "no-cache" {
		t.Errorf("playlist: %v", h)
	}
}

func TestCompression(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.archive.Create("front", created)
	v, a := camera(t)
	c := playbacktest.Cutter{Created: created, Start: time.Second}
	for range 10 {
		for _, f := range c.Cut(t, v, a) {
			f.AddTo(s.archive, "front")
		}
	}
	path := "/hls/front/index-1.m3u8?" + span(0, 120)
	resp, plain := s.get(path)
	if resp.Header.Get("Content-Encoding") != "" || len(plain) < 5000 {
		t.Fatalf("%d bytes, %v", len(plain), resp.Header)
	}
	for _, c := range []struct {
		accept string
		zipped bool
	}{{"gzip", true}, {"br, GZIP;q=0.5", true}, {"gzip;q=0", false}, {"gzip; q=0.0", false}, {"br", false}, {"identity, *;q=0", false}} {
		resp, body := s.get(path, "Accept-Encoding", c.accept)
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != c.zipped {
			t.Errorf("%s: %v", c.accept, resp.Header)
			continue
		}
		if resp.ContentLength != int64(len(body)) {
			t.Errorf("%s: length %d of %d", c.accept, resp.ContentLength, len(body))
		}
		if c.zipped {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(z)
			if err != nil || string(out) != plain || len(body) > len(plain)/4 {
				t.Errorf("%s: %d bytes for %d, %v", c.accept, len(body), len(plain), err)
			}
		}
	}
	if resp, body := s.get("/hls/front/index.m3u8?"+span(0, 120), "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" || !strings.HasPrefix(body, "#EXTM3U") {
		t.Errorf("a short playlist is compressed: %v", resp.Header)
	}
}

// asked is an Access that notes what it was asked, and knows one token.
type asked struct {
	mu    sync.Mutex
	spans []string
}

func (a *asked) Viewer(r *http.Request, name fragments.StreamName, start, end time.Time) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spans = append(a.spans, fmt.Sprintf("%s %d %d", name, start.UnixMilli(), end.UnixMilli()))
	user, _, ok := r.BasicAuth()
	switch token := r.URL.Query().Get("token"); {
	case token == "good+token", ok && user == "ann":
		return "good+token", nil
	case ok && user == "bob", token == "expired":
		return "", &web.Error{Status: http.StatusForbidden, Code: "forbidden", Message: "bob may not view front"}
	}
	return "", &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Message: "who are you?", Challenge: `Basic realm="Kineweir"`}
}

func TestAccess(t *testing.T) {
	a := &asked{}
	s := serve(t, hls.Options{}, media.Options{Access: a})
	s.record(t, "front")
	ann, bob := "Basic YW5uOng=", "Basic Ym9iOng="
	for _, path := range []string{"/hls/front/live.m3u8", "/hls/front/index.m3u8?" + span(100, 106), "/clip/front.mp4?" + span(100, 106), "/hls/nobody/live.m3u8", "/hls/front/mwtc1q80/1-1-1.m4s"} {
		resp, _ := s.get(path)
		if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s without a name: %d %v", path, resp.StatusCode, resp.Header)
		}
		if resp, body := s.get(path, "Authorization", bob); resp.StatusCode != 403 || !strings.Contains(body, "bob may not") {
			t.Errorf("%s as bob: %d %s", path, resp.StatusCode, body)
		}
	}
	// The first playlist by name and password; all that follows from it by token.
	for _, first := range []string{"/hls/front/live.m3u8", "/hls/front/index.m3u8?" + span(102, 106)} {
		a.spans = nil
		todo, n := []string{first}, 0
		for ; len(todo) > 0; n++ {
			path, auth := todo[0], ""
			if n == 0 {
				auth = ann
			} else if !strings.Contains(path, "token=good%2Btoken") {
				t.Errorf("%s has no token", path)
			}
			todo = todo[1:]
			resp, body := s.get(path, "Authorization", auth)
			if resp.StatusCode != 200 {
				t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
			}
			if strings.Contains(path, ".m3u8") {
				todo = append(todo, uris(t, path, body)...)
			} else if resp.Header.Get("Cache-Control") != "private, max-age=31536000, immutable" {
				t.Errorf("%s: %v", path, resp.Header)
			}
		}
		want := "front -62135596800000 -62135596800000" // zero times
		if strings.Contains(first, "index") {
			want = "front " + at(102) + " " + at(106)
		}
		for _, got := range a.spans {
			if got != want {
				t.Errorf("%s: asked for %q, want %q", first, got, want)
			}
		}
		if n < 8 {
			t.Errorf("%s: only %d URLs", first, n)
		}
	}
	// A token for a range does not open fragments far outside of it.
	if resp, _ := s.get("/hls/front/mwtc1q80/1-0-1.m4s?token=good%2Btoken&" + span(5000, 5010)); resp.StatusCode != 403 {
		t.Errorf("a fragment outside the range: %d", resp.StatusCode)
	}
}

// sleeper is a Waker that has a function do it.
type sleeper func(fragments.StreamName) error

func (s sleeper) Wake(_ context.Context, name fragments.StreamName) error { return s(name) }

func TestOnDemand(t *testing.T) {
	var s *server
	woken := 0
	wake := sleeper(func(name fragments.StreamName) error {
		woken++
		switch name {
		case "broken":
			return errors.New("camera does not answer")
		case "asleep":
			if woken == 1 { // its first fragment comes in a moment
				s.archive.Create(name, created)
				v, a := camera(t)
				c := playbacktest.Cutter{Created: created, Start: time.Second}
				first := c.Cut(t, v, a)[0]
				time.AfterFunc(50*time.Millisecond, func() { first.AddTo(s.archive, name) })
			}
		}
		return nil
	})
	s = serve(t, hls.Options{Waker: wake, StartTimeout: 5 * time.Second}, media.Options{})
	s.setClock(created)
	resp, list := s.get("/hls/asleep/live.m3u8")
	if resp.StatusCode != 200 || !strings.Contains(list, "live-1.m3u8") {
		t.Fatalf("%d %s", resp.StatusCode, list)
	}
	// Every reload tells that somebody still watches.
	if resp, _ := s.get("/hls/asleep/live-1.m3u8"); resp.StatusCode != 200 || woken != 2 {
		t.Errorf("%d, woken %d times", resp.StatusCode, woken)
	}
	resp, body := s.get("/hls/broken/live.m3u8")
	if resp.StatusCode != 503 || !strings.Contains(body, "camera does not answer") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	// What is over can be watched without the camera.
	if s.get("/hls/asleep/index.m3u8?" + span(0, 1)); woken != 3 {
		t.Errorf("a range of the past woke the camera")
	}
	if resp, _ := s.get("/hls/nobody/live.m3u8"); resp.StatusCode != 404 {
		t.Errorf("a stream that is not there: %d", resp.StatusCode)
	}
}

func TestClipRanges(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.record(t, "front-door")
	path := "/clip/front-door.mp4?" + span(103, 109)
	resp, whole := s.get(path)
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(whole)) || resp.Header.Get("Accept-Ranges") != "bytes" {
		t.Fatalf("%d, %v", resp.StatusCode, resp.Header)
	}
	if got, want := resp.Header.Get("Content-Disposition"), `attachment; filename="front-door 2026-11-23 14.01.43.mp4"`; got != want {
		t.Errorf("Content-Disposition %q, want %q", got, want)
	}
	var pieces bytes.Buffer
	for from := 0; from < len(whole); from += 30_000 {
		resp, piece := s.get(path, "Range", fmt.Sprintf("bytes=%d-%d", from, from+29_999), "If-Range", resp.Header.Get("ETag"))
		if resp.StatusCode != 206 {
			t.Fatalf("piece at %d: %d", from, resp.StatusCode)
		}
		pieces.WriteString(piece)
	}
	if pieces.String() != whole {
		t.Error("the pieces are not the whole")
	}
	if resp, tail := s.get(path, "Range", "bytes=-100"); resp.StatusCode != 206 || tail != whole[len(whole)-100:] {
		t.Errorf("the last 100 bytes: %d, %d bytes", resp.StatusCode, len(tail))
	}
	if resp, _ := s.get(path, "Range", "bytes=999999999-"); resp.StatusCode != 416 {
		t.Errorf("beyond the end: %d", resp.StatusCode)
	}
	if resp, body := s.do(http.MethodHead, path); resp.ContentLength != int64(len(whole)) || body != "" {
		t.Errorf("HEAD: %v", resp.Header)
	}
}

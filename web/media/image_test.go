package media_test

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/playback/playbacktest"
	"github.com/kineweir/kineweir/web/media"
)

// serveImages is serve with a maker of pictures, and 12 s of "front".
func serveImages(t *testing.T, io image.Options, o media.Options) *server {
	t.Helper()
	var s *server
	late := &lateArchive{}
	m, err := image.New(late, io)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	o.Images = m
	s = serve(t, hls.Options{}, o)
	late.Archive = s.archive
	s.record(t, "front")
	return s
}

// lateArchive is set after it was handed over.
type lateArchive struct{ image.Archive }

func TestImage(t *testing.T) {
	s := serveImages(t, image.Options{}, media.Options{})
	for _, c := range []struct {
		path, kind, head, cache string
		at                      float64 // seconds since the creation
	}{
		{"/image/front.jpg?time=" + at(105), "image/jpeg", "\xff\xd8\xff", "public, max-age=31536000, immutable", 104},
		{"/image/front.jpeg?time=2026-11-23T14:01:45Z", "image/jpeg", "\xff\xd8\xff", "public, max-age=31536000, immutable", 104},
		{"/image/front.png?exact=frame&time=" + at(105), "image/png", "\x89PNG", "public, max-age=31536000, immutable", 105},
		{"/image/front.png?exact=frame&clock=server&time=" + at(106), "image/png", "\x89PNG", "public, max-age=31536000, immutable", 105},
		{"/image/front.jpg?time=" + at(111.9), "image/jpeg", "\xff\xd8\xff", "public, no-cache", 110},
		{"/image/front.jpg", "image/jpeg", "\xff\xd8\xff", "no-store", 110},
		{"/image/front.jpg?exact=frame", "image/jpeg", "\xff\xd8\xff", "no-store", 111.96},
	} {
		resp, body := s.get(c.path)
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Content-Type") != c.kind || !strings.HasPrefix(body, c.head) || h.Get("Cache-Control") != c.cache {
			t.Errorf("%s: %d, %v, %.60q", c.path, resp.StatusCode, h, body)
			continue
		}
		want := created.Add(time.Duration(c.at * 1e9))
		if got, err := time.Parse(time.RFC3339Nano, h.Get("Kineweir-Time")); err != nil || got.Sub(want).Abs() > time.Millisecond {
			t.Errorf("%s: Kineweir-Time %s, want %s", c.path, h.Get("Kineweir-Time"), want)
		}
		// What another picture may take the place of has no date: one of a second
		// would call the next frame the same.
		if dated := strings.Contains(c.cache, "immutable"); len(h.Get("Kineweir-Fragment")) != 47 || (h.Get("Last-Modified") != "") != dated || resp.ContentLength != int64(len(body)) {
			t.Errorf("%s: %v", c.path, h)
		}
		if again, _ := s.get(c.path, "If-None-Match", h.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %d", c.path, again.StatusCode)
		}
	}
}

func TestImageErrors(t *testing.T) {
	s := serveImages(t, image.Options{}, media.Options{})
	s.archive.Create("empty", created)
	s.archive.Create("sound", created)
	for _, f := range (&playbacktest.Cutter{Created: created}).Cut(t, playbacktest.Encode(t, 1, "-f lavfi -i sine=duration=3 -c:a aac")) {
		f.AddTo(s.archive, "sound")
	}
	none := serveImages(t, image.Options{FFmpeg: filepath.Join(t.TempDir(), "ffmpeg")}, media.Options{})
	for _, c := range []struct {
		s      *server
		path   string
		status int
		says   string
	}{
		{s, "/image/nobody.jpg", 404, "no such stream"},
		{s, "/image/empty.jpg", 404, "nothing is recorded yet"},
		{s, "/image/front.gif", 400, "/image/<stream>.jpg"},
		{s, "/image/fr$ont.jpg", 400, "path"},
		{s, "/image/front.jpg?time=" + at(10), 404, "ask for time=2026-11-23T14:01:40Z"},
		{s, "/image/front.jpg?time=" + at(500), 404, "ask for time=2026-11-23T14:01:51.999Z"},
		{s, "/image/sound.jpg", 404, "stream sound has no video"},
		{s, "/image/sound.jpg?time=" + at(1), 404, "stream sound has no video"},
		{s, "/image/sound.jpg?interval=1s&" + span(0, 2), 404, "stream sound has no video"},
		{s, "/image/sound.json?interval=1s&" + span(0, 2), 404, "stream sound has no video"},
		{s, "/image/front.jpg?video=7", 404, "stream front has no video track 7"},
		{s, "/image/front.jpg?format=png&time=" + at(105), 400, "ask for /image/front.png"},
		{s, "/image/front.png?format=jpg&time=" + at(105), 400, "ask for /image/front.jpg"},
		{s, "/image/front.jpg?format=png&interval=1s&" + span(100, 105), 400, "ask for /image/front.png"},
		{s, "/image/front.jpg?format=gif&time=" + at(105), 400, "write jpg or png"},
		{s, "/image/front.json?inline=yes&interval=1s&" + span(100, 105), 400, "write true or false"},
		{s, "/image/front.jpg?time=0", 400, "out of range"},
		{s, "/image/front.jpg?time=noon", 400, "time=noon: not a time"},
		{s, "/image/front.jpg?time=1795442700", 400, "write time=1795442700000"},
		{s, "/image/front.jpg?clock=wall&time=" + at(105), 400, "clock=wall: write producer"},
		{s, "/image/front.jpg?exact=yes&time=" + at(105), 400, "write frame"},
		{s, "/image/front.jpg?width=5000&time=" + at(105), 400, "from 1 to 4096"},
		{s, "/image/front.jpg?height=0&time=" + at(105), 400, "from 1 to 4096"},
		{s, "/image/front.jpg?quality=101&time=" + at(105), 400, "from 1 to 100"},
		{s, "/image/front.jpg?start=" + at(100), 400, "end: missing"},
		{s, "/image/front.jpg?" + span(100, 105), 400, "interval"},
		{s, "/image/front.jpg?interval=0&" + span(100, 105), 400, "1ms or more"},
		{s, "/image/front.jpg?interval=-5s&" + span(100, 105), 400, "1ms or more"},
		{s, "/image/front.jpg?interval=-9223372036854775807&" + span(100, 105), 400, "1ms or more"},
		{s, "/image/front.jpg?interval=1ms&" + span(100, 105), 400, "write interval=1s"},
		{s, "/image/front.jpg?interval=1s&time=" + at(100) + "&" + span(100, 105), 400, "clock=producer"},
		{s, "/image/front.jpg?interval=1s&" + span(200, 205), 404, "nothing is recorded at"},
		{s, "/image/front.json", 400, "start: missing"},
		{s, "/image/nobody.json?interval=1s&" + span(200, 205), 404, "no such stream"},
		{none, "/image/front.jpg?time=" + at(105), 503, "install the package ffmpeg"},
		{none, "/image/front.jpg?interval=1s&" + span(100, 105), 503, "install the package ffmpeg"},
		{none, "/image/front.json?inline=true&interval=1s&" + span(100, 105), 503, "install the package ffmpeg"},
	} {
		resp, body := c.s.get(c.path)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q, want %d that says %q", c.path, resp.StatusCode, body, c.status, c.says)
		}
	}
	if resp, _ := serve(t, hls.Options{}, media.Options{}).get("/image/front.jpg"); resp.StatusCode != 404 {
		t.Errorf("without a maker: %d", resp.StatusCode)
	}
}

func TestImagesOfAnInterval(t *testing.T) {
	s := serveImages(t, image.Options{}, media.Options{})
	// Key frames are every 2 s; from 100 on, 12 s.
	resp, body := s.get("/image/front.jpg?width=40&interval=1s&" + span(98, 107))
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" || resp.StatusCode != 200 {
		t.Fatalf("%d %v: %v", resp.StatusCode, resp.Header, err)
	}
	var got []string
	for parts := multipart.NewReader(strings.NewReader(body), params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(p)
		if err != nil || p.Header.Get("Content-Length") != strconv.Itoa(len(data)) || p.Header.Get("Content-Type") != "image/jpeg" ||
			len(p.Header.Get("Kineweir-Fragment")) != 47 || !strings.HasPrefix(string(data), "\xff\xd8\xff") {
			t.Errorf("%v, %d bytes, %v", p.Header, len(data), err)
		}
		got = append(got, p.Header.Get("Kineweir-Time")[14:])
	}
	if want := "[01:40Z 01:42Z 01:44Z 01:46Z]"; fmt.Sprint(got) != want {
		t.Errorf("pictures of %v, want %v", got, want)
	}
}

func TestImageLists(t *testing.T) {
	s := serveImages(t, image.Options{}, media.Options{})
	type item struct {
		Asked, Time   time.Time
		Fragment, URL string
		Width, Height int
		Key           bool
		Error         string
	}
	list := func(query string) (items []item) {
		resp, body := s.get("/image/front.json?" + query)
		if err := json.Unmarshal([]byte(body), &items); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s, %v", query, resp.StatusCode, body, err)
		}
		return items
	}
	items := list("interval=2000&exact=frame&width=40&" + span(99, 104))
	if len(items) != 3 || items[0].Error == "" || !strings.Contains(items[0].Error, "nothing is recorded") {
		t.Fatalf("got %+v", items)
	}
	for _, it := range items[1:] {
		if !it.Time.Equal(it.Asked) || it.Error != "" || len(it.Fragment) != 47 {
			t.Errorf("got %+v", it)
		}
		resp, _ := s.get(it.URL)
		if resp.StatusCode != 200 || resp.Header.Get("Kineweir-Time") != it.Time.Format(time.RFC3339Nano) || resp.Header.Get("Kineweir-Fragment") != it.Fragment {
			t.Errorf("%s: %d, %v", it.URL, resp.StatusCode, resp.Header)
		}
	}
	if items = list("interval=1000000h&" + span(101, 104)); len(items) != 1 { // longer than any span
		t.Errorf("got %+v", items)
	}
	items = list("interval=2s&inline=true&format=png&width=40&height=20&" + span(101, 104))
	if len(items) != 2 {
		t.Fatalf("got %+v", items)
	}
	for _, it := range items {
		if !strings.HasPrefix(it.URL, "data:image/png;base64,iVBORw0KGgo") || it.Width != 40 || it.Height != 20 || !it.Key {
			t.Errorf("got %+v", it)
		}
	}
}

// TestImageRights sees which range a request is checked for, and that the token
// is in every URL of a list.
func TestImageRights(t *testing.T) {
	access := &spans{}
	s := serveImages(t, image.Options{}, media.Options{Access: access})
	for _, c := range []struct {
		query      string
		start, end time.Time
	}{
		{"jpg", time.Time{}, time.Time{}},
		{"jpg?time=" + at(105), created.Add(105 * time.Second), created.Add(105*time.Second + 1)},
		{"jpg?interval=5s&" + span(101, 104), created.Add(101 * time.Second), created.Add(104 * time.Second)},
		{"json?interval=5s&" + span(101, 104), created.Add(101 * time.Second), created.Add(104 * time.Second)},
	} {
		resp, body := s.get("/image/front." + c.query)
		if resp.StatusCode != 200 || !access.start.Equal(c.start) || !access.end.Equal(c.end) {
			t.Errorf("%s: %d, checked from %v to %v", c.query, resp.StatusCode, access.start, access.end)
		}
		if strings.HasPrefix(c.query, "json") && !strings.Contains(body, "token="+url.QueryEscape("t/1")) {
			t.Errorf("no token in %s", body)
		}
		if strings.HasPrefix(c.query, "jpg?time") && resp.Header.Get("Cache-Control") != "private, max-age=31536000, immutable" {
			t.Errorf("%s: %v", c.query, resp.Header)
		}
	}
}

// spans lets everybody watch, and notes what was asked for.
type spans struct{ start, end time.Time }

func (s *spans) Viewer(_ *http.Request, _ fragments.StreamName, start, end time.Time) (string, error) {
	s.start, s.end = start, end
	return "t/1", nil
}

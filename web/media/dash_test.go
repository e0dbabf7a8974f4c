package media_test

import (
	"compress/gzip"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
	"github.com/kineweir/kineweir/web/media"
)

// segmentsOf returns all URLs of a manifest, as paths with queries.
func segmentsOf(t *testing.T, path, text string) (all []string) {
	t.Helper()
	var m struct {
		Period []struct {
			BaseURL string
			Lists   []struct {
				Init struct {
					URL string `xml:"sourceURL,attr"`
				} `xml:"Initialization"`
				URLs []struct {
					Media string `xml:"media,attr"`
				} `xml:"SegmentURL"`
			} `xml:"AdaptationSet>Representation>SegmentList"`
		}
	}
	if err := xml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	page, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Period {
		base, err := page.Parse(p.BaseURL)
		if err != nil {
			t.Fatal(err)
		}
		add := func(name string) {
			u, err := base.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, u.String())
		}
		for _, l := range p.Lists {
			add(l.Init.URL)
			for _, u := range l.URLs {
				add(u.Media)
			}
		}
	}
	return all
}

func TestManifestNamesTheSegmentsOfHLS(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.record(t, "front")
	path := "/dash/front/manifest.mpd?" + span(100, 112)
	resp, text := s.get(path)
	if h := resp.Header; resp.StatusCode != 200 || h.Get("Content-Type") != "application/dash+xml" || h.Get("Cache-Control") != "no-cache" || h.Get("ETag") == "" {
		t.Fatalf("%d %v\n%s", resp.StatusCode, h, text)
	}
	found := map[string]bool{}
	for _, u := range segmentsOf(t, path, text) {
		found[u] = true
		if resp, body := s.get(u); resp.StatusCode != 200 || body == "" {
			t.Errorf("%s: %d", u, resp.StatusCode)
		}
	}
	for _, list := range []string{"/hls/front/index-1.m3u8?", "/hls/front/index-2.m3u8?"} {
		_, body := s.get(list + span(100, 112))
		for _, u := range uris(t, list, body) {
			if !found[u] {
				t.Errorf("HLS names %s, DASH does not", u)
			}
			delete(found, u)
		}
	}
	if len(found) > 0 {
		t.Errorf("DASH alone names %v", found)
	}
}

func TestManifestOverHTTP(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.record(t, "front")
	path := "/dash/front/manifest.mpd?" + span(100, 112)
	resp, plain := s.get(path)
	tag := resp.Header.Get("ETag")
	if not, body := s.get(path, "If-None-Match", `"x", `+tag); not.StatusCode != 304 || body != "" || not.Header.Get("ETag") != tag || not.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("again: %d %v", not.StatusCode, not.Header)
	}
	if resp, _ := s.get(path, "If-None-Match", `"x"`); resp.StatusCode != 200 {
		t.Errorf("of another tag: %d", resp.StatusCode)
	}
	if other, _ := s.get("/dash/front/manifest.mpd?" + span(100, 104)); other.Header.Get("ETag") == tag {
		t.Error("two manifests have one ETag")
	}
	if resp, body := s.do(http.MethodHead, path); resp.ContentLength != int64(len(plain)) || body != "" || resp.Header.Get("ETag") != tag {
		t.Errorf("HEAD: %v", resp.Header)
	}
	resp, body := s.get(path, "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil || resp.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(resp.Header.Get("Vary"), "Accept-Encoding") {
		t.Fatalf("%v, %v", err, resp.Header)
	}
	if out, err := io.ReadAll(z); err != nil || string(out) != plain {
		t.Errorf("compressed: %d bytes of %d, %v", len(out), len(plain), err)
	}
	resp, now := s.get("/dash/time")
	at, err := time.Parse(time.RFC3339Nano, now)
	if err != nil || time.Since(at).Abs() > time.Minute || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("time %q, %v, %v", now, err, resp.Header)
	}
	if resp, _ := s.do(http.MethodPost, "/dash/front/manifest.mpd"); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func TestManifestErrors(t *testing.T) {
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
		{"/dash/nobody/manifest.mpd", 404, "no such stream"},
		{"/dash/nobody/manifest.mpd?" + span(100, 110), 404, "no such stream"},
		{"/dash/empty/manifest.mpd", 404, "no fragment has been recorded yet"},
		{"/dash/front/manifest.mpd?" + span(500, 510), 404, "it has 2026-11-23T14:01:40Z to 2026-11-23T14:01:52Z"},
		{"/dash/front/manifest.mpd?end=" + at(100), 400, "start: missing: write a time like 2026-11-23T14:05:00Z"},
		{"/dash/front/manifest.mpd?start=noon", 400, "start=noon: not a time"},
		{"/dash/front/manifest.mpd?window=week", 400, "window=week: write how many seconds"},
		{"/dash/front/manifest.mpd?window=86400", 400, "at most 3600 seconds"},
		{"/dash/front/manifest.mpd?video=x", 400, "video=x"},
		{"/dash/front/live.mpd", 404, "ask for manifest.mpd"},
		{"/dash/front/", 404, "ask for manifest.mpd"},
		{"/dash/front/mwtc1q80/1-0-1.m4s", 404, "ask for manifest.mpd"},
		{"/dash/front%2Fdoor/manifest.mpd", 400, `try \"front-door\"`},
		{"/dash/mute/manifest.mpd", 415, "as DASH: track 1 (audio) left out: codec MP3"},
	} {
		resp, body := s.get(c.path)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q, want %d that says %q", c.path, resp.StatusCode, body, c.status, c.says)
		}
	}
}

// The first manifest is asked for by name and password; its segments, and what it
// is refreshed from, have the token.
func TestManifestAccess(t *testing.T) {
	a := &asked{}
	s := serve(t, hls.Options{}, media.Options{Access: a})
	s.record(t, "front")
	s.archive.Recording("front", true)
	s.setClock(created.Add(113 * time.Second))
	for _, path := range []string{"/dash/front/manifest.mpd", "/dash/front/manifest.mpd?" + span(102, 106), "/dash/front/manifest.mpd?start=" + at(102)} {
		if resp, _ := s.get(path); resp.StatusCode != 401 {
			t.Errorf("%s without a name: %d", path, resp.StatusCode)
		}
		if resp, _ := s.get(path, "Authorization", "Basic Ym9iOng="); resp.StatusCode != 403 {
			t.Errorf("%s as bob: %d", path, resp.StatusCode)
		}
		a.spans = nil
		_, text := s.get(path, "Authorization", "Basic YW5uOng=")
		all := segmentsOf(t, path, text)
		if m := regexp.MustCompile(`<Location>(.*)</Location>`).FindStringSubmatch(text); m != nil {
			all = append(all, "/dash/front/"+strings.ReplaceAll(m[1], "&amp;", "&"))
		} else if strings.Contains(text, "dynamic") {
			t.Errorf("%s: no Location in\n%s", path, text)
		}
		if len(all) < 6 {
			t.Errorf("%s: only %d URLs", path, len(all))
		}
		for _, u := range all {
			if resp, body := s.get(u); resp.StatusCode != 200 || !strings.Contains(u, "token=good%2Btoken") {
				t.Errorf("%s: %d %.100s", u, resp.StatusCode, body)
			}
		}
		for _, span := range a.spans[1:] {
			if span != a.spans[0] {
				t.Errorf("%s: asked for %q, then %q", path, a.spans[0], span)
			}
		}
	}
}

// ffmpeg reads what the manifest says.
func TestFFmpegPlaysManifests(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.record(t, "front")
	p := probe(t, s.URL+"/dash/front/manifest.mpd?"+span(100, 112))
	if len(p.Streams) != 2 || !strings.HasPrefix(p.Format.Duration, "12.") {
		t.Errorf("%+v", p)
	}
	if pictures, sound := decode(t, s.URL+"/dash/front/manifest.mpd?"+span(100, 112)); pictures != 300 || sound < 11.9 || sound > 12.1 {
		t.Errorf("%d pictures, %v s of sound; want 300 and 12", pictures, sound)
	}
}

package e2e

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mediaPlaylist is what the tests need of an HLS media playlist.
type mediaPlaylist struct {
	url           string
	text          string
	segments      []segment
	ended         bool
	discontinuity int // how many
	independent   bool
	sequence      int
}

type segment struct {
	url      string
	duration time.Duration
	date     time.Time // zero when the playlist gives none
}

// variant fetches a multivariant playlist and returns the URL of its first
// variant and of its first audio rendition ("" when there is none).
func variant(t *testing.T, at string) (video, audio, text string) {
	t.Helper()
	code, text := fetch(t, at)
	if code != http.StatusOK {
		t.Fatalf("GET %s: %d\n%s", at, code, text)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#EXT-X-MEDIA:TYPE=AUDIO"):
			if _, rest, ok := strings.Cut(line, `URI="`); ok && audio == "" {
				uri, _, _ := strings.Cut(rest, `"`)
				audio = resolve(t, at, uri)
			}
		case line != "" && line[0] != '#' && video == "":
			video = resolve(t, at, line)
		}
	}
	if video == "" {
		t.Fatalf("no variant in %s:\n%s", at, text)
	}
	return video, audio, text
}

// media fetches and reads a media playlist.
func media(t *testing.T, at string) mediaPlaylist {
	t.Helper()
	code, text := fetch(t, at)
	if code != http.StatusOK {
		t.Fatalf("GET %s: %d\n%s", at, code, text)
	}
	p := mediaPlaylist{url: at, text: text}
	var s segment
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case tag == "#EXTINF":
			v, _, _ := strings.Cut(value, ",")
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			s.duration = time.Duration(f * float64(time.Second))
		case tag == "#EXT-X-PROGRAM-DATE-TIME":
			d, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			s.date = d
		case tag == "#EXT-X-MEDIA-SEQUENCE":
			p.sequence, _ = strconv.Atoi(value)
		case line == "#EXT-X-DISCONTINUITY":
			p.discontinuity++
		case line == "#EXT-X-ENDLIST":
			p.ended = true
		case line == "#EXT-X-INDEPENDENT-SEGMENTS":
			p.independent = true
		case line != "" && line[0] != '#':
			s.url = resolve(t, at, line)
			p.segments = append(p.segments, s)
			s = segment{}
		}
	}
	return p
}

func resolve(t *testing.T, base, ref string) string {
	t.Helper()
	b, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r.String()
}

// fetch returns status and body; status 0 when nobody answers.
func fetch(t *testing.T, at string) (int, string) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	s := server{t: t, http: u.Scheme + "://" + u.Host}
	code, body := s.try(u.RequestURI())
	return code, string(body)
}

// span returns the query of the last d before now, with a margin after.
func span(from, to time.Time) string {
	return "?start=" + strconv.FormatInt(from.UnixMilli(), 10) + "&end=" + strconv.FormatInt(to.UnixMilli(), 10)
}

package hls

import (
	"bufio"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

func TestParseRequestReadsWhatPlaylistsWrite(t *testing.T) {
	var hash fragments.ConfigHash
	for i := range hash {
		hash[i] = byte(i * 17)
	}
	at := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	r := playback.Range{Clock: fragments.ByServer, Start: at, End: at.Add(time.Minute)}
	const born = 1795442400123
	for _, c := range []struct {
		uri  []byte
		want Request
	}{
		{(&Request{Live: true}).mediaURI(nil, 3), Request{Kind: Media, Live: true, Track: 3}},
		{(&Request{Live: true, Window: time.Minute}).mediaURI(nil, 1), Request{Kind: Media, Live: true, Window: time.Minute, Track: 1}},
		{(&Request{Range: r, Join: 14 * time.Second}).mediaURI(nil, 2), Request{Kind: Media, Range: r, Join: 14 * time.Second, Track: 2}},
		{appendInit(appendBorn(nil, born), hash), Request{Kind: Init, Born: born, Config: hash}},
		{appendSegment(appendBorn(nil, born), 2, fragments.Number{Epoch: 3, Counter: 1234}, 1, 0), Request{Kind: Segment, Born: born, Track: 2, Number: fragments.Number{Epoch: 3, Counter: 1234}, Count: 1}},
		{appendSegment(appendBorn(nil, born), 2, fragments.Number{Epoch: 3, Counter: 1}, 8, 0), Request{Kind: Segment, Born: born, Track: 2, Number: fragments.Number{Epoch: 3, Counter: 1}, Count: 8}},
		{appendSegment(appendBorn(nil, born), 2, fragments.Number{Epoch: 3, Counter: 1}, 1, 9600), Request{Kind: Segment, Born: born, Track: 2, Number: fragments.Number{Epoch: 3, Counter: 1}, Count: 1, Lead: 9600}},
		{append(appendSegment(appendBorn(nil, born), 1, fragments.Number{}, 1, 0), (&Request{Range: r, Token: "t"}).segmentQuery()...), Request{Kind: Segment, Born: born, Track: 1, Count: 1, Range: r}},
		{appendPart(appendBorn(nil, born), 2, fragments.Number{Epoch: 3, Counter: 1234}, 0), Request{Kind: Part, Born: born, Track: 2, Number: fragments.Number{Epoch: 3, Counter: 1234}, Count: 1}},
		{appendPart(appendBorn(nil, born), 2, fragments.Number{Epoch: 3, Counter: 1234}, 17), Request{Kind: Part, Born: born, Track: 2, Number: fragments.Number{Epoch: 3, Counter: 1234}, Count: 1, Part: 17}},
		{[]byte("live-1.m3u8?_HLS_msn=7"), Request{Kind: Media, Live: true, Track: 1, Ahead: Ahead{Wait: true, Sequence: 7}}},
		{[]byte("live-1.m3u8?_HLS_msn=7&_HLS_part=2&_HLS_skip=YES"), Request{Kind: Media, Live: true, Track: 1, Ahead: Ahead{Wait: true, Sequence: 7, WaitPart: true, Part: 2, Skip: true}}},
		{[]byte("live-1.m3u8?_HLS_skip=v2"), Request{Kind: Media, Live: true, Track: 1, Ahead: Ahead{Skip: true}}},
		{[]byte("live.m3u8?_HLS_msn=7"), Request{Kind: Multivariant, Live: true}},
		{appendFill(appendBorn(nil, born), hash, 480_000, 96_000), Request{Kind: Fill, Born: born, Config: hash, Start: 480_000, Length: 96_000}},
	} {
		u, err := url.Parse(string(c.uri))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRequest(u.Path, u.Query())
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", c.uri, got, err, c.want)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	const span = "start=1795442400000"
	for _, c := range []struct{ uri, param string }{
		{"", ""},
		{"live", ""},
		{"live.m3u", ""},
		{"other.m3u8", ""},
		{"live-0.m3u8", ""},
		{"live--1.m3u8", ""},
		{"live-x.m3u8", ""},
		{"live-99999999999.m3u8", ""},
		{"index.m3u8", "start"},
		{"index.m3u8?" + span + "&join=61", "join"},
		{"index.m3u8?" + span + "&join=0", "join"},
		{"index.m3u8?" + span + "&video=v", "video"},
		{"live.m3u8?window=0", "window"},
		{"live.m3u8?window=-5", "window"},
		{"live.m3u8?window=1h", "window"},
		{"!/1-1-1.m4s", ""},
		{"-1/1-1-1.m4s", ""},
		{"a/b/1-1-1.m4s", ""},
		{"a/1-1.m4s", ""},
		{"a/1-1-1.mp4", ""},
		{"a/1-1-1-1.m4s", ""}, // one fragment is written without a count
		{"a/1-1-1-1001.m4s", ""},
		{"a/1-1-1-1-0.m4s", ""},
		{"a/1-1-1-0-5.m4s", ""},
		{"a/1-1-1-1--5.m4s", ""},
		{"a/1-1-1-1-5-5.m4s", ""},
		{"a/1-999999999999999999-1.m4s", ""},
		{"a/0-1-1.m4s", ""},
		{"a/init-00.mp4", ""},
		{"a/init-zz000000000000000000000000000000.mp4", ""},
		{"a/fill-00000000000000000000000000000000-0-0.m4s", ""},
		{"a/fill-00000000000000000000000000000000--1-5.m4s", ""},
		{"a/1-1-1.m4s?start=now", "start"},
		{"a/1-1-1-p.m4s", ""},
		{"a/1-1-1-p01.m4s", ""},
		{"a/1-1-1-p-1.m4s", ""},
		{"a/1-1-1-2-p1.m4s", ""},
		{"a/1-1-p1.m4s", ""},
		{"live-1.m3u8?_HLS_msn=-1", "_HLS_msn"},
		{"live-1.m3u8?_HLS_msn=x", "_HLS_msn"},
		{"live-1.m3u8?_HLS_part=1", "_HLS_part"},
		{"live-1.m3u8?_HLS_msn=1&_HLS_part=-1", "_HLS_part"},
	} {
		u, err := url.Parse(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseRequest(u.Path, u.Query())
		var p *playback.ParamError
		switch {
		case c.param == "" && !errors.Is(err, ErrNoName):
			t.Errorf("%s: got %v, want ErrNoName", c.uri, err)
		case c.param != "" && (!errors.As(err, &p) || p.Name != c.param):
			t.Errorf("%s: got %v, want an error of %s", c.uri, err, c.param)
		}
	}
}

// FuzzParseRequest begins with every URL in the expected playlists.
func FuzzParseRequest(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		lines := bufio.NewScanner(strings.NewReader(string(data)))
		for n := 0; lines.Scan() && n < 40; n++ {
			line := strings.TrimPrefix(lines.Text(), "get ")
			path, query, _ := strings.Cut(line, "?")
			f.Add(path, query)
		}
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		r, err := ParseRequest(path, q)
		var p *playback.ParamError
		if err != nil {
			if !errors.Is(err, ErrNoName) && !errors.As(err, &p) {
				t.Fatalf("%q %q: %v", path, query, err)
			}
			return
		}
		switch r.Kind {
		case Multivariant:
		case Media, Segment, Part:
			if r.Track < 1 || r.Part < 0 || r.Ahead.Part < 0 || r.Ahead.Sequence < 0 || r.Kind == Segment && (r.Count < 1 || r.Count > maxCount || r.Number.Epoch > fragments.MaxEpoch) {
				t.Fatalf("%q: %+v", path, r)
			}
		case Fill:
			if r.Start < 0 || r.Length < 1 {
				t.Fatalf("%q: %+v", path, r)
			}
		case Init:
		default:
			t.Fatalf("%q: kind %d", path, r.Kind)
		}
	})
}

package dash_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/dash"
	"github.com/kineweir/kineweir/playback/hls"
)

// tell runs the lines of a script.
func tell(t testing.TB, lines ...string) *script {
	t.Helper()
	s := newScript(t)
	for i, line := range lines {
		s.command("script", i+1, line)
	}
	return s
}

var camera = []string{"stream front 2026-11-23T14:00:00Z", "track v 1 H264 1280x720", "track a 2 AAC 48000 2"}

// placed returns where every segment of a manifest is put: its Unix time in
// microseconds by its name.
func placed(t *testing.T, text []byte) map[string]int64 {
	t.Helper()
	if wrong := check(text); len(wrong) > 0 {
		t.Fatalf("%v in\n%s", wrong, text)
	}
	c := &checker{}
	if err := c.read(text); err != nil {
		t.Fatal(err)
	}
	at := map[string]int64{}
	for _, p := range c.m.Period {
		for _, s := range p.Sets {
			l := &s.Representation[0].List
			from := c.time("availabilityStartTime").UnixMicro() + c.duration(p.Start).Microseconds()
			ticks := int64(0)
			for i, e := range l.S {
				if e.T != nil {
					ticks = *e.T
				}
				at[l.URLs[i].Media] = from + (ticks-l.Offset)*1e6/l.TimeScale
				ticks += e.D
			}
		}
	}
	return at
}

// However the window slides, and whoever asks for which, a segment stays at its
// time: where the clock drifted within a Period, and where it was set back.
func TestSegmentsStayWhereTheyAre(t *testing.T) {
	s := tell(t, camera...)
	s.segments = must(hls.New(s.archive, hls.Options{Window: 20 * time.Second, MaxWindow: 40 * time.Second, Now: func() time.Time { return s.now }, StartTimeout: 20 * time.Millisecond}))
	s.forget()
	seen := map[string]int64{}
	for i, line := range []string{
		"frag 2s x=3", "frag 2s x=6", "frag 2s x=6", "skew 30ms", "frag 2s x=7", "frag 2s x=7", "frag 2s x=7", "frag 2s gap=7s", "frag 2s x=4", "frag 2s disc", "frag 2s x=3", "deleted 3", "frag 1s x=9", "skew -10m", "frag 2s disc", "frag 2s x=7", "frag 2s x=7", "frag 2s x=7", "frag 2s x=7",
	} {
		s.command("script", i, line)
		for _, window := range []string{"?window=6", "", "?window=30"} {
			text, err := s.manifest("manifest.mpd" + window)
			if err != nil {
				t.Fatal(err)
			}
			for name, at := range placed(t, text) {
				if was, ok := seen[name]; ok && max(was-at, at-was) > 25 { // a tick or two
					t.Errorf("after %q, %s: %s is at %d, was at %d", line, window, name, at, was)
				}
				seen[name] = at
			}
		}
	}
	if len(seen) < 80 {
		t.Errorf("only %d segments", len(seen))
	}
}

// availabilityStartTime + position is the capture time, with B-frames too.
func TestPositionIsCaptureTime(t *testing.T) {
	for _, path := range []string{"manifest.mpd", "manifest.mpd?start=2026-11-23T14:00:00Z"} {
		s := tell(t, append(slices.Clone(camera), "reorder 80ms", "frag 2s x=3", "frag 2s gap=3s", "frag 2s")...)
		text, err := s.manifest(path)
		if err != nil {
			t.Fatal(err)
		}
		at := placed(t, text)
		for i, after := range []time.Duration{0, 2, 4, 9, 11} {
			name := fmt.Sprintf("1-1-%d.m4s", i+1)
			want := s.created.Add(after*time.Second + 80*time.Millisecond).UnixMicro()
			if got := at[name]; got < want || got > want+15 {
				t.Errorf("%s: %s is at %d, was captured at %d", path, name, got, want)
			}
		}
	}
}

// A manifest is made once for all who ask for it, and anew when there is news.
func TestManifestIsShared(t *testing.T) {
	s := tell(t, append(slices.Clone(camera), "frag 2s x=3")...)
	r := must(dash.ParseRequest("manifest.mpd", url.Values{}))
	get := func(r hls.Request) *hls.List { return must(s.packager.Manifest(context.Background(), s.name, r)) }
	first := get(r)
	if get(r) != first {
		t.Error("made twice")
	}
	other := r
	other.Token = "x"
	if l := get(other); l == first || !strings.Contains(string(l.Text), "token=x") {
		t.Error("a token is not in its manifest")
	}
	s.command("script", 1, "frag 2s")
	if l := get(r); l == first || string(l.Text) == string(first.Text) {
		t.Error("no news")
	}
	for i := range 200 { // tokens of many viewers
		other.Token = fmt.Sprint(i)
		if l := get(other); !strings.Contains(string(l.Text), "token="+other.Token+`"`) {
			t.Fatalf("token %d: the manifest of another", i)
		}
	}
}

func TestManifestsAtOnce(t *testing.T) {
	s := tell(t, append(slices.Clone(camera), "reorder 80ms", "frag 2s x=30")...)
	p := must(dash.New(s.segments, dash.Options{MaxStreams: 1}))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r := must(dash.ParseRequest("manifest.mpd", url.Values{"window": {fmt.Sprint(10 + i%3)}}))
			for range 20 {
				if l, err := p.Manifest(context.Background(), s.name, r); err != nil || len(l.Gzip()) == 0 {
					t.Errorf("%v", err)
				}
			}
		})
	}
	all.Wait()
}

func TestNewChecksItsOptions(t *testing.T) {
	if _, err := dash.New(nil, dash.Options{}); err == nil {
		t.Error("no packager")
	}
	if _, err := dash.New(newScript(t).segments, dash.Options{MaxStreams: -1}); err == nil {
		t.Error("less than no streams")
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add("manifest.mpd", "start=2026-11-23T14:05:00Z&end=1795442760000&time=server&join=5")
	f.Add("manifest.mpd", "window=30&video=2&_HLS_msn=3&_HLS_part=1")
	f.Add("live.mpd", "end=x")
	f.Fuzz(func(t *testing.T, path, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		r, err := dash.ParseRequest(path, q)
		var param *playback.ParamError
		switch {
		case err != nil && !errors.As(err, &param) && !errors.Is(err, dash.ErrNoName):
			t.Fatalf("%q, %q: %v", path, query, err)
		case err == nil && (r.Kind != hls.Multivariant || r.Live == !r.Range.Start.IsZero() || r.Token != "" || path != "manifest.mpd"):
			t.Fatalf("%q, %q: %+v", path, query, r)
		}
	})
}

// A day of fragments of 2 s, and ten minutes of them live.
func BenchmarkManifest(b *testing.B) {
	s := tell(b, append(slices.Clone(camera), "frag 2s x=43200")...)
	for _, c := range []struct{ name, query string }{
		{"live", ""},
		{"live-with-token", "token=abcdefghijklmnopqrstuvwxyz0123456789"},
		{"day", "start=2026-11-23T14:00:00Z&end=2026-11-24T14:00:00Z"},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := must(url.ParseQuery(c.query))
			r := must(dash.ParseRequest("manifest.mpd", q))
			r.Token = q.Get("token")
			l := must(s.packager.Manifest(b.Context(), s.name, r))
			rows := strings.Count(string(l.Text), "<SegmentURL")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.packager.Manifest(b.Context(), fragments.StreamName("front"), r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(len(l.Text)), "B")
			b.ReportMetric(float64(len(l.Gzip())), "B-gzip")
		})
	}
}

package media_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
	"github.com/kineweir/kineweir/web/media"
)

// numbered gives fragments their numbers and shows them live.
type numbered struct {
	*live.Publisher
	n uint64
}

func (c *numbered) Begin(f *fragments.Fragment) {
	c.n++
	f.Number = fragments.Number{Epoch: 1, Counter: c.n}
	c.Publisher.Begin(f)
}

// publishTo cuts what media has, presented from start on, and leaves the last
// fragment open.
func publishTo(hub *live.Hub, name fragments.StreamName, created time.Time, start time.Duration, all ...playbacktest.Media) *live.Publisher {
	var tracks []*fragments.Track
	for _, m := range all {
		tracks = append(tracks, m.Track)
	}
	c := &numbered{Publisher: hub.Publish(name, tracks)}
	cut := fragments.NewFragmenter(tracks, fragments.FragmenterOptions{
		Created: created,
		Encode: func(t *fragments.Track, sequence uint32, decodeTime int64, samples []fragments.Sample) []byte {
			return cmaf.AppendPart(nil, t, sequence, decodeTime, samples)
		},
	}, c)
	next, at := make([]int, len(all)), make([]int64, len(all))
	for {
		k, first := -1, time.Duration(0)
		for i, m := range all {
			if when := time.Duration(at[i] * int64(time.Second) / int64(m.Track.TimeScale)); next[i] < len(m.Samples) && (k < 0 || when < first) {
				k, first = i, when
			}
		}
		if k < 0 {
			return c.Publisher
		}
		m, x := all[k], all[k].Samples[next[k]]
		shown := time.Duration((at[k] + int64(x.Offset)) * int64(time.Second) / int64(m.Track.TimeScale))
		filmed := created.Add(start + shown)
		cut.Push(&fragments.AccessUnit{
			Track: m.Track, PTS: at[k] + int64(x.Offset), DTS: at[k], Duration: int64(x.Duration), Key: x.Key, Payload: x.Payload,
			Capture: fragments.ProducerTime(filmed), Arrival: fragments.ServerTime(filmed), Source: fragments.FromReport,
		})
		at[k] += int64(x.Duration)
		next[k]++
	}
}

// Players that know nothing of parts play a low-latency playlist, also one of a
// stream of which the archive shows nothing.
func TestFFmpegPlaysFromMemory(t *testing.T) {
	hub := live.New()
	s := serve(t, hls.Options{Hub: hub}, media.Options{})
	s.archive.Create("front", created)
	v, a := camera(t)
	publishTo(hub, "front", created, 100*time.Second, v, a)
	s.setClock(created.Add(112 * time.Second))
	pictures, sound := decode(t, s.URL+"/hls/front/live.m3u8", "-live_start_index", "0", "-t", "7")
	if pictures < 170 || pictures > 180 || sound < 6.8 || sound > 7.2 {
		t.Errorf("%d pictures, %v s of sound; want 175 and 7", pictures, sound)
	}
}

func TestLowLatencyOverHTTP(t *testing.T) {
	hub := live.New()
	s := serve(t, hls.Options{Hub: hub}, media.Options{})
	s.archive.Create("front", created)
	v, _ := camera(t)
	pub := publishTo(hub, "front", created, 100*time.Second, v)
	s.setClock(created.Add(112 * time.Second))
	_, list := s.get("/hls/front/live-1.m3u8")
	var hint, part string
	for _, uri := range uris(t, s.URL+"/hls/front/live-1.m3u8", list) {
		if strings.Contains(uri, "-p0.") {
			part = uri
		}
		hint = uri
	}
	msn := 0
	for line := range strings.Lines(list) {
		_, _ = fmt.Sscanf(line, "#EXT-X-MEDIA-SEQUENCE:%d", &msn)
	}
	for _, c := range []struct {
		path   string
		status int
		says   string
	}{
		{"/hls/front/live-1.m3u8?_HLS_msn=" + fmt.Sprint(msn), 200, "#EXT-X-PART-INF:PART-TARGET="},
		{"/hls/front/live-1.m3u8?_HLS_skip=YES", 200, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES"},
		{"/hls/front/live-1.m3u8?_HLS_msn=" + fmt.Sprint(msn+100), 400, "too far ahead"},
		{"/hls/front/live-1.m3u8?_HLS_part=1", 400, "write _HLS_msn too"},
		{part, 200, "moof"},
		{strings.Replace(part, "-p0.", "-p99.", 1), 404, "no such fragment"},
		{part + "?" + span(100, 110), 403, "parts are of live playlists"},
	} {
		resp, body := s.get(c.path)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %.300s", c.path, resp.StatusCode, body)
		}
		if c.path == part && !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("a part may not be cached: %s", resp.Header.Get("Cache-Control"))
		}
	}
	// A hinted part is answered as soon as it is known that there will be none.
	if !strings.Contains(hint, "-p") {
		t.Fatalf("no hint:\n%s", list)
	}
	status := make(chan int)
	go func() {
		resp, err := http.Get(s.URL + hint)
		if err != nil {
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	pub.Close()
	if got := <-status; got != http.StatusNotFound {
		t.Errorf("a hint that came to nothing: %d", got)
	}
}

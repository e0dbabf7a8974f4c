package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// dashOptions say what dash.html plays.
type dashOptions struct {
	Player  string   `json:"player"` // dashjs or shaka
	URL     string   `json:"url"`
	Seconds float64  `json:"seconds"`
	SeekTo  *float64 `json:"seekTo,omitempty"`
}

// dashResult is what it reports beyond what player.html does.
type dashResult struct {
	playback
	First    float64 // ms until the first picture
	Waits    int
	Buffered [][2]float64
}

// playDASH plays a URL with a DASH player in headless Chromium.
func playDASH(t *testing.T, o dashOptions) dashResult {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "dash.html") })
	for name, file := range map[string]string{
		"dash.all.min.js": "dashjs/dist/modern/umd/dash.all.min.js", "shaka-player.compiled.js": "shaka-player/dist/shaka-player.compiled.js",
	} {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "node_modules/"+file) })
	}
	page := httptest.NewServer(mux)
	defer page.Close()
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, time.Minute+time.Duration(o.Seconds)*time.Second, "node", "play.mjs", page.URL, string(options))
	var r dashResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return r
}

// check fails when fewer frames were shown, when what the player takes for the UTC
// of a frame is further from the clock in the picture than limit, or, live, when
// frames are shown later than late.
func (r *dashResult) check(t *testing.T, what string, frames int, limit, late time.Duration) {
	t.Helper()
	errs := r.clockErrors()
	var delays []time.Duration
	for _, f := range r.Frames {
		if f.Clock >= 0 {
			delays = append(delays, time.Duration(f.Now&(1<<clockBits-1)-f.Clock)*time.Millisecond)
		}
	}
	if len(r.Errors) > 0 || len(errs) < frames {
		t.Errorf("%s: %d frames with a readable clock of %d, want %d; errors %v, at %v, buffered %v", what, len(errs), len(r.Frames), frames, r.Errors, r.CurrentTime, r.Buffered)
		return
	}
	slices.Sort(errs)
	slices.Sort(delays)
	at := func(list []time.Duration, q float64) time.Duration { return list[int(q*float64(len(list)-1))] }
	t.Logf("%s: first picture after %.0f ms; UTC of the player minus picture's clock over %d frames: p1 %v, p50 %v, p99 %v; %d waits",
		what, r.First, len(errs), at(errs, .01), at(errs, .5), at(errs, .99), r.Waits)
	if max(at(errs, .01).Abs(), at(errs, .99).Abs()) > limit {
		t.Errorf("%s: off by %v to %v, at most %v allowed", what, errs[0], errs[len(errs)-1], limit)
	}
	if late > 0 {
		t.Logf("%s: glass to glass p50 %v, p99 %v; the player says %.2f s", what, at(delays, .5), at(delays, .99), r.Latency)
		if at(delays, .5) > late {
			t.Errorf("%s: %v late, want at most %v", what, at(delays, .5), late)
		}
	}
}

// dashCamera pushes pictures of the clock with B-frames, and a tone. ffmpeg counts
// the pictures, so that each has the time it was due, however late it comes.
func dashCamera(t *testing.T, url string) (cancel func()) {
	t.Helper()
	r, w := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	go drawClocks(ctx, w, func(due time.Time) time.Time { return due })
	end := startFFmpeg(t, r, fmt.Sprintf("-probesize 32 -analyzeduration 0 -f rawvideo -pix_fmt gray -video_size %dx%d -framerate %d -i - "+
		"-re -f lavfi -i sine=frequency=440:sample_rate=48000 -map 0 -map 1 -c:v libx264 -preset ultrafast -tune zerolatency -g %d -pix_fmt yuv420p "+
		"-bf 2 -x264-params rc-lookahead=2:bframes=2:b-adapt=0 -c:a aac -b:a 64k -f rtsp -rtsp_transport tcp %s",
		clockWidth, clockHeight, clockFPS, clockFPS, url))
	return func() { stop(); r.Close(); end() }
}

// A camera is seen live with two DASH players, and its past with a hole in it: from
// the start, from a point that is sought, and on across the hole.
func TestDASH(t *testing.T) {
	const limit = 250 * time.Millisecond // the encoder's delay, which the camera does not tell
	s := serve(t, "")
	stop := dashCamera(t, "rtsp://"+s.rtsp+"/clock")
	waitLive(t, s, "clock", 5)
	begin := time.Now() // the camera may falter while it starts
	live := s.http + "/dash/clock/manifest.mpd"
	for _, player := range []string{"dashjs", "shaka"} {
		r := playDASH(t, dashOptions{Player: player, URL: live, Seconds: 12})
		r.check(t, player+" live", 120, limit, 15*time.Second)
		if r.AudioBytes == 0 {
			t.Errorf("%s: no sound", player)
		}
	}
	stop()
	time.Sleep(6 * time.Second) // the hole
	stop = dashCamera(t, "rtsp://"+s.rtsp+"/clock")
	_, before := fetch(t, live)
	eventually(t, 20*time.Second, "fragments after the hole", func() bool {
		_, text := fetch(t, live)
		return strings.Count(text, "<SegmentURL") > strings.Count(before, "<SegmentURL")+12
	})
	r := playDASH(t, dashOptions{Player: "dashjs", URL: live, Seconds: 6})
	r.check(t, "dashjs live after the hole", 80, limit, 15*time.Second)
	stop()
	time.Sleep(time.Second)
	past := s.http + "/dash/clock/manifest.mpd" + span(begin, time.Now())
	hole := holeIn(t, s.http+"/hls/clock/index.m3u8"+span(begin, time.Now()))
	for _, player := range []string{"dashjs", "shaka"} {
		r := playDASH(t, dashOptions{Player: player, URL: past, Seconds: 5})
		r.check(t, player+" past", 60, limit, 0)
		to := hole.Seconds() - 2
		r = playDASH(t, dashOptions{Player: player, URL: past, Seconds: 8, SeekTo: &to})
		r.check(t, player+" across the hole", 120, limit, 0)
		if r.CurrentTime < to+8 {
			t.Errorf("%s: at %v, sought %v: the hole was not crossed; buffered %v", player, r.CurrentTime, to, r.Buffered)
		}
	}
}

// holeIn returns when what was recorded first ends, since its start.
func holeIn(t *testing.T, at string) time.Duration {
	t.Helper()
	video, _, _ := variant(t, at)
	p := media(t, video)
	for i := 1; i < len(p.segments); i++ {
		end := p.segments[i-1].date.Add(p.segments[i-1].duration)
		if p.segments[i].date.Sub(end) > 3*time.Second {
			return end.Sub(p.segments[0].date)
		}
	}
	t.Fatalf("no hole in\n%s", p.text)
	return 0
}

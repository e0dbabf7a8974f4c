package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// liveOptions say what live.html does: publish a clock over WHIP, or nothing,
// and then play.
type liveOptions struct {
	Publish *livePublish `json:"publish,omitempty"`
	Settle  float64      `json:"settle"` // seconds between the two
	Views   []liveView   `json:"views"`
}

type livePublish struct {
	URL   string `json:"url"`
	Codec string `json:"codec"`
}

type liveView struct {
	Player  string  `json:"player"` // whep, llhls, shakall, dashjs or shaka
	URL     string  `json:"url"`
	Seconds float64 `json:"seconds"`
	Seek    float64 `json:"seek,omitempty"`
}

// liveResult is what it reports.
type liveResult struct {
	Views   []liveViewed
	Deleted int // status of the publisher's DELETE
}

type liveViewed struct {
	Player string
	Errors []string
	Frames []struct {
		Clock int64   // in the picture, ms since 1970 modulo 2^40; -1 when not readable
		Now   int64   // when it was shown, ms since 1970
		Time  float64 // media time, s
		Date  float64 // that the playlist gives the frame, ms since 1970; 0: none
	}
	First        float64 // ms until the first picture
	Decoded      int
	Codec        string
	LeftOut      string
	AudioBytes   int64
	JitterBuffer float64 // ms
	Freezes      int
	Deleted      int
	LowLatency   bool
	Latency      float64 // s, as the player believes
	Waits        int     // how often it stood still for want of media, after the first picture
}

// browse has live.html do what o says, in headless Chromium.
func browse(t *testing.T, o liveOptions) liveResult {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "live.html") })
	for name, file := range map[string]string{
		"hls.min.js": "hls.js/dist/hls.min.js", "dash.all.min.js": "dashjs/dist/modern/umd/dash.all.min.js",
		"shaka-player.compiled.js": "shaka-player/dist/shaka-player.compiled.js",
	} {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "node_modules/"+file) })
	}
	page := httptest.NewServer(mux)
	defer page.Close()
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	limit := time.Minute + time.Duration(o.Settle)*time.Second
	for _, v := range o.Views {
		limit += 20*time.Second + time.Duration(v.Seconds)*time.Second
	}
	out := run(t, limit, "node", "play.mjs", page.URL, string(options))
	var r liveResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return r
}

// delays returns how long after its time in the picture each frame was shown.
func (v *liveViewed) delays() (list []time.Duration) {
	for _, f := range v.Frames {
		if f.Clock >= 0 {
			list = append(list, time.Duration(f.Now&(1<<clockBits-1)-f.Clock)*time.Millisecond)
		}
	}
	slices.Sort(list)
	return list
}

// datesOff returns how far the playlist's date of each frame is from the time in
// its picture.
func (v *liveViewed) datesOff() (list []time.Duration) {
	for _, f := range v.Frames {
		if f.Clock >= 0 && f.Date > 0 {
			ms := f.Date - float64(int64(f.Date)&^(1<<clockBits-1)) - float64(f.Clock)
			list = append(list, time.Duration(ms*float64(time.Millisecond)))
		}
	}
	slices.Sort(list)
	return list
}

func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// check fails when a view has not shown enough, or too late.
func (v *liveViewed) check(t *testing.T, frames int, limit time.Duration) {
	t.Helper()
	d := v.delays()
	t.Logf("%s: first picture after %.0f ms; %d frames, glass to glass p50 %v, p99 %v, worst %v; jitter buffer %.0f ms, %d freezes, %d waits, codec %s %s",
		v.Player, v.First, len(v.Frames), percentile(d, 50), percentile(d, 99), percentile(d, 100), v.JitterBuffer, v.Freezes, v.Waits, v.Codec, v.LeftOut)
	if len(v.Errors) > 0 || len(d) < frames {
		t.Errorf("%s: %d frames of %d with a readable clock, want %d; errors %v", v.Player, len(d), len(v.Frames), frames, v.Errors)
		return
	}
	if p := percentile(d, 50); p > limit || p < 0 {
		t.Errorf("%s: p50 of the delay is %v, want at most %v", v.Player, p, limit)
	}
}

// A browser publishes a clock with WHIP; another page shows it with every
// protocol, and every delay is measured in the picture.
func TestBrowserPublishes(t *testing.T) {
	for _, codec := range []string{"H264", "VP8", "VP9", "AV1"} {
		t.Run(codec, func(t *testing.T) {
			s := serve(t, "")
			o := liveOptions{
				Publish: &livePublish{s.http + "/whip/door", codec}, Settle: 4,
				Views: []liveView{{Player: "whep", URL: s.http + "/whep/door", Seconds: 6}},
			}
			if codec == "H264" {
				o.Views = append(o.Views,
					liveView{Player: "llhls", URL: s.http + "/hls/door/live.m3u8", Seconds: 8},
					liveView{Player: "dashjs", URL: s.http + "/dash/door/manifest.mpd", Seconds: 6},
					liveView{Player: "shaka", URL: s.http + "/dash/door/manifest.mpd", Seconds: 6})
			}
			begin := time.Now()
			r := browse(t, o)
			if r.Deleted != http.StatusOK {
				t.Errorf("the publisher's DELETE: %d", r.Deleted)
			}
			for _, v := range r.Views {
				limits := map[string]time.Duration{"whep": 500 * time.Millisecond, "llhls": 1500 * time.Millisecond, "dashjs": 15 * time.Second, "shaka": 15 * time.Second}
				v.check(t, 40, limits[v.Player])
			}
			whep := r.Views[0]
			if want := "video/" + codec; whep.Codec != want || whep.AudioBytes == 0 || whep.Deleted != http.StatusOK {
				t.Errorf("whep: codec %q, %d bytes of sound, DELETE %d", whep.Codec, whep.AudioBytes, whep.Deleted)
			}
			if codec != "H264" {
				return
			}
			off := r.Views[1].datesOff()
			t.Logf("llhls: PROGRAM-DATE-TIME minus picture's clock: p1 %v, p50 %v, p99 %v of %d", percentile(off, 1), percentile(off, 50), percentile(off, 99), len(off))
			if len(off) < 40 || percentile(off, 50).Abs() > 150*time.Millisecond || !r.Views[1].LowLatency {
				t.Errorf("llhls: dates of %d frames, off by %v; low latency %v", len(off), percentile(off, 50), r.Views[1].LowLatency)
			}
			// What was published is recorded and plays from the archive.
			eventually(t, 20*time.Second, "the recording ends", func() bool {
				video, _, _ := variant(t, s.http+"/hls/door/index.m3u8"+span(begin, time.Now()))
				return len(media(t, video).segments) > 5
			})
			b := play(t, playOptions{URL: s.http + "/hls/door/index.m3u8" + span(begin, time.Now()), Seconds: 6})
			checkClock(t, "past", b, 300*time.Millisecond)
		})
	}
}

// A camera pushed over RTSP is seen over WebRTC at once, from the group of
// pictures in memory, and live with low latency.
func TestCameraIsSeenAtOnce(t *testing.T) {
	s := serve(t, "")
	clockCamera(t, "rtsp://"+s.rtsp+"/clock", "")
	waitLive(t, s, "clock", 3)
	r := browse(t, liveOptions{Views: []liveView{
		{Player: "whep", URL: s.http + "/whep/clock", Seconds: 6},
		{Player: "llhls", URL: s.http + "/hls/clock/live.m3u8", Seconds: 8},
		{Player: "shakall", URL: s.http + "/hls/clock/live.m3u8", Seconds: 6},
	}})
	r.Views[0].check(t, 60, 500*time.Millisecond)
	r.Views[1].check(t, 60, time.Second+500*time.Millisecond)
	r.Views[2].check(t, 60, time.Second+500*time.Millisecond)
	if first := r.Views[0].First; first > 3000 {
		t.Errorf("first picture after %.0f ms", first)
	}
}

// Viewers come and go, 500 twice, and the server is as before.
func TestViewersComeAndGo(t *testing.T) {
	s := serve(t, "")
	testCamera(t, "rtsp://"+s.rtsp+"/cam", "")
	waitLive(t, s, "cam", 2)
	churn := func(n int) string {
		return run(t, 3*time.Minute, binary, "bench", "viewers", "--server", s.http, "--stream", "cam", "--protocol", "whep", "--joins", fmt.Sprint(n))
	}
	t.Log(churn(500)) // what is kept for good is there after these
	before := s.resources()
	t.Log(churn(500))
	var after resources
	eventually(t, 30*time.Second, "the viewers are gone", func() bool {
		after = s.resources()
		return after.goroutines <= before.goroutines+10 && after.files <= before.files+3
	})
	t.Logf("before %+v, after %+v", before, after)
	if after.memory > before.memory+32<<20 {
		t.Errorf("memory %d MiB after, %d MiB before", after.memory>>20, before.memory>>20)
	}
}

// resources is what a server holds, by /metrics.
type resources struct{ goroutines, files, memory int64 }

func (s *server) resources() (r resources) {
	s.t.Helper()
	for line := range strings.Lines(string(s.get("/metrics"))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		to := map[string]*int64{"go_goroutines": &r.goroutines, "process_open_fds": &r.files, "process_resident_memory_bytes": &r.memory}[name]
		if to == nil {
			continue
		}
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			s.t.Fatalf("%v in %s", err, line)
		}
		*to = int64(f)
	}
	return r
}

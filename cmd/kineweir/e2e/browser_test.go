package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// playback is what player.html reports.
type playback struct {
	Frames []struct {
		Clock int64   // in the picture, ms since 1970 modulo 2^40; -1 when not readable
		Date  float64 // program date time of the frame, ms
		Time  float64 // media time, s
		Now   int64   // when it was shown, ms
	}
	Errors []string
	Holes  []string // of the buffer that the player went on behind
	Stalls int
	Levels []struct {
		Codecs        string
		Width, Height int
		Rate, Bitrate float64
	}
	CurrentTime float64
	Ended       bool
	Duration    float64
	Decoded     int
	Dropped     int
	AudioBytes  int64
	Latency     float64
}

type playOptions struct {
	URL     string   `json:"url"`
	Seconds float64  `json:"seconds"`
	SeekTo  *float64 `json:"seekTo"`
	Unmuted bool     `json:"unmuted"`
}

// play plays a URL with hls.js in headless Chromium.
func play(t *testing.T, o playOptions) playback {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "player.html") })
	mux.HandleFunc("/hls.min.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "node_modules/hls.js/dist/hls.min.js")
	})
	page := httptest.NewServer(mux)
	defer page.Close()
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, time.Minute+time.Duration(o.Seconds)*time.Second, "node", "play.mjs", page.URL, string(options))
	var p playback
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return p
}

// clockErrors returns, for each frame whose picture's clock could be read, how
// far PROGRAM-DATE-TIME is from it.
func (p *playback) clockErrors() []time.Duration {
	var out []time.Duration
	for _, f := range p.Frames {
		if f.Clock < 0 || f.Date == 0 {
			continue
		}
		ms := f.Date - float64(int64(f.Date)&^(1<<clockBits-1)) - float64(f.Clock)
		out = append(out, time.Duration(ms*float64(time.Millisecond)))
	}
	return out
}

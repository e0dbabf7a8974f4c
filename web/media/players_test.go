package media_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
	"github.com/kineweir/kineweir/web/media"
)

type probed struct {
	Streams []struct {
		Codec    string `json:"codec_name"`
		Width    int    `json:"width"`
		Rate     string `json:"avg_frame_rate"`
		Start    string `json:"start_time"`
		Channels int    `json:"channels"`
	} `json:"streams"`
	Format struct {
		Duration string `json:"duration"`
	} `json:"format"`
}

// probe asks ffprobe, which must not warn.
func probe(tb testing.TB, url string) probed {
	tb.Helper()
	out, complaints := playbacktest.Tool(tb, "ffprobe", "-v", "warning", "-show_streams", "-show_format", "-of", "json", url)
	if complaints != "" {
		tb.Errorf("ffprobe %s: %s", url, complaints)
	}
	var p probed
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		tb.Fatal(err)
	}
	return p
}

// decode decodes all of a URL, without a complaint, and returns how many
// pictures and how many seconds of sound there were.
func decode(tb testing.TB, url string, args ...string) (pictures int, sound float64) {
	tb.Helper()
	args = append(append(strings.Fields("-v warning"), args...), strings.Fields("-i "+url+" -fps_mode passthrough -f framecrc -")...)
	out, complaints := playbacktest.Tool(tb, "ffmpeg", args...)
	for line := range strings.Lines(complaints) {
		// It reads the initialisation segment anew at each reload of a playlist.
		if strings.HasSuffix(line, "Found duplicated MOOV Atom. Skipped it\n") {
			complaints = strings.Replace(complaints, line, "", 1)
		}
	}
	if complaints != "" {
		tb.Errorf("ffmpeg %s: %s", url, complaints)
	}
	rate, isVideo := map[string]float64{}, map[string]bool{}
	for line := range strings.Lines(out) {
		var index, kind string
		var a, b float64
		if n, _ := fmt.Sscanf(line, "#media_type %1s: %s", &index, &kind); n == 2 {
			isVideo[index] = kind == "video"
		}
		if n, _ := fmt.Sscanf(line, "#tb %1s: %g/%g", &index, &a, &b); n == 3 {
			rate[index] = a / b
		}
		f := strings.Split(line, ",")
		if strings.HasPrefix(line, "#") || len(f) < 4 {
			continue
		}
		if isVideo[f[0]] {
			pictures++
		} else {
			var ticks float64
			if _, err := fmt.Sscanf(strings.TrimSpace(f[3]), "%g", &ticks); err != nil {
				tb.Fatal(err)
			}
			sound += ticks * rate[f[0]]
		}
	}
	return pictures, sound
}

func TestFFmpegPlaysRanges(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.record(t, "front")
	for _, c := range []struct {
		name, query string
		pictures    int
		seconds     float64
	}{
		{"all", span(100, 112.08), 300, 12},
		{"some, from its key frame on", span(103, 107), 150, 6},
		{"joined", span(100, 112.08) + "&join=5", 300, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := s.URL + "/hls/front/index.m3u8?" + c.query
			if strings.Contains(c.query, "join") {
				url = s.URL + "/hls/front/index-1.m3u8?" + c.query
			} else {
				p := probe(t, url)
				if len(p.Streams) != 2 || p.Streams[0].Codec != "h264" && p.Streams[1].Codec != "h264" {
					t.Fatalf("%+v", p)
				}
			}
			pictures, sound := decode(t, url)
			if pictures != c.pictures {
				t.Errorf("%d pictures, want %d", pictures, c.pictures)
			}
			if !strings.Contains(c.query, "join") && (sound < c.seconds-0.1 || sound > c.seconds+0.1) {
				t.Errorf("%v s of sound, want %v", sound, c.seconds)
			}
		})
	}
}

// TestFFmpegPlaysLive lets ffmpeg follow a live playlist while fragments
// arrive, until the recording ends and the range with it.
func TestFFmpegPlaysLive(t *testing.T) {
	s := serve(t, hls.Options{StartTimeout: 5 * time.Second}, media.Options{})
	s.archive.Create("front", created)
	v, a := camera(t)
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second}
	cut := c.Cut(t, v, a)
	s.setClock(created.Add(100 * time.Second))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, f := range cut {
			time.Sleep(150 * time.Millisecond)
			f.AddTo(s.archive, "front")
		}
		s.setClock(created.Add(time.Hour))
		s.archive.Recording("front", false)
	}()
	defer func() { <-done }()
	pictures, sound := decode(t, s.URL+"/hls/front/index.m3u8?start="+at(100), "-live_start_index", "0")
	if pictures != 300 || sound < 11.9 || sound > 12.1 {
		t.Errorf("%d pictures, %v s of sound; want 300 and 12", pictures, sound)
	}
	// The live playlist has no end; ffmpeg is told when to stop.
	if pictures, _ := decode(t, s.URL+"/hls/front/live.m3u8", "-live_start_index", "0", "-t", "8"); pictures < 195 || pictures > 205 {
		t.Errorf("live: %d pictures, want 200", pictures)
	}
}

func TestFFmpegPlaysAcrossGapsAndChanges(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.archive.Create("front", created)
	v, a := camera(t)
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second}
	add := func(fs []playbacktest.Fragment) {
		for _, f := range fs {
			f.AddTo(s.archive, "front")
		}
	}
	add(c.Cut(t, v, a))
	c.Start += 8 * time.Second // a hole; beyond 10 s ffmpeg makes time stamps of its own
	add(c.Cut(t, v, a))
	silent := c.Cut(t, v) // the microphone is away for 12 s
	add(silent)
	add(c.Cut(t, v, a))
	s.archive.Recording("front", false)
	pictures, sound := decode(t, s.URL+"/hls/front/index.m3u8?"+span(100, 200))
	if pictures != 1200 || sound < 47.5 || sound > 48.5 {
		t.Errorf("%d pictures, %v s of sound; want 1200 and 48", pictures, sound)
	}
}

func TestG711IsAudible(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.archive.Create("phone", created)
	track := &fragments.Track{ID: 2, Codec: fragments.PCMA, TimeScale: 8000, SampleRate: 8000, Channels: 1}
	v, _ := camera(t)
	c := playbacktest.Cutter{Created: created, Start: time.Second}
	for _, f := range c.Cut(t, v, playbacktest.EncodeRaw(t, track, sound+"-ar 8000 -ac 1")) {
		f.AddTo(s.archive, "phone")
	}
	s.archive.Recording("phone", false)
	p := probe(t, s.URL+"/hls/phone/index.m3u8?"+span(1, 13))
	found := false
	for _, stream := range p.Streams {
		found = found || stream.Codec == "flac" && stream.Channels == 1
	}
	if !found {
		t.Errorf("no FLAC in %+v", p)
	}
	if pictures, sound := decode(t, s.URL+"/hls/phone/index.m3u8?"+span(1, 13)); pictures != 300 || sound < 11.9 || sound > 12.1 {
		t.Errorf("%d pictures, %v s of sound", pictures, sound)
	}
}

func TestFFmpegPlaysClips(t *testing.T) {
	s := serve(t, hls.Options{}, media.Options{})
	s.record(t, "front")
	p := probe(t, s.URL+"/clip/front.mp4?"+span(103, 109))
	if len(p.Streams) != 2 || !strings.HasPrefix(p.Format.Duration, "6.0") {
		t.Errorf("%+v", p)
	}
	if pictures, sound := decode(t, s.URL+"/clip/front.mp4?"+span(103, 109)); pictures < 149 || pictures > 151 || sound < 5.9 || sound > 6.1 {
		t.Errorf("%d pictures, %v s of sound", pictures, sound)
	}
}

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// request sends a request with an optional body and returns status and body.
func (s *server) request(method, path, body string, header ...string) (int, string, http.Header) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.http+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// probe returns what ffprobe prints of the streams of a URL, "codec,..." lines.
func probe(t *testing.T, url, entries string, options ...string) string {
	t.Helper()
	args := append([]string{"-v", "error", "-show_entries", entries, "-of", "csv=p=0"}, options...)
	return run(t, 40*time.Second, "ffprobe", append(args, url)...)
}

// TestStart measures how long the server takes until it is healthy; the test
// guards only the order of magnitude.
func TestStart(t *testing.T) {
	s := serve(t, "")
	best := time.Hour
	for range 5 {
		s.stop()
		begin := time.Now()
		s.start()
		best = min(best, time.Since(begin))
	}
	t.Logf("healthy %v after the start", best)
	if best > time.Second {
		t.Errorf("takes %v to start", best)
	}
}

// A newer publisher of the same name takes over; viewers go on.
func TestSecondPublisherTakesOver(t *testing.T) {
	s := serve(t, "")
	testCamera(t, "rtsp://"+s.rtsp+"/cam", "")
	waitLive(t, s, "cam", 2)
	testCamera(t, "rtsp://"+s.rtsp+"/cam", "-s 640x360")
	eventually(t, 20*time.Second, "the picture of the second publisher", func() bool {
		_, _, text := variant(t, s.http+"/hls/cam/live.m3u8")
		return strings.Contains(text, "RESOLUTION=640x360")
	})
	b := play(t, playOptions{URL: s.http + "/hls/cam/live.m3u8", Seconds: 4})
	if len(b.Errors) > 0 || b.Decoded < 50 {
		t.Errorf("%d frames, errors %v", b.Decoded, b.Errors)
	}
}

// One kineweir pulls from another, by its API; the camera is there again after
// a restart.
func TestPullByAPI(t *testing.T) {
	camera := serve(t, "")
	testCamera(t, "rtsp://"+camera.rtsp+"/source", "")
	waitLive(t, camera, "source", 1)
	s := serve(t, "")
	code, body, _ := s.request("PUT", "/api/cameras/yard", fmt.Sprintf(`{"url":"rtsp://%s/source","transport":"tcp"}`, camera.rtsp))
	if code/100 != 2 {
		t.Fatalf("PUT: %d %s", code, body)
	}
	waitLive(t, s, "yard", 2)
	s.stop()
	s.start()
	begin := time.Now()
	eventually(t, 30*time.Second, "recording again after the restart", func() bool {
		code, _ := s.try("/hls/yard/index.m3u8" + span(begin, begin.Add(time.Hour)))
		return code == http.StatusOK
	})
	if code, body, _ = s.request("GET", "/api/cameras/yard", ""); code != 200 || !strings.Contains(body, `"live"`) {
		t.Errorf("camera: %d %s", code, body)
	}
	if code, body, _ = s.request("DELETE", "/api/cameras/yard", ""); code/100 != 2 {
		t.Errorf("DELETE: %d %s", code, body)
	}
	eventually(t, 10*time.Second, "the pull to end", func() bool {
		var info struct{ State string }
		s.json("/api/streams/yard", &info)
		return info.State != "live"
	})
}

// A player reads a live stream over RTSP, by TCP and by UDP.
func TestReadOverRTSP(t *testing.T) {
	s := serve(t, "")
	testCamera(t, "rtsp://"+s.rtsp+"/cam", "")
	waitLive(t, s, "cam", 1)
	for _, transport := range []string{"tcp", "udp"} {
		out := run(t, 30*time.Second, "ffmpeg", "-hide_banner", "-loglevel", "error", "-rtsp_transport", transport, "-i", "rtsp://"+s.rtsp+"/cam",
			"-t", "2", "-map", "0:v", "-f", "framemd5", "-")
		if n := strings.Count(out, "\n0,"); n < 40 {
			t.Errorf("%s: %d frames in two seconds", transport, n)
		}
	}
}

// Every codec that ffmpeg can send is recorded and comes out again, or is
// refused by name.
func TestCodecs(t *testing.T) {
	s := serve(t, "")
	for _, tc := range []struct{ name, options, hls, clip string }{
		{"h264", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p", "h264", "h264"},
		{"h264-b", "-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p", "h264", "h264"},
		{"h265", "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params log-level=none", "hevc", "hevc"},
		{"vp9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -strict experimental", "vp9", "vp9"},
		{"vp8", "-c:v libvpx -deadline realtime -cpu-used 8", "", "vp8"},
		{"aac", "-c:a aac", "aac", "aac"},
		{"opus", "-c:a libopus", "opus", "opus"},
		{"pcmu", "-c:a pcm_mulaw -ar 8000", "flac", ""},
		{"pcma", "-c:a pcm_alaw -ar 8000", "flac", ""},
		{"lpcm", "-c:a pcm_s16be", "flac", ""},
		{"mp3", "-c:a libmp3lame", "", "mp3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := time.Now()
			source := "-re -f lavfi -i testsrc2=size=320x240:rate=25 -g 25 -an"
			if strings.Contains(tc.options, "-c:a") {
				source = "-re -f lavfi -i sine=frequency=440:sample_rate=48000 -vn"
			}
			stop := startFFmpeg(t, nil, source+" "+tc.options+" -f rtsp -rtsp_transport tcp rtsp://"+s.rtsp+"/"+tc.name)
			var info struct{ Fragments int }
			eventually(t, 30*time.Second, "three fragments", func() bool {
				if code, body := s.try("/api/streams/" + tc.name); code == 200 {
					json.Unmarshal(body, &info)
				}
				return info.Fragments >= 3
			})
			stop()
			query := span(begin, time.Now())
			if tc.hls == "" {
				code, body := s.try("/hls/" + tc.name + "/index.m3u8" + query)
				if code == http.StatusOK || !strings.Contains(strings.ToUpper(string(body)), strings.ToUpper(tc.name)) {
					t.Errorf("HLS: %d %s", code, body)
				}
			} else if out := probe(t, s.http+"/hls/"+tc.name+"/index.m3u8"+query, "stream=codec_name"); !strings.Contains(out, tc.hls) {
				t.Errorf("HLS: %s", out)
			}
			out := probe(t, s.http+"/clip/"+tc.name+".mp4"+query, "stream=codec_name,nb_read_frames", "-count_frames")
			if !strings.Contains(out, tc.clip) {
				t.Errorf("clip: %s", out)
			}
			fields := strings.Split(strings.TrimSpace(out), ",")
			if n, _ := strconv.Atoi(fields[len(fields)-1]); n < 50 {
				t.Errorf("clip: %d frames: %s", n, out)
			}
		})
	}
}

// A clip is one progressive MP4 of the right length, served in ranges.
func TestClip(t *testing.T) {
	s := serve(t, "")
	stop := testCamera(t, "rtsp://"+s.rtsp+"/cam", "")
	waitLive(t, s, "cam", 6)
	var info struct{ First, Last time.Time }
	s.json("/api/streams/cam", &info)
	stop()
	path := "/clip/cam.mp4" + span(info.First.Add(1500*time.Millisecond), info.First.Add(4500*time.Millisecond))
	code, whole, header := s.request("GET", path, "")
	if code != 200 || header.Get("Content-Length") != strconv.Itoa(len(whole)) || header.Get("Accept-Ranges") != "bytes" {
		t.Fatalf("%d, %d bytes, %v", code, len(whole), header)
	}
	if d := header.Get("Content-Disposition"); !strings.Contains(d, "cam ") || !strings.Contains(d, ".mp4") {
		t.Errorf("file name: %s", d)
	}
	var pieces strings.Builder
	for at := 0; at < len(whole); at += 100_000 {
		code, piece, h := s.request("GET", path, "", "Range", fmt.Sprintf("bytes=%d-%d", at, at+99_999))
		if code != http.StatusPartialContent || h.Get("Content-Range") == "" {
			t.Fatalf("range at %d: %d %v", at, code, h)
		}
		pieces.WriteString(piece)
	}
	if pieces.String() != whole {
		t.Error("the pieces are not the whole")
	}
	out := probe(t, s.http+path, "format=duration")
	if d, err := strconv.ParseFloat(strings.TrimSpace(out), 64); err != nil || math.Abs(d-3) > 0.1 {
		t.Errorf("duration %s, want 3 s", out)
	}
	warnings := run(t, 30*time.Second, "ffmpeg", "-hide_banner", "-loglevel", "warning", "-i", s.http+path, "-f", "null", "-")
	if warnings != "" {
		t.Errorf("ffmpeg: %s", warnings)
	}
}

// The metrics name what an operator looks for.
func TestMetrics(t *testing.T) {
	s := serve(t, "")
	testCamera(t, "rtsp://"+s.rtsp+"/cam", "")
	waitLive(t, s, "cam", 3)
	text := string(s.get("/metrics"))
	for _, want := range []string{
		`kineweir_stream_fps{stream="cam"} 2`, `kineweir_stream_bytes_per_second`, `kineweir_stream_packets_lost_total`, `kineweir_stream_jitter_seconds`,
		`kineweir_stream_lag_seconds`, `kineweir_stream_fragments_total`, `kineweir_stream_spool_bytes`, `kineweir_bucket_`, `process_`, `go_`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s:\n%s", want, text)
		}
	}
}

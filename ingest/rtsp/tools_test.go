package rtsp

import (
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Real publishers. Each sends a second and a half of media.

const (
	testVideo = "testsrc=size=320x240:rate=25"
	testAudio = "sine=frequency=440:sample_rate=48000"
)

// tool runs a program of the system to its end; a missing one fails the test.
func tool(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// ffmpegPush returns what makes ffmpeg send a codec; transport is "tcp" or "udp".
func ffmpegPush(url, transport string, codec ...string) []string {
	input, stream := testVideo, "-an"
	if codec[0] == "-c:a" {
		input, stream = testAudio, "-vn"
	}
	args := []string{"-v", "error", "-re", "-f", "lavfi", "-i", input, "-t", "1.5", stream}
	if stream == "-an" {
		args = append(args, "-pix_fmt", "yuv420p")
	}
	args = append(args, codec...)
	return append(args, "-strict", "experimental", "-f", "rtsp", "-rtsp_transport", transport, url)
}

func TestFFmpegPushes(t *testing.T) {
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"}
	bframes := []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "10"}
	x265 := []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=10:bframes=0"}
	for _, tc := range []struct {
		name      string
		transport string
		tls       bool
		codec     []string
		want      fragments.Codec
		units     int // at least
		params    int
	}{
		{"H264 over TCP", "tcp", false, x264, fragments.H264, 30, 2},
		{"H264 over UDP", "udp", false, x264, fragments.H264, 30, 2},
		{"H264 over TLS", "tcp", true, x264, fragments.H264, 30, 2},
		{"H264 with B-frames", "tcp", false, bframes, fragments.H264, 30, 2},
		{"H264 with intra refresh", "tcp", false, append(x264[:len(x264):len(x264)], "-intra-refresh", "1"), fragments.H264, 30, 2},
		{"H265 over TCP", "tcp", false, x265, fragments.H265, 25, 3},
		{"H265 over UDP", "udp", false, x265, fragments.H265, 25, 3},
		{"VP8", "tcp", false, []string{"-c:v", "libvpx", "-deadline", "realtime", "-g", "10"}, fragments.VP8, 30, 0},
		{"VP9", "tcp", false, []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "10"}, fragments.VP9, 25, 1},
		{"AAC", "tcp", false, []string{"-c:a", "aac"}, fragments.AAC, 60, 1},
		{"AAC in LATM", "tcp", false, []string{"-c:a", "aac", "-rtpflags", "latm"}, fragments.AAC, 60, 1},
		{"Opus over UDP", "udp", false, []string{"-c:a", "libopus"}, fragments.Opus, 60, 0},
		{"G.711 mu-law", "tcp", false, []string{"-c:a", "pcm_mulaw", "-ar", "8000"}, fragments.PCMU, 20, 0},
		{"G.711 A-law", "tcp", false, []string{"-c:a", "pcm_alaw", "-ar", "8000"}, fragments.PCMA, 20, 0},
		{"LPCM", "tcp", false, []string{"-c:a", "pcm_s16be", "-ac", "2"}, fragments.LPCM, 60, 0},
		{"MP3", "tcp", false, []string{"-c:a", "libmp3lame"}, fragments.MP3, 50, 0},
		{"MP3 of MPEG-2", "tcp", false, []string{"-c:a", "libmp3lame", "-ar", "22050"}, fragments.MP3, 45, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, rec := newTestServer(t, nil)
			url := s.url("cam")
			if tc.tls {
				url = "rtsps://" + s.TLSAddr().String() + "/cam"
			}
			begun := time.Now()
			out := tool(t, "ffmpeg", "ffmpeg", ffmpegPush(url, tc.transport, tc.codec...)...)
			session := rec.session(t, 0)
			if reason := session.waitClosed(t); reason != nil {
				t.Errorf("ended by %v; ffmpeg said %s", reason, out)
			}
			checkMedia(t, session.all(), tc.want, tc.units, tc.params)
			// ffmpeg's reports count from when it opened the output, ahead of what it has encoded.
			checkCapture(t, session.all(), begun, 2*time.Second, true)
		})
	}
}

func TestFFmpegPushesSeveralTracks(t *testing.T) {
	s, rec := newTestServer(t, nil)
	tool(t, "ffmpeg", "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", testVideo, "-f", "lavfi", "-i", testAudio, "-f", "lavfi", "-i", testAudio, "-t", "1.5",
		"-map", "0", "-map", "1", "-map", "2", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10",
		"-c:a:0", "aac", "-c:a:1", "pcm_alaw", "-ar:a:1", "8000", "-f", "rtsp", "-rtsp_transport", "tcp", s.url("cam"))
	session := rec.session(t, 0)
	if len(session.tracks) != 3 {
		t.Fatalf("tracks %v", trackNames(session.tracks))
	}
	var first [4]time.Time
	for id, want := range []fragments.Codec{1: fragments.H264, 2: fragments.AAC, 3: fragments.PCMA} {
		if id == 0 {
			continue
		}
		units := ofTrack(session.all(), id)
		checkMedia(t, units, want, 20, -1)
		first[id] = units[0].Capture.Time()
	}
	if d := first[1].Sub(first[2]).Abs(); d > 200*time.Millisecond {
		t.Errorf("picture and sound begin %v apart", d)
	}
}

// A track of an unknown codec is refused and the others are recorded.
func TestFFmpegPushesUnknownTrack(t *testing.T) {
	s, rec := newTestServer(t, nil)
	tool(t, "ffmpeg", "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", testVideo, "-f", "lavfi", "-i", testAudio, "-t", "1.5",
		"-c:v", "mpeg2video", "-c:a", "libopus", "-f", "rtsp", "-rtsp_transport", "tcp", s.url("cam"))
	checkMedia(t, rec.session(t, 0).all(), fragments.Opus, 60, 0)
}

func TestGStreamerPushes(t *testing.T) {
	video := "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "
	audio := "audiotestsrc is-live=true samplesperbuffer=960 ! audio/x-raw,rate=48000 ! "
	x264 := video + "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! h264parse ! "
	for _, tc := range []struct {
		name      string
		transport string
		tls       bool
		pipeline  string
		want      fragments.Codec
		units     int
		params    int
	}{
		{"H264 over TCP", "tcp", false, x264, fragments.H264, 30, 2},
		{"H264 over UDP", "udp", false, x264, fragments.H264, 30, 2},
		{"H264 over TLS", "tcp", true, x264, fragments.H264, 30, 2},
		{"H265", "tcp", false, video + "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! h265parse ! ", fragments.H265, 30, 3},
		{"VP8 over UDP", "udp", false, video + "vp8enc deadline=1 keyframe-max-dist=10 ! video/x-vp8,profile=(string)0 ! ", fragments.VP8, 30, 0},
		{"VP9", "tcp", false, video + "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=10 ! video/x-vp9,profile=(string)0 ! ", fragments.VP9, 30, 1},
		{"Opus", "tcp", false, audio + "opusenc ! ", fragments.Opus, 60, 0},
		{"AAC", "tcp", false, audio + "voaacenc ! aacparse ! ", fragments.AAC, 50, 1},
		{"G.711", "tcp", false, "audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000 ! mulawenc ! ", fragments.PCMU, 60, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, rec := newTestServer(t, nil)
			url := s.url("cam")
			if tc.tls {
				url = "rtsps://" + s.TLSAddr().String() + "/cam"
			}
			begun := time.Now()
			sink := "rtspclientsink tls-validation-flags=0 protocols=" + tc.transport + " location=" + url
			stop := background(t, "gstreamer1.0-tools gstreamer1.0-rtsp gstreamer1.0-plugins-ugly gstreamer1.0-plugins-bad", "gst-launch-1.0",
				append([]string{"-q"}, strings.Fields(tc.pipeline+sink)...)...)
			session := rec.session(t, 0)
			units := session.waitUnits(t, tc.units)
			stop()
			checkMedia(t, units, tc.want, tc.units, tc.params)
			checkCapture(t, units, begun, time.Second, false) // its first report comes after five seconds
		})
	}
}

// background starts a program of the system; stop ends it.
func background(t *testing.T, pkg, name string, args ...string) (stop func()) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	cmd := exec.Command(path, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	fatal(t, cmd.Start())
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s %s\n%s", name, strings.Join(args, " "), out.String())
		}
	})
	t.Cleanup(stop)
	return stop
}

// checkMedia asserts what must hold of any publisher's units of one track.
func checkMedia(t *testing.T, units []*fragments.AccessUnit, codec fragments.Codec, least, params int) {
	t.Helper()
	if len(units) < least {
		t.Fatalf("%d units, want %d", len(units), least)
	}
	last := units[len(units)-1].Track
	keys := 0
	sorted := slices.SortedFunc(slices.Values(units), func(a, b *fragments.AccessUnit) int { return int(a.PTS - b.PTS) })
	for i, au := range sorted {
		if au.Track.Codec != codec || au.Size() == 0 {
			t.Fatalf("unit %d: %s of %d bytes, want %s", i, au.Track.Codec, au.Size(), codec)
		}
		if au.Key {
			keys++
		}
		if i > 0 && au.PTS <= sorted[i-1].PTS {
			t.Fatalf("unit %d: PTS %d after %d", i, au.PTS, sorted[i-1].PTS)
		}
	}
	if keys < 2 {
		t.Errorf("%d keys", keys) // the first unit need not be one: GStreamer drops what it has while it connects
	}
	scale := float64(last.TimeScale)
	if d := float64(sorted[len(sorted)-1].PTS-sorted[0].PTS) / scale; d < 0.9 || d > 2 {
		t.Errorf("%.3f s of media", d)
	}
	if params >= 0 && len(last.Params) != params {
		t.Errorf("%d parameter sets, want %d", len(last.Params), params)
	}
	if last.Kind() == fragments.KindVideo {
		if last.Width != 320 || last.Height != 240 {
			t.Errorf("%dx%d", last.Width, last.Height)
		}
		return
	}
	if last.SampleRate < 8000 || last.Channels < 1 {
		t.Errorf("sample rate %d, %d channels", last.SampleRate, last.Channels)
	}
	for i := 1; i < len(units); i++ {
		if d := units[i].PTS - units[i-1].PTS - units[i-1].Duration; d > int64(last.TimeScale)/100 || -d > int64(last.TimeScale)/100 {
			t.Fatalf("unit %d: %d ticks between the end of the one before and this", i, d)
		}
	}
}

// checkCapture asserts that units were captured about when they arrived, and
// evenly.
func checkCapture(t *testing.T, units []*fragments.AccessUnit, begun time.Time, tolerance time.Duration, reports bool) {
	t.Helper()
	reported := false
	for i, au := range units {
		at := au.Capture.Time()
		if at.Before(begun.Add(-tolerance)) || at.Sub(au.Arrival.Time()) > tolerance {
			t.Fatalf("unit %d: captured %v after the start, %v before it arrived", i, at.Sub(begun), au.Arrival.Time().Sub(at))
		}
		reported = reported || au.Source == fragments.FromReport
	}
	if reports && !reported {
		t.Error("no sender report was used")
	}
}

package e2e

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// waitLive waits until the live playlist of a stream has n segments.
func waitLive(t *testing.T, s *server, stream string, n int) mediaPlaylist {
	t.Helper()
	var p mediaPlaylist
	eventually(t, 30*time.Second, fmt.Sprintf("%d live segments of %s", n, stream), func() bool {
		if code, _ := s.try("/hls/" + stream + "/live.m3u8"); code != 200 {
			return false
		}
		video, _, _ := variant(t, s.http+"/hls/"+stream+"/live.m3u8")
		p = media(t, video)
		return len(p.segments) >= n
	})
	return p
}

// A camera pushed by ffmpeg plays live in the browser, and ffprobe reads the
// same URL.
func TestPushPlaysLive(t *testing.T) {
	s := serve(t, "")
	testCamera(t, "rtsp://"+s.rtsp+"/front-door", "")
	p := waitLive(t, s, "front-door", 3)
	if !p.independent || p.ended || p.segments[0].date.IsZero() {
		t.Errorf("live playlist:\n%s", p.text)
	}
	_, audio, text := variant(t, s.http+"/hls/front-door/live.m3u8")
	for _, want := range []string{"avc1.", "mp4a.40.2", "RESOLUTION=320x240", "FRAME-RATE=25.000", "BANDWIDTH="} {
		if !strings.Contains(text, want) {
			t.Errorf("multivariant playlist lacks %s:\n%s", want, text)
		}
	}
	if audio == "" {
		t.Error("no audio rendition")
	}
	b := play(t, playOptions{URL: s.http + "/hls/front-door/live.m3u8", Seconds: 6, Unmuted: true})
	if len(b.Errors) > 0 || b.Decoded < 100 || b.CurrentTime < 4 || b.AudioBytes == 0 {
		t.Errorf("browser: %d frames decoded, current time %.1f s, %d bytes of sound, errors %v", b.Decoded, b.CurrentTime, b.AudioBytes, b.Errors)
	}
	out := run(t, 30*time.Second, "ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,sample_rate", "-of", "csv=p=0", s.http+"/hls/front-door/live.m3u8")
	if !strings.Contains(out, "h264,320") || !strings.Contains(out, "aac,48000") {
		t.Errorf("ffprobe: %s", out)
	}
}

// The clock in the picture and PROGRAM-DATE-TIME agree within 200 ms for
// ffmpeg, live and in the past.
func TestClockOfFFmpeg(t *testing.T) {
	s := serve(t, "")
	begin := time.Now()
	clockCamera(t, "rtsp://"+s.rtsp+"/clock", "")
	waitLive(t, s, "clock", 3)
	b := play(t, playOptions{URL: s.http + "/hls/clock/live.m3u8", Seconds: 8})
	checkClock(t, "live", b, 200*time.Millisecond)
	b = play(t, playOptions{URL: s.http + "/hls/clock/index.m3u8" + span(begin, begin.Add(6*time.Second)), Seconds: 5})
	checkClock(t, "past", b, 200*time.Millisecond)
}

// checkClock fails when any frame's program date time is further than limit
// from the time in its picture.
func checkClock(t *testing.T, what string, b playback, limit time.Duration) {
	t.Helper()
	errs := b.clockErrors()
	if len(b.Errors) > 0 || len(errs) < 40 {
		t.Errorf("%s: %d frames with a readable clock of %d, %d decoded, errors %v", what, len(errs), len(b.Frames), b.Decoded, b.Errors)
		return
	}
	slices.Sort(errs)
	worst := max(errs[0].Abs(), errs[len(errs)-1].Abs())
	t.Logf("%s: PROGRAM-DATE-TIME minus picture's clock over %d frames: median %v, from %v to %v", what, len(errs), errs[len(errs)/2], errs[0], errs[len(errs)-1])
	if worst > limit {
		t.Errorf("%s: off by %v, at most %v allowed", what, worst, limit)
	}
}

// A range of the past plays from its start to its end, across a gap.
func TestRangeWithGap(t *testing.T) {
	s := serve(t, "")
	begin := time.Now()
	stop := testCamera(t, "rtsp://"+s.rtsp+"/cam", "")
	waitLive(t, s, "cam", 4)
	stop()
	time.Sleep(4 * time.Second)
	stop = testCamera(t, "rtsp://"+s.rtsp+"/cam", "")
	resumed := time.Now()
	eventually(t, 20*time.Second, "fragments after the gap", func() bool {
		if code, _ := s.try("/hls/cam/index.m3u8" + span(resumed, resumed.Add(time.Minute))); code != 200 {
			return false
		}
		video, _, _ := variant(t, s.http+"/hls/cam/index.m3u8"+span(resumed, resumed.Add(time.Minute)))
		return len(media(t, video).segments) >= 3
	})
	stop()
	end := time.Now()
	url := s.http + "/hls/cam/index.m3u8" + span(begin, end)
	var p mediaPlaylist
	eventually(t, 20*time.Second, "the end of the range", func() bool {
		video, _, _ := variant(t, url)
		p = media(t, video)
		return p.ended
	})
	if p.discontinuity != 1 {
		t.Errorf("want one discontinuity and an end:\n%s", p.text)
	}
	total := time.Duration(0)
	for _, seg := range p.segments {
		total += seg.duration
	}
	b := play(t, playOptions{URL: url, Seconds: total.Seconds() + 6})
	if len(b.Errors) > 0 || !b.Ended || math.Abs(b.CurrentTime-total.Seconds()) > 0.5 {
		_, audio, _ := variant(t, url)
		t.Errorf("played to %.2f of %.2f s, ended %v, errors %v, %d stalls\n%s\n%s", b.CurrentTime, total.Seconds(), b.Ended, b.Errors, b.Stalls, p.text, media(t, audio).text)
	}
}

// G.711 is audible in the browser.
func TestG711IsAudible(t *testing.T) {
	s := serve(t, "")
	testCamera(t, "rtsp://"+s.rtsp+"/cam", "-c:a pcm_alaw -ar 8000")
	waitLive(t, s, "cam", 3)
	b := play(t, playOptions{URL: s.http + "/hls/cam/live.m3u8", Seconds: 5, Unmuted: true})
	if len(b.Errors) > 0 || b.AudioBytes == 0 || b.Decoded < 75 {
		t.Errorf("%d bytes of sound, %d frames, errors %v", b.AudioBytes, b.Decoded, b.Errors)
	}
	if !strings.Contains(strings.ToLower(fmt.Sprint(b.Levels)), "flac") {
		t.Errorf("codecs: %+v", b.Levels)
	}
}

// B-frames, which ffmpeg's default encoder makes, play live without a hole, and
// on across a gap.
func TestBFramesPlay(t *testing.T) {
	s := serve(t, "")
	begin := time.Now()
	const options = "-tune film -bf 2 -x264-params scenecut=0"
	stop := testCamera(t, "rtsp://"+s.rtsp+"/cam", options)
	waitLive(t, s, "cam", 4)
	b := play(t, playOptions{URL: s.http + "/hls/cam/live.m3u8", Seconds: 5})
	if len(b.Errors) > 0 || b.Decoded < 80 {
		t.Errorf("live: %d frames, errors %v", b.Decoded, b.Errors)
	}
	t.Logf("live: holes %v", b.Holes)
	stop()
	stop = testCamera(t, "rtsp://"+s.rtsp+"/cam", options)
	time.Sleep(5 * time.Second)
	stop()
	end := time.Now()
	b = play(t, playOptions{URL: s.http + "/hls/cam/index.m3u8" + span(begin, end), Seconds: end.Sub(begin).Seconds() + 4})
	t.Logf("range: played to %.1f s with %d stalls, holes %v", b.CurrentTime, b.Stalls, b.Holes)
	if len(b.Errors) > 0 || b.CurrentTime < 10 {
		t.Errorf("range: to %.1f s, errors %v", b.CurrentTime, b.Errors)
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// peerResult is what peer.py reports.
type peerResult struct {
	Error, State   string
	Sent, Frames   int
	Sound          int // buffers
	Size           string
	Clocks         []int64 // ms from the time in the picture to its display
	Deleted        int
	stdout, stderr bytes.Buffer
}

// gstreamer runs peer.py, and returns a function that waits for what it reports.
func gstreamer(t *testing.T, args ...string) func() *peerResult {
	t.Helper()
	r := &peerResult{}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", append([]string{"peer.py"}, args...)...)
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() *peerResult {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("peer.py %s: %v\n%s%s", strings.Join(args, " "), err, &r.stdout, &r.stderr)
		}
		if err := json.Unmarshal(r.stdout.Bytes(), r); err != nil {
			t.Fatalf("%v\n%s", err, &r.stdout)
		}
		slices.Sort(r.Clocks)
		return r
	}
}

// serveOutside starts a server whose WebRTC port is on an address of the machine
// that is not loopback, where libnice has no candidates for UDP.
func serveOutside(t *testing.T) *server {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return serve(t, "", "--insecure", "--webrtc", net.JoinHostPort(n.IP.String(), "0"))
		}
	}
	t.Fatal("this machine has no address but loopback, and GStreamer publishes from no other")
	return nil
}

// GStreamer's webrtcbin, which shares no code with the server, publishes every
// codec and views it; key frames come when they are asked for only. What was sent
// is recorded with the times that are in the pictures.
func TestGStreamerPublishesAndViews(t *testing.T) {
	s := serveOutside(t)
	for _, codec := range []string{"H264", "H265", "VP8", "VP9"} {
		t.Run(codec, func(t *testing.T) {
			begin := time.Now()
			published := gstreamer(t, "publish", s.http+"/whip/"+codec, codec, "12")
			eventually(t, 15*time.Second, "live", func() bool {
				return strings.Contains(string(s.get("/api/streams")), `"`+codec+`"`) && time.Since(begin) > 4*time.Second
			})
			v := gstreamer(t, "view", s.http+"/whep/"+codec, "5")()
			if v.Error != "" || v.Frames < 40 || v.Sound < 100 || v.Size != "640x360" || v.Deleted != 200 {
				t.Errorf("viewer: %+v", v)
			}
			if len(v.Clocks) > 0 {
				t.Logf("%d frames, glass to glass p50 %d ms, worst %d ms", v.Frames, v.Clocks[len(v.Clocks)/2], v.Clocks[len(v.Clocks)-1])
			}
			if p := published(); p.Error != "" || p.Sent < 100 || p.Deleted != 200 {
				t.Errorf("publisher: %+v", p)
			}
			checkGStreamerRecording(t, s, codec, begin)
		})
	}
}

// checkGStreamerRecording looks at the fragments' lengths and at the clock in
// their first pictures.
func checkGStreamerRecording(t *testing.T, s *server, codec string, begin time.Time) {
	t.Helper()
	if codec == "VP8" { // is in no playlist
		out := run(t, 20*time.Second, "ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "csv=p=0",
			s.http+"/clip/"+codec+".mp4"+span(begin, time.Now()))
		if name, n, _ := strings.Cut(strings.TrimSpace(out), ","); name != "vp8" || len(n) < 3 {
			t.Errorf("clip: %s", out)
		}
		return
	}
	var p mediaPlaylist
	eventually(t, 10*time.Second, "the recording ends", func() bool {
		video, _, _ := variant(t, s.http+"/hls/"+codec+"/index.m3u8"+span(begin, time.Now()))
		p = media(t, video)
		return p.ended
	})
	if len(p.segments) < 3 || p.discontinuity > 1 {
		t.Fatalf("playlist:\n%s", p.text)
	}
	var off []time.Duration
	for _, seg := range p.segments {
		if seg.duration > 6*time.Second {
			t.Errorf("a fragment of %v: no key frame came that was asked for", seg.duration)
		}
		off = append(off, seg.date.Sub(clockAt(t, s, codec, seg.date)))
	}
	slices.SortFunc(off, func(a, b time.Duration) int { return int(a.Abs() - b.Abs()) })
	t.Logf("PROGRAM-DATE-TIME minus picture's clock of %d fragments: from %v to %v", len(off), off[0], off[len(off)-1])
	// VP9's encoder lags by seconds where processors are few; what comes first then
	// is dated by its arrival.
	if limit := map[string]time.Duration{"VP9": 2 * time.Second}[codec]; off[len(off)/2].Abs() > max(limit, 500*time.Millisecond) {
		t.Errorf("off by %v", off)
	}
}

// clockAt returns the time that is in the recorded picture of at.
func clockAt(t *testing.T, s *server, stream string, at time.Time) time.Time {
	t.Helper()
	png := s.http + "/image/" + stream + ".png?exact=frame&time=" + strconv.FormatInt(at.Add(time.Millisecond).UnixMilli(), 10)
	grey := run(t, 20*time.Second, "ffmpeg", "-v", "error", "-i", png, "-f", "rawvideo", "-pix_fmt", "gray", "-")
	if len(grey) != clockWidth*clockHeight {
		t.Fatalf("%s: %d bytes", png, len(grey))
	}
	ms := int64(0)
	for b := range clockBits {
		x := b*clockBlock + clockBlock/2
		high, low := grey[clockBlock/2*clockWidth+x], grey[3*clockBlock/2*clockWidth+x]
		if (high > 128) == (low > 128) {
			t.Fatalf("%s: the clock cannot be read", png)
		}
		ms <<= 1
		if high > 128 {
			ms |= 1
		}
	}
	return time.UnixMilli(at.UnixMilli()&^(1<<clockBits-1) | ms)
}

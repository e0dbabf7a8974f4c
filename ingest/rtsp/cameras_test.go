package rtsp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

func newTestCameras(t *testing.T, rec *recorder) *Cameras {
	c := NewCameras(CamerasOptions{
		Publish: rec.Publish, Hub: rec.hub, Logger: logTo(t),
		Stall: 400 * time.Millisecond, Connect: time.Second, IdleStop: 300 * time.Millisecond,
		MinBackoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond,
	})
	t.Cleanup(c.Close)
	return c
}

func (c *Cameras) status(name fragments.StreamName) CameraStatus {
	for _, s := range c.List() {
		if s.Name == name {
			return s
		}
	}
	return CameraStatus{}
}

// Each way in which a camera misbehaves hurts only itself: a good camera
// beside it loses nothing, and the bad one is live again once it behaves.
func TestMisbehavingCameras(t *testing.T) {
	for _, tc := range []struct {
		name      string
		script    cameraScript
		transport Transport
		user      string
		err       string // of the failed attempts; "" when there are frames at once
		sessions  int    // that it has before it behaves
	}{
		{"well-behaved", cameraScript{}, "", "", "", 1},
		{"over UDP", cameraScript{}, UDP, "", "", 1},
		{"basic", cameraScript{auth: "basic"}, "", "u:p@", "", 1},
		{"digest", cameraScript{auth: "digest"}, "", "u:p@", "", 1},
		{"wrong password", cameraScript{auth: "digest"}, "", "u:x@", "refuses user and password", 0},
		{"no password", cameraScript{auth: "basic"}, "", "", "refuses user and password", 0},
		{"refuses connections", cameraScript{refuse: true}, "", "", "EOF|reset|closed", 0},
		{"knows no TCP", cameraScript{noTCP: true}, Auto, "", "", 1},
		{"UDP unanswered", cameraScript{noUDPPackets: true}, UDP, "", "", 1},
		{"garbage for an answer", cameraScript{raw: "HTTP/1.1 200 OK\r\n\r\n<html>"}, "", "", "describe|too long", 0},
		{"endless header", cameraScript{raw: strings.Repeat("A", 1<<20)}, "", "", "describe|too long", 0},
		{"garbage RTP", cameraScript{garbage: true}, "", "", "", 1},
		{"stops in the middle of a packet", cameraScript{cutAfter: 20}, "", "", "EOF|reset", 2},
		{"silent socket", cameraScript{silentAfter: 20}, "", "", "no frame", 2},
		{"never sends", cameraScript{silentAfter: -1}, "", "", "", 1},
		{"reboots", cameraScript{rebootAfter: 20}, "", "", "", 2},
		{"changes its parameters", cameraScript{changeAfter: 20}, "", "", "", 1},
		{"describes no tracks", cameraScript{sdp: "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"}, "", "", "describe", 0},
		{"unknown codec", cameraScript{sdp: strings.ReplaceAll(goodSDP, "H264", "X-VENDOR")}, "", "", "no track of a known codec", 0},
		{"huge description", cameraScript{sdp: goodSDP + strings.Repeat("a=x\r\n", 1<<17)}, "", "", "describe", 0},
		{"not a description", cameraScript{sdp: "\x00\x01\x02"}, "", "", "describe", 0},
		{"redirects in a circle", cameraScript{redirect: "self"}, "", "", "circle|30", 0},
		{"slow answer", cameraScript{describeWait: 1500 * time.Millisecond}, "", "", "too long", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			cameras := newTestCameras(t, rec)
			good := newFakeCamera(t, cameraScript{})
			if err := cameras.Set(Camera{Name: "good", URL: "rtsp://" + good.addr + "/"}); err != nil {
				t.Fatal(err)
			}
			bad := newFakeCamera(t, cameraScript{refuse: true})
			if tc.script.redirect == "self" {
				tc.script.redirect = "rtsp://" + bad.addr + "/x"
			}
			if tc.script.silentAfter < 0 {
				tc.script.silentAfter, tc.err, tc.sessions = 1, "no frame", 0
			}
			bad.set(tc.script)
			url := "rtsp://" + tc.user + bad.addr + "/stream"
			if err := cameras.Set(Camera{Name: "bad", URL: url, Transport: tc.transport}); err != nil {
				t.Fatal(err)
			}
			if tc.err != "" {
				waitFor(t, "the error "+tc.err, func() bool { return matches(cameras.status("bad").Err, tc.err) })
			}
			waitFor(t, "its sessions", func() bool { return rec.count("bad") >= tc.sessions })
			if tc.err == "" {
				waitFor(t, "frames", func() bool { return rec.frames("bad") >= 30 })
			}
			bad.set(cameraScript{})
			if tc.err != "" && tc.user != "u:x@" && tc.script.auth == "" {
				before := rec.frames("bad")
				waitFor(t, "life after it", func() bool { return rec.frames("bad") >= before+20 && cameras.status("bad").State == StateLive })
			}
			if tc.script.changeAfter > 0 {
				waitFor(t, "the new parameters", func() bool { return rec.width("bad") == 1920 })
			}
			if tc.script.rebootAfter > 0 && !rec.ascending("bad") {
				t.Error("capture times go back over the reboot")
			}
			waitFor(t, "the good camera", func() bool { return rec.frames("good") >= 10 })
			if n := rec.count("good"); n != 1 {
				t.Errorf("the good camera had %d sessions", n)
			}
			if !rec.ascending("good") {
				t.Error("the good camera's units are out of order")
			}
			if strings.Contains(fmt.Sprint(cameras.status("bad").Err), "u:x") {
				t.Error("the error shows the password")
			}
		})
	}
}

func TestCameraOnDemand(t *testing.T) {
	rec := newRecorder()
	cameras := newTestCameras(t, rec)
	cam := newFakeCamera(t, cameraScript{})
	if err := cameras.Set(Camera{Name: "a", URL: "rtsp://" + cam.addr + "/", OnDemand: true}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if s := cameras.status("a"); s.State != StateIdle || rec.count("a") != 0 {
		t.Fatalf("connected without demand: %+v", s)
	}
	for i := range 2 {
		if err := cameras.Wake(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := rec.hub.Live("a"); err != nil {
			t.Errorf("wake returned and %v", err)
		}
		waitFor(t, "the end for want of viewers", func() bool { return cameras.status("a").State == StateIdle })
		if n := rec.count("a"); n != i+1 {
			t.Errorf("%d sessions", n)
		}
	}
	cam.set(cameraScript{refuse: true})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := cameras.Wake(ctx, "a"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wake of a dead camera: %v", err)
	}
	if err := cameras.Wake(t.Context(), "unknown"); err != nil {
		t.Errorf("wake of another stream: %v", err)
	}
}

// A publisher that takes the stream over keeps it until it goes.
func TestCameraYields(t *testing.T) {
	rec := newRecorder()
	cameras := newTestCameras(t, rec)
	cam := newFakeCamera(t, cameraScript{})
	if err := cameras.Set(Camera{Name: "a", URL: "rtsp://" + cam.addr + "/"}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the camera", func() bool { return cameras.status("a").State == StateLive })
	other, err := rec.Publish("a", nil, sourceOfTest, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the camera to step back", func() bool { return cameras.status("a").State == StateWaiting })
	time.Sleep(300 * time.Millisecond)
	if n := rec.count("a"); n != 2 {
		t.Fatalf("%d sessions while somebody else publishes", n)
	}
	other.Close(nil)
	waitFor(t, "the camera to come back", func() bool { return cameras.status("a").State == StateLive })
}

func TestCamerasSetReplaceDelete(t *testing.T) {
	rec := newRecorder()
	cameras := newTestCameras(t, rec)
	one, two := newFakeCamera(t, cameraScript{}), newFakeCamera(t, cameraScript{})
	for _, cam := range []*fakeCamera{one, one, two} {
		if err := cameras.Set(Camera{Name: "a", URL: "rtsp://" + cam.addr + "/"}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the camera", func() bool { return cameras.status("a").State == StateLive })
	}
	if n := rec.count("a"); n != 2 {
		t.Errorf("%d sessions, want 2: setting the same again is nothing", n)
	}
	if !cameras.Delete("a") || cameras.Delete("a") || len(cameras.List()) != 0 {
		t.Error("delete")
	}
	if _, err := rec.hub.Live("a"); err == nil {
		t.Error("still live after delete")
	}
	for _, bad := range []Camera{
		{Name: "a/b", URL: "rtsp://h/"},
		{Name: "a", URL: "http://h/"},
		{Name: "a", URL: "rtsp://u:secret@:554/"},
		{Name: "a", URL: "rtsp://u:secret@h:x:y/%zz"},
		{Name: "a", URL: "rtsp://h/", Transport: "carrier pigeon"},
	} {
		if err := cameras.Set(bad); !errors.Is(err, ErrCamera) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	const s = time.Second
	for _, tc := range []struct {
		failures    int
		least, most time.Duration
	}{
		{1, 1 * s, 1250 * time.Millisecond},
		{2, 2 * s, 2500 * time.Millisecond},
		{3, 4 * s, 5 * s},
		{6, 32 * s, 40 * s},
		{7, 45 * s, 60 * s},
		{100, 45 * s, 60 * s},
	} {
		for _, r := range []float64{0, 0.5, 0.999} {
			if d := backoff(tc.failures, s, 60*s, r); d < tc.least || d > tc.most {
				t.Errorf("after %d failures: %v, want %v to %v", tc.failures, d, tc.least, tc.most)
			}
		}
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited too long for %s", what)
}

func matches(err error, any string) bool {
	if err == nil {
		return false
	}
	for _, s := range strings.Split(any, "|") {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

// count returns how many sessions a stream has had.
func (r *recorder) count(name fragments.StreamName) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.sessions {
		if s.name == name {
			n++
		}
	}
	return n
}

func (r *recorder) units(name fragments.StreamName) []*fragments.AccessUnit {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*fragments.AccessUnit
	for _, s := range r.sessions {
		if s.name == name {
			out = append(out, s.units...)
		}
	}
	return out
}

func (r *recorder) frames(name fragments.StreamName) int { return len(r.units(name)) }

func (r *recorder) width(name fragments.StreamName) int {
	u := r.units(name)
	if len(u) == 0 {
		return 0
	}
	return u[len(u)-1].Track.Width
}

func (r *recorder) ascending(name fragments.StreamName) bool {
	u := r.units(name)
	for i := 1; i < len(u); i++ {
		if u[i].Capture < u[i-1].Capture-fragments.ProducerTimestamp(20*time.Millisecond) {
			return false
		}
	}
	return true
}

var sourceOfTest = ingest.Source{Protocol: "test"}

package e2e

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The newest picture of a camera on demand wakes it, as a player does, and is of
// now; of one that cannot be reached the answer says why.
func TestPictureWakesCamera(t *testing.T) {
	source := serve(t, "")
	testCamera(t, "rtsp://"+source.rtsp+"/front", "")
	waitLive(t, source, "front", 1)
	s := serve(t, fmt.Sprintf("cameras:\n  front: {url: 'rtsp://%s/front', transport: tcp, on_demand: true}\n"+
		"  gone: {url: 'rtsp://127.0.0.1:1/gone', transport: tcp, on_demand: true}\n", source.rtsp))
	r, err := http.Get(s.http + "/image/front.jpg")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %v\n%s", r.Status, err, &body)
	}
	if c, err := jpeg.DecodeConfig(&body); err != nil || c.Width != 320 || c.Height != 240 {
		t.Errorf("%+v, %v", c, err)
	}
	if at, err := time.Parse(time.RFC3339Nano, r.Header.Get("Kineweir-Time")); err != nil || time.Since(at) > 5*time.Second {
		t.Errorf("picture of %v: %v", at, err)
	}
	if code, body := s.try("/image/gone.jpg"); code != http.StatusServiceUnavailable || !strings.Contains(string(body), "refused") {
		t.Errorf("a camera that is not there: %d %s", code, body)
	}
}

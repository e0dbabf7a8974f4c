package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// With a credentials file nobody gets in without rights, by RTSP or by HTTP,
// and a player that repeats no headers gets on by the token in the URLs.
func TestRights(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.yaml")
	credentials := `users:
  camera:
    password: camera-secret
    publish: [front-*]
  family:
    password: family-secret
    view: [front-door]
`
	if err := os.WriteFile(file, []byte(credentials), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "auth:\n  file: "+file+"\n")
	push := func(user, stream string) bool {
		out, err := exec.CommandContext(t.Context(), "ffmpeg", strings.Fields("-hide_banner -nostdin -loglevel error -f lavfi -i testsrc2=size=160x120:rate=25 -t 1 "+
			"-c:v libx264 -preset ultrafast -pix_fmt yuv420p -f rtsp -rtsp_transport tcp rtsp://"+user+s.rtsp+"/"+stream)...).CombinedOutput()
		t.Logf("push %s as %q: %v %s", stream, user, err, out)
		return err == nil
	}
	for _, tc := range []struct {
		user, stream string
		ok           bool
	}{
		{"", "front-door", false},
		{"camera:wrong-secret@", "front-door", false},
		{"family:family-secret@", "front-door", false},
		{"camera:camera-secret@", "back-door", false},
		{"camera:camera-secret@", "front-door", true},
	} {
		if got := push(tc.user, tc.stream); got != tc.ok {
			t.Errorf("publish %s as %q: accepted %v", tc.stream, tc.user, got)
		}
	}
	testCamera(t, "rtsp://camera:camera-secret@"+s.rtsp+"/front-door", "")
	testCamera(t, "rtsp://camera:camera-secret@"+s.rtsp+"/front-garden", "")
	playlist := "/hls/front-door/live.m3u8"
	basic := func(user, password string) []string {
		r, _ := http.NewRequest("GET", s.http, nil)
		r.SetBasicAuth(user, password)
		return []string{"Authorization", r.Header.Get("Authorization")}
	}
	var text string
	eventually(t, 20*time.Second, "the playlist for who may view", func() bool {
		var code int
		code, text, _ = s.request("GET", playlist, "", basic("family", "family-secret")...)
		return code == http.StatusOK
	})
	for _, tc := range []struct {
		name   string
		path   string
		header []string
		want   int
	}{
		{"nobody", playlist, nil, 401},
		{"wrong password", playlist, basic("family", "wrong"), 401},
		{"no right to view", playlist, basic("camera", "camera-secret"), 403},
		{"another stream", "/hls/front-garden/live.m3u8", basic("family", "family-secret"), 403},
		{"forged token", playlist + "?token=AAAA", nil, 401},
		{"no right to the API", "/api/cameras", basic("family", "family-secret"), 403},
		{"clip by nobody", "/clip/front-door.mp4?start=1790000000000&end=1790000010000", nil, 401},
	} {
		if code, body, _ := s.request("GET", tc.path, "", tc.header...); code != tc.want {
			t.Errorf("%s: %d, want %d: %s", tc.name, code, tc.want, body)
		}
	}
	var media string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			media = resolve(t, s.http+playlist, line)
		}
	}
	if !strings.Contains(media, "token=") {
		t.Fatalf("no token in the URLs:\n%s", text)
	}
	if code, body := fetch(t, media); code != http.StatusOK {
		t.Errorf("media playlist with its token: %d %s", code, body)
	}
	if code, _ := fetch(t, strings.Replace(media, "/front-door/", "/front-garden/", 1)); code == http.StatusOK {
		t.Error("the token opens another stream")
	}
	if out := probe(t, media, "stream=codec_name"); !strings.Contains(out, "h264") {
		t.Errorf("ffprobe with the token: %s", out)
	}
}

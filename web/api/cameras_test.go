package api

import (
	"strings"
	"testing"

	"github.com/kineweir/kineweir/fragments"
)

func TestCameras(t *testing.T) {
	f := newFixture(t, nil)
	status, body := f.do("root", "PUT", "/api/cameras/yard", `{"url":"rtsp://bob:hush@192.0.2.9:554/s1","transport":"tcp","on_demand":true}`)
	if status != 201 || strings.Contains(body, "hush") || !strings.Contains(body, `"url":"rtsp://bob:***@192.0.2.9:554/s1","transport":"tcp","on_demand":true`) {
		t.Errorf("new: %d %s", status, body)
	}
	if c := f.cameras.list[0]; c.URL != "rtsp://bob:hush@192.0.2.9:554/s1" || c.Transport != "tcp" || !c.OnDemand {
		t.Errorf("set: %+v", c)
	}
	// What was read can be changed and put back without the password.
	status, body = f.do("root", "PUT", "/api/cameras/yard", `{"url":"rtsp://bob:***@192.0.2.9:554/s2"}`)
	if status != 200 || f.cameras.list[0].URL != "rtsp://bob:hush@192.0.2.9:554/s2" || f.cameras.list[0].Transport != "auto" {
		t.Errorf("put back: %d %s %+v", status, body, f.cameras.list[0])
	}
	for _, path := range []string{"/api/cameras", "/api/cameras/yard"} {
		if status, body := f.do("root", "GET", path, ""); status != 200 || strings.Contains(body, "hush") || !strings.Contains(body, "bob:***@") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for err, want := range map[error]string{ErrFixedCamera: "fixed_camera"} {
		f.cameras.err = err
		if status, body := f.do("root", "PUT", "/api/cameras/yard", `{"url":"rtsp://h/x"}`); status != 409 || !strings.Contains(body, want) {
			t.Errorf("%v: %d %s", err, status, body)
		}
	}
}

func TestCameraURLs(t *testing.T) {
	const old = "rtsp://bob:p%40ss@cam:554/live?stream=1&pwd=hush"
	for _, c := range []struct{ in, old, want, says string }{
		{"rtsp://cam/x", "", "rtsp://cam/x", ""},
		{"rtsps://u:p@cam:322/x?a=b", "", "rtsps://u:p@cam:322/x?a=b", ""},
		{"rtsp://[fe80::1%25eth0]/x", "", "rtsp://[fe80::1%25eth0]/x", ""},
		{"rtsp://bob:***@cam:554/live?stream=1&pwd=***", old, old, ""},
		{"rtsp://bob:***@cam:554/other", old, "rtsp://bob:p%40ss@cam:554/other", ""},
		{"rtsp://bob:***@evil:554/live", old, "", "give the password again"},
		{"rtsp://eve:***@cam:554/live", old, "", "give the password again"},
		{"rtsp://bob:***@cam:554/live", "", "", "give the password again"},
		{"rtsp://evil:554/live?stream=1&pwd=***", old, "", "give it again"},
		{"rtsp://bob:new@cam:554/live?stream=2&pwd=***", old, "", "give it again"},
		{"", "", "", "missing"},
		{"cam:554/x", "", "", "must begin with rtsp://"},
		{"cam/x", "", "", "must begin with rtsp://"},
		{"http://cam/x", "", "", "must begin with rtsp://"},
		{"file:///etc/passwd", "", "", "must begin with rtsp://"},
		{"rtsp:///x", "", "", "no host"},
		{"rtsp://u:p:q#r@cam/x", "", "", "%23"},
	} {
		got, err := cameraURL(c.in, c.old)
		if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s after %s: %q %v, want %q %q", c.in, c.old, got, err, c.want, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error shows a password", c.in)
		}
	}
}

func TestPasswordsAreMasked(t *testing.T) {
	for in, want := range map[string]string{
		"rtsp://bob:hush@cam/x":                  "rtsp://bob:***@cam/x",
		"rtsp://bob@cam/x":                       "rtsp://bob@cam/x",
		"rtsp://:hush@cam/x":                     "rtsp://:***@cam/x",
		"rtsp://cam/x?user=bob&password=hush":    "rtsp://cam/x?user=bob&password=***",
		"rtsp://cam/x?Pwd=hush&channel=1":        "rtsp://cam/x?Pwd=***&channel=1",
		"rtsp://cam/x?stream=hd":                 "rtsp://cam/x?stream=hd",
		"rtsp://cam/%zzhush":                     "***",
		"rtsp://b%40b:hush%3A@cam:554/a?b=c#hus": "rtsp://b%40b:***@cam:554/a?b=c#hus",
	} {
		if got := maskURL(in); got != want {
			t.Errorf("%s shown as %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"dial rtsp://bob:hush@cam/x: refused":                        "dial rtsp://bob:***@cam/x: refused",
		"dial rtsp://bob:hu/sh@cam/x: refused":                       "dial rtsp://bob:***@cam/x: refused",
		`parse "rtsp://bob:hu:sh@cam/x": no; rtsps://eve:y@h failed`: `parse "rtsp://bob:***@cam/x": no; rtsps://eve:***@h failed`,
		"no answer from rtsp://cam:554/x (a@b)":                      "no answer from rtsp://cam:554/x (a@b)",
	} {
		if got := maskText(in); got != want {
			t.Errorf("%s shown as %s, want %s", in, got, want)
		}
	}
}

func TestCameraRefused(t *testing.T) {
	f := newFixture(t, nil)
	for _, c := range []struct{ name, body, says string }{
		{"yard", `{"url":"rtsp://h/x","transport":"pigeon"}`, "auto, tcp or udp"},
		{"yard", `{"url":"http://h/x"}`, "rtsp://"},
		{"yard", `{"uri":"rtsp://h/x"}`, `unknown field \"uri\"`},
		{"yard", ``, "empty"},
		{"a%2Fb", `{"url":"rtsp://h/x"}`, "no slash"},
		{strings.Repeat("x", fragments.MaxStreamName+1), `{"url":"rtsp://h/x"}`, "at most 256"},
	} {
		if status, body := f.do("root", "PUT", "/api/cameras/"+c.name, c.body); status != 400 || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: %d %s, want %q", c.name, c.body, status, body, c.says)
		}
	}
	if len(f.cameras.list) != 0 {
		t.Errorf("set nevertheless: %v", f.cameras.list)
	}
}

//go:build pictures

package console

import (
	"flag"
	"path/filepath"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/detect"
	"github.com/kineweir/kineweir/web/api"
)

var h265 = &fragments.Track{ID: 1, Codec: fragments.H265, TimeScale: 90000, Width: 3840, Height: 2160}

// shots is where pictures of the console are put for people to look at.
var shots = flag.String("shots", "", "folder for pictures of the console")

func (p *page) picture(name string) {
	p.t.Helper()
	p.shot(filepath.Join(*shots, name+".png"))
}

// TestPictures draws every state of the console, for people to look at:
//
//	go test -tags pictures -run TestPictures ./web/console -shots FOLDER
func TestPictures(t *testing.T) {
	if *shots == "" {
		t.Fatal("name a folder for the pictures with -shots")
	}
	a, b, c := makeMedia(t, "testsrc2", "1280x720"), makeMedia(t, "mandelbrot", "1280x720"), makeMedia(t, "smptehdbars", "960x540")
	h := startHouse(t, "", map[fragments.StreamName]*fakeStream{
		"front-door":        {spans: []between{ago(75*hour, 52*hour), ago(51*hour, 7*hour), ago(6*hour, 100*min1), ago(95*min1, 34*min1), ago(29*min1, 0)}, live: true, video: h264, audio: aac, media: b},
		"garage":            {spans: []between{ago(20*hour, 0)}, live: true, video: h264, media: a},
		"garden-north-east": {spans: []between{ago(200*hour, 3*hour)}, video: h264, audio: aac, media: c, err: "read tcp 192.168.1.67:554: connection reset by peer"},
		"loading-dock":      {spans: []between{ago(3*hour, 0)}, live: true, video: h265, media: a},
		"old-webcam":        {spans: []between{ago(1*hour, 0)}, live: true, video: vp8, media: a},
	}, withWebRTC(t, nil), makesStills)
	h.film(t, "front-door", b, aac)
	h.cameras = []api.Camera{
		{Name: "parking", URL: "rtsp://admin:secret1@192.168.1.70/s1", State: "error", Error: "dial tcp 192.168.1.70:554: connect: no route to host"},
		{Name: "roof", URL: "rtsp://admin:secret1@192.168.1.71/s1", State: "idle", OnDemand: true},
		{Name: "gate", URL: "rtsp://admin:secret1@192.168.1.72/s1", State: "connecting"},
	}
	for i := range 120 {
		kind := []string{"person", "car", "person", "dog", "package left at the door"}[i*i%5]
		d := events.Detection{Camera: "front-door", Time: time.Now().Add(-time.Duration(i*i+2) * 17 * time.Second), Label: kind, Score: 0.99 - float64(i%7)*0.11, Source: "yolo11@edge-3"}
		if i%2 == 0 {
			d.Box = &events.Box{0.1 + float64(i%5)*0.1, 0.3, 0.2, 0.5}
		}
		if i%3 == 0 {
			d.End = d.Time.Add(time.Duration(i+4) * time.Second)
		}
		h.see(d)
	}
	br := startBrowser(t)
	p := br.open(t, h.base)
	p.wait("pictures on the cards", "document.querySelectorAll('.has-picture').length >= 3")
	time.Sleep(1500 * time.Millisecond)
	p.picture("home-dark")
	p.eval(nil, "toggleTheme()")
	time.Sleep(300 * time.Millisecond)
	p.picture("home-light")
	p.eval(nil, "document.querySelector('.page-actions .icon-button').click()")
	time.Sleep(300 * time.Millisecond)
	p.picture("home-list-light")
	p.eval(nil, "document.querySelector('.page-actions .icon-button').click()")
	p.eval(nil, "document.querySelector('.page-actions button.button').click()")
	time.Sleep(300 * time.Millisecond)
	p.picture("camera-dialog-light")
	p.key("Escape")
	p.size(390, 844)
	time.Sleep(300 * time.Millisecond)
	p.picture("home-phone-light")
	p.size(1440, 900)
	p.eval(nil, "toggleTheme()")

	p.eval(nil, "location.hash = '#/front-door'")
	p.wait("video", "document.querySelector('video')?.currentTime > 0.5")
	p.wait("facts", "document.querySelectorAll('.fact-list dt').length > 4")
	time.Sleep(1500 * time.Millisecond)
	p.picture("stream-live-dark")
	p.eval(nil, "[...document.querySelectorAll('.bar-head .tab')].find(b => b.textContent === '6 h').click()")
	time.Sleep(600 * time.Millisecond)
	p.click(".timebar", 0.40)
	p.wait("the past", "document.querySelector('.stage').dataset.mode === 'past' && document.querySelector('.stage').dataset.state === 'playing'")
	p.key("i")
	time.Sleep(1200 * time.Millisecond)
	p.click(".timebar", 0.52)
	time.Sleep(2500 * time.Millisecond)
	p.key("o")
	time.Sleep(600 * time.Millisecond)
	p.picture("stream-past-dark")
	p.eval(nil, "toggleTheme()")
	time.Sleep(400 * time.Millisecond)
	p.picture("stream-past-light")
	p.eval(nil, "document.querySelectorAll('.detection')[3].click()")
	time.Sleep(1500 * time.Millisecond)
	p.picture("stream-detection-light")
	p.key("?")
	time.Sleep(300 * time.Millisecond)
	p.picture("keys-light")
	p.key("Escape")
	p.eval(nil, "[...document.querySelectorAll('.bar-head .tab')].find(b => b.textContent === 'Week').click()")
	p.size(390, 844)
	time.Sleep(800 * time.Millisecond)
	p.picture("stream-phone-light")
	p.eval(nil, "toggleTheme(); scrollTo(0, 760)")
	time.Sleep(400 * time.Millisecond)
	p.picture("stream-phone-dark-below")
	p.size(820, 1180)
	p.eval(nil, "scrollTo(0, 0)")
	time.Sleep(400 * time.Millisecond)
	p.picture("stream-tablet-dark")
	p.size(1440, 900)
	p.key("l")
	p.wait("WebRTC", "document.querySelector('.way').textContent.startsWith('WebRTC') && document.querySelector('.way').title.includes('Rate')")
	p.eval(nil, "document.querySelector('.way').click()")
	time.Sleep(1500 * time.Millisecond)
	p.picture("way-dark")
	p.key("Escape")
	p.publishAndSettings(h)
	p.eval(nil, "location.hash = '#/old-webcam'")
	p.wait("message", "document.querySelector('.cover-title')")
	time.Sleep(500 * time.Millisecond)
	p.picture("stream-unplayable-dark")
	p.eval(nil, "location.hash = '#/parking'")
	p.wait("message", "document.querySelector('.cover-title')")
	time.Sleep(3500 * time.Millisecond)
	p.picture("stream-error-dark")
	p.eval(nil, "location.hash = '#/garden-north-east'")
	time.Sleep(2500 * time.Millisecond)
	p.picture("stream-offline-dark")

	empty := startHouse(t, "", nil)
	q := br.open(t, empty.base)
	q.wait("the empty state", "document.querySelector('.empty')")
	q.picture("empty-dark")
	q.theme("light")
	q.size(390, 844)
	time.Sleep(300 * time.Millisecond)
	q.picture("empty-phone-light")

	locked := startHouse(t, "users: {admin: {password: correct-horse, admin: true}}\n", nil)
	r := br.open(t, locked.base)
	r.wait("the form", "document.querySelector('.signin')")
	r.picture("signin-dark")
	for _, x := range []*page{p, q, r} {
		x.mu.Lock()
		for _, trouble := range x.troubles {
			t.Log(trouble)
		}
		x.mu.Unlock()
	}
}

// publishAndSettings draws the pages of these names, wide and narrow, in both
// sets of colours.
func (p *page) publishAndSettings(h *house) {
	p.t.Helper()
	h.mu.Lock()
	h.settings["front-door"] = api.StreamSettings{EventsOnly: true, Before: 5 * time.Second, After: 15 * time.Second, Detect: detect.Settings{
		Motion: &detect.Motion{Sensitivity: 70, Zones: []detect.Zone{
			{Points: []detect.Point{{0.1, 0.3}, {0.55, 0.2}, {0.6, 0.8}, {0.15, 0.9}}}, {Points: []detect.Point{{0.7, 0.1}, {0.95, 0.1}, {0.9, 0.5}}, Ignore: true},
		}},
		External: &detect.External{URL: "http://127.0.0.1:9000/detect"},
	}}
	h.mu.Unlock()
	for _, look := range []struct {
		name          string
		width, height int
	}{{"dark", 1440, 900}, {"light", 1440, 900}, {"phone-light", 390, 844}, {"phone-dark", 390, 844}} {
		if look.name != "dark" && look.name != "phone-light" {
			p.eval(nil, "toggleTheme()")
		}
		p.size(look.width, look.height)
		p.eval(nil, "location.hash = '#/front-door/settings'")
		p.wait("the settings", "document.querySelector('.zones-picture')?.width === 320")
		p.clickAt(".zones", 0.3, 0.5)
		time.Sleep(400 * time.Millisecond)
		p.picture("settings-" + look.name)
		p.eval(nil, "location.hash = '#/+publish?stream=desk'")
		p.wait("a preview", "document.querySelector('.publish-stage video')?.videoWidth > 0")
		p.eval(nil, "document.querySelector('.publish-form').requestSubmit()")
		p.wait("figures", "document.querySelectorAll('.fact-list dd').length > 4 && document.querySelector('.fact-list').innerText.includes('fps')")
		time.Sleep(400 * time.Millisecond)
		p.picture("publish-" + look.name)
	}
	p.eval(nil, "toggleTheme()")
	p.eval(nil, "toggleTheme()")
	p.size(1440, 900)
}

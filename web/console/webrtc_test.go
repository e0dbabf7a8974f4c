package console

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/peer"
	"github.com/kineweir/kineweir/playback/viewer"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/whip"
)

// withWebRTC adds real WHIP and WHEP; change may change the way they work.
func withWebRTC(t *testing.T, change func(*webrtc.SettingEngine, *whip.Options)) furnish {
	return func(h *house) []web.Route {
		h.webRTC = true
		var engine webrtc.SettingEngine
		engine.SetIncludeLoopbackCandidate(true)
		engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
		engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
		o := whip.Options{Log: slog.New(slog.DiscardHandler)}
		if change != nil {
			change(&engine, &o)
		}
		viewers, err := viewer.New(viewer.Options{Hub: h.hub, Engine: engine, Log: o.Log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(viewers.Close)
		publishers, err := peer.New(peer.Options{Publish: h.publish, Engine: engine, Log: o.Log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(publishers.Close)
		o.View = func(ctx context.Context, name fragments.StreamName, offer string, w whip.Who) (whip.Connection, error) {
			c, err := viewers.Open(ctx, name, offer, w.Remote)
			if err != nil {
				return nil, refusal(err)
			}
			return c, nil
		}
		o.Publish = func(ctx context.Context, name fragments.StreamName, offer string, w whip.Who) (whip.Connection, error) {
			if _, err := h.hub.Live(name); err == nil {
				return nil, &web.Error{Status: http.StatusConflict, Code: "busy", Message: "somebody publishes it"}
			}
			c, err := publishers.Open(ctx, name, offer, ingest.Source{Protocol: "whip", Remote: w.Remote})
			if err != nil {
				return nil, refusal(err)
			}
			return c, nil
		}
		handler, err := whip.New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(handler.Close)
		return handler.Routes()
	}
}

func refusal(err error) error {
	var offered *peer.RefusedError
	var wanted *viewer.RefusedError
	switch {
	case errors.As(err, &offered), errors.As(err, &wanted):
		return &web.Error{Status: http.StatusUnprocessableEntity, Code: "offer_refused", Message: err.Error()}
	case errors.Is(err, live.ErrNotLive):
		return &web.Error{Status: http.StatusConflict, Code: "not_live", Message: err.Error(), RetryAfter: 5}
	}
	return err
}

// publish is where what comes by WHIP goes.
func (h *house) publish(name fragments.StreamName, tracks []*fragments.Track, _ ingest.Source, kicked func(error)) (peer.Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kick = kicked
	return &session{h.hub.Publish(name, tracks)}, nil
}

type session struct{ *live.Publisher }

func (s *session) Lost(uint64)         {}
func (s *session) Jitter(int, float64) {}
func (s *session) Close(error)         { s.Publisher.Close() }

// film publishes the H.264 that makeMedia made, over and over, until the test or
// what it returns ends it. others are tracks of which nothing comes.
func (h *house) film(t *testing.T, name fragments.StreamName, media string, others ...*fragments.Track) (stop func()) {
	t.Helper()
	units := readUnits(t, filepath.Join(media, "raw.h264"))
	track := &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Width: 320, Height: 180}
	for _, nal := range units[0] {
		if typ := nal[0] & 31; typ == 7 || typ == 8 {
			track.Params = append(track.Params, nal)
		}
	}
	p := h.hub.Publish(name, append([]*fragments.Track{track}, others...))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			payload, now := units[n%len(units)], time.Now()
			key := false
			for _, nal := range payload {
				key = key || nal[0]&31 == 5
			}
			p.Write(&fragments.AccessUnit{
				Track: track, PTS: int64(n) * 3600, DTS: int64(n) * 3600, Key: key, Payload: payload,
				Capture: fragments.ProducerTimestamp(now.UnixNano()), Arrival: fragments.ServerTimestamp(now.UnixNano()),
			})
			select {
			case <-done:
				p.Close()
				return
			case <-tick.C:
			}
		}
	})
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// readUnits reads access units, each with a delimiter in front, which is left out.
func readUnits(t *testing.T, name string) (units [][][]byte) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for part := range bytes.SplitSeq(data, []byte{0, 0, 1}) {
		part = bytes.TrimRight(part, "\x00")
		switch {
		case len(part) == 0:
		case part[0]&31 == 9:
			units = append(units, nil)
		case part[0]&31 != 6:
			units[len(units)-1] = append(units[len(units)-1], part)
		}
	}
	return units
}

const (
	wayIs = "document.querySelector('.way')?.textContent.startsWith"
	rtcOn = wayIs + "('WebRTC') && document.querySelector('video').srcObject && document.querySelector('video').videoWidth === 320 && document.querySelector('.stage').dataset.state === 'playing'"
)

// playsWebRTC wants the live picture over WebRTC, with what is known of it, and
// that it comes back with its publisher.
func playsWebRTC(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(hour, 0)), withWebRTC(t, nil))
	stop := h.film(t, "cam", media)
	p := br.open(t, h.base+"/#/cam")
	p.wait("WebRTC", rtcOn)
	p.wait("its delay", "/^WebRTC · \\d+ ms$/.test(document.querySelector('.way').textContent)")
	p.wait("figures", "/Path: udp /.test(document.querySelector('.way').title) && /Rate: /.test(document.querySelector('.way').title)")
	p.showsTime("the time of filming", time.Now(), 3)
	var before float64
	p.eval(&before, "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames")
	p.wait("frames", "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > "+ftoa(before+20))
	p.key(" ")
	p.wait("pause", "document.querySelector('.stage').dataset.state === 'paused'")
	p.key(" ")
	p.wait("playing again", rtcOn)

	stop()
	p.wait("the end of it", "document.querySelector('.cover').innerText.includes('Not live')")
	h.film(t, "cam", media)
	p.wait("its return", rtcOn)

	// The past comes by HLS, and live is WebRTC again.
	p.key("ArrowLeft")
	p.wait("the past", mode+" === 'past' && "+playing+" && document.querySelector('.way').hidden && !document.querySelector('video').srcObject")
	p.key("l")
	p.wait("live again", rtcOn)

	// HLS is a choice, too.
	p.eval(nil, "document.querySelector('.way').click()")
	p.wait("the details", "document.querySelector('dialog[open] .way-list')?.innerText.includes('Delay')")
	p.eval(nil, "document.querySelector('dialog .form-actions .button').click()")
	p.wait("HLS by choice", wayIs+"('HLS') && "+playing+" && document.querySelector('.way').title.includes('HLS was chosen')")
	p.clean(h, "status of 409")
}

// playsSound offers the other way where WebRTC leaves the sound out.
func playsSound(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(hour, 0)), withWebRTC(t, nil))
	h.film(t, "cam", media, aac)
	p := br.open(t, h.base+"/#/cam")
	p.wait("WebRTC", rtcOn)
	p.wait("what is left out", "!document.querySelector('.way-sound').hidden && document.querySelector('.way').title.includes('AAC')")
	p.eval(nil, "document.querySelector('.way-sound').click()")
	p.wait("HLS with sound", wayIs+"('HLS') && "+playing+" && !document.querySelector('video').muted && document.querySelector('.way-sound').hidden")
	p.clean(h)
}

// fallsBack wants HLS where WebRTC does not work, and a word about why.
func fallsBack(t *testing.T, br *browser, media string) {
	refuse := func(status int, code, message string) furnish {
		return func(h *house) []web.Route {
			h.webRTC = true
			return []web.Route{{Pattern: "POST /whep/{stream}", Kind: web.Signal, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				web.WriteError(w, &web.Error{Status: status, Code: code, Message: message})
			})}}
		}
	}
	for _, row := range []struct {
		name string
		with []furnish
		why  string
	}{
		{"no WebRTC", nil, "This server has no WebRTC"},
		{"busy", []furnish{refuse(503, "too_many_sessions", "as many WebRTC sessions are open as this server takes")}, "as many WebRTC sessions"},
		{"codec", []furnish{refuse(422, "offer_refused", "no codec is common")}, "no codec is common"},
		{"unreachable", []furnish{withWebRTC(t, func(e *webrtc.SettingEngine, o *whip.Options) {
			// An address that answers nobody (RFC 5737), and no checks from here.
			e.SetRemoteIPFilter(func(net.IP) bool { return false })
			_ = e.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{External: []string{"192.0.2.1"}, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteReplace})
			o.ConnectTimeout = 6 * time.Second
		})}, "What helps: open"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := startHouse(t, "", oneStream(media, ago(hour, 0)), row.with...)
			if row.name == "unreachable" {
				h.film(t, "cam", media)
			}
			p := br.open(t, h.base+"/#/cam")
			p.wait("HLS", wayIs+"('HLS') && "+playing)
			p.wait("why", "document.querySelector('.way').title.includes("+quote(row.why)+")")
			p.wait("its delay", "/^HLS · [\\d.]+ m?s$/.test(document.querySelector('.way').textContent)")
			p.eval(nil, "document.querySelector('.way').click()")
			p.wait("the details", "document.querySelector('dialog[open] .way-list').innerText.includes('Why not WebRTC')")
			p.clean(h, "status of 422", "status of 503")
		})
	}
}

func ftoa(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }

// showsStills wants the pictures of the overview from the server, anew every few
// seconds, and a card that moves while the pointer is on it.
func showsStills(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(hour, 0)), withWebRTC(t, nil), makesStills)
	h.film(t, "cam", media)
	p := br.open(t, h.base)
	p.wait("a picture", "document.querySelector('.has-picture canvas')?.width === 320")
	for end := time.Now().Add(45 * time.Second); len(h.asked("cam")) < 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the picture is not renewed")
		}
	}
	if q := h.asked("cam")[0]; q.Get("width") != "640" || q.Has("time") {
		t.Errorf("asked for %v", q)
	}
	p.mu.Lock()
	for _, url := range p.requests {
		if strings.Contains(url, "/hls/") {
			t.Errorf("the overview plays %s", url)
		}
	}
	p.mu.Unlock()
	p.hover(".card a")
	p.wait("a moving picture", "document.querySelector('.plays video.moving')?.videoWidth === 320")
	p.hover("h1")
	p.wait("the end of it", "!document.querySelector('video')")
	p.clean(h)
}

// publishes sends the camera of the browser, and watches it.
func publishes(t *testing.T, br *browser, _ string) {
	h := startHouse(t, "", map[fragments.StreamName]*fakeStream{"desk": {video: h264}}, withWebRTC(t, nil))
	p := br.open(t, h.base+"/publish")
	p.wait("a preview", "document.querySelector('.publish-stage video')?.videoWidth > 0 || (document.querySelector('.cover .button')?.click(), false)")
	p.wait("the names of devices", "document.querySelector('#publish-camera').innerText.includes('fake')")
	p.eval(nil, "(() => { const s = document.querySelector('#publish-size'); s.value = '240'; s.dispatchEvent(new Event('change')); })()")
	p.wait("a small preview", "document.querySelector('.publish-stage video').videoHeight <= 240 && document.querySelector('.publish-stage video').videoHeight > 0")
	p.typeText("#publish-name", "desk")
	p.eval(nil, "document.querySelector('.publish-form').requestSubmit()")
	p.wait("live", "document.querySelector('.badge').textContent === 'Live' && !document.querySelector('.badge').hidden")
	p.wait("its rate", "/[km]bit\\/s/i.test(document.querySelector('.fact-list').innerText) && /\\d ms/.test(document.querySelector('.fact-list').innerText)")
	p.wait("its picture", "/\\d+ × \\d+/.test(document.querySelector('.fact-list').innerText)")
	if _, err := h.hub.Live("desk"); err != nil {
		t.Fatal(err)
	}
	q := br.open(t, h.base+"/#/desk")
	q.wait("the picture elsewhere", wayIs+"('WebRTC') && document.querySelector('video').videoWidth > 0 && document.querySelector('.stage').dataset.state === 'playing'")

	// The name is taken.
	other := br.open(t, h.base+"/publish?stream=desk")
	other.wait("the form", "document.querySelector('#publish-name')?.value === 'desk'")
	other.eval(nil, "document.querySelector('.publish-form').requestSubmit()")
	other.wait("why not", "document.querySelector('.form-error').textContent === 'Somebody publishes desk already'")

	p.eval(nil, "document.querySelector('.publish-form').requestSubmit()")
	p.wait("the stop", "document.querySelector('.badge').hidden && document.querySelector('.publish-form button.primary').textContent === 'Go live'")
	gone := func(what string) {
		t.Helper()
		for end := time.Now().Add(45 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if _, err := h.hub.Live("desk"); err != nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s leaves the stream live", what)
			}
		}
	}
	gone("stop")
	p.mu.Lock()
	if len(p.deleted) != 1 || !strings.HasPrefix(p.deleted[0], h.base+"/whip/desk/") {
		t.Errorf("deleted %v", p.deleted)
	}
	p.mu.Unlock()

	// Leaving the page stops it, too, and frees the camera.
	p.eval(nil, "document.querySelector('.publish-form').requestSubmit()")
	p.wait("live again", "document.querySelector('.badge').textContent === 'Live' && !document.querySelector('.badge').hidden")
	p.eval(nil, "window.used = document.querySelector('.publish-stage video').srcObject.getTracks(); location.hash = '#/'")
	p.wait("the overview", "document.querySelector('.card') && used.every(t => t.readyState === 'ended')")
	gone("another page")

	// So does closing it; and a publisher that is replaced says so and stays away.
	p.call("Page.navigate", map[string]any{"url": h.base + "/publish?stream=desk"})
	begin := func() {
		t.Helper()
		p.wait("the form", "document.querySelector('#publish-name')?.value === 'desk' && document.querySelector('.publish-stage video').videoWidth > 0")
		p.eval(nil, "document.querySelector('.publish-form').requestSubmit()")
		p.wait("live again", "document.querySelector('.badge').textContent === 'Live' && !document.querySelector('.badge').hidden")
	}
	begin()
	p.call("Page.navigate", map[string]any{"url": "about:blank"})
	gone("a closed page")
	p.call("Page.navigate", map[string]any{"url": h.base + "/publish?stream=desk"})
	kick := func() func(error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		defer func() { h.kick = nil }()
		return h.kick
	}
	kick()
	begin()
	var k func(error)
	for end := time.Now().Add(45 * time.Second); k == nil; k = kick() { // its session opens when media flow
		if time.Now().After(end) {
			t.Fatal("no session was opened")
		}
		time.Sleep(20 * time.Millisecond)
	}
	k(ingest.ErrReplaced)
	p.wait("the other publisher", "document.querySelector('.form-error').textContent === 'Another publisher has taken desk over' && document.querySelector('.badge').hidden")
	p.clean(h)
	other.clean(h, "status of 409")
}

// refusesToPublish words what keeps a browser from publishing.
func refusesToPublish(t *testing.T, br *browser, _ string) {
	for _, row := range []struct{ name, script, why string }{
		{"not secure", "Object.defineProperty(window, 'isSecureContext', {value: false})", "HTTPS"},
		{"denied", "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); }", "was not allowed"},
		{"in use", "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotReadableError'); }", "cannot be used now"},
		{"no camera", "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotFoundError'); }", "There is no camera"},
		{"no server", "", "takes no streams by WebRTC"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := startHouse(t, "", nil)
			p := br.open(t, "about:blank")
			p.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": row.script})
			p.call("Page.navigate", map[string]any{"url": h.base + "/publish?stream=desk"})
			p.wait("the form", "document.querySelector('#publish-name')?.value === 'desk'")
			p.eval(nil, "document.querySelector('.publish-form').requestSubmit()")
			p.wait("why not", "document.querySelector('.form-error').textContent.includes("+quote(row.why)+") && document.querySelector('.publish-form .fine').textContent")
			p.clean(h, "status of 404")
		})
	}
}

package console

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/web/api"
)

// ago is a stretch of recorded time that began and ended so long ago.
func ago(from, to time.Duration) between {
	now := time.Now()
	return between{now.Add(-from), now.Add(-to)}
}

const (
	hour = time.Hour
	min1 = time.Minute
)

// TestBrowser drives the console in a real browser.
func TestBrowser(t *testing.T) {
	media := makeMedia(t, "testsrc2", "320x180")
	br := startBrowser(t)
	for _, c := range []struct {
		name string
		run  func(t *testing.T, br *browser, media string)
	}{
		{"overview", overview},
		{"live", playsLive},
		{"webrtc", playsWebRTC},
		{"sound", playsSound},
		{"fallback", fallsBack},
		{"stills", showsStills},
		{"publish", publishes},
		{"no publishing", refusesToPublish},
		{"thumbnails", showsThumbnails},
		{"settings", setsUp},
		{"past", playsThePast},
		{"gaps", playsOverGaps},
		{"clip", marksAClip},
		{"detections", listsDetections},
		{"messages", saysWhy},
		{"empty", firstSteps},
		{"sign in", signsIn},
		{"narrow", fitsNarrow},
		{"names", hasNames},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, br, media)
		})
	}
}

// clean fails the test when the page complained, was refused something by its
// content policy, or asked anybody but this server.
func (p *page) clean(h *house, expected ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, trouble := range p.troubles {
		if strings.Contains(trouble, "status of 410") && (strings.Contains(trouble, "/whep/") || strings.Contains(trouble, "/whip/")) {
			continue // a candidate crossed with the end of its session
		}
		if strings.Contains(trouble, "/whep/") && !h.webRTC || strings.Contains(trouble, "/image/") && !h.stills {
			continue // the browser notes each answer that is an error
		}
		if !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(trouble, e) }) {
			p.t.Errorf("the page complains: %s", trouble)
		}
	}
	if len(p.requests) == 0 {
		p.t.Error("no request was seen")
	}
	for _, url := range p.requests {
		if !strings.HasPrefix(url, h.base+"/") && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "blob:"+h.base) {
			p.t.Errorf("the page asks elsewhere: %s", url)
		}
	}
}

func oneStream(media string, spans ...between) map[fragments.StreamName]*fakeStream {
	return map[fragments.StreamName]*fakeStream{"cam": {spans: spans, live: true, video: h264, audio: aac, media: media}}
}

const (
	playing = "document.querySelector('video')?.currentTime > 0.3 && document.querySelector('.stage').dataset.state === 'playing'"
	// shown is the clock of the page in seconds since midnight.
	shown = "(() => { const [h, m, s] = document.querySelector('.clock-time').textContent.split(':').map(Number); return h * 3600 + m * 60 + s; })()"
	mode  = "document.querySelector('.stage').dataset.mode"
)

// showsTime waits until the clock of the page shows a moment to within some
// seconds, plus the time that the video may have played on meanwhile.
func (p *page) showsTime(what string, at time.Time, within float64) {
	p.t.Helper()
	want, asked := at.Local(), time.Now().UnixMilli()
	seconds := want.Hour()*3600 + want.Minute()*60 + want.Second()
	p.wait(what+" at "+want.Format("15:04:05"), fmt.Sprintf(
		"!document.querySelector('.clock').hidden && (d => d >= -%[1]g && d <= %[1]g + (Date.now() - %[2]d) / 1000)((%[3]s - %[4]d + 129600) %% 86400 - 43200)",
		within, asked, shown, seconds))
}

// clickTime clicks the time bar at a moment.
func (p *page) clickTime(at time.Time) {
	p.t.Helper()
	var share float64
	p.eval(&share, "(() => { const b = document.querySelector('.timebar'); const lo = Number(b.getAttribute('aria-valuemin')); return lo; })()")
	var span float64
	p.eval(&span, barSpan)
	x := (float64(at.UnixMilli())/1000 - share) / span
	if x < 0 || x > 1 || math.IsNaN(x) {
		p.t.Fatalf("%s is not on the time bar (%v)", at, x)
	}
	p.click(".timebar", x)
}

// barSpan is the length of the time bar in seconds: its right edge is a 60th of
// it after now while it follows.
const barSpan = "(() => { const pressed = document.querySelector('.bar-head .tab[aria-pressed=true]').textContent; return {'1 h': 3600, '6 h': 21600, 'Day': 86400, 'Week': 604800}[pressed]; })()"

func overview(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", map[fragments.StreamName]*fakeStream{
		"front-door": {spans: []between{ago(30*hour+min1, 2*hour), ago(hour, 0)}, live: true, video: h264, audio: aac, media: media},
		"garage":     {spans: []between{ago(5*hour+min1, 3*hour)}, video: h264, media: media, err: "connection reset by peer"},
		"attic":      {spans: []between{ago(hour, 0)}, live: true, video: vp8, media: media},
	})
	h.cameras = []api.Camera{{Name: "gate", URL: "rtsp://x/y", State: "error", Error: "dial rtsp://u:hush@192.0.2.1: refused"}, {Name: "roof", URL: "rtsp://x/y", State: "idle"}}
	p := br.open(t, h.base)
	p.wait("five cards", "document.querySelectorAll('.card').length === 5")
	for name, want := range map[string][]string{
		"front-door": {"Live", "1920 × 1080 · 25 fps · 2.4 Mbit/s", "1 d 6 h since"},
		"garage":     {"Offline", "connection reset by peer", "2 h since"},
		"attic":      {"Live", "VP8 does not play in a browser"},
		"gate":       {"No signal", "***", "nothing recorded"},
		"roof":       {"On demand", "connects when somebody watches"},
	} {
		text := p.text("[...document.querySelectorAll('.card')].find(c => c.querySelector('h2').textContent === " + quote(name) + ").innerText")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("card %s lacks %q: %q", name, w, text)
			}
		}
	}
	if text := p.text("document.body.innerText"); strings.Contains(text, "hush") {
		t.Error("a password is shown")
	}
	p.wait("a live and a past picture", "document.querySelectorAll('.has-picture').length === 2")
	var colours int
	p.eval(&colours, "(() => { const c = document.querySelector('.has-picture canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set(); for (let i = 0; i < d.length; i += 4000) seen.add(d[i] >> 5 << 10 | d[i+1] >> 5 << 5 | d[i+2] >> 5); return seen.size; })()")
	if colours < 5 {
		t.Errorf("the picture has %d colours: it is no picture", colours)
	}
	p.typeText("input[type=search]", "GAR")
	p.wait("the filter", "document.querySelectorAll('.card').length === 1")
	p.key("Escape")
	p.wait("no filter", "document.querySelectorAll('.card').length === 5")
	h.mu.Lock()
	h.cameras = h.cameras[:1]
	h.mu.Unlock()
	p.wait("a card that is gone", "document.querySelectorAll('.card').length === 4")
	p.eval(nil, "document.querySelector('.card:nth-child(2) a').click()")
	p.wait("the stream", "document.querySelector('.stream-view')")
	p.key("Escape")
	p.wait("the overview, where one left it", "document.activeElement?.getAttribute('href') === '#/front-door'")
	p.clean(h, "status of 415")
}

func playsLive(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(2*hour, 0)))
	p := br.open(t, h.base+"/#/cam")
	p.wait("live video", playing)
	p.showsTime("now", time.Now().Add(-6*time.Second), 8)
	if got := p.text("document.querySelector('.badge').textContent"); got != "Live" {
		t.Errorf("badge = %q", got)
	}
	var size int
	if p.eval(&size, "document.querySelector('video').videoWidth"); size != 320 {
		t.Errorf("video is %d wide", size)
	}
	var before float64
	p.eval(&before, "document.querySelector('video').currentTime")
	p.wait("frames", "document.querySelector('video').currentTime > "+strconv.FormatFloat(before+1, 'f', 3, 64))
	p.key(" ")
	p.wait("pause", "document.querySelector('video').paused && document.querySelector('.stage').dataset.state === 'paused'")
	p.key(" ")
	p.wait("playing again", playing)
	p.wait("facts", "document.querySelector('.fact-list')?.innerText.includes('H.264')")
	facts := p.text("document.querySelector('.fact-list').innerText")
	for _, want := range []string{"RTSP push", "192.168.1.64:51230", "H.264 · 1920 × 1080", "AAC · 48 kHz · stereo", "25 fps · 2.4 Mbit/s", "the camera's"} {
		if !strings.Contains(facts, want) {
			t.Errorf("facts lack %q: %s", want, facts)
		}
	}
	for _, want := range []string{"rtsp://127.0.0.1:8554/cam", "rtsps://127.0.0.1:8322/cam", h.base + "/hls/cam/live.m3u8"} {
		if got := p.text("document.querySelector('.addresses').innerText"); !strings.Contains(got, want) {
			t.Errorf("addresses lack %s: %s", want, got)
		}
	}
	p.key("m")
	p.wait("sound", "!document.querySelector('video').muted")
	p.clean(h)
}

func playsThePast(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(3*hour, 0)))
	p := br.open(t, h.base+"/#/cam")
	p.wait("live video", playing)
	half := time.Now().Add(-30 * min1)
	p.clickTime(half)
	p.wait("the past", mode+" === 'past' && "+playing)
	p.showsTime("half an hour ago", half, 12) // a pixel is three seconds
	if got := p.text("document.querySelector('.badge').textContent"); !strings.HasPrefix(got, "−29:") && !strings.HasPrefix(got, "−30:") {
		t.Errorf("badge = %q", got)
	}
	p.key(" ")
	p.wait("pause", "document.querySelector('video').paused")
	seconds := func() (s float64) { p.eval(&s, shown); return s }
	at := seconds()
	p.key("ArrowLeft")
	p.wait("ten seconds back", "Math.abs("+shown+" - "+strconv.FormatFloat(at-10, 'f', 0, 64)+") <= 2")
	p.key("ArrowRight")
	p.wait("and forth", "Math.abs("+shown+" - "+strconv.FormatFloat(at, 'f', 0, 64)+") <= 3")

	// A moment to within a frame, by its address.
	exact := time.Now().Add(-100 * min1).Truncate(time.Second).Add(700 * time.Millisecond)
	p.eval(nil, "location.hash = '#/cam?t="+strconv.FormatInt(exact.UnixMilli(), 10)+"'")
	p.wait("that moment", mode+" === 'past' && "+playing)
	p.showsTime("the moment of the address", exact, 2)
	p.eval(nil, "[...document.querySelectorAll('.bar-head .tab')].find(b => b.textContent === '6 h').click()")
	p.eval(nil, "document.querySelector('.speed').value = '4'; document.querySelector('.speed').dispatchEvent(new Event('change'))")
	p.wait("speed", "document.querySelector('video').playbackRate === 4")
	p.key("l")
	p.wait("live again", mode+" === 'live' && "+playing+" && document.querySelector('.badge').textContent === 'Live' && document.querySelector('video').playbackRate < 1.1")
	p.clean(h)
}

func playsOverGaps(t *testing.T, br *browser, media string) {
	begins, ends := time.Now().Add(-20*min1).Truncate(segment), time.Now().Add(-10*min1).Truncate(segment)
	// Recorded until begins and from ends on; far away there is another end,
	// hours before anything newer.
	h := startHouse(t, "", oneStream(media, ago(9*hour, 8*hour), between{time.Now().Add(-hour), begins}, between{ends, time.Now()}))
	p := br.open(t, h.base+"/#/cam?t="+strconv.FormatInt(begins.Add(-3*time.Second).UnixMilli(), 10))
	p.wait("the end before the gap", mode+" === 'past' && "+playing)
	p.showsTime("after the gap, by playing on", ends.Add(2*time.Second), 4)
	p.eval(nil, "[...document.querySelectorAll('.bar-head .tab')].find(b => b.textContent === '1 h').click()")
	time.Sleep(300 * time.Millisecond)
	p.clickTime(begins.Add(5 * min1))
	p.showsTime("a click into the gap plays what comes after", ends.Add(2*time.Second), 5)
	p.eval(nil, "location.hash = '#/cam?t="+strconv.FormatInt(time.Now().Add(-8*hour-3*time.Second).UnixMilli(), 10)+"'")
	p.showsTime("seven hours later, over playlists with nothing", time.Now().Add(-hour+3*time.Second), 8)
	p.clean(h, "status of 404")
}

func marksAClip(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(3*hour, 0)))
	start := time.Now().Add(-90 * min1).Truncate(time.Second)
	p := br.open(t, h.base+"/#/cam?t="+strconv.FormatInt(start.UnixMilli(), 10))
	p.wait("the past", mode+" === 'past' && "+playing)
	if p.text("String(document.querySelector('.clip-actions a').getAttribute('href'))") != "null" {
		t.Error("a clip can be saved before it is marked")
	}
	p.key("i")
	p.key("ArrowRight")
	p.showsTime("ten seconds on", start.Add(11*time.Second), 3)
	p.key("o")
	p.wait("a clip", "document.querySelector('.clip-actions a').getAttribute('href')")
	href := p.text("document.querySelector('.clip-actions a').getAttribute('href')")
	query, _ := strings.CutPrefix(href, "/clip/cam.mp4?")
	var from, to int64
	for part := range strings.SplitSeq(query, "&") {
		if v, ok := strings.CutPrefix(part, "start="); ok {
			from, _ = strconv.ParseInt(v, 10, 64)
		}
		if v, ok := strings.CutPrefix(part, "end="); ok {
			to, _ = strconv.ParseInt(v, 10, 64)
		}
	}
	if d := from - start.UnixMilli(); d < -100 || d > 4000 || to-from < 7000 || to-from > 15000 {
		t.Errorf("clip %s begins %d ms after %d and lasts %d ms", href, d, start.UnixMilli(), to-from)
	}
	p.key("ArrowLeft")
	p.key("ArrowLeft")
	p.showsTime("before the begin", start.Add(-9*time.Second), 4)
	p.key("o")
	p.wait("an end before the begin begins anew", "document.querySelector('.clip-actions a').getAttribute('aria-disabled') === 'true'")
	p.clean(h)
}

func saysWhy(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", map[fragments.StreamName]*fakeStream{
		"vp8":  {spans: []between{ago(hour, 0)}, live: true, video: vp8, media: media},
		"gone": {spans: []between{ago(5*hour, 4*hour)}, video: h264, media: media},
	})
	h.cameras = []api.Camera{{Name: "dead", URL: "rtsp://x/y", State: "error", Error: "no route to host"}}
	p := br.open(t, h.base+"/#/vp8")
	p.wait("why it cannot play", "document.querySelector('.cover').innerText.includes('VP8 cannot play as fragmented MP4')")
	p.eval(nil, "location.hash = '#/dead'")
	p.wait("what the camera says", "document.querySelector('.cover').innerText.includes('No signal') && document.querySelector('.cover').innerText.includes('no route to host')")
	p.eval(nil, "location.hash = '#/nobody'")
	p.wait("that there is none", "document.querySelector('.cover').innerText.includes('There is no stream of this name')")
	p.eval(nil, "location.hash = '#/gone'")
	p.wait("the last minute of the past", mode+" === 'past' && "+playing)
	p.showsTime("a minute before it ended", time.Now().Add(-4*hour-min1), 8)
	for _, text := range []string{"null", "undefined", "false", "NaN"} {
		if got := p.text("document.querySelector('.stream-view').innerText"); strings.Contains(got, text) {
			t.Errorf("the page says %q: %s", text, got)
		}
	}
	p.clean(h, "status of 404", "status of 415", "status of 503")
}

func firstSteps(t *testing.T, br *browser, _ string) {
	h := startHouse(t, "", nil)
	p := br.open(t, h.base)
	p.wait("first steps", "document.querySelector('.empty')")
	command := p.text("document.querySelector('.command code').textContent")
	for _, want := range []string{"ffmpeg -re", "-f rtsp", "rtsp://127.0.0.1:8554/front-door"} {
		if !strings.Contains(command, want) {
			t.Errorf("command lacks %q: %s", want, command)
		}
	}
	p.typeText("#camera-name", "yard")
	p.typeText("#camera-url", "http://192.0.2.1/x")
	p.eval(nil, "document.querySelector('.camera-form').requestSubmit()")
	p.wait("what is wrong", "document.querySelector('.form-error').textContent.includes('rtsp://')")
	p.eval(nil, "document.querySelector('#camera-url').value = ''")
	p.typeText("#camera-url", "rtsp://bob:hush@192.0.2.1/x")
	p.eval(nil, "document.querySelector('#camera-demand').click(); document.querySelector('.camera-form').requestSubmit()")
	p.wait("the camera", "document.querySelectorAll('.card').length === 1 && !document.querySelector('.empty')")
	if c := h.List(); len(c) != 1 || c[0].Name != "yard" || c[0].URL != "rtsp://bob:hush@192.0.2.1/x" || !c[0].OnDemand {
		t.Errorf("cameras = %+v", c)
	}
	p.eval(nil, "document.querySelector('.card a').click()")
	p.wait("its facts", "document.querySelector('.fact-actions .button')")
	p.eval(nil, "[...document.querySelectorAll('.fact-actions .button')].find(b => b.textContent.includes('Remove')).click()")
	p.wait("the question", "document.querySelector('dialog[open]')")
	p.eval(nil, "document.querySelector('dialog .danger').click()")
	p.wait("nothing left", "!document.querySelector('dialog')")
	if c := h.List(); len(c) != 0 {
		t.Errorf("cameras = %+v", c)
	}
	p.clean(h, "status of 400", "status of 404", "status of 503")
}

func signsIn(t *testing.T, br *browser, media string) {
	h := startHouse(t, "users:\n  family: {password: correct-horse, view: [cam]}\n", oneStream(media, ago(hour, 0)))
	p := br.open(t, h.base+"/#/cam")
	p.wait("the form", "document.querySelector('.signin')")
	p.typeText("#user", "family")
	p.typeText("#key", "wrong horse")
	p.key("Enter")
	p.wait("what is wrong", "document.querySelector('.form-error').textContent.includes('do not belong together')")
	p.eval(nil, "document.querySelector('#key').value = ''")
	p.typeText("#key", "correct-horse")
	p.key("Enter")
	p.wait("live video", playing)
	if got := p.text("document.cookie"); got != "" {
		t.Errorf("the page can read its session: %s", got)
	}
	if got := p.text("JSON.stringify([...Object.entries(localStorage), ...Object.entries(sessionStorage)])"); strings.Contains(got, "horse") {
		t.Errorf("the page keeps the password: %s", got)
	}
	p.eval(nil, "document.querySelector('.top [aria-label=\"Sign out\"]').click()")
	p.wait("the form again", "document.querySelector('.signin')")
	p.clean(h, "status of 401")
}

func fitsNarrow(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(hour, 0)))
	empty := startHouse(t, "", nil)
	for _, c := range []struct{ base, hash, ready string }{
		{h.base, "#/", "document.querySelector('.has-picture')"},
		{h.base, "#/cam", playing + " && document.querySelector('.fact-list dd')"},
		{empty.base, "#/", "document.querySelector('.empty')"},
		{h.base, "#/+publish", "document.querySelector('.publish-form')"},
		{h.base, "#/cam/settings", "document.querySelector('.settings-fields')"},
	} {
		p := br.open(t, c.base+"/"+c.hash)
		for _, width := range []int{320, 390, 768, 1920} {
			p.size(width, 800)
			p.wait("the page", c.ready)
			var over []string
			p.eval(&over, "(() => { const w = document.documentElement.clientWidth; return document.documentElement.scrollWidth <= w ? [] : [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > w + 1).map(e => e.className || e.tagName).slice(0, 6).map(String); })()")
			if len(over) > 0 {
				t.Errorf("%s at %d pixels: wider than the screen: %v", c.hash, width, over)
			}
		}
	}
}

// hasNames asks for what a screen reader reads: everything that can be operated
// has a name.
func hasNames(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(hour, 0)))
	p := br.open(t, h.base+"/#/cam")
	p.wait("the stream", playing)
	for _, view := range []string{"stream", "overview"} {
		var nameless []string
		p.eval(&nameless, `[...document.querySelectorAll("button, a[href], input, select, video, [role=slider], dialog")].filter(e => e.checkVisibility()).filter(e => {
			const label = e.getAttribute("aria-label") || (e.labels && [...e.labels].map(l => l.textContent).join("")) || e.textContent;
			return !label.trim();
		}).map(e => e.outerHTML.slice(0, 120))`)
		if len(nameless) > 0 {
			t.Errorf("%s: without a name: %v", view, nameless)
		}
		var headings int
		p.eval(&headings, "document.querySelectorAll('h1').length")
		if headings != 1 {
			t.Errorf("%s: %d first headings", view, headings)
		}
		if view == "stream" {
			p.key("Escape")
			p.wait("the overview", "document.querySelector('.card')")
		}
	}
	// Everything can be reached by the Tab key.
	var reached []string
	for range 12 {
		p.key("Tab")
		reached = append(reached, p.text("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"))
	}
	for _, want := range []string{"Skip to the content", "Light or dark", "Show as a list", "cam, Live"} {
		if !slices.ContainsFunc(reached, func(r string) bool { return strings.Contains(r, want) }) {
			t.Errorf("the Tab key does not reach %q: %q", want, reached)
		}
	}
	p.clean(h)
}

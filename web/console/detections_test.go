package console

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/events"
)

// listsDetections reads the list of detections, narrows it, and plays moments.
func listsDetections(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(3*hour, 0)))
	p := br.open(t, h.base+"/#/cam")
	p.wait("the empty list", "document.querySelector('.detection-block .fine').textContent.startsWith('Nothing was detected')")
	now := time.Now().UTC()
	var list []events.Detection
	for i := range 70 {
		list = append(list, events.Detection{Camera: "cam", Time: now.Add(-time.Duration(i) * min1), Label: []string{"person", "car"}[i%2], Score: 0.934, Source: "<b>yolo</b>"})
	}
	list = append(list, events.Detection{Camera: "other", Time: now, Label: "ghost"})
	h.see(list...)
	labels := func() (got []string) {
		p.eval(&got, "[...document.querySelectorAll('.detection-label')].map(e => e.textContent)")
		return got
	}
	p.wait("the first page", "document.querySelectorAll('.detection').length === 50")
	if got := labels(); got[0] != "person" || got[1] != "car" || slices.Contains(got, "ghost") {
		t.Errorf("listed %v", got)
	}
	if text := p.text("document.querySelector('.detection').textContent"); !strings.Contains(text, "<b>yolo</b>") || !strings.Contains(text, "93 %") {
		t.Errorf("a row says %q", text)
	}
	p.eval(nil, "document.querySelector('.detection-block > .button').click()")
	p.wait("the earlier ones", "document.querySelectorAll('.detection').length === 70 && document.querySelector('.detection-block > .button').hidden")

	// One that comes is shown on top, and what was loaded stays.
	h.see(events.Detection{Camera: "cam", Time: now.Add(time.Second), Label: "dog"})
	p.wait("the new one", "document.querySelector('.detection-label').textContent === 'dog' && document.querySelectorAll('.detection').length === 71")

	// A row plays its moment.
	p.eval(nil, "document.querySelectorAll('.detection')[31].click()")
	p.wait("the past", "document.querySelector('.stage').dataset.mode === 'past' && "+playing)
	p.showsTime("the detection half an hour ago", now.Add(-30*min1), 12)
	if p.text("document.querySelector('.detection[aria-current]').querySelector('time').dateTime") != now.Add(-30*min1).Format("2006-01-02T15:04:05.000Z") {
		t.Error("the row is not marked")
	}

	p.eval(nil, "(() => { const s = document.querySelector('.detection-filter'); s.value = 'car'; s.dispatchEvent(new Event('change')); })()")
	p.wait("cars alone", "document.querySelectorAll('.detection').length === 35")
	for _, l := range labels() {
		if l != "car" {
			t.Errorf("%s among cars", l)
		}
	}
	p.clean(h)
}

// showsThumbnails wants a picture of each detection that is seen, of its very
// time, with a box where it was; and marks on the time bar.
func showsThumbnails(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(3*hour, 0)), makesStills)
	at := time.Now().UTC().Add(-20 * min1).Truncate(time.Millisecond)
	h.see(events.Detection{Camera: "cam", Time: at, Label: "person", Score: 0.9, Box: &events.Box{0.25, 0.5, 0.125, 0.25}})
	for i := range 40 {
		h.see(events.Detection{Camera: "cam", Time: at.Add(-time.Duration(i+1) * min1), Label: "car"})
	}
	p := br.open(t, h.base+"/#/cam")
	p.wait("thumbnails", "document.querySelectorAll('.has-thumbnail').length >= 4 && document.querySelector('.thumbnail-picture').width === 320")
	all := h.asked("cam")
	if !slices.ContainsFunc(all, func(q url.Values) bool {
		return q.Get("time") == strconv.FormatInt(at.UnixMilli(), 10) && q.Get("exact") == "frame" && q.Get("width") != ""
	}) {
		t.Errorf("asked for %v, want the time %d", all, at.UnixMilli())
	}
	var box [4]float64
	p.eval(&box, "(() => { const o = document.querySelector('.thumbnail').getBoundingClientRect(), b = document.querySelector('.thumbnail-box').getBoundingClientRect(); return [(b.x - o.x) / o.width, (b.y - o.y) / o.height, b.width / o.width, b.height / o.height]; })()")
	for i, want := range [4]float64{0.25, 0.5, 0.125, 0.25} {
		if box[i] < want-0.02 || box[i] > want+0.02 {
			t.Errorf("the box is at %v", box)
			break
		}
	}
	if n := len(h.asked("cam")); n > 20 {
		t.Errorf("%d pictures were asked for: those that are not seen, too", n)
	}

	// Marks, where they were seen.
	mark := "(() => { const c = document.querySelector('.timebar-canvas'), b = document.querySelector('.timebar'), k = c.width / b.clientWidth;" +
		"const to = Date.now() + 60000, x = Math.round((" + strconv.FormatInt(at.UnixMilli(), 10) + " - (to - 3600000)) / 3600000 * b.clientWidth);" +
		"const d = c.getContext('2d').getImageData((x - 2) * k, 32 * k, 5 * k, 1).data; for (let i = 0; i < d.length; i += 4) if (d[i] > 200 && d[i + 2] > 230) return true; return false; })()"
	p.wait("marks on the time bar", mark)

	// The picture of the moment that is shown, as the server has it.
	p.eval(nil, "document.querySelector('.detection').click()")
	p.wait("the past", mode+" === 'past' && "+playing)
	p.key(" ")
	p.wait("pause", "document.querySelector('video').paused")
	p.eval(nil, "(() => { window.saved = []; HTMLAnchorElement.prototype.click = function () { saved.push(this.download); }; })()")
	before := len(h.asked("cam"))
	p.key("s")
	p.wait("a picture to save", "saved.length === 1")
	var saved []string
	p.eval(&saved, "saved")
	q := h.asked("cam")[len(h.asked("cam"))-1]
	ms, _ := strconv.ParseInt(q.Get("time"), 10, 64)
	if d := time.UnixMilli(ms).Sub(at); len(h.asked("cam")) == before || q.Get("exact") != "frame" || q.Has("width") || d < -3*time.Second || d > 60*time.Second {
		t.Errorf("asked for %v, %s after the detection", q, d)
	}
	if want := "cam " + strings.ReplaceAll(strings.ReplaceAll(time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"), ":", "-"), ".", "-") + ".jpg"; saved[0] != want {
		t.Errorf("saved as %q, want %q", saved[0], want)
	}
	p.clean(h)
}

// setsUp draws a zone and saves the settings of a stream.
func setsUp(t *testing.T, br *browser, media string) {
	h := startHouse(t, "", oneStream(media, ago(hour, 0)), makesStills)
	p := br.open(t, h.base+"/#/cam")
	p.wait("the stream", playing)
	p.wait("its actions", "document.querySelector('.fact-actions a')")
	p.eval(nil, "document.querySelector('.fact-actions a').click()")
	p.wait("the settings, over a picture", "document.querySelector('.zones-picture')?.width === 320")
	p.eval(nil, "document.querySelector('input[value=events]').click(); document.querySelector('#before').value = '7'; document.querySelector('#motion-on').click()")
	p.eval(nil, "(() => { const s = document.querySelector('#sensitivity'); s.value = '80'; s.dispatchEvent(new Event('input')); })()")
	draw := func(button string, corners ...[2]float64) {
		p.eval(nil, "[...document.querySelectorAll('.zone-actions button')].find(b => b.textContent === "+quote(button)+").click()")
		for _, c := range corners {
			p.clickAt(".zones", c[0], c[1])
		}
		p.key("Enter")
	}
	draw("Add zone", [2]float64{0.1, 0.2}, [2]float64{0.5, 0.2}, [2]float64{0.5, 0.8}, [2]float64{0.1, 0.8})
	p.wait("a zone", "document.querySelectorAll('polygon.zone').length === 1")
	draw("Add ignored zone", [2]float64{0.6, 0.1}, [2]float64{0.9, 0.1}, [2]float64{0.75, 0.5})
	p.wait("another", "document.querySelectorAll('polygon.zone').length === 2 && document.querySelector('polygon.ignored')")
	p.eval(nil, "document.querySelector('.panel').requestSubmit()")
	p.wait("its saving", "document.querySelector('.toast')?.textContent === 'Settings saved'")
	h.mu.Lock()
	got := h.settings["cam"]
	h.mu.Unlock()
	if !got.EventsOnly || got.Before != 7*time.Second || got.After != 10*time.Second || got.Detect.Motion == nil || got.Detect.External != nil {
		t.Fatalf("saved %+v", got)
	}
	m := got.Detect.Motion
	text, _ := json.Marshal(m.Zones)
	if m.Sensitivity != 80 || len(m.Zones) != 2 || m.Zones[0].Ignore || !m.Zones[1].Ignore || len(m.Zones[0].Points) != 4 || len(m.Zones[1].Points) != 3 {
		t.Fatalf("saved %+v, zones %s", m, text)
	}
	for i, want := range [][2]float64{{0.1, 0.2}, {0.5, 0.2}, {0.5, 0.8}, {0.1, 0.8}} {
		if c := m.Zones[0].Points[i]; c[0] < want[0]-0.01 || c[0] > want[0]+0.01 || c[1] < want[1]-0.01 || c[1] > want[1]+0.01 {
			t.Errorf("corner %d is at %v, want %v: %s", i, c, want, text)
		}
	}
	p.wait("how the detector fares", "document.querySelector('.statuses').innerText.includes('1234 pictures · 7 events')")

	// A corner is dragged, the other zone deleted.
	p.clickAt(".zones", 0.75, 0.2)
	p.wait("the choice", "document.querySelector('polygon.ignored.chosen')")
	p.key("Delete")
	p.clickAt(".zones", 0.3, 0.5)
	p.drag(".zones", [2]float64{0.5, 0.8}, [2]float64{0.9, 0.9})
	p.wait("a larger zone", "document.querySelectorAll('polygon').length === 1")
	p.typeText("#detector-url", "")
	p.eval(nil, "document.querySelector('#detector-on').click()")
	p.typeText("#detector-url", "ftp://nowhere")
	p.eval(nil, "document.querySelector('.panel').requestSubmit()")
	p.wait("what is wrong", "document.querySelector('.form-error').textContent.includes('http://host:port/path')")
	p.eval(nil, "document.querySelector('#detector-url').value = ''")
	p.typeText("#detector-url", "http://127.0.0.1:9000/detect")
	p.eval(nil, "document.querySelector('.toast')?.remove(); document.querySelector('.panel').requestSubmit()")
	p.wait("its saving", "document.querySelector('.toast')?.textContent === 'Settings saved'")
	h.mu.Lock()
	got = h.settings["cam"]
	h.mu.Unlock()
	if e := got.Detect.External; e == nil || e.URL != "http://127.0.0.1:9000/detect" {
		t.Errorf("saved %+v", e)
	}
	if z := got.Detect.Motion.Zones; len(z) != 1 || z[0].Points[2][0] < 0.88 || z[0].Points[2][1] < 0.88 {
		t.Errorf("saved zones %+v", z)
	}

	// What stands in the config file is shown, and cannot be changed.
	h.mu.Lock()
	got.Fixed = true
	h.settings["cam"] = got
	h.mu.Unlock()
	p.eval(nil, "location.reload()")
	p.wait("fixed settings", "document.querySelector('.settings-fields')?.disabled && document.querySelector('.settings-actions').hidden && document.querySelector('#detector-url').value === 'http://127.0.0.1:9000/detect'")
	p.clean(h, "status of 400")
}

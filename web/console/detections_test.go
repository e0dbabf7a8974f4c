package console

import (
	"slices"
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

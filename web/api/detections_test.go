package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/fragments"
)

// fakeDetections answers every question with the same page.
type fakeDetections struct {
	asked []events.Query
	page  events.Page
	err   error
}

func (f *fakeDetections) Find(_ context.Context, q events.Query) (events.Page, error) {
	f.asked = append(f.asked, q)
	return f.page, f.err
}

func (f *fakeDetections) Cameras() []fragments.StreamName {
	return []fragments.StreamName{"front-door", "garage"}
}

func TestDetections(t *testing.T) {
	d := &fakeDetections{page: events.Page{Next: "n3xt", Detections: []events.Detection{
		{ID: "1", Camera: "garage", Time: day, Label: "car"},
		{
			ID: "2", Camera: "garage", Time: day.Add(1480 * time.Millisecond), End: day.Add(2 * time.Second), Label: "person", Score: 0.93, Box: &events.Box{0.1, 0, 0.5, 1},
			Source: "yolo", Fragment: fragments.Number{Epoch: 1, Counter: 2}, Attributes: []byte(`{"colour":"red"}`),
		},
	}}}
	f := newFixture(t, func(o *Options) { o.Detections = d })
	status, body := f.do("garage", "GET", "/api/detections?stream=garage&start=2026-11-20T10:00:00Z&end=1795200000000&label=car&limit=7&order=newest&page=p", "")
	want := `{"detections":[{"id":"1","camera":"garage","time":"2026-11-20T10:00:00.000Z","label":"car"},` +
		`{"id":"2","camera":"garage","time":"2026-11-20T10:00:01.480Z","end":"2026-11-20T10:00:02.000Z","label":"person","score":0.93,"box":[0.1,0,0.5,1],` +
		`"source":"yolo","fragment":"` + fragments.Number{Epoch: 1, Counter: 2}.String() + `","attributes":{"colour":"red"}}],"next":"n3xt"}`
	if status != 200 || body != want {
		t.Errorf("%d\n%s\nwant\n%s", status, body, want)
	}
	asked := events.Query{Cameras: []fragments.StreamName{"garage"}, Start: day, Label: "car", Limit: 7, Newest: true, Page: "p"}
	asked.End = time.UnixMilli(1795200000000).UTC()
	if got := d.asked[0]; fmt.Sprint(got) != fmt.Sprint(asked) {
		t.Errorf("asked %v, want %v", got, asked)
	}
	for _, c := range []struct {
		user, query string
		status      int
		cameras     []fragments.StreamName
	}{
		{"root", "", 200, []fragments.StreamName{"front-door", "garage"}},
		{"garage", "", 200, []fragments.StreamName{"garage"}},
		{"nobody", "", 200, []fragments.StreamName{}},
		{"wrong", "", 401, nil},
		{"root", "stream=never-seen", 200, []fragments.StreamName{"never-seen"}},
		{"garage", "stream=front-door", 403, nil},
		{"root", "stream=a/b", 400, nil},
		{"root", "start=yesterday", 400, nil},
		{"root", "end=x", 400, nil},
		{"root", "start=2026-11-20T10:00:00Z&end=2026-11-20T10:00:00Z", 400, nil},
		{"root", "limit=0", 400, nil},
		{"root", "limit=1001", 400, nil},
		{"root", "limit=x", 400, nil},
		{"root", "order=loudest", 400, nil},
	} {
		d.asked = nil
		status, body := f.do(c.user, "GET", "/api/detections?"+c.query, "")
		if status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.user, c.query, status, body, c.status)
		}
		if c.status == 200 && (len(d.asked) != 1 || !slices.Equal(d.asked[0].Cameras, c.cameras) || d.asked[0].Cameras == nil) {
			t.Errorf("%s %s: asked %+v, want cameras %v", c.user, c.query, d.asked, c.cameras)
		}
		if c.status != 200 && len(d.asked) != 0 {
			t.Errorf("%s %s: refused and asked", c.user, c.query)
		}
	}
	d.page = events.Page{}
	if _, body := f.do("root", "GET", "/api/detections", ""); body != `{"detections":[]}` {
		t.Errorf("nothing seen: %s", body)
	}
	d.err = fmt.Errorf("page: %w", events.ErrPage)
	if status, body := f.do("root", "GET", "/api/detections?page=x", ""); status != 400 || !strings.Contains(body, "bad_page") {
		t.Errorf("a bad page: %d %s", status, body)
	}
	d.err = errors.New("block is damaged")
	if status, body := f.do("root", "GET", "/api/detections", ""); status != 500 || strings.Contains(body, "damaged") {
		t.Errorf("a failure: %d %s", status, body)
	}
	if m := f.get(t, "/api/info"); m["detections"] != true {
		t.Errorf("info %v", m)
	}
	none := newFixture(t, nil)
	for _, query := range []string{"", "stream=garage"} {
		if status, _ := none.do("root", "GET", "/api/detections?"+query, ""); status != 501 {
			t.Errorf("without detections: %d", status)
		}
	}
}

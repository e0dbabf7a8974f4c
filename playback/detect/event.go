package detect

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// event is something that is seen, from its beginning to its end.
type event struct {
	id       string
	label    string
	start    time.Time
	last     time.Time        // when it was seen last
	told     time.Time        // up to when it has been told
	box      *Box             // where it was clearest; nil: everywhere
	score    float64          // then
	arrival  time.Time        // of the picture that it began with
	fragment fragments.Number // which that is in, as far as is known
	settled  bool             // fragment is sure
	named    fragments.Number // fragment, as told
	extra    json.RawMessage
	sure     bool // it has been told
	hits     int
}

// sighting is what one picture shows.
type sighting struct {
	at      time.Time
	arrival time.Time // of the picture
	label   string
	box     *Box
	score   float64
	extra   json.RawMessage
}

// record is an event as it is put into the data stream: version 1 of the schema
// of archive/events.
type record struct {
	V          int             `json:"v"`
	Type       string          `json:"type"`
	ID         string          `json:"id"`
	Camera     string          `json:"camera"`
	Time       time.Time       `json:"time"`
	End        time.Time       `json:"end"`
	Label      string          `json:"label"`
	Score      float64         `json:"score,omitempty"`
	Box        *Box            `json:"box,omitempty"`
	Source     string          `json:"source"`
	Fragment   string          `json:"fragment,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
}

// Times of an event.
const (
	tellEvery = 2 * time.Second  // while it lasts, so that what records around events goes on
	maxEvent  = 10 * time.Minute // an event that goes on longer is another one
	// setBack is how much earlier than the one before it a picture must be for the
	// clock to have been set back. Capture times that are mended waver by less.
	setBack = time.Second
)

// tracker makes events of what pictures of one camera show: one event of a label
// at a time.
type tracker struct {
	camera fragments.StreamName
	source string
	sureBy int           // pictures that must show it
	quiet  time.Duration // an event has ended when it has not been seen for so long
	// fragmentOf returns the fragment of a picture, and whether that is sure.
	fragmentOf func(at, arrival time.Time) (fragments.Number, bool)
	open       map[string]*event
	records    [][]byte // to be put
}

func newTracker(w *watcher, source string, sureBy int, quiet time.Duration) *tracker {
	return &tracker{camera: w.name, source: source, sureBy: sureBy, quiet: quiet, fragmentOf: w.fragmentOf, open: map[string]*event{}}
}

// see takes what the picture of an instant shows, each label once, and returns
// the records to be put.
func (t *tracker) see(at time.Time, list []sighting) [][]byte {
	t.records = nil
	for _, e := range t.open {
		if at.Sub(e.last) < -setBack {
			t.end(e)
			continue
		}
		t.settle(e)
	}
	for i := range list {
		t.sighted(&list[i])
	}
	for _, e := range t.open {
		if at.Sub(e.last) > t.quiet || e.last.Sub(e.start) > maxEvent {
			t.end(e)
		}
	}
	return t.records
}

// close ends all events.
func (t *tracker) close() [][]byte {
	t.records = nil
	for _, e := range t.open {
		t.end(e)
	}
	return t.records
}

// busy reports whether an event is under way, or may be.
func (t *tracker) busy() bool { return len(t.open) > 0 }

func (t *tracker) sighted(s *sighting) {
	e := t.open[s.label]
	if e == nil {
		e = &event{id: fmt.Sprintf("%s-%s-%d", t.source, s.label, s.at.UnixMilli()), label: s.label, start: s.at, last: s.at, arrival: s.arrival}
		t.open[s.label] = e
		t.settle(e)
	}
	if s.at.After(e.last) {
		e.last = s.at
	}
	e.hits++
	if s.score > e.score || e.hits == 1 {
		e.score, e.box, e.extra = s.score, s.box, s.extra
	}
	if e.hits >= t.sureBy && (!e.sure || e.last.Sub(e.told) >= tellEvery) {
		t.tell(e)
	}
}

// settle looks for the fragment that an event began in, until that is sure.
func (t *tracker) settle(e *event) {
	if !e.settled {
		if n, sure := t.fragmentOf(e.start, e.arrival); !n.IsZero() {
			e.fragment, e.settled = n, sure
		}
	}
}

func (t *tracker) end(e *event) {
	t.settle(e)
	if e.sure && (e.told != e.last || e.named != e.fragment) {
		t.tell(e)
	}
	delete(t.open, e.label)
}

func (t *tracker) tell(e *event) {
	e.sure, e.told, e.named = true, e.last, e.fragment
	r := record{
		V: 1, Type: "detection", ID: e.id, Camera: string(t.camera), Time: e.start.UTC(), End: e.last.UTC(),
		Label: e.label, Score: e.score, Box: e.box, Source: t.source, Attributes: e.extra,
	}
	if !e.fragment.IsZero() {
		r.Fragment = e.fragment.String()
	}
	b, err := json.Marshal(r)
	if err != nil {
		return // attributes that are no JSON: the contract has been checked before
	}
	t.records = append(t.records, b)
}

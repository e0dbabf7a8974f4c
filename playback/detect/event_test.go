package detect

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/fragments"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// second returns an instant of these tests.
func second(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }

// told reads records back with the reader of the schema's owner.
func told(t *testing.T, records [][]byte) (list []events.Detection) {
	t.Helper()
	for _, r := range records {
		d, err := events.Parse(r)
		if err != nil {
			t.Fatalf("%v in %s", err, r)
		}
		list = append(list, d)
	}
	return list
}

func TestTracker(t *testing.T) {
	type seen struct {
		at    float64
		label string
		score float64
	}
	type want struct{ from, to, score float64 }
	for _, tc := range []struct {
		name string
		see  []seen
		want []want // as told, in order; the last of each event counts
	}{
		{"once is not enough", []seen{{0, "a", 0.9}}, nil},
		{"twice is", []seen{{0, "a", 0.5}, {0.2, "a", 0.8}}, []want{{0, 0.2, 0.8}}},
		{"the clearest counts", []seen{{0, "a", 0.9}, {0.2, "a", 0.8}, {0.4, "a", 0.7}}, []want{{0, 0.2, 0.9}, {0, 0.4, 0.9}}},
		{"told again while it lasts", []seen{{0, "a", 0.9}, {1, "a", 0.9}, {2, "a", 0.9}, {3, "a", 0.9}, {4, "a", 0.9}}, []want{{0, 1, 0.9}, {0, 3, 0.9}, {0, 4, 0.9}}},
		{"a break shorter than quiet", []seen{{0, "a", 0.9}, {0.5, "a", 0.9}, {3, "a", 0.9}}, []want{{0, 0.5, 0.9}, {0, 3, 0.9}}},
		{"two events", []seen{{0, "a", 0.9}, {0.5, "a", 0.9}, {9, "a", 0.9}, {9.5, "a", 0.9}}, []want{{0, 0.5, 0.9}, {9, 9.5, 0.9}}},
		{"far apart are two that are not sure", []seen{{0, "a", 0.9}, {5, "a", 0.9}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := newTracker("cam", "test", 2, 3*time.Second)
			var records [][]byte
			i := 0
			for s := 0.0; s < 20; s += 0.1 {
				var list []sighting
				for ; i < len(tc.see) && tc.see[i].at <= s+1e-9; i++ {
					e := tc.see[i]
					list = append(list, sighting{at: second(e.at), label: e.label, score: e.score, box: &Box{0.1, 0.2, 0.3, 0.4}, fragment: fragments.Number{Epoch: 1, Counter: 7}})
				}
				records = append(records, tr.see(second(s), list)...)
			}
			records = append(records, tr.close()...)
			got := told(t, records)
			if len(got) != len(tc.want) {
				t.Fatalf("told %d times, want %d: %+v", len(got), len(tc.want), got)
			}
			for i, w := range tc.want {
				d := got[i]
				if !d.Time.Equal(second(w.from)) || !d.End.Equal(second(w.to)) || d.Score != w.score || d.Label != "a" || d.Camera != "cam" || d.Source != "test" || *d.Box != (events.Box{0.1, 0.2, 0.3, 0.4}) || d.Fragment.IsZero() {
					t.Errorf("%d: %+v, want %+v", i, d, w)
				}
				if same := i > 0 && tc.want[i-1].from == w.from; same != (i > 0 && got[i-1].ID == d.ID) {
					t.Errorf("%d: id %s after %s", i, d.ID, got[max(i-1, 0)].ID)
				}
			}
			if tr.busy() {
				t.Error("an event is left")
			}
		})
	}
}

func TestTrackerLabels(t *testing.T) {
	tr := newTracker("cam", "test", 1, time.Second)
	records := tr.see(noon, []sighting{{at: noon, label: "cat", score: 0.5}, {at: noon, label: "dog", score: 0.6, extra: json.RawMessage(`{"n":1}`)}})
	list := told(t, records)
	if len(list) != 2 || list[0].Label != "cat" || list[1].Label != "dog" || string(list[1].Attributes) != `{"n":1}` || list[0].Box != nil || list[0].ID == list[1].ID {
		t.Errorf("%+v", list)
	}
}

// An event that goes on and on is told in pieces.
func TestTrackerCutsLongEvents(t *testing.T) {
	tr := newTracker("cam", "test", 1, time.Second)
	ids := map[string]bool{}
	for s := 0.0; s < 3*maxEvent.Seconds(); s++ {
		for _, d := range told(t, tr.see(second(s), []sighting{{at: second(s), label: "motion", score: 0.5}})) {
			ids[d.ID] = true
			if d.End.Sub(d.Time) > maxEvent+2*time.Second {
				t.Fatalf("an event of %v", d.End.Sub(d.Time))
			}
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d events in 3 times the longest", len(ids))
	}
}

// A clock that is set back ends what was under way.
func TestTrackerClockSetBack(t *testing.T) {
	tr := newTracker("cam", "test", 1, time.Second)
	see := func(at time.Time) []events.Detection {
		return told(t, tr.see(at, []sighting{{at: at, label: "motion", score: 0.5}}))
	}
	first := see(noon)
	if more := see(second(1)); len(more) != 0 {
		t.Fatalf("%+v", more)
	}
	list := see(second(-3600))
	if len(list) != 2 || list[0].ID != first[0].ID || !list[0].End.Equal(second(1)) || !list[1].Time.Equal(second(-3600)) {
		t.Errorf("%+v", list)
	}
}

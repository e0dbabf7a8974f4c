package detect

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
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

// testTracker returns a tracker that knows no fragments.
func testTracker(sureBy int, quiet time.Duration) *tracker {
	d := &Detectors{o: Options{Hub: live.New()}}
	return newTracker(&watcher{d: d, name: "cam"}, "test", sureBy, quiet)
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
			tr := testTracker(2, 3*time.Second)
			tr.fragmentOf = func(time.Time, time.Time) (fragments.Number, bool) {
				return fragments.Number{Epoch: 1, Counter: 7}, true
			}
			var records [][]byte
			i := 0
			for s := 0.0; s < 20; s += 0.1 {
				var list []sighting
				for ; i < len(tc.see) && tc.see[i].at <= s+1e-9; i++ {
					e := tc.see[i]
					list = append(list, sighting{at: second(e.at), label: e.label, score: e.score, box: &Box{0.1, 0.2, 0.3, 0.4}})
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

// TestReadme holds the example and the table of README.md to what is told.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	tr := testTracker(2, time.Second)
	tr.camera, tr.source = "yard", motionSource
	tr.fragmentOf = func(time.Time, time.Time) (fragments.Number, bool) {
		return fragments.Number{Epoch: 1, Counter: 7}, true
	}
	from := time.Date(2026, 11, 23, 16, 10, 1, 480e6, time.UTC)
	var records [][]byte
	for _, at := range []time.Time{from, from.Add(2720 * time.Millisecond)} {
		tr.quiet = time.Minute
		records = tr.see(at, []sighting{{at: at, label: "motion", score: 0.75, box: &Box{0.22, 0.39, 0.09, 0.28}}})
	}
	if len(records) != 1 || !bytes.Contains(text, append(records[0], '\n')) {
		t.Errorf("README.md has no example as it is told: %s", records)
	}
	for f := range reflect.TypeFor[record]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + name + "`[^|]* \\|").Match(text) {
			t.Errorf("README.md does not say what %q is", name)
		}
	}
}

func TestTrackerLabels(t *testing.T) {
	tr := testTracker(1, time.Second)
	records := tr.see(noon, []sighting{{at: noon, label: "cat", score: 0.5}, {at: noon, label: "dog", score: 0.6, extra: json.RawMessage(`{"n":1}`)}})
	list := told(t, records)
	if len(list) != 2 || list[0].Label != "cat" || list[1].Label != "dog" || string(list[1].Attributes) != `{"n":1}` || list[0].Box != nil || list[0].ID == list[1].ID {
		t.Errorf("%+v", list)
	}
}

// An event that goes on and on is told in pieces.
func TestTrackerCutsLongEvents(t *testing.T) {
	tr := testTracker(1, time.Second)
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

// A clock that is set back ends what was under way, by however little: an event
// never ends before it begins. Capture times that waver end nothing.
func TestTrackerClockSetBack(t *testing.T) {
	for _, tc := range []struct {
		back float64 // seconds, from an event that has lasted two
		ends bool
	}{{3600, true}, {30, true}, {2.5, true}, {1.1, true}, {0.9, false}, {0.1, false}} {
		tr := testTracker(1, 3*time.Second)
		see := func(s float64) []events.Detection {
			return told(t, tr.see(second(s), []sighting{{at: second(s), label: "motion", score: 0.5}}))
		}
		first := append(see(0), see(2)...)
		list := append(see(2-tc.back), told(t, tr.close())...)
		if len(first) != 2 || first[0].ID != first[1].ID {
			t.Fatalf("%+v", first)
		}
		if !tc.ends {
			if len(list) != 0 {
				t.Errorf("%v s back: %+v", tc.back, list)
			}
			continue
		}
		if len(list) != 1 || list[0].ID == first[0].ID || !list[0].Time.Equal(second(2-tc.back)) || list[0].End.Before(list[0].Time) {
			t.Errorf("%v s back: %+v", tc.back, list)
		}
	}
}

// The fragment of an event is told as soon as it is guessed, and put right once it
// is sure, even if the event has ended.
func TestTrackerFragment(t *testing.T) {
	number := func(n uint64) fragments.Number { return fragments.Number{Epoch: 1, Counter: n} }
	for _, tc := range []struct {
		name string
		know []uint64 // from picture to picture; 0: nothing
		sure int      // the first that is sure
		want []uint64 // as told
	}{
		{"known at once", []uint64{5, 6}, 0, []uint64{5}},
		{"known later", []uint64{0, 0, 5}, 2, []uint64{0, 5}},
		{"guessed, and confirmed", []uint64{5, 5, 5}, 2, []uint64{5}},
		{"guessed wrongly", []uint64{5, 5, 6}, 2, []uint64{5, 6}},
		{"sure, and gone from memory", []uint64{5, 0}, 0, []uint64{5}},
		{"guessed, and gone from memory", []uint64{5, 0}, 9, []uint64{5}},
	} {
		tr := testTracker(1, time.Second)
		i := -1
		tr.fragmentOf = func(at, arrival time.Time) (fragments.Number, bool) {
			if !at.Equal(noon) || !arrival.Equal(second(0.5)) {
				t.Errorf("%s: asked for %v, %v", tc.name, at, arrival)
			}
			k := min(max(i, 0), len(tc.know)-1)
			if tc.know[k] == 0 {
				return fragments.Number{}, false
			}
			return number(tc.know[k]), k >= tc.sure
		}
		var records [][]byte
		for i = range 6 {
			var list []sighting
			if i == 0 {
				list = []sighting{{at: noon, arrival: second(0.5), label: "a", score: 1}}
			}
			records = append(records, tr.see(second(0.3*float64(i)), list)...)
		}
		var got []uint64
		for _, d := range told(t, append(records, tr.close()...)) {
			got = append(got, d.Fragment.Counter)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: told %v, want %v", tc.name, got, tc.want)
		}
	}
}

package metrics

import (
	"testing"

	"github.com/kineweir/kineweir/playback/detect"
)

func TestDetectorFigures(t *testing.T) {
	m := New(Options{Extra: []func(*Writer){DetectorFigures(func() []detect.Status {
		return []detect.Status{
			{Camera: "door", Kind: "motion", State: "idle", Pictures: 1, Skipped: 2, Events: 3, Lost: 4, Wakes: 5, Restarts: 6},
			{Camera: "door", Kind: "yolo", State: "error", Pictures: 7},
		}
	})}})
	families, err := parse(string(m.text()))
	if err != nil {
		t.Fatal(err)
	}
	for series, want := range map[string]float64{
		`kineweir_detector_state{stream="door",detector="motion",state="idle"}`:     1,
		`kineweir_detector_state{stream="door",detector="yolo",state="error"}`:      1,
		`kineweir_detector_pictures_total{stream="door",detector="motion"}`:         1,
		`kineweir_detector_pictures_total{stream="door",detector="yolo"}`:           7,
		`kineweir_detector_skipped_pictures_total{stream="door",detector="motion"}`: 2,
		`kineweir_detector_events_total{stream="door",detector="motion"}`:           3,
		`kineweir_detector_lost_events_total{stream="door",detector="motion"}`:      4,
		`kineweir_detector_wakes_total{stream="door",detector="motion"}`:            5,
		`kineweir_detector_restarts_total{stream="door",detector="motion"}`:         6,
	} {
		if got, ok := find(families, series); !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", series, got, ok, want)
		}
	}
}

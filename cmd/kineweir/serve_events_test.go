package main

import (
	"testing"
	"time"

	"github.com/kineweir/kineweir/playback/detect"
	"github.com/kineweir/kineweir/web/api"
)

// What is kept before an event is in memory for as long as the detector of the
// stream may take, unless it is set how long.
func TestLateness(t *testing.T) {
	for _, tc := range []struct {
		name string
		late time.Duration
		e    *detect.External
		want time.Duration
	}{
		{"no detector", 0, nil, 0},
		{"set", 40 * time.Second, nil, 40 * time.Second},
		{"set shorter than the detector takes", 3 * time.Second, &detect.External{Timeout: time.Minute}, 3 * time.Second},
		{"a usual detector", 0, &detect.External{}, 10 * time.Second},
		{"sure at once", 0, &detect.External{Sure: 1}, 10 * time.Second},
		{"a slow one", 0, &detect.External{Timeout: 20 * time.Second}, 40 * time.Second},
		{"few pictures", 0, &detect.External{FPS: 0.1, Sure: 3}, 30 * time.Second},
		{"out of reason", 0, &detect.External{Timeout: time.Minute, Sure: 100}, 5 * time.Minute},
	} {
		got := lateness(api.StreamSettings{Late: tc.late, Detect: detect.Settings{External: tc.e}})
		if got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

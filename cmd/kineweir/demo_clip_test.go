package main

import (
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/kineweir/kineweir/fragments"
)

// TestDemoClips sees that each embedded clip can be played round and round:
// whole, smooth, and beginning with a key frame that needs nothing before it.
func TestDemoClips(t *testing.T) {
	total := 0
	for _, camera := range demoCameras() {
		t.Run(string(camera.name), func(t *testing.T) {
			c, err := camera.load()
			if err != nil {
				t.Fatal(err)
			}
			if len(c.tracks) != len(camera.codecs) {
				t.Fatalf("%d tracks, want %v", len(c.tracks), camera.codecs)
			}
			for i, codec := range camera.codecs {
				if c.tracks[i].Codec != codec {
					t.Errorf("track %d is %s, want %s", i+1, c.tracks[i].Codec, codec)
				}
			}
			if c.length != 8*time.Second || c.tracks[0].Width != 640 || c.tracks[0].Height != 360 {
				t.Errorf("%s of %dx%d", c.length, c.tracks[0].Width, c.tracks[0].Height)
			}
			first := c.units[0]
			if !first.key || first.track != 0 || h264.NALUType(first.payload[0][0]&0x1f) != h264.NALUTypeSPS || !h264.IsRandomAccess(first.payload) {
				t.Error("does not begin with a key frame and its parameter sets")
			}
			playRounds(t, c, 3)
		})
		for _, f := range camera.files {
			b, err := demoFiles.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			total += len(b)
		}
	}
	if total > 400<<10 {
		t.Errorf("the clips are %d KiB of every binary, want at most 400", total>>10)
	}
}

// playRounds follows the endless stream over several seams.
func playRounds(t *testing.T, c *loop, rounds int) {
	t.Helper()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dts := map[int]int64{}
	pts := map[int]map[int64]bool{}
	var lastDue time.Time
	for i := range rounds * len(c.units) {
		au, due := c.unit(i, start)
		id, scale := au.Track.ID, time.Duration(au.Track.TimeScale)
		if due.Before(lastDue) {
			t.Fatalf("unit %d is due before the one before", i)
		}
		lastDue = due
		if last, ok := dts[id]; ok {
			step := time.Duration(au.DTS-last) * time.Second / scale
			want := map[fragments.Codec]time.Duration{fragments.H264: time.Second / 15, fragments.AAC: 1024 * time.Second / 48000, fragments.PCMU: 20 * time.Millisecond}[au.Track.Codec]
			if (step - want).Abs() > time.Microsecond {
				t.Fatalf("track %d steps by %s at unit %d, want %s", id, step, i, want)
			}
		}
		dts[id] = au.DTS
		if pts[id] == nil {
			pts[id] = map[int64]bool{}
		}
		if au.PTS < au.DTS || pts[id][au.PTS] {
			t.Fatalf("track %d has PTS %d with DTS %d at unit %d", id, au.PTS, au.DTS, i)
		}
		pts[id][au.PTS] = true
		if want := start.Add(time.Duration(au.PTS) * time.Second / scale); au.Capture.Time().Sub(want).Abs() > time.Microsecond {
			t.Fatalf("unit %d was captured at %s, want %s", i, au.Capture.Time(), want)
		}
	}
	if end := start.Add(time.Duration(rounds) * c.length); lastDue.Before(end.Add(-100*time.Millisecond)) || !lastDue.Before(end) {
		t.Errorf("%d rounds end at %s, want just before %s", rounds, lastDue, end)
	}
}

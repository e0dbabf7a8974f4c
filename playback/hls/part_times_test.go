package hls_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/playback/hls"
)

// Shaka Player adds 1 ms to a negative offset between the playlist's time and the
// decode times, and sets the offset anew when a part's differs by 1 ms or more from
// it: by a hair, always, when durations are exact. That costs what is decoded up to
// the next key frame, so it may happen at the first part of a segment alone.
func TestPartsKeepTheirOffset(t *testing.T) {
	const frame = time.Second / 25
	for _, age := range []time.Duration{0, 3 * time.Minute, time.Hour, 10 * time.Hour, 1000 * time.Hour} {
		for _, length := range []time.Duration{5 * frame, 3 * frame, 8 * frame} {
			t.Run(fmt.Sprint(age, length), func(t *testing.T) {
				s := newScript(t)
				for _, line := range []string{"stream front 2026-11-23T14:00:00Z", "track v 1 H264 1280x720", "publish"} {
					s.command("", 0, line)
				}
				s.at = age + 1959*time.Millisecond
				for range 40 {
					for _, line := range []string{"begin", fmt.Sprintf("part x=5 long=%v", length), "end"} {
						s.command("", 0, line)
					}
				}
				checkOffsets(t, s)
			})
		}
	}
}

func checkOffsets(t *testing.T, s *script) {
	t.Helper()
	list, err := s.packager.Playlist(t.Context(), s.name, hls.Request{Kind: hls.Media, Live: true, Track: 1})
	if err != nil {
		t.Fatal(err)
	}
	closed := s.live.hub.Recent(s.name).State().Closed
	segment, part, begin, at, offset, target := 0, 0, 0.0, 0.0, 0.0, 0.0
	for line := range strings.Lines(string(list)) {
		var d float64
		switch {
		case scanned(line, "#EXT-X-PART-INF:PART-TARGET=%g", &target):
		case scanned(line, "#EXT-X-PART:DURATION=%g", &d):
			run := closed[segment].Run(1)
			want := at - float64(run.Parts[part].DecodeTime)/float64(run.Track.TimeScale)
			if math.Abs(offset-want) >= 0.001 {
				if part > 0 {
					t.Fatalf("segment %d, part %d: offset %.9f, was %.9f\n%s", segment, part, want, offset, list)
				}
				offset = want + 0.001
			}
			exact := float64(run.Parts[part].Duration) / float64(run.Track.TimeScale)
			if math.Abs(d-exact) > 4e-6 || d > target || d < 0.85*target {
				t.Fatalf("segment %d, part %d lasts %g, not %g, of at most %g", segment, part, exact, d, target)
			}
			part, at = part+1, at+d
		case scanned(line, "#EXTINF:%g", &d):
			if math.Abs(at-begin-d) > 4e-6 && part > 0 {
				t.Fatalf("segment %d lasts %g, its parts %g", segment, d, at-begin)
			}
			begin += d
			segment, part, at = segment+1, 0, begin
		}
	}
	if segment != 40 || offset >= 0 {
		t.Fatalf("%d segments, offset %g", segment, offset)
	}
}

func scanned(line, format string, v *float64) bool {
	n, err := fmt.Sscanf(line, format, v)
	return n == 1 && err == nil
}

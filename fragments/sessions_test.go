package fragments

import (
	"testing"
	"time"
)

// spans notes from where to where the decode times of fragments go.
type spans struct{ from, to []time.Duration }

func (*spans) Begin(*Fragment)       {}
func (*spans) Part(*Fragment, *Part) {}

func (s *spans) End(f *Fragment) {
	r := f.Runs[0]
	scale := int64(r.Track.TimeScale)
	s.from = append(s.from, ticksDuration(r.DecodeTime, scale))
	s.to = append(s.to, ticksDuration(r.DecodeTime+r.Duration, scale))
}

// The sessions of a young stream lie one behind the other, as far apart as they
// were filmed: players that follow decode times alone would else meet the
// second one in the first.
func TestSessionsOfAYoungStreamFollowEachOther(t *testing.T) {
	created := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, late := range []time.Duration{0, 30 * time.Millisecond, 800 * time.Millisecond, -300 * time.Millisecond} {
		s := &spans{}
		for _, start := range []time.Duration{-late, 1700*time.Millisecond - late, 4*time.Second - late} {
			track := &Track{ID: 1, Codec: H264, TimeScale: 90000}
			f := NewFragmenter([]*Track{track}, FragmenterOptions{
				Created: created,
				Encode:  func(*Track, uint32, int64, []Sample) []byte { return nil },
			}, s)
			for i := range 40 {
				at := start + time.Duration(i)*40*time.Millisecond
				f.Push(&AccessUnit{
					Track: track, PTS: int64(i) * 3600, DTS: NoDTS, Key: i%25 == 0, Source: FromReport,
					Capture: ProducerTime(created.Add(at)), Arrival: ServerTime(created.Add(at)), Payload: [][]byte{{0x65}},
				})
			}
			f.Flush()
		}
		if len(s.from) != 6 {
			t.Fatalf("%d fragments, want 6", len(s.from))
		}
		for i, want := range []time.Duration{0, time.Second, 1700 * time.Millisecond, 2700 * time.Millisecond, 4 * time.Second, 5 * time.Second} {
			if got := s.from[i] - s.from[0]; (got - want).Abs() > time.Millisecond {
				t.Errorf("first frames %v before the creation: fragment %d begins %v after the first, want %v", late, i+1, got, want)
			}
			if i > 0 && s.from[i] < s.to[i-1] {
				t.Errorf("fragment %d begins at %v, before %v", i+1, s.from[i], s.to[i-1])
			}
		}
	}
}

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestRecordAroundEvents publishes a stream of which only what is around
// detections is kept: it is live throughout, and of the past there is just that.
func TestRecordAroundEvents(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := serve(t, "streams:\n  door:\n    record: events\n    before: 3s\n    after: 2s\n")
	begin := time.Now()
	cancel := testCamera(t, "rtsp://"+s.rtsp+"/door", "-t 40")
	defer cancel()
	eventually(t, 20*time.Second, "the stream is live", func() bool {
		var st struct{ Live bool }
		code, _ := s.try("/api/streams/door")
		if code == 200 {
			s.json("/api/streams/door", &st)
		}
		return st.Live
	})
	time.Sleep(8 * time.Second) // longer than anything is kept before an event
	past := func() string { return s.http + "/hls/door/index.m3u8" + span(begin, time.Now().Add(time.Second)) }
	if code, body := s.try("/hls/door/index.m3u8" + span(begin, time.Now())); code != 404 {
		t.Errorf("before any event there is something recorded: %d\n%s", code, body)
	}
	at := time.Now()
	run(t, 10*time.Second, binary, "put", "--server", s.http, "--create", "--quiet", "detections",
		fmt.Sprintf(`{"camera":"door","time":%q,"label":"person"}`, at.Format(time.RFC3339Nano)))
	recorded := func() (p mediaPlaylist, length time.Duration) {
		if code, _ := s.try("/hls/door/index.m3u8" + span(begin, time.Now())); code != 200 {
			return p, 0
		}
		video, _, _ := variant(t, past())
		p = media(t, video)
		for _, g := range p.segments {
			length += g.duration
		}
		return p, length
	}
	var list mediaPlaylist
	var length time.Duration
	eventually(t, 20*time.Second, "what is around the event is recorded", func() bool {
		list, length = recorded()
		return length >= 5*time.Second
	})
	time.Sleep(4 * time.Second)
	list, length = recorded()
	first := list.segments[0]
	end := first.date.Add(length)
	t.Logf("recorded %v: from %v before the event to %v after it", length, at.Sub(first.date), end.Sub(at))
	if length > 8*time.Second || at.Sub(first.date) < 3*time.Second || end.Sub(at) < 2*time.Second {
		t.Errorf("want 3 s before and 2 s after, and at most a fragment more at each end")
	}
	var st struct{ Live bool }
	if s.json("/api/streams/door", &st); !st.Live {
		t.Error("the stream is not live any more")
	}
}

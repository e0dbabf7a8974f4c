package ingest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// What is published is seen live before it is durable, and what became of it is
// known.
func TestPartsAreShownLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{gate: make(chan struct{})}
		var hub *live.Hub
		all := newSessions(sink, func(o *Options) { hub = o.Hub })
		s, err := all.Publish("a", []*fragments.Track{video}, Source{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		feed(s, 0, 62) // two fragments and a half
		st := hub.Recent("a").State()
		if len(st.Closed) != 2 || st.Closed[0].Fate != live.Pending || st.Closed[0].Number.Counter != 1 || st.Open == nil || len(st.Open.Runs[0].Parts) != 2 {
			t.Fatalf("%d fragments, open: %+v", len(st.Closed), st.Open)
		}
		if !st.Closed[0].Discontinuity || st.Closed[1].Discontinuity || st.Closed[0].Duration != time.Second || len(st.Closed[0].Runs[0].Parts) != 5 {
			t.Errorf("%+v", st.Closed[0])
		}
		close(sink.gate)
		synctest.Wait()
		if st = hub.Recent("a").State(); st.Closed[0].Fate != live.Archived || st.Closed[1].Fate != live.Archived {
			t.Errorf("committed: %v, %v", st.Closed[0].Fate, st.Closed[1].Fate)
		}
		sink.mu.Lock()
		sink.fail = errors.New("disk full")
		sink.mu.Unlock()
		feed(s, 62, 28)
		synctest.Wait()
		if st = hub.Recent("a").State(); len(st.Closed) != 3 || st.Closed[2].Fate != live.Dropped {
			t.Errorf("not committed: %+v", st.Closed[2])
		}
		s.Close(nil)
		if st = hub.Recent("a").State(); st.Live || len(st.Closed) != 4 || st.Open != nil || st.Closed[3].Fate != live.Dropped {
			t.Errorf("after the end: %+v", st)
		}
		time.Sleep(time.Minute)
		all.Close()
	})
}

package feed

import (
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Stats is what a Feed has done since it began, for the metrics.
type Stats struct {
	Stream         string // the data stream
	Records, Bytes uint64 // put
	Failures       uint64 // tries that failed; each is made again
	LastError      string // of the newest failure, "" when there was none
	// Damaged counts records without frames, because the media is damaged.
	Damaged uint64
	// Gaps counts how often retention was faster than the feed, Missed about how
	// many fragments were never fed for that.
	Gaps, Missed uint64
	// Waiting is about how many fragments are visible and not fed; Lag is how
	// long ago the oldest of them that is known ended.
	Waiting uint64
	Lag     time.Duration
}

type counters struct {
	records, bytes, failures, damaged, gaps, missed atomic.Uint64
	last                                            atomic.Pointer[string]
}

func (c *counters) put(n int) {
	c.records.Add(1)
	c.bytes.Add(uint64(n))
}

func (c *counters) fail(err error) {
	text := err.Error()
	c.last.Store(&text)
	c.failures.Add(1)
}

// Stats counts. Its parts are taken one after the other, not at one moment.
func (f *Feed) Stats() Stats {
	c := &f.stats
	st := Stats{
		Stream: f.o.Stream, Records: c.records.Load(), Bytes: c.bytes.Load(), Failures: c.failures.Load(),
		Damaged: c.damaged.Load(), Gaps: c.gaps.Load(), Missed: c.missed.Load(), Lag: f.queue.lag(time.Now()),
	}
	if text := c.last.Load(); text != nil {
		st.LastError = *text
	}
	for _, s := range f.o.Archive.Streams() {
		if s.Last != nil {
			st.Waiting += distance(f.cursors.get(s.Name, s.Created), s.Last.Number)
		}
	}
	return st
}

// distance is about how many fragments lie after n, up to last.
func distance(n, last fragments.Number) uint64 {
	switch {
	case !n.Less(last):
		return 0
	case n.Epoch == last.Epoch:
		return last.Counter - n.Counter
	}
	return last.Counter
}

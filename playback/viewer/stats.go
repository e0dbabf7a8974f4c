package viewer

import (
	"sync/atomic"

	"github.com/kineweir/kineweir/fragments"
)

// Stats are figures of all viewers. Counts are since the start.
type Stats struct {
	Viewers map[fragments.StreamName]int // now
	Joins   int64
	// Packets and Bytes (of RTP payload) were sent; Retransmitted packets among
	// them were sent again.
	Packets, Bytes, Retransmitted int64
	// Skipped is how many video frames viewers did not get because their link was
	// too slow; Thinned how often a viewer was put to key frames only.
	Skipped, Thinned int64
	// KeyRequests is how often viewers asked for a key frame.
	KeyRequests int64
}

// Stats returns the figures of now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.past
	st := Stats{Viewers: map[fragments.StreamName]int{}, Joins: s.joins}
	for c := range s.conns {
		st.Viewers[c.name]++
		sum.add(c.count.load())
	}
	st.Packets, st.Bytes, st.Retransmitted = sum.packets, sum.bytes, sum.again
	st.Skipped, st.Thinned, st.KeyRequests = sum.skipped, sum.thinned, sum.keys
	return st
}

// counters are figures of one viewer, or their sum.
type counters struct {
	packets, bytes, again, skipped, thinned, keys int64
}

func (c *counters) add(d counters) {
	c.packets += d.packets
	c.bytes += d.bytes
	c.again += d.again
	c.skipped += d.skipped
	c.thinned += d.thinned
	c.keys += d.keys
}

// liveCounters are written by the goroutine of a viewer and read by any.
type liveCounters struct {
	packets, bytes, again, skipped, thinned, keys atomic.Int64
}

func (c *liveCounters) load() counters {
	return counters{
		c.packets.Load(), c.bytes.Load(), c.again.Load(), c.skipped.Load(), c.thinned.Load(), c.keys.Load(),
	}
}

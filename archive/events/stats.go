package events

import "sync/atomic"

// Stats is what a Store has done since it was opened, and what it holds, for the
// metrics.
type Stats struct {
	Cameras    int
	Detections int64 // kept; what is both in a block and in memory counts twice
	Waiting    int64 // of them in memory and lane alone
	MemBytes   int64
	Blocks     int
	BlockBytes int64
	Added      uint64 // since the store was opened; those read from the lane included
	Again      uint64 // were there already
	Refused    uint64 // of more cameras than there may be
	Retired    uint64 // deleted with their video
	Written    uint64 // blocks
	Reads      uint64 // of blocks
	Failures   uint64 // chores that failed and are done again
}

type counters struct {
	added, again, refused, retired, blocks, reads, failures atomic.Uint64
}

// Stats counts.
func (s *Store) Stats() Stats {
	c := &s.stats
	st := Stats{
		Added: c.added.Load(), Again: c.again.Load(), Refused: c.refused.Load(), Retired: c.retired.Load(), Written: c.blocks.Load(),
		Reads: c.reads.Load(), Failures: c.failures.Load(),
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st.Cameras, st.MemBytes = len(s.cameras), s.bytes
	for _, c := range s.cameras {
		for _, t := range c.hours {
			st.Waiting += int64(len(t.items))
		}
		for _, b := range c.blocks {
			st.Blocks++
			st.BlockBytes += b.Bytes
			st.Detections += int64(b.Count)
		}
	}
	st.Detections += st.Waiting
	return st
}

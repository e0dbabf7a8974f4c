package web

import "sync/atomic"

// Stats is what a [Server] has done since it began.
type Stats struct {
	Answered [5]uint64 // requests, by the first digit of the status, from 1
	InFlight int64     // requests being answered
	Bytes    uint64    // of bodies sent
	Panics   uint64    // handlers that panicked
}

type counts struct {
	status   [5]atomic.Uint64
	inFlight atomic.Int64
	bytes    atomic.Uint64
	panics   atomic.Uint64
}

func (c *counts) answered(a *answer) {
	c.inFlight.Add(-1)
	c.bytes.Add(uint64(a.bytes))
	if i := a.status/100 - 1; i >= 0 && i < len(c.status) {
		c.status[i].Add(1)
	}
}

// Stats returns what the server has done.
func (s *Server) Stats() Stats {
	st := Stats{InFlight: s.counts.inFlight.Load(), Bytes: s.counts.bytes.Load(), Panics: s.counts.panics.Load()}
	for i := range st.Answered {
		st.Answered[i] = s.counts.status[i].Load()
	}
	return st
}

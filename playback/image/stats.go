package image

import (
	"sync/atomic"
	"time"
)

// Stats counts what a Maker has done.
type Stats struct {
	Pictures  int64         // made
	Cached    int64         // asked for and kept from before
	Joined    int64         // asked for while somebody else had it made
	Failed    int64         // that could not be decoded
	TimedOut  int64         // of Failed: the process took too long
	Refused   int64         // because too many waited
	Running   int           // processes for pictures
	Waiting   int           // callers who wait for one
	Busy      time.Duration // that processes for pictures have run
	Watches   int           // open Watch loops
	Frames    int64         // given to those who watch
	Dropped   int64         // frames that those who watch were too slow for
	Restarts  int64         // of processes of those who watch, after they had died
	CacheSize int64         // bytes
}

type counters struct {
	pictures, cached, joined, failed, timedOut, refused, busy atomic.Int64
	watches, frames, dropped, restarts                        atomic.Int64
}

// Stats returns the counters. They are not taken at one moment.
func (m *Maker) Stats() Stats {
	m.mu.Lock()
	size := m.cache.bytes
	m.mu.Unlock()
	c := &m.count
	return Stats{
		Pictures: c.pictures.Load(), Cached: c.cached.Load(), Joined: c.joined.Load(),
		Failed: c.failed.Load(), TimedOut: c.timedOut.Load(), Refused: c.refused.Load(),
		Running: len(m.pool.slots), Waiting: int(m.pool.waiting.Load()), Busy: time.Duration(c.busy.Load()),
		Watches: int(c.watches.Load()), Frames: c.frames.Load(), Dropped: c.dropped.Load(), Restarts: c.restarts.Load(),
		CacheSize: size,
	}
}

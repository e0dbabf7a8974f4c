package main

import (
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// eventSink tells publishers of detections, for streams that are recorded around
// events only. Detections are read before there can be publishers.
type eventSink struct {
	sessions atomic.Pointer[ingest.Sessions]
}

func (e *eventSink) seen(list []events.Detection) {
	sessions := e.sessions.Load()
	if sessions == nil {
		return
	}
	for i := range list {
		d := &list[i]
		to := d.Time // a moment
		if d.End.After(to) {
			to = d.End
		}
		sessions.Keep(d.Camera, d.Time, to)
	}
}

// keeping tells which streams are recorded around events only.
func (s *server) keeping(name fragments.StreamName) (ingest.Keeping, bool) {
	c, ok := s.config.Streams[string(name)]
	if !ok || c.Record != "events" {
		return ingest.Keeping{}, false
	}
	around := func(d *duration) time.Duration {
		if d == nil {
			return aroundEvent
		}
		return time.Duration(*d)
	}
	return ingest.Keeping{Before: around(c.Before), After: around(c.After)}, true
}

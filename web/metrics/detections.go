package metrics

import (
	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/archive/feed"
)

// FeedFigures writes what a feed of the archive has done.
func FeedFigures(stats func() feed.Stats) func(*Writer) {
	return func(w *Writer) {
		s := stats()
		w.One("kineweir_feed_records_total", Counter, "Records of fragments put into the data stream of the feed.", float64(s.Records))
		w.One("kineweir_feed_failures_total", Counter, "Tries of the feed to put a record that failed and were made again.", float64(s.Failures))
		w.One("kineweir_feed_missed_fragments_total", Counter, "Fragments that were deleted before they were fed.", float64(s.Missed))
		w.One("kineweir_feed_waiting_fragments", Gauge, "Fragments that are recorded and not yet fed.", float64(s.Waiting))
		w.One("kineweir_feed_lag_seconds", Gauge, "Time since the oldest fragment that waits to be fed has ended.", s.Lag.Seconds())
	}
}

// DetectionFigures writes what is kept of detections, and what the readers of
// data streams have met.
func DetectionFigures(stats func() events.Stats, readers func() []events.PumpStats) func(*Writer) {
	return func(w *Writer) {
		s := stats()
		w.One("kineweir_detections", Gauge, "Detections kept.", float64(s.Detections))
		w.One("kineweir_detections_added_total", Counter, "Detections that came.", float64(s.Added))
		w.One("kineweir_detections_refused_total", Counter, "Detections of more cameras than there may be.", float64(s.Refused))
		w.One("kineweir_detections_memory_bytes", Gauge, "Detections in memory that are not yet in blocks.", float64(s.MemBytes))
		w.One("kineweir_detections_block_bytes", Gauge, "Bytes of the blocks of detections in the bucket.", float64(s.BlockBytes))
		all := readers()
		for _, f := range []struct {
			name, help string
			of         func(events.PumpStats) uint64
		}{
			{"read", "Records read from data streams in search of detections.", func(p events.PumpStats) uint64 { return p.Records }},
			{"bad", "Records read that are no JSON, or no right detection.", func(p events.PumpStats) uint64 { return p.Bad }},
			{"other", "Records read that are something else than a detection.", func(p events.PumpStats) uint64 { return p.Others }},
		} {
			w.Family("kineweir_detections_records_"+f.name+"_total", Counter, f.help)
			for _, p := range all {
				w.Sample(float64(f.of(p)), Label{"stream", p.Stream})
			}
		}
	}
}

package metrics

import (
	"maps"
	"slices"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
)

// stream is what all parts know of one stream; a part that does not know it is
// nil.
type stream struct {
	name   fragments.StreamName
	kept   *archive.StreamStats
	live   *live.Publisher
	ingest *ingest.Stats
	source ingest.Source
	lag    float64 // seconds
}

func (m *Metrics) collect(kept []archive.StreamStats) []*stream {
	by := map[fragments.StreamName]*stream{}
	at := func(name fragments.StreamName) *stream {
		s := by[name]
		if s == nil {
			s = &stream{name: name}
			by[name] = s
		}
		return s
	}
	for i := range kept {
		at(kept[i].Name).kept = &kept[i]
	}
	if m.o.Hub != nil {
		for _, n := range m.o.Hub.Names() {
			if p, err := m.o.Hub.Live(n); err == nil {
				at(n).live = p
			}
		}
	}
	if m.o.Publishers != nil {
		now := m.o.Now()
		for _, p := range m.o.Publishers() {
			s := at(p.Stream)
			s.ingest, s.source = &p.Stats, p.Source
			if !p.Stats.LastUnit.IsZero() {
				s.lag = (now.Sub(p.Stats.LastUnit) + p.Stats.Lag).Seconds()
			}
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b *stream) int { return compare(a.name, b.name) })
}

func compare(a, b fragments.StreamName) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// figure is one family with a sample per stream; of returns false for a stream
// of which the figure is not known.
type figure struct {
	name string
	kind Kind
	help string
	of   func(s *stream) (float64, bool)
}

func ofPublisher(f func(*ingest.Stats) float64) func(*stream) (float64, bool) {
	return func(s *stream) (float64, bool) {
		if s.ingest == nil {
			return 0, false
		}
		return f(s.ingest), true
	}
}

func ofKept(f func(*archive.StreamStats) float64) func(*stream) (float64, bool) {
	return func(s *stream) (float64, bool) {
		if s.kept == nil {
			return 0, false
		}
		return f(s.kept), true
	}
}

func ofLive(f func(*live.Publisher) float64) func(*stream) (float64, bool) {
	return func(s *stream) (float64, bool) {
		if s.live == nil {
			return 0, false
		}
		return f(s.live), true
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// streamFigures is the table of what is told of each stream.
func streamFigures() []figure {
	return []figure{
		{"kineweir_stream_live", Gauge, "1 while somebody publishes the stream.", func(s *stream) (float64, bool) { return truth(s.live != nil), true }},
		{"kineweir_stream_recording", Gauge, "1 while the stream is being recorded.", ofKept(func(k *archive.StreamStats) float64 { return truth(k.Recording) })},
		{"kineweir_stream_fps", Gauge, "Video frames received per second, lately.", ofPublisher(func(p *ingest.Stats) float64 { return p.FPS })},
		{"kineweir_stream_bytes_per_second", Gauge, "Bit rate of the stream in bytes per second (times 8 for bits), lately.", ofPublisher(func(p *ingest.Stats) float64 { return p.BitRate / 8 })},
		{"kineweir_stream_received_units_total", Counter, "Access units received from the publisher.", ofPublisher(func(p *ingest.Stats) float64 { return float64(p.Units) })},
		{"kineweir_stream_received_bytes_total", Counter, "Payload bytes received from the publisher.", ofPublisher(func(p *ingest.Stats) float64 { return float64(p.Bytes) })},
		{"kineweir_stream_packets_lost_total", Counter, "Packets lost between the publisher and here.", ofPublisher(func(p *ingest.Stats) float64 { return float64(p.LostPackets) })},
		{"kineweir_stream_jitter_seconds", Gauge, "Interarrival jitter of the worst track.", ofPublisher(func(p *ingest.Stats) float64 { return p.Jitter })},
		{"kineweir_stream_lag_seconds", Gauge, "Time since the newest frame was captured.", func(s *stream) (float64, bool) {
			return s.lag, s.ingest != nil && !s.ingest.LastUnit.IsZero()
		}},
		{"kineweir_stream_clock_reported", Gauge, "1 while capture times come from the publisher's own clock, 0 while from arrival.", ofPublisher(func(p *ingest.Stats) float64 { return truth(p.Source == fragments.FromReport) })},
		{"kineweir_stream_queued_bytes", Gauge, "Bytes that wait for the disk.", ofPublisher(func(p *ingest.Stats) float64 { return float64(p.QueuedBytes) })},
		{"kineweir_stream_fragments_dropped_total", Counter, "Fragments that were not stored because the disk was too slow, full or broken.", ofPublisher(func(p *ingest.Stats) float64 { return float64(p.Dropped) })},
		{"kineweir_stream_fragments_total", Counter, "Fragments made durable.", ofKept(func(k *archive.StreamStats) float64 { return float64(k.Commits) })},
		{"kineweir_stream_bytes_total", Counter, "Bytes of fragments made durable.", ofKept(func(k *archive.StreamStats) float64 { return float64(k.CommitBytes) })},
		{"kineweir_stream_commits_failed_total", Counter, "Fragments that could not be made durable.", ofKept(func(k *archive.StreamStats) float64 { return float64(k.Failed) })},
		{"kineweir_stream_kept_fragments", Gauge, "Fragments kept.", ofKept(func(k *archive.StreamStats) float64 { return float64(k.Fragments) })},
		{"kineweir_stream_kept_bytes", Gauge, "Bytes of fragments kept.", ofKept(func(k *archive.StreamStats) float64 { return float64(k.Bytes) })},
		{"kineweir_stream_spool_bytes", Gauge, "Bytes that wait on the local disk for the bucket.", ofKept(func(k *archive.StreamStats) float64 { return float64(k.SpoolBytes) })},
		{"kineweir_stream_subscribers", Gauge, "Live viewers inside the server: players, and each live playlist once.", ofLive(func(p *live.Publisher) float64 { return float64(p.Subscribers()) })},
		{"kineweir_stream_dropped_units_total", Counter, "Access units that live viewers lost because they were too slow.", ofLive(func(p *live.Publisher) float64 { return float64(p.Dropped()) })},
	}
}

// streams writes what is told of each stream.
func (m *Metrics) streams(w *Writer, kept []archive.StreamStats) {
	all := m.collect(kept)
	labels := make([][1]Label, len(all))
	for i, s := range all {
		labels[i] = [1]Label{{"stream", string(s.name)}}
	}
	for _, f := range streamFigures() {
		w.Family(f.name, f.kind, f.help)
		for i, s := range all {
			if v, known := f.of(s); known {
				w.Sample(v, labels[i][:]...)
			}
		}
	}
	w.Family("kineweir_stream_info", Gauge, "Who publishes the stream; always 1.")
	for _, s := range all {
		if s.ingest != nil {
			w.Sample(1, Label{"stream", string(s.name)}, Label{"protocol", s.source.Protocol})
		}
	}
	bounds := archive.CommitBounds()
	w.Family("kineweir_stream_commit_duration_seconds", Histogram, "Time it took to make a fragment durable.")
	for i, s := range all {
		if s.kept != nil {
			w.Durations(bounds[:], s.kept.Latency[:], s.kept.CommitTime, labels[i][:]...)
		}
	}
}

package metrics

import (
	"maps"
	"slices"

	"github.com/kineweir/kineweir/playback/viewer"
	"github.com/kineweir/kineweir/web/whip"
)

// WebRTC are the figures of WebRTC publishers and viewers; each function is asked
// when somebody reads the metrics.
type WebRTC struct {
	Sessions func() []whip.Stats                 // per protocol
	Viewers  func() viewer.Stats                 // nil: not told
	TURN     func() (allocations, refused int64) // nil: there is no TURN server
}

// Write writes them.
func (f WebRTC) Write(w *Writer) {
	f.sessions(w)
	if f.Viewers != nil {
		writeViewers(w, f.Viewers())
	}
	if f.TURN != nil {
		allocations, refused := f.TURN()
		w.One("kineweir_turn_allocations", Gauge, "Clients that the TURN server relays for.", float64(allocations))
		w.One("kineweir_turn_refused_packets_total", Counter, "Packets to where the TURN server does not relay.", float64(refused))
	}
}

func (f WebRTC) sessions(w *Writer) {
	all := f.Sessions()
	for _, row := range []struct {
		name string
		kind Kind
		help string
		of   func(*whip.Stats) float64
	}{
		{"sessions", Gauge, "WebRTC sessions that are open, by protocol.", func(s *whip.Stats) float64 { return float64(s.Open) }},
		{"opened_total", Counter, "WebRTC sessions that got an answer.", func(s *whip.Stats) float64 { return float64(s.Opened) }},
		{"refused_total", Counter, "WebRTC offers that got no answer.", func(s *whip.Stats) float64 { return float64(s.Refused) }},
		{"connected_total", Counter, "WebRTC sessions that came to be connected.", func(s *whip.Stats) float64 { return float64(s.Connected) }},
		{"ice_restarts_total", Counter, "ICE restarts.", func(s *whip.Stats) float64 { return float64(s.Restarts) }},
		{"remote_candidates_total", Counter, "ICE candidates that clients sent.", func(s *whip.Stats) float64 { return float64(s.Candidates) }},
	} {
		w.Family("kineweir_webrtc_"+row.name, row.kind, row.help)
		for i := range all {
			w.Sample(row.of(&all[i]), Label{"protocol", all[i].Protocol})
		}
	}
	w.Family("kineweir_webrtc_failed_total", Counter, "WebRTC sessions that were never connected or were lost, by cause.")
	for i := range all {
		for cause, n := range all[i].Failed {
			if name := whip.CauseName(cause); name != "" {
				w.Sample(float64(n), Label{"protocol", all[i].Protocol}, Label{"cause", name})
			}
		}
	}
}

func writeViewers(w *Writer, s viewer.Stats) {
	w.Family("kineweir_webrtc_viewers", Gauge, "WebRTC viewers of a stream.")
	for _, name := range slices.Sorted(maps.Keys(s.Viewers)) {
		w.Sample(float64(s.Viewers[name]), Label{"stream", string(name)})
	}
	w.One("kineweir_webrtc_joins_total", Counter, "WebRTC viewers there were.", float64(s.Joins))
	w.One("kineweir_webrtc_sent_packets_total", Counter, "RTP packets sent to WebRTC viewers.", float64(s.Packets))
	w.One("kineweir_webrtc_sent_bytes_total", Counter, "Bytes of RTP payload sent to WebRTC viewers.", float64(s.Bytes))
	w.One("kineweir_webrtc_retransmitted_packets_total", Counter, "RTP packets that were sent again.", float64(s.Retransmitted))
	w.One("kineweir_webrtc_skipped_frames_total", Counter, "Video frames that WebRTC viewers did not get because their link was too slow.", float64(s.Skipped))
	w.One("kineweir_webrtc_thinned_total", Counter, "How often a WebRTC viewer was put to key frames only.", float64(s.Thinned))
	w.One("kineweir_webrtc_key_requests_total", Counter, "Key frames that WebRTC viewers asked for.", float64(s.KeyRequests))
}

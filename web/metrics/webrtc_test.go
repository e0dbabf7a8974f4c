package metrics

import (
	"testing"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/viewer"
	"github.com/kineweir/kineweir/web/whip"
)

func TestWebRTCFigures(t *testing.T) {
	in := whip.Stats{Protocol: "whip", Open: 1, Opened: 2, Refused: 3, Connected: 4, Restarts: 5, Candidates: 6}
	out := whip.Stats{Protocol: "whep", Open: 7}
	for i := range out.Failed {
		if whip.CauseName(i) == "nothing_arrived" {
			out.Failed[i] = 8
		}
	}
	m := New(Options{Extra: []func(*Writer){WebRTC{
		Sessions: func() []whip.Stats { return []whip.Stats{in, out} },
		Viewers: func() viewer.Stats {
			return viewer.Stats{Viewers: map[fragments.StreamName]int{"door": 9}, Joins: 10, Packets: 11, Bytes: 12, Retransmitted: 13, Skipped: 14, Thinned: 15, KeyRequests: 16}
		},
		TURN: func() (int64, int64) { return 17, 18 },
	}.Write}})
	families, err := parse(string(m.text()))
	if err != nil {
		t.Fatal(err)
	}
	for series, want := range map[string]float64{
		`kineweir_webrtc_sessions{protocol="whip"}`:                             1,
		`kineweir_webrtc_opened_total{protocol="whip"}`:                         2,
		`kineweir_webrtc_refused_total{protocol="whip"}`:                        3,
		`kineweir_webrtc_connected_total{protocol="whip"}`:                      4,
		`kineweir_webrtc_ice_restarts_total{protocol="whip"}`:                   5,
		`kineweir_webrtc_remote_candidates_total{protocol="whip"}`:              6,
		`kineweir_webrtc_sessions{protocol="whep"}`:                             7,
		`kineweir_webrtc_failed_total{protocol="whep",cause="nothing_arrived"}`: 8,
		`kineweir_webrtc_failed_total{protocol="whip",cause="lost"}`:            0,
		`kineweir_webrtc_viewers{stream="door"}`:                                9,
		`kineweir_webrtc_joins_total`:                                           10,
		`kineweir_webrtc_sent_packets_total`:                                    11,
		`kineweir_webrtc_sent_bytes_total`:                                      12,
		`kineweir_webrtc_retransmitted_packets_total`:                           13,
		`kineweir_webrtc_skipped_frames_total`:                                  14,
		`kineweir_webrtc_thinned_total`:                                         15,
		`kineweir_webrtc_key_requests_total`:                                    16,
		`kineweir_turn_allocations`:                                             17,
		`kineweir_turn_refused_packets_total`:                                   18,
	} {
		if got, ok := find(families, series); !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", series, got, ok, want)
		}
	}
}

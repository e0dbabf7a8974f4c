package metrics

import "github.com/kineweir/kineweir/playback/detect"

// DetectorFigures writes how the detectors of cameras fare.
func DetectorFigures(list func() []detect.Status) func(*Writer) {
	return func(w *Writer) {
		all := list()
		of := func(s *detect.Status) []Label {
			return []Label{{"stream", string(s.Camera)}, {"detector", s.Kind}}
		}
		w.Family("kineweir_detector_state", Gauge, "1 for the state that a detector of a camera is in.")
		for i := range all {
			w.Sample(1, append(of(&all[i]), Label{"state", all[i].State})...)
		}
		for _, f := range []struct {
			name, help string
			of         func(*detect.Status) int64
		}{
			{"pictures", "Pictures that a detector looked at.", func(s *detect.Status) int64 { return s.Pictures }},
			{"skipped_pictures", "Pictures that a detector was too slow for, or wanted to rest from.", func(s *detect.Status) int64 { return s.Skipped }},
			{"events", "Records of events that a detector put.", func(s *detect.Status) int64 { return s.Events }},
			{"lost_events", "Records of events that the data stream could not take.", func(s *detect.Status) int64 { return s.Lost }},
			{"wakes", "How often the first stage of a motion detector woke the second.", func(s *detect.Status) int64 { return s.Wakes }},
			{"restarts", "How often a detector failed and was tried again.", func(s *detect.Status) int64 { return s.Restarts }},
		} {
			w.Family("kineweir_detector_"+f.name+"_total", Counter, f.help)
			for i := range all {
				w.Sample(float64(f.of(&all[i])), of(&all[i])...)
			}
		}
	}
}

package metrics

import "github.com/kineweir/kineweir/playback/image"

// ImageFigures writes what the maker of pictures has done.
func ImageFigures(stats func() image.Stats) func(*Writer) {
	return func(w *Writer) {
		s := stats()
		w.One("kineweir_images_total", Counter, "Pictures made.", float64(s.Pictures))
		w.One("kineweir_images_cached_total", Counter, "Pictures that were kept from an earlier request.", float64(s.Cached))
		w.One("kineweir_images_joined_total", Counter, "Requests for a picture that was being made for another.", float64(s.Joined))
		w.One("kineweir_images_failed_total", Counter, "Tries to make pictures that came to nothing.", float64(s.Failed))
		w.One("kineweir_images_timeouts_total", Counter, "Those of them that took too long.", float64(s.TimedOut))
		w.One("kineweir_images_refused_total", Counter, "Requests for pictures refused because too many waited.", float64(s.Refused))
		w.One("kineweir_images_running", Gauge, "Processes that make pictures.", float64(s.Running))
		w.One("kineweir_images_waiting", Gauge, "Requests that wait for such a process.", float64(s.Waiting))
		w.One("kineweir_images_busy_seconds_total", Counter, "Time that such processes have run.", s.Busy.Seconds())
		w.One("kineweir_images_cache_bytes", Gauge, "Bytes of pictures that are kept.", float64(s.CacheSize))
		w.One("kineweir_watches", Gauge, "Live streams that are decoded for detectors.", float64(s.Watches))
		w.One("kineweir_watch_frames_total", Counter, "Frames decoded for detectors.", float64(s.Frames))
		w.One("kineweir_watch_dropped_frames_total", Counter, "Frames that detectors were too slow for.", float64(s.Dropped))
		w.One("kineweir_watch_restarts_total", Counter, "Decoders for detectors that died and were started again.", float64(s.Restarts))
	}
}

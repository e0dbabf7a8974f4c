package metrics

import (
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/web"
)

// server writes the figures of the front door.
func server(w *Writer, s web.Stats) {
	w.Family("kineweir_http_requests_total", Counter, "HTTP requests answered, by the first digit of the status.")
	for i, n := range s.Answered {
		w.Sample(float64(n), Label{"code", string(rune('1'+i)) + "xx"})
	}
	w.One("kineweir_http_requests_in_flight", Gauge, "HTTP requests being answered.", float64(s.InFlight))
	w.One("kineweir_http_sent_bytes_total", Counter, "Bytes of bodies sent.", float64(s.Bytes))
	w.One("kineweir_http_panics_total", Counter, "Handlers that panicked: each is a mistake in this program.", float64(s.Panics))
}

// archived writes the figures of the whole archive.
func archived(w *Writer, s archive.Stats) {
	w.One("kineweir_archive_kept_fragments", Gauge, "Fragments kept.", float64(s.Fragments))
	w.One("kineweir_archive_kept_bytes", Gauge, "Bytes of fragments kept.", float64(s.Bytes))
	w.One("kineweir_archive_spool_bytes", Gauge, "Bytes that wait on the local disk for the bucket.", float64(s.SpoolBytes))
	w.One("kineweir_archive_spool_limit_bytes", Gauge, "Bytes at which recording stops until the bucket has caught up.", float64(s.SpoolLimit))
	w.One("kineweir_archive_waiting_objects", Gauge, "Finished objects that wait for the bucket.", float64(s.Waiting))
	w.One("kineweir_archive_spool_syncs_total", Counter, "Syncs of spool files.", float64(s.Syncs))
	w.One("kineweir_archive_spool_sync_seconds_total", Counter, "Time spent in syncs of spool files.", s.SyncTime.Seconds())
	w.One("kineweir_archive_uploads_total", Counter, "Objects brought to the bucket.", float64(s.Uploads))
	w.One("kineweir_archive_uploaded_bytes_total", Counter, "Bytes of objects brought to the bucket.", float64(s.UploadBytes))
	w.One("kineweir_archive_upload_seconds_total", Counter, "Time spent in bringing objects to the bucket.", s.UploadTime.Seconds())
	w.One("kineweir_archive_upload_errors_total", Counter, "Tries to bring an object to the bucket that failed.", float64(s.UploadErrors))
	w.One("kineweir_archive_index_blocks_read_total", Counter, "Blocks of the index read from the bucket.", float64(s.BlocksRead))
	w.One("kineweir_archive_damaged_total", Counter, "Checksums that did not match.", float64(s.Damaged))
	w.One("kineweir_archive_retired_objects_total", Counter, "Objects taken out of the bucket by retention and deletion.", float64(s.RetiredObjects))
	j := s.Index
	w.One("kineweir_journal_bytes", Gauge, "Bytes of the journal files of the index.", float64(j.Bytes))
	w.One("kineweir_journal_queued_bytes", Gauge, "Bytes of the index that wait to be durable.", float64(j.Queued))
	w.One("kineweir_journal_frames_total", Counter, "Frames of the index made durable: group commits.", float64(j.Frames))
	w.One("kineweir_journal_entries_total", Counter, "Entries of the index made durable.", float64(j.Entries))
	w.One("kineweir_journal_refused_total", Counter, "Entries of the index refused because too much waited.", float64(j.Refused))
	w.One("kineweir_journal_written_bytes_total", Counter, "Bytes of the index made durable.", float64(j.Written))
	w.One("kineweir_journal_sync_seconds_total", Counter, "Time spent waiting for the disk under the index.", j.SyncTime.Seconds())
	w.One("kineweir_journal_failed", Gauge, "1 once the journal of the index has failed: nothing is recorded then.", truth(j.Err != nil))
}

// operations writes the figures of the bucket.
func operations(w *Writer, s bucket.Stats) {
	figure := func(name, help string, of func(bucket.OpStats) float64) {
		w.Family(name, Counter, help)
		for op, o := range s {
			w.Sample(of(o), operation(op))
		}
	}
	figure("kineweir_bucket_operations_total", "Operations on the bucket that have ended.", func(o bucket.OpStats) float64 { return float64(o.Count) })
	figure("kineweir_bucket_errors_total", "Operations on the bucket that failed.", func(o bucket.OpStats) float64 { return float64(o.Errors) })
	figure("kineweir_bucket_bytes_total", "Bytes of bodies stored in the bucket (put) and read from it (get).", func(o bucket.OpStats) float64 { return float64(o.Bytes) })
	bounds := bucket.LatencyBounds()
	w.Family("kineweir_bucket_operation_duration_seconds", Histogram, "Time that operations on the bucket took; of a get, until its first byte.")
	for op, o := range s {
		w.Durations(bounds[:], o.Latency[:], o.Busy, operation(op))
	}
}

func operation(op int) Label { return Label{"operation", bucket.Op(op).String()} }

// build writes what program this is and since when it runs.
func (m *Metrics) build(w *Writer) {
	w.Family("kineweir_build_info", Gauge, "What program this is; always 1.")
	w.Sample(1, Label{"version", m.o.Version}, Label{"goversion", goVersion()})
	w.One("kineweir_uptime_seconds", Gauge, "Time since the start.", m.o.Now().Sub(m.started).Seconds())
	w.One("process_start_time_seconds", Gauge, "When the process started, seconds since 1970.", float64(m.started.UnixNano())/float64(time.Second))
}

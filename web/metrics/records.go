package metrics

import (
	"fmt"
	"slices"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/segment"
)

// Records is asked for its figures; [datastream.Engine] answers.
type Records interface {
	Figures(yield func(stream string, f datastream.StreamFigures))
	Counts() (streams, openShards, onDemand int)
}

// Segments is asked for its figures; [segment.Store] answers.
type Segments interface{ Stats() segment.Stats }

// Lane is asked for its figures; every [journal.Journal] answers.
type Lane interface{ Stats() journal.Stats }

// shardsTold is how many shards a stream may have and each still be told of
// when nobody has asked for it with EnableEnhancedMonitoring.
const shardsTold = 64

// recordFigure is a family with a sample per data stream. Its name follows that
// of the service's CloudWatch metric, which begins its help.
// https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html
type recordFigure struct {
	name string
	kind Kind
	help string
	of   func(*datastream.StreamFigures) float64
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func recordFigures() []recordFigure {
	type F = *datastream.StreamFigures
	return []recordFigure{
		{"incoming_bytes_total", Counter, "IncomingBytes: bytes of keys and data that were put.", func(f F) float64 { return float64(f.IncomingBytes) }},
		{"incoming_records_total", Counter, "IncomingRecords: records that were put.", func(f F) float64 { return float64(f.IncomingRecords) }},
		{"put_record_bytes_total", Counter, "PutRecord.Bytes: bytes put with PutRecord.", func(f F) float64 { return float64(f.PutRecord.Bytes) }},
		{"put_record_calls_total", Counter, "Calls of PutRecord.", func(f F) float64 { return float64(f.PutRecord.Calls) }},
		{"put_record_success_total", Counter, "PutRecord.Success: calls of PutRecord that put a record.", func(f F) float64 { return float64(f.PutRecord.Success) }},
		{"put_record_latency_milliseconds_total", Counter, "PutRecord.Latency: milliseconds in calls of PutRecord.", func(f F) float64 { return millis(f.PutRecord.Latency) }},
		{"put_records_bytes_total", Counter, "PutRecords.Bytes: bytes put with PutRecords.", func(f F) float64 { return float64(f.PutRecords.Bytes) }},
		{"put_records_calls_total", Counter, "Calls of PutRecords.", func(f F) float64 { return float64(f.PutRecords.Calls) }},
		{"put_records_success_total", Counter, "PutRecords.Success: calls of PutRecords that put at least one record.", func(f F) float64 { return float64(f.PutRecords.Success) }},
		{"put_records_latency_milliseconds_total", Counter, "PutRecords.Latency: milliseconds in calls of PutRecords.", func(f F) float64 { return millis(f.PutRecords.Latency) }},
		{"put_records_total_records_total", Counter, "PutRecords.TotalRecords: records in calls of PutRecords.", func(f F) float64 { return float64(f.PutRecordsTotalRecords) }},
		{"put_records_successful_records_total", Counter, "PutRecords.SuccessfulRecords: records that PutRecords put.", func(f F) float64 { return float64(f.PutRecords.Records) }},
		{"put_records_failed_records_total", Counter, "PutRecords.FailedRecords: records that could not be kept.", func(f F) float64 { return float64(f.PutRecordsFailedRecords) }},
		{"put_records_throttled_records_total", Counter, "PutRecords.ThrottledRecords: records refused for their rate.", func(f F) float64 { return float64(f.PutRecordsThrottledRecords) }},
		{"write_provisioned_throughput_exceeded_total", Counter, "WriteProvisionedThroughputExceeded: records refused for their rate.", func(f F) float64 { return float64(f.WriteProvisionedThroughputExceeded) }},
		{"read_provisioned_throughput_exceeded_total", Counter, "ReadProvisionedThroughputExceeded: calls of GetRecords refused for their rate.", func(f F) float64 { return float64(f.ReadProvisionedThroughputExceeded) }},
		{"get_records_bytes_total", Counter, "GetRecords.Bytes: bytes read with GetRecords.", func(f F) float64 { return float64(f.GetRecords.Bytes) }},
		{"get_records_records_total", Counter, "GetRecords.Records: records read with GetRecords.", func(f F) float64 { return float64(f.GetRecords.Records) }},
		{"get_records_calls_total", Counter, "Calls of GetRecords.", func(f F) float64 { return float64(f.GetRecords.Calls) }},
		{"get_records_success_total", Counter, "GetRecords.Success: calls of GetRecords that were answered.", func(f F) float64 { return float64(f.GetRecords.Success) }},
		{"get_records_latency_milliseconds_total", Counter, "GetRecords.Latency: milliseconds in calls of GetRecords.", func(f F) float64 { return millis(f.GetRecords.Latency) }},
		{"get_records_iterator_age_milliseconds", Gauge, "GetRecords.IteratorAgeMilliseconds: age of the last record that GetRecords returned.", func(f F) float64 { return millis(f.IteratorAgeLast) }},
		{"get_records_millis_behind_latest", Gauge, "MillisBehindLatest of the last GetRecords.", func(f F) float64 { return millis(f.IteratorBehind) }},
		{"subscribe_to_shard_success_total", Counter, "SubscribeToShard.Success: subscriptions begun.", func(f F) float64 { return float64(f.Subscribe) }},
		{"subscribe_to_shard_rate_exceeded_total", Counter, "SubscribeToShard.RateExceeded: subscriptions refused.", func(f F) float64 { return float64(f.SubscribeRefused) }},
		{"subscribe_to_shard_event_bytes_total", Counter, "SubscribeToShardEvent.Bytes: bytes pushed to consumers.", func(f F) float64 { return float64(f.SubscribeEvent.Bytes) }},
		{"subscribe_to_shard_event_records_total", Counter, "SubscribeToShardEvent.Records: records pushed to consumers.", func(f F) float64 { return float64(f.SubscribeEvent.Records) }},
		{"subscribe_to_shard_event_success_total", Counter, "SubscribeToShardEvent.Success: events pushed to consumers.", func(f F) float64 { return float64(f.SubscribeEvent.Success) }},
		{"subscribe_to_shard_event_millis_behind_latest", Gauge, "SubscribeToShardEvent.MillisBehindLatest of the last event.", func(f F) float64 { return millis(f.EventBehindLast) }},
	}
}

// shardFigure is a family with a sample per shard, named as the shard-level
// metric of enhanced monitoring.
type shardFigure struct {
	name string
	kind Kind
	help string
	of   func(*datastream.ShardFigures) float64
}

func shardFigures() []shardFigure {
	type F = *datastream.ShardFigures
	return []shardFigure{
		{"incoming_bytes_total", Counter, "IncomingBytes of a shard.", func(f F) float64 { return float64(f.IncomingBytes) }},
		{"incoming_records_total", Counter, "IncomingRecords of a shard.", func(f F) float64 { return float64(f.IncomingRecords) }},
		{"outgoing_bytes_total", Counter, "OutgoingBytes of a shard.", func(f F) float64 { return float64(f.OutgoingBytes) }},
		{"outgoing_records_total", Counter, "OutgoingRecords of a shard.", func(f F) float64 { return float64(f.OutgoingRecords) }},
		{"iterator_age_milliseconds", Gauge, "IteratorAgeMilliseconds of a shard: age of the last record read.", func(f F) float64 { return millis(f.IteratorAgeLast) }},
		{"write_provisioned_throughput_exceeded_total", Counter, "WriteProvisionedThroughputExceeded of a shard.", func(f F) float64 { return float64(f.WriteProvisionedThroughputExceeded) }},
		{"read_provisioned_throughput_exceeded_total", Counter, "ReadProvisionedThroughputExceeded of a shard.", func(f F) float64 { return float64(f.ReadProvisionedThroughputExceeded) }},
	}
}

// RecordFigures writes what is told of data streams, their shards and what they
// are kept in.
func RecordFigures(r Records, s Segments, l Lane) func(*Writer) {
	return func(w *Writer) {
		streams, shards, onDemand := r.Counts()
		w.One("kineweir_kinesis_streams", Gauge, "Data streams.", float64(streams))
		w.One("kineweir_kinesis_open_shards", Gauge, "OpenShardCount: shards that take records.", float64(shards))
		w.One("kineweir_kinesis_on_demand_streams", Gauge, "OnDemandStreamCount: data streams in on-demand mode.", float64(onDemand))
		perStream(w, r)
		kept(w, s.Stats(), l.Stats())
	}
}

func perStream(w *Writer, r Records) {
	var names []string
	all := map[string]*datastream.StreamFigures{}
	r.Figures(func(stream string, f datastream.StreamFigures) {
		names = append(names, stream)
		all[stream] = &f
	})
	slices.Sort(names)
	for _, f := range recordFigures() {
		w.Family("kineweir_kinesis_"+f.name, f.kind, f.help)
		for _, n := range names {
			w.Sample(f.of(all[n]), Label{"stream", n})
		}
	}
	for _, f := range shardFigures() {
		w.Family("kineweir_kinesis_shard_"+f.name, f.kind, f.help)
		for _, n := range names {
			if of := all[n]; len(of.Shards) <= shardsTold || len(of.MonitoredPerShard) > 0 {
				for i := range of.Shards {
					w.Sample(f.of(&of.Shards[i]), Label{"stream", n}, Label{"shard", fmt.Sprintf("shardId-%012d", of.Shards[i].Index)})
				}
			}
		}
	}
}

func kept(w *Writer, s segment.Stats, l journal.Stats) {
	w.One("kineweir_records_memory_bytes", Gauge, "Records in memory that are not yet in sealed files.", float64(s.MemBytes))
	w.One("kineweir_records_files", Gauge, "Sealed files.", float64(s.Files))
	w.One("kineweir_records_file_bytes", Gauge, "Bytes in sealed files, and in the parts of the log that they refer to.", float64(s.FileBytes))
	w.One("kineweir_records_kept", Gauge, "Records in sealed files.", float64(s.Records))
	w.One("kineweir_records_sealed_bytes_total", Counter, "Bytes written to sealed files.", float64(s.Sealed))
	w.One("kineweir_records_dropped_files_total", Counter, "Sealed files that were dropped, as all in them had expired.", float64(s.Dropped))
	w.One("kineweir_records_scrubbed_bytes_total", Counter, "Bytes of sealed files that were read in search of damage.", float64(s.Scrubbed))
	w.One("kineweir_records_damaged_total", Counter, "Times that damage was met in sealed files.", float64(s.Damaged))
	w.One("kineweir_records_broken_files", Gauge, "Sealed files of which records can not be read; the log says which, and what to do.", float64(s.Broken))
	w.One("kineweir_records_lost", Gauge, "Records of sealed files that can not be read.", float64(s.Lost))
	w.One("kineweir_records_mended_files", Gauge, "Sealed files whose index is damaged and was made anew of their records.", float64(s.Mended))
	w.One("kineweir_records_gaps_total", Counter, "Times that a reader went on behind records that can not be read.", float64(s.Gaps))
	w.One("kineweir_records_refused_total", Counter, "Appends refused for want of room.", float64(s.Refused+l.Refused))
	w.One("kineweir_records_log_bytes", Gauge, "Bytes in the log of records.", float64(l.Bytes))
	w.One("kineweir_records_log_kept_bytes", Gauge, "Bytes of the log that are kept for the sealed files that refer to them.", float64(l.Kept))
	w.One("kineweir_records_log_frames_total", Counter, "Frames made durable in the log, one sync each.", float64(l.Frames))
	w.One("kineweir_records_log_written_bytes_total", Counter, "Bytes made durable in the log.", float64(l.Written))
	w.One("kineweir_records_log_sync_seconds_total", Counter, "Seconds that the log waited for the disk.", l.SyncTime.Seconds())
}

package metrics

import (
	"fmt"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/archive/feed"
	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/segment"
)

type fakeRecords map[string]datastream.StreamFigures

func (f fakeRecords) Counts() (streams, openShards, onDemand int) { return len(f), 70, 1 }

func (f fakeRecords) Figures(yield func(string, datastream.StreamFigures)) {
	for name, s := range f {
		yield(name, s)
	}
}

type segmentStats segment.Stats

func (s segmentStats) Stats() segment.Stats { return segment.Stats(s) }

type laneStats journal.Stats

func (s laneStats) Stats() journal.Stats { return journal.Stats(s) }

func TestRecordFigures(t *testing.T) {
	wide := datastream.StreamFigures{IncomingBytes: 5, Shards: make([]datastream.ShardFigures, shardsTold+1)}
	for i := range wide.Shards {
		wide.Shards[i].Index = uint32(i)
	}
	watched := wide
	watched.MonitoredPerShard = []string{"IncomingBytes"}
	calls := NewCalls()
	calls.Observe("PutRecord", "", 2*time.Second)
	calls.Observe("PutRecord", "ResourceNotFoundException", time.Second)
	calls.Observe("", "UnknownOperationException", 0)
	records := fakeRecords{
		"orders": {
			IncomingBytes: 1000, IncomingRecords: 10, IteratorAgeLast: 1500 * time.Millisecond,
			WriteProvisionedThroughputExceeded: 7,
			PutRecords:                         datastream.CallFigures{Calls: 4, Success: 3, Latency: 20 * time.Millisecond, Records: 9},
			Shards:                             []datastream.ShardFigures{{Index: 0, IncomingBytes: 400}, {Index: 12, IncomingBytes: 600, IteratorAgeLast: time.Second}},
		},
		"wide": wide, "watched": watched,
	}
	m := New(Options{Extra: []func(*Writer){
		RecordFigures(records, segmentStats{Files: 3, Damaged: 1, Refused: 1, Broken: 2, Lost: 900, Mended: 4, Gaps: 5}, laneStats{Frames: 8, Refused: 2}), calls.Write,
		DetectionFigures(func() events.Stats { return events.Stats{Detections: 6} }, func() []events.PumpStats { return []events.PumpStats{{Stream: "d", Bad: 2}} }),
		FeedFigures(func() feed.Stats { return feed.Stats{Records: 11, Lag: time.Second} }),
	}})
	families, err := parse(string(m.text()))
	if err != nil {
		t.Fatal(err)
	}
	for series, want := range map[string]float64{
		`kineweir_kinesis_incoming_bytes_total{stream="orders"}`:                                         1000,
		`kineweir_kinesis_get_records_iterator_age_milliseconds{stream="orders"}`:                        1500,
		`kineweir_kinesis_write_provisioned_throughput_exceeded_total{stream="orders"}`:                  7,
		`kineweir_kinesis_put_records_success_total{stream="orders"}`:                                    3,
		`kineweir_kinesis_put_records_latency_milliseconds_total{stream="orders"}`:                       20,
		`kineweir_kinesis_shard_incoming_bytes_total{stream="orders",shard="shardId-000000000012"}`:      600,
		`kineweir_kinesis_shard_iterator_age_milliseconds{stream="orders",shard="shardId-000000000012"}`: 1000,
		`kineweir_kinesis_shard_incoming_bytes_total{stream="watched",shard="shardId-000000000000"}`:     0,
		`kineweir_kinesis_open_shards`:                                                                70,
		`kineweir_kinesis_calls_total{operation="PutRecord",code="none"}`:                             1,
		`kineweir_kinesis_calls_total{operation="unknown",code="UnknownOperationException"}`:          1,
		`kineweir_kinesis_call_seconds_total{operation="PutRecord",code="ResourceNotFoundException"}`: 1,
		`kineweir_records_refused_total`:                                                              3,
		`kineweir_records_damaged_total`:                                                              1,
		`kineweir_records_broken_files`:                                                               2,
		`kineweir_records_lost`:                                                                       900,
		`kineweir_records_mended_files`:                                                               4,
		`kineweir_records_gaps_total`:                                                                 5,
		`kineweir_detections`:                                                                         6,
		`kineweir_detections_records_bad_total{stream="d"}`:                                           2,
		`kineweir_feed_records_total`:                                                                 11,
	} {
		if got, ok := find(families, series); !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", series, got, ok, want)
		}
	}
	if _, ok := find(families, fmt.Sprintf(`kineweir_kinesis_shard_incoming_bytes_total{stream="wide",shard="shardId-%012d"}`, 0)); ok {
		t.Error("shards of a wide stream that nobody watches are told")
	}
}

package metrics

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

type archiveStats archive.Stats

func (a archiveStats) Stats() archive.Stats { return archive.Stats(a) }

type bucketStats bucket.Stats

func (b bucketStats) Stats() bucket.Stats { return bucket.Stats(b) }

type serverStats web.Stats

func (s serverStats) Stats() web.Stats { return web.Stats(s) }

// full is a Metrics over every part, with streams that only some parts know.
func full(t *testing.T) *Metrics {
	t.Helper()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	hub := live.New()
	hub.Publish("front-door", []*fragments.Track{{ID: 1, Codec: fragments.H264}})
	hub.Publish("new", nil)
	if _, err := hub.Subscribe("front-door", live.SubscribeOptions{}); err != nil {
		t.Fatal(err)
	}
	kept := archive.Stats{SpoolBytes: 77, Streams: []archive.StreamStats{
		{Name: "front-door", Recording: true, Fragments: 9, Bytes: 900, SpoolBytes: 70, Commits: 12, CommitBytes: 1200, CommitTime: 90 * time.Millisecond, Latency: [archive.CommitBuckets]uint64{4, 3, 2, 0, 0, 0, 0, 0, 3}},
		{Name: "old", Fragments: 1, Bytes: 100},
	}}
	kept.Index.Err = errors.New("disk gone")
	var objects bucket.Stats
	objects[bucket.OpPut] = bucket.OpStats{Count: 5, Errors: 2, Bytes: 500, Busy: 3 * time.Second, Latency: [9]uint64{1, 0, 0, 0, 4}}
	return New(Options{
		Archive: archiveStats(kept), Bucket: bucketStats(objects), Hub: hub,
		Server: func() Server {
			return serverStats{Answered: [5]uint64{0, 10, 1, 2, 3}, InFlight: 1, Bytes: 4096, Panics: 1}
		},
		Publishers: func() []Publisher {
			return []Publisher{
				{Stream: "front-door", Source: ingest.Source{Protocol: "rtsp"}, Stats: ingest.Stats{
					FPS: 24.98, BitRate: 2.5e6, Units: 100, Bytes: 31250, LostPackets: 3, Jitter: 0.0015, Lag: 50 * time.Millisecond,
					LastUnit: now.Add(-200 * time.Millisecond), Source: fragments.FromReport, QueuedBytes: 5, Dropped: 2,
				}},
				{Stream: "new", Source: ingest.Source{Protocol: "rtsp-pull"}},
			}
		},
		Extra:   []func(*Writer){func(w *Writer) { w.One("kineweir_rtsp_sessions", Gauge, "RTSP sessions.", 4) }},
		Version: "1.2.3", Now: func() time.Time { return now },
	})
}

func TestFigures(t *testing.T) {
	families, err := parse(string(full(t).text()))
	if err != nil {
		t.Fatal(err)
	}
	for series, want := range map[string]float64{
		`kineweir_stream_live{stream="front-door"}`:                                      1,
		`kineweir_stream_live{stream="old"}`:                                             0,
		`kineweir_stream_recording{stream="front-door"}`:                                 1,
		`kineweir_stream_recording{stream="old"}`:                                        0,
		`kineweir_stream_fps{stream="front-door"}`:                                       24.98,
		`kineweir_stream_bytes_per_second{stream="front-door"}`:                          312500,
		`kineweir_stream_received_units_total{stream="front-door"}`:                      100,
		`kineweir_stream_received_bytes_total{stream="front-door"}`:                      31250,
		`kineweir_stream_packets_lost_total{stream="front-door"}`:                        3,
		`kineweir_stream_jitter_seconds{stream="front-door"}`:                            0.0015,
		`kineweir_stream_lag_seconds{stream="front-door"}`:                               0.25,
		`kineweir_stream_clock_reported{stream="front-door"}`:                            1,
		`kineweir_stream_clock_reported{stream="new"}`:                                   0,
		`kineweir_stream_queued_bytes{stream="front-door"}`:                              5,
		`kineweir_stream_fragments_dropped_total{stream="front-door"}`:                   2,
		`kineweir_stream_fragments_total{stream="front-door"}`:                           12,
		`kineweir_stream_bytes_total{stream="front-door"}`:                               1200,
		`kineweir_stream_commits_failed_total{stream="old"}`:                             0,
		`kineweir_stream_kept_fragments{stream="front-door"}`:                            9,
		`kineweir_stream_kept_bytes{stream="old"}`:                                       100,
		`kineweir_stream_spool_bytes{stream="front-door"}`:                               70,
		`kineweir_stream_subscribers{stream="front-door"}`:                               1,
		`kineweir_stream_dropped_units_total{stream="new"}`:                              0,
		`kineweir_stream_info{stream="new",protocol="rtsp-pull"}`:                        1,
		`kineweir_stream_commit_duration_seconds_bucket{stream="front-door",le="0.002"}`: 7,
		`kineweir_stream_commit_duration_seconds_bucket{stream="front-door",le="+Inf"}`:  12,
		`kineweir_stream_commit_duration_seconds_sum{stream="front-door"}`:               0.09,
		`kineweir_stream_commit_duration_seconds_count{stream="front-door"}`:             12,
		`kineweir_archive_spool_bytes`:                                                   77,
		`kineweir_journal_failed`:                                                        1,
		`kineweir_bucket_operations_total{operation="put"}`:                              5,
		`kineweir_bucket_operations_total{operation="get"}`:                              0,
		`kineweir_bucket_errors_total{operation="put"}`:                                  2,
		`kineweir_bucket_bytes_total{operation="put"}`:                                   500,
		`kineweir_bucket_operation_duration_seconds_bucket{operation="put",le="0.5"}`:    5,
		`kineweir_bucket_operation_duration_seconds_bucket{operation="put",le="0.1"}`:    1,
		`kineweir_bucket_operation_duration_seconds_sum{operation="put"}`:                3,
		`kineweir_http_requests_total{code="2xx"}`:                                       10,
		`kineweir_http_requests_total{code="5xx"}`:                                       3,
		`kineweir_http_requests_in_flight`:                                               1,
		`kineweir_http_panics_total`:                                                     1,
		`kineweir_http_sent_bytes_total`:                                                 4096,
		`kineweir_uptime_seconds`:                                                        0,
		`kineweir_rtsp_sessions`:                                                         4,
		`process_start_time_seconds`:                                                     1795168800,
	} {
		if got, ok := find(families, series); !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("%s = %v %v, want %v", series, got, ok, want)
		}
	}
	// What a part does not know of a stream is absent, not zero.
	for _, series := range []string{
		`kineweir_stream_fps{stream="old"}`, `kineweir_stream_lag_seconds{stream="new"}`,
		`kineweir_stream_kept_bytes{stream="new"}`, `kineweir_stream_subscribers{stream="old"}`,
	} {
		if v, ok := find(families, series); ok {
			t.Errorf("%s = %v, want none", series, v)
		}
	}
	for series, least := range map[string]float64{
		"process_resident_memory_bytes": 1 << 20, "process_virtual_memory_bytes": 1 << 20, "process_open_fds": 3, "process_max_fds": 10,
		"go_goroutines": 1, "go_max_procs": 1, "go_memory_total_bytes": 1 << 20, "go_heap_allocated_bytes_total": 1, "go_heap_allocated_objects_total": 1,
	} {
		if got, ok := find(families, series); !ok || got < least {
			t.Errorf("%s = %v %v, want at least %v", series, got, ok, least)
		}
	}
	for name := range families {
		if !strings.HasPrefix(name, "kineweir_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("family %s has no name of ours", name)
		}
	}
}

func find(families map[string]*parsed, series string) (float64, bool) {
	for _, f := range families {
		if v, ok := f.samples[series]; ok {
			return v, true
		}
	}
	return 0, false
}

func TestNothingIsRequired(t *testing.T) {
	families, err := parse(string(New(Options{Server: func() Server { return nil }}).text()))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := find(families, "go_goroutines"); !ok || len(families) < 10 {
		t.Errorf("%d families", len(families))
	}
}

func TestCPUTimeGrows(t *testing.T) {
	before, ok := cpuSeconds()
	if !ok {
		t.Fatal("the time of this process cannot be read from /proc/self/stat")
	}
	for began := time.Now(); time.Since(began) < 5*time.Second; {
		if now, _ := cpuSeconds(); now > before {
			if now > before+5 || now > float64(os.Getpid())+1e6 {
				t.Fatalf("time leapt from %v to %v", before, now)
			}
			return
		}
	}
	t.Fatalf("five busy seconds did not raise the time from %v", before)
}

func TestAnswer(t *testing.T) {
	refuse := false
	m := full(t)
	m.o.Access = func(*http.Request) error {
		if refuse {
			return &web.Error{Status: 403, Code: "forbidden", Message: "no"}
		}
		return nil
	}
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		m.Routes()[0].Handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w
	}
	w := get()
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if _, err := parse(w.Body.String()); err != nil {
		t.Error(err)
	}
	refuse = true
	if w := get(); w.Code != 403 || strings.Contains(w.Body.String(), "kineweir_stream") {
		t.Errorf("refused: %d %s", w.Code, w.Body)
	}
}

func TestFormat(t *testing.T) {
	var w Writer
	w.Family("a_total", Counter, "Help with \\ and\nnewline.")
	w.Sample(0.1, Label{"l", "quote \" back \\ line\nend, ünï \xff"}, Label{"m", ""})
	w.One("b", Gauge, "B.", math.Inf(1))
	w.Family("c", Gauge, "C.")
	w.Sample(math.NaN(), Label{"x", "1"})
	w.Sample(math.Inf(-1), Label{"x", "2"})
	w.Sample(1e21, Label{"x", "3"})
	w.Family("h", Histogram, "H.")
	w.Durations([]time.Duration{time.Millisecond, time.Second}, []uint64{1, 2, 3}, 4*time.Second)
	want := `# HELP a_total Help with \\ and\nnewline.
# TYPE a_total counter
a_total{l="quote \" back \\ line\nend, ünï ` + "\uFFFD" + `",m=""} 0.1
# HELP b B.
# TYPE b gauge
b +Inf
# HELP c C.
# TYPE c gauge
c{x="1"} NaN
c{x="2"} -Inf
c{x="3"} 1e+21
# HELP h H.
# TYPE h histogram
h_bucket{le="0.001"} 1
h_bucket{le="1"} 3
h_bucket{le="+Inf"} 6
h_sum 4
h_count 6
`
	if got := string(w.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	families, err := parse(string(w.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for series, l := range families["a_total"].labels {
		if l["l"] != "quote \" back \\ line\nend, ünï \uFFFD" {
			t.Errorf("%s reads as %q", series, l["l"])
		}
	}
}

// The reader of these tests must itself refuse what Prometheus refuses.
func TestTheParserIsStrict(t *testing.T) {
	const head = "# HELP a A.\n# TYPE a gauge\n"
	for name, text := range map[string]string{
		"unterminated":           head + "a 1",
		"no family":              "a 1\n",
		"no type":                "# HELP a A.\na 1\n",
		"other family":           head + "b 1\n",
		"twice":                  head + "a 1\na 2\n",
		"family twice":           head + "a 1\n" + head,
		"bad name":               head + "a-b 1\n",
		"bad label":              head + "a{1=\"x\"} 1\n",
		"open label":             head + "a{x=\"1} 1\n",
		"bad escape":             head + "a{x=\"\\t\"} 1\n",
		"no value":               head + "a\n",
		"hexadecimal":            head + "a 0x1p4\n",
		"two values":             head + "a 1 2\n",
		"counter not _total":     "# HELP a A.\n# TYPE a counter\na 1\n",
		"negative counter":       "# HELP a_total A.\n# TYPE a_total counter\na_total -1\n",
		"unknown type":           "# HELP a A.\n# TYPE a thing\na 1\n",
		"histogram, no +Inf":     "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
		"histogram, falls":       "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
		"histogram, other count": "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("%s: accepted %q", name, text)
		}
	}
	if _, err := parse(head + "a{x=\"1\",y=\"\"} 1\n"); err != nil {
		t.Error(err)
	}
}

func BenchmarkThousandStreams(b *testing.B) {
	var kept archive.Stats
	for i := range 1000 {
		kept.Streams = append(kept.Streams, archive.StreamStats{Name: fragments.StreamName(fmt.Sprintf("camera-%04d", i)), Commits: 1e6, CommitBytes: 1e12})
	}
	m := New(Options{Archive: archiveStats(kept)})
	b.ReportAllocs()
	for b.Loop() {
		m.text()
	}
}

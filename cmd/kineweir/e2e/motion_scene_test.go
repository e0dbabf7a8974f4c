package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// scene is what a still camera films: noise, and a thing that crosses the
// picture at certain times.
type scene struct {
	seconds int
	group   int          // frames between key frames, at sceneFPS
	noise   int          // strength of the sensor's noise
	moves   [][2]float64 // when there is the thing, seconds
	thing   string       // its colour; white by default
	light   float64      // when it gets brighter; 0: never
	encode  string       // options of the encoder
	plain   bool         // what stands still is a grey wall, instead of something of all colours
}

const sceneFPS = 15

// The thing begins at the left and moves to the right; it is 60 x 90 of the
// 640 x 360 pixels.
const (
	sceneThingTop    = 150. / 360
	sceneThingBottom = 240. / 360
)

// film encodes a scene, as the chip in a camera does, and returns the file.
func (sc scene) film(t *testing.T) string {
	t.Helper()
	if sc.thing == "" {
		sc.thing = "white"
	}
	enable := "0"
	for _, m := range sc.moves {
		enable += fmt.Sprintf(`+between(t\,%g\,%g)`, m[0], m[1])
	}
	still := "mandelbrot="
	if sc.plain {
		still = "color=c=gray:"
	}
	chain := fmt.Sprintf(still+"size=640x360:rate=%[1]d,trim=end_frame=1,loop=loop=-1:size=1,setpts=N/%[1]d/TB,trim=duration=%[2]d,format=yuv420p[still];"+
		"color=c=%[3]s:size=60x90:rate=%[1]d:duration=%[2]d[thing];"+
		`[still][thing]overlay=x='mod(40+90*t\,580)':y=150:enable='%[4]s',noise=alls=%[5]d:allf=t`,
		sceneFPS, sc.seconds, sc.thing, enable, sc.noise)
	if sc.light > 0 {
		chain += fmt.Sprintf(`,eq=brightness='0.12*gte(t\,%[1]g)':gamma='1+0.3*gte(t\,%[1]g)':eval=frame`, sc.light)
	}
	file := filepath.Join(t.TempDir(), "scene.mp4")
	options := fmt.Sprintf("-preset veryfast -g %[1]d -keyint_min %[1]d -sc_threshold 0 -pix_fmt yuv420p %[2]s", sc.group, sc.encode)
	args := slices.Concat([]string{"-hide_banner", "-nostdin", "-loglevel", "error", "-filter_complex", chain, "-c:v", "libx264"}, strings.Fields(options), []string{file})
	run(t, 90*time.Second, "ffmpeg", args...)
	return file
}

// pushFile publishes a file in real time, as a camera does, until it ends or the
// test does.
func pushFile(t *testing.T, s *server, stream, file string) (cancel func()) {
	t.Helper()
	return startFFmpeg(t, nil, fmt.Sprintf("-re -i %s -c copy -f rtsp -rtsp_transport tcp rtsp://%s/%s", file, s.rtsp, stream))
}

// seen is an event as it stands in the data stream.
type seen struct {
	V                               int
	Type, ID, Camera, Label, Source string
	Fragment                        string
	Time, End                       time.Time
	Score                           float64
	Box                             *[4]float64
	told                            int       // how often
	first, last                     time.Time // when it was put
}

// records reads all there is in a stream of one shard, nothing when it is not there.
func records(t *testing.T, s *server, stream string) (all []types.Record) {
	t.Helper()
	c := s.kinesis()
	at, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return nil
	}
	for it := at.ShardIterator; ; {
		out, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out.Records...)
		if it = out.NextShardIterator; len(out.Records) == 0 || it == nil {
			return all
		}
	}
}

// detections returns the events of a camera in the data stream, in order of time;
// of each the newest record counts.
func detections(t *testing.T, s *server, camera string) (list []seen) {
	t.Helper()
	byID := map[string]*seen{}
	for _, r := range records(t, s, "detections") {
		var e seen
		if err := json.Unmarshal(r.Data, &e); err != nil || e.V != 1 || e.Type != "detection" || *r.PartitionKey != e.Camera {
			t.Fatalf("record of key %s: %s (%v)", *r.PartitionKey, r.Data, err)
		}
		if e.Camera != camera {
			continue
		}
		e.first, e.last = *r.ApproximateArrivalTimestamp, *r.ApproximateArrivalTimestamp
		if old := byID[e.ID]; old != nil {
			e.told, e.first = old.told, old.first
		}
		e.told++
		byID[e.ID] = &e
	}
	for _, e := range byID {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b seen) int { return a.Time.Compare(b.Time) })
	return list
}

// detectorStatus is how a detector fares, by the API.
type detectorStatus struct {
	Kind, State, Error                               string
	Pictures, Skipped, Events, Lost, Wakes, Restarts int64
}

func (s *server) detector(stream, kind string) (d detectorStatus) {
	s.t.Helper()
	var body struct{ Detectors []detectorStatus }
	s.json("/api/streams/"+stream+"/settings", &body)
	for _, d := range body.Detectors {
		if d.Kind == kind {
			return d
		}
	}
	return d
}

// begun returns when the first picture of a recorded stream was filmed.
func (s *server) begun(stream string) time.Time {
	s.t.Helper()
	var st struct{ First *time.Time }
	s.json("/api/streams/"+stream, &st)
	if st.First == nil {
		return time.Time{}
	}
	return *st.First
}

// fragmentsOf returns what the feed says of the fragments of a stream: where each
// begins and ends, by number.
func fragmentsOf(t *testing.T, s *server, feed, stream string) map[string][2]time.Time {
	t.Helper()
	spans := map[string][2]time.Time{}
	for _, r := range records(t, s, feed) {
		var f struct {
			Stream, Number string
			Start          time.Time `json:"producer_start"`
			Millis         float64   `json:"duration_ms"`
		}
		if err := json.Unmarshal(r.Data, &f); err != nil {
			t.Fatal(err)
		}
		if f.Stream == stream {
			spans[f.Number] = [2]time.Time{f.Start, f.Start.Add(time.Duration(f.Millis * float64(time.Millisecond)))}
		}
	}
	return spans
}

// put sends JSON by PUT, which must be taken.
func (s *server) put(path, body string) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPut, s.http+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		s.t.Fatalf("PUT %s: %d\n%s", path, res.StatusCode, text)
	}
}

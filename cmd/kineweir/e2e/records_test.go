package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestTailAndPut follows a stream with one command while the other puts.
func TestTailAndPut(t *testing.T) {
	s := serve(t, "")
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	out := &syncBuffer{}
	run(t, 10*time.Second, binary, "put", "--server", s.http, "--create", "--quiet", "notes", "first")
	tail := exec.CommandContext(ctx, binary, "tail", "--server", s.http, "--from", "trim_horizon", "--raw", "--limit", "4", "notes")
	tail.Stdout, tail.Stderr = out, out
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	defer tail.Wait()
	eventually(t, 10*time.Second, "the first record is shown", func() bool { return strings.Contains(out.String(), "first\n") })
	printed := run(t, 10*time.Second, binary, "put", "--server", s.http, "--partition-key", "k", "notes", "second", `{"third":3}`)
	if !strings.Contains(printed, "shardId-000000000000") {
		t.Errorf("put prints %q", printed)
	}
	s.kill() // tail goes on where it was
	s.start()
	run(t, 10*time.Second, binary, "put", "--server", s.http, "--quiet", "notes", "fourth")
	if err := tail.Wait(); err != nil {
		t.Errorf("tail: %v\n%s", err, out)
	}
	var lines []string
	for l := range strings.Lines(out.String()) {
		if l = strings.TrimSpace(l); slices.Contains([]string{"first", "second", `{"third":3}`, "fourth"}, l) {
			lines = append(lines, l)
		}
	}
	if !slices.Equal(lines, []string{"first", "second", `{"third":3}`, "fourth"}) {
		t.Errorf("tail prints\n%s", out)
	}
}

// TestEphemeral starts as a test suite does: at once, with the service's
// limits, and nothing on the disk.
func TestEphemeral(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := &server{t: t, data: data, http: fmt.Sprintf("http://127.0.0.1:%d", freePort(t))}
	s.args = []string{"serve", "--ephemeral", "--data", data, "--http", strings.TrimPrefix(s.http, "http://"), "--rtsp", "", "--rtsps", ""}
	t.Cleanup(s.stop)
	var fastest time.Duration
	for range 3 {
		at := time.Now()
		s.start()
		if took := time.Since(at); fastest == 0 || took < fastest {
			fastest = took
		}
		s.stop()
	}
	t.Logf("healthy %v after exec, at best", fastest)
	if fastest > 300*time.Millisecond { // 100 ms on a machine that does nothing else
		t.Errorf("too slow to start")
	}
	s.start()
	c := s.kinesis()
	makeStream(t, c, "tested", 1)
	in := &kinesis.PutRecordsInput{StreamName: aws.String("tested")}
	for range 400 {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: []byte("x")})
	}
	throttled := 0
	for range 5 {
		out, err := c.PutRecords(t.Context(), in)
		var all *types.ProvisionedThroughputExceededException
		if errors.As(err, &all) {
			throttled += len(in.Records)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Records {
			if aws.ToString(r.ErrorCode) == "ProvisionedThroughputExceededException" {
				throttled++
			}
		}
	}
	if throttled == 0 {
		t.Error("2000 records at once into one shard, and none was throttled")
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data folder is there: %v", err)
	}
	s.stop()
	s.start()
	if out, err := c.ListStreams(t.Context(), &kinesis.ListStreamsInput{}); err != nil || len(out.StreamNames) != 0 {
		t.Errorf("after a restart there are %v (%v)", out, err)
	}
}

// TestFeedAndDetections records a camera, reads its metadata from the data
// stream, and has the console's API list what a detector put.
func TestFeedAndDetections(t *testing.T) {
	s := serve(t, "feed:\n  stream: camera-metadata\n")
	testCamera(t, "rtsp://"+s.rtsp+"/yard", "-t 12")
	c := s.kinesis()
	const shard = "shardId-000000000000"
	eventually(t, 15*time.Second, "the feed makes its stream", func() bool {
		out, err := c.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("camera-metadata")})
		return err == nil && out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive
	})
	at, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String("camera-metadata"), ShardId: aws.String(shard), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	type record struct {
		V                    int
		Type, Stream, Number string
		ProducerStart        time.Time `json:"producer_start"`
		ServerEnd            time.Time `json:"server_end"`
		DurationMillis       float64   `json:"duration_ms"`
		Tracks               []struct{ Frames [][]int64 }
	}
	var seen []record
	it := at.ShardIterator
	eventually(t, 20*time.Second, "the feed has four fragments", func() bool {
		out, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		if err != nil {
			t.Fatal(err)
		}
		it = out.NextShardIterator
		for _, r := range out.Records {
			var one record
			if err := json.Unmarshal(r.Data, &one); err != nil {
				t.Fatalf("%v in %s", err, r.Data)
			}
			if *r.PartitionKey != "yard" || one.Type != "fragment" || one.V != 1 || len(one.Tracks) == 0 || len(one.Tracks[0].Frames) == 0 {
				t.Errorf("record of key %s: %s", *r.PartitionKey, r.Data)
			}
			t.Logf("fragment %s: put %v after its end", one.Number[40:], r.ApproximateArrivalTimestamp.Sub(one.ServerEnd))
			seen = append(seen, one)
		}
		return len(seen) >= 4
	})
	for i := 1; i < len(seen); i++ {
		if seen[i].Number <= seen[i-1].Number {
			t.Errorf("fragment %s after %s", seen[i].Number, seen[i-1].Number)
		}
	}
	// A detector tells what it saw, through PutRecord and through the WebSocket.
	makeStream(t, c, "detections", 1)
	moment := seen[1].ProducerStart
	detection := func(label string, after time.Duration) string {
		return fmt.Sprintf(`{"camera":"yard","time":%q,"label":%q,"score":0.9,"box":[0.1,0.1,0.5,0.5],"source":"test","fragment":%q}`, moment.Add(after).Format(time.RFC3339Nano), label, seen[1].Number)
	}
	if _, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("detections"), PartitionKey: aws.String("yard"), Data: []byte(detection("person", 0))}); err != nil {
		t.Fatal(err)
	}
	run(t, 10*time.Second, binary, "put", "--server", s.http, "--quiet", "detections", detection("cat", time.Second), "no detection at all")
	var found struct {
		Detections []struct {
			Stream, Camera, Label string
			Time                  time.Time
		}
	}
	query := "/api/detections?" + url.Values{
		"stream": {"yard"}, "start": {moment.Add(-time.Minute).Format(time.RFC3339Nano)}, "end": {moment.Add(time.Minute).Format(time.RFC3339Nano)},
	}.Encode()
	listed := func() bool {
		s.json(query, &found)
		return len(found.Detections) == 2
	}
	eventually(t, 10*time.Second, "both detections are listed", listed)
	s.kill()
	s.start()
	eventually(t, 10*time.Second, "both detections are listed after a kill", listed)
	var labels []string
	for _, d := range found.Detections {
		labels = append(labels, d.Label)
	}
	slices.Sort(labels)
	if !slices.Equal(labels, []string{"cat", "person"}) {
		t.Errorf("listed are %+v", found.Detections)
	}
}

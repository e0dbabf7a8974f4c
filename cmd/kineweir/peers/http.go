package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// service is a running server of the Kinesis protocol.
type service struct {
	url  string
	cmd  *exec.Cmd
	http *http.Client
}

// httpLoads measures kineweir, which has records on this disk before it
// acknowledges them, and kinesalite in memory, its fastest way, by turns.
func httpLoads(ctx context.Context, b *bench) error {
	kinesalite, err := kinesalitePath(ctx)
	if err != nil {
		return err
	}
	binary, err := filepath.Abs(filepath.Join(b.dir, "kineweir"))
	if err != nil {
		return err
	}
	// Built in the module that it belongs to: this one knows only what the engine needs.
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kineweir/kineweir").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/kineweir")
	build.Dir, build.Env = strings.TrimSpace(string(module)), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	for round := range b.rounds {
		for _, r := range []struct {
			name, batches, singles string
			args                   func(port, dir string) []string
		}{
			{"kineweir", httpBatches, httpSingles, func(port, dir string) []string {
				return []string{binary, "serve", "--data", dir, "--http", "127.0.0.1:" + port, "--rtsp", "", "--rtsps", ""}
			}},
			{"kinesalite", kinesaliteBatches, kinesaliteSingles, func(port, _ string) []string {
				return []string{"node", kinesalite, "--port", port, "--createStreamMs", "0", "--shardLimit", "100"}
			}},
		} {
			dir := filepath.Join(b.dir, fmt.Sprint(r.name, round))
			s, err := start(ctx, r.args, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			err = s.loads(ctx, b, r.batches, r.singles)
			if err == nil && r.name == "kineweir" {
				err = s.reads(ctx, b)
			}
			s.stop()
			_ = os.RemoveAll(dir)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	return nil
}

// kinesalitePath installs kinesalite once, outside the clone.
func kinesalitePath(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kineweir", "kinesalite-3.3.3")
	cli := filepath.Join(dir, "node_modules", "kinesalite", "cli.js")
	if _, err := os.Stat(cli); err == nil {
		return cli, nil
	}
	out, err := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--prefix", dir, "kinesalite@3.3.3").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("install kinesalite: %w\n%s", err, out)
	}
	return cli, nil
}

func start(ctx context.Context, args func(port, dir string) []string, dir string) (*service, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	_ = l.Close()
	line := args(port, dir)
	s := &service{
		url: "http://127.0.0.1:" + port + "/", cmd: exec.CommandContext(ctx, line[0], line[1:]...),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := s.call(ctx, "ListStreams", []byte("{}")); err == nil {
			return s, nil
		}
	}
	s.stop()
	return nil, fmt.Errorf("%s does not answer", strings.Join(line, " "))
}

func (s *service) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.http.CloseIdleConnections()
}

// cpu is the processor time of the server's process (proc(5): fields 14 and 15).
func (s *service) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const ticks = 100
	var sum int
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(f)
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks
}

// call sends what an SDK sends, but for a signature that nobody has checked.
func (s *service) call(ctx context.Context, op string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	r.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00")
	resp, err := s.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", op, resp.StatusCode, answer)
	}
	return answer, err
}

const httpShards, httpWorkers = 8, 8

func (s *service) loads(ctx context.Context, b *bench, batches, singles string) error {
	if _, err := s.call(ctx, "CreateStream", fmt.Appendf(nil, `{"StreamName":"b","ShardCount":%d}`, httpShards)); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := s.call(ctx, "DescribeStream", []byte(`{"StreamName":"b"}`))
		if err == nil && bytes.Contains(out, []byte(`"ACTIVE"`)) {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("the stream is not active: %w", err)
		}
	}
	data := base64.StdEncoding.EncodeToString(noise(recordSize))
	var one, many [httpWorkers][]byte
	for w := range httpWorkers {
		one[w] = fmt.Appendf(nil, `{"StreamName":"b","PartitionKey":"k%d","Data":"%s"}`, w, data)
		many[w] = []byte(`{"StreamName":"b","Records":[`)
		for i := range 500 {
			if i > 0 {
				many[w] = append(many[w], ',')
			}
			many[w] = fmt.Appendf(many[w], `{"PartitionKey":"k%d-%d","Data":"%s"}`, w, i, data)
		}
		many[w] = append(many[w], "]}"...)
	}
	err := b.measure(ctx, batches, httpWorkers, s.cpu, func(ctx context.Context, w int) (int, int64, error) {
		out, err := s.call(ctx, "PutRecords", many[w])
		if err == nil && !bytes.Contains(out, []byte(`"FailedRecordCount":0`)) {
			err = fmt.Errorf("some records failed: %.200s", out)
		}
		return 500, 500 * recordSize, err
	})
	if err != nil {
		return err
	}
	return b.measure(ctx, singles, httpWorkers, s.cpu, func(ctx context.Context, w int) (int, int64, error) {
		_, err := s.call(ctx, "PutRecord", one[w])
		return 1, recordSize, err
	})
}

// reads measures what was put, read back, and the way from a put to a push.
func (s *service) reads(ctx context.Context, b *bench) error {
	var iterators [4]string
	again := func(w int) error {
		out, err := s.call(ctx, "GetShardIterator", fmt.Appendf(nil, `{"StreamName":"b","ShardId":"shardId-%012d","ShardIteratorType":"TRIM_HORIZON"}`, w))
		if err != nil {
			return err
		}
		var at struct{ ShardIterator string }
		err = json.Unmarshal(out, &at)
		iterators[w] = at.ShardIterator
		return err
	}
	for w := range iterators {
		if err := again(w); err != nil {
			return err
		}
	}
	next := []byte(`"NextShardIterator":"`)
	err := b.measure(ctx, httpReads, len(iterators), s.cpu, func(ctx context.Context, w int) (int, int64, error) {
		out, err := s.call(ctx, "GetRecords", fmt.Appendf(nil, `{"ShardIterator":"%s"}`, iterators[w]))
		if err != nil {
			return 0, 0, err
		}
		n := bytes.Count(out, []byte(`"PartitionKey"`))
		_, rest, _ := bytes.Cut(out, next)
		it, _, _ := bytes.Cut(rest, []byte{'"'})
		iterators[w] = string(it)
		if n == 0 {
			err = again(w)
		}
		return n, int64(n) * recordSize, err
	})
	if err != nil {
		return err
	}
	return s.push(ctx, b)
}

// push measures from just before a PutRecord to the arrival of its event.
func (s *service) push(ctx context.Context, b *bench) error {
	out, err := s.call(ctx, "RegisterStreamConsumer", []byte(`{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/b","ConsumerName":"c"}`))
	if err != nil {
		return err
	}
	var reg struct{ Consumer struct{ ConsumerARN string } }
	if err := json.Unmarshal(out, &reg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.span+20*time.Second)
	defer cancel()
	var sent atomic.Int64
	came := make(chan time.Duration, 1)
	failed := make(chan error, 1)
	go func() { failed <- s.subscribe(ctx, reg.Consumer.ConsumerARN, &sent, came) }()
	time.Sleep(300 * time.Millisecond)
	body := []byte(`{"StreamName":"b","PartitionKey":"k","ExplicitHashKey":"0","Data":"AAAA"}`)
	var all []time.Duration
	for begun := time.Now(); time.Since(begun) < b.span; time.Sleep(2 * time.Millisecond) {
		sent.Store(time.Now().UnixNano())
		if _, err := s.call(ctx, "PutRecord", body); err != nil {
			return err
		}
		select {
		case d := <-came:
			all = append(all, d)
		case err := <-failed:
			return fmt.Errorf("subscription: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	slices.Sort(all)
	b.keep(httpPush, result{records: len(all), took: b.span, p50: all[len(all)/2], p99: all[len(all)*99/100]})
	return nil
}

// subscribe tells of each event with records. It looks for the name of a member
// in the bytes: a decoder would be measured too.
func (s *service) subscribe(ctx context.Context, consumer string, sent *atomic.Int64, came chan<- time.Duration) error {
	body := fmt.Appendf(nil, `{"ConsumerARN":"%s","ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}}`, consumer)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
	resp, err := s.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		if bytes.Contains(buf[:n], []byte(`"PartitionKey"`)) {
			came <- time.Since(time.Unix(0, sent.Load()))
		}
		if err != nil {
			return err
		}
	}
}

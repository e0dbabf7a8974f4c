package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kineweir/kineweir/datastream/consumer"
	"github.com/kineweir/kineweir/datastream/consumer/remote"
)

// asConsumer in the environment makes this test binary a worker of the consumer
// library; its value is the URL of the server.
const asConsumer = "KINEWEIR_TEST_CONSUMER_OF"

// consume prints every record of the stream "shared" that falls to this worker.
func consume(url string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &remote.Client{Endpoint: url}
	var out sync.Mutex
	err := consumer.Run(ctx, consumer.Options{
		App: "readers", Source: server.Source("shared"), Leases: server.Leases(), Failover: 2 * time.Second, Poll: 50 * time.Millisecond, Limit: 50,
		Handle: func(_ context.Context, b consumer.Batch) error {
			out.Lock()
			defer out.Unlock()
			for _, r := range b.Records {
				fmt.Printf("%s %s\n", b.Shard, r.Data)
			}
			return nil
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// worker is one process of the consumer library.
type worker struct {
	cmd *exec.Cmd

	mu   sync.Mutex
	seen map[string]int // record -> how often
	read sync.WaitGroup
}

func startWorker(t *testing.T, s *server) *worker {
	t.Helper()
	w := &worker{cmd: exec.Command(os.Args[0]), seen: map[string]int{}}
	w.cmd.Env = append(os.Environ(), asConsumer+"="+s.http)
	w.cmd.Stderr = os.Stderr
	pipe, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.read.Go(func() { w.take(pipe) })
	t.Cleanup(func() {
		w.cmd.Process.Kill()
		w.wait()
	})
	return w
}

func (w *worker) take(pipe io.Reader) {
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		_, record, _ := strings.Cut(lines.Text(), " ")
		w.mu.Lock()
		w.seen[record]++
		w.mu.Unlock()
	}
}

func (w *worker) wait() error {
	w.read.Wait()
	return w.cmd.Wait()
}

func (w *worker) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// TestConsumersShareAStream has three processes read one stream while its
// shards change; one is killed, one leaves in good order, one comes. Every
// record is handled, and few are handled twice.
func TestConsumersShareAStream(t *testing.T) {
	s := serve(t, "")
	c := s.kinesis()
	const name = "shared"
	makeStream(t, c, name, 6)
	workers := []*worker{startWorker(t, s), startWorker(t, s), startWorker(t, s)}
	put := 0
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		in := &kinesis.PutRecordsInput{StreamName: aws.String(name)}
		for range 10 {
			put++
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint(put)), Data: fmt.Appendf(nil, "%d", put)})
		}
		if _, err := c.PutRecords(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		switch put {
		case 500:
			if _, err := c.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: aws.String(name), TargetShardCount: aws.Int32(8), ScalingType: types.ScalingTypeUniformScaling}); err != nil {
				t.Error(err)
			}
		case 1000:
			workers[0].cmd.Process.Kill()
		case 1500:
			workers = append(workers, startWorker(t, s))
		case 2500:
			workers[1].cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	all := func() map[string]int {
		sum := map[string]int{}
		for _, w := range workers {
			w.mu.Lock()
			for record, n := range w.seen {
				sum[record] += n
			}
			w.mu.Unlock()
		}
		return sum
	}
	eventually(t, 30*time.Second, "every record is handled", func() bool { return len(all()) == put })
	if err := workers[1].wait(); err != nil {
		t.Errorf("the worker that was told to leave: %v", err)
	}
	twice := 0
	for _, n := range all() {
		twice += n - 1
	}
	shares := []int{}
	for _, w := range workers {
		shares = append(shares, w.count())
	}
	t.Logf("%d records, %d handled again, shares %v", put, twice, shares)
	if slices.Min(shares) == 0 {
		t.Error("a worker got nothing")
	}
	if twice > put/2 {
		t.Error("too many are handled twice")
	}
}

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// ledger holds, outside the server, what was put and what was acknowledged.
type ledger struct {
	serial atomic.Int64

	mu      sync.Mutex
	acks    map[string]string // record -> shard and sequence number
	retried map[string]bool   // records sent again, as the first answer never came
}

func (l *ledger) ack(record, place string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks[record] = place
}

func (l *ledger) retry(record string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retried[record] = true
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acks)
}

// TestKinesisSoak kills the server again and again while records are put and
// read and shards are split and merged. Each acknowledged record is there
// afterwards, at its place; those of a key are in order; none is there twice
// unless it was sent twice; and a reader that went on after each kill from
// where it was has met the same records.
func TestKinesisSoak(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	const kills, name = 10, "ledger"
	s := serve(t, "records:\n  memory: 8MiB\n") // small, so that it is sealed all the time
	makeStream(t, s.kinesis(), name, 3)
	book := &ledger{acks: map[string]string{}, retried: map[string]bool{}}
	orderly := []*orderlyWriter{{key: "first"}, {key: "second"}, {key: "third"}}
	follower := &follower{stream: name, at: map[string]string{}, ended: map[string]bool{}}
	for kill := range kills {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { putBatches(ctx, s.kinesis(), name, book) })
		}
		for _, w := range orderly {
			wg.Go(func() { w.put(ctx, s.kinesis(), name, book) })
		}
		wg.Go(func() { keepResharding(ctx, s.kinesis(), name) })
		wg.Go(func() { follower.read(ctx, s.kinesis()) })
		life := 300*time.Millisecond + time.Duration(rng.Int64N(int64(900*time.Millisecond)))
		time.Sleep(life)
		s.kill()
		stop()
		wg.Wait()
		s.start()
		t.Logf("kill %d after %v: %d records acknowledged, %d read", kill+1, life, book.len(), len(follower.records))
	}
	c := s.kinesisOf("anybody", "anything", 3)
	awaitActive(t, c, name)
	var all []string
	places := map[string][]string{}
	shards := listShards(t, c, name)
	for _, shard := range shards { // parents come before children
		records, _ := drain(t, c, name, *shard.ShardId)
		for _, r := range records {
			record, _, _ := strings.Cut(string(r.Data), " ")
			all = append(all, record)
			places[record] = append(places[record], *shard.ShardId+" "+*r.SequenceNumber)
		}
	}
	book.check(t, all, places, orderly)
	ended, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	follower.until = len(all)
	follower.read(ended, c)
	slices.Sort(all)
	slices.Sort(follower.records)
	if !slices.Equal(all, follower.records) {
		t.Errorf("the reader met %d records, %d are there", len(follower.records), len(all))
	}
	t.Logf("%d iterations, seed %d, %d shards, %d acknowledged, %d there, %d sent twice", kills, seed, len(shards), book.len(), len(all), len(book.retried))
	if book.len() < 1000 {
		t.Errorf("only %d records were ever acknowledged", book.len())
	}
}

func (l *ledger) check(t *testing.T, all []string, places map[string][]string, orderly []*orderlyWriter) {
	t.Helper()
	for record, place := range l.acks {
		if !slices.Contains(places[record], place) {
			t.Fatalf("record %s, acknowledged as %s, is at %v", record, place, places[record])
		}
	}
	for record, at := range places {
		if len(at) > 1 && !l.retried[record] {
			t.Fatalf("record %s was sent once and is there %d times: %v", record, len(at), at)
		}
	}
	for _, w := range orderly {
		next := 0
		for _, record := range all {
			key, n, ok := strings.Cut(record, "/")
			if !ok || key != w.key {
				continue
			}
			i, err := strconv.Atoi(n)
			if err != nil || i > next || i < next && !l.retried[record] {
				t.Fatalf("key %s: record %s where %d should be", w.key, n, next)
			}
			next = max(next, i+1)
		}
		if next < w.next {
			t.Fatalf("key %s: %d records, %d were acknowledged", w.key, next, w.next)
		}
	}
}

// putBatches never sends anything twice.
func putBatches(ctx context.Context, c *kinesis.Client, name string, book *ledger) {
	filler := strings.Repeat("x", 2000)
	for ctx.Err() == nil {
		in := &kinesis.PutRecordsInput{StreamName: &name}
		keys := make([]string, 20)
		for i := range keys {
			keys[i] = strconv.FormatInt(book.serial.Add(1), 10)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &keys[i], Data: []byte(keys[i] + " " + filler)})
		}
		out, err := c.PutRecords(ctx, in)
		if err != nil {
			continue // the server is gone, or going
		}
		for i, r := range out.Records {
			if r.ErrorCode == nil {
				book.ack(keys[i], *r.ShardId+" "+*r.SequenceNumber)
			}
		}
	}
}

// orderlyWriter puts one record of one key after the other, each until it is
// acknowledged.
type orderlyWriter struct {
	key  string
	next int
	sent bool // next was sent, and no answer came
}

func (w *orderlyWriter) put(ctx context.Context, c *kinesis.Client, name string, book *ledger) {
	for ctx.Err() == nil {
		record := fmt.Sprintf("%s/%d", w.key, w.next)
		if w.sent {
			book.retry(record)
		}
		w.sent = true
		out, err := c.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: &w.key, Data: []byte(record)})
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		book.ack(record, *out.ShardId+" "+*out.SequenceNumber)
		w.next, w.sent = w.next+1, false
	}
}

func keepResharding(ctx context.Context, c *kinesis.Client, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		target := int32(3 + i%3)
		// Refused while an earlier change is under way: the next one will do.
		_, _ = c.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: &name, TargetShardCount: aws.Int32(target), ScalingType: types.ScalingTypeUniformScaling})
		time.Sleep(50 * time.Millisecond)
	}
}

// follower reads all shards, and remembers by sequence number where it is.
type follower struct {
	stream  string
	at      map[string]string // shard -> the last sequence number read
	ended   map[string]bool
	records []string
	until   int // ends when so many records were read; 0 = with the context
}

func (f *follower) read(ctx context.Context, c *kinesis.Client) {
	for ctx.Err() == nil && (f.until == 0 || len(f.records) < f.until) {
		in := &kinesis.ListShardsInput{StreamName: &f.stream}
		for in != nil && ctx.Err() == nil { // there may be more than fit into an answer
			out, err := c.ListShards(ctx, in)
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				break
			}
			for _, shard := range out.Shards {
				if !f.ended[*shard.ShardId] {
					f.readShard(ctx, c, *shard.ShardId)
				}
			}
			if in = nil; out.NextToken != nil {
				in = &kinesis.ListShardsInput{NextToken: out.NextToken}
			}
		}
	}
}

func (f *follower) readShard(ctx context.Context, c *kinesis.Client, shard string) {
	in := &kinesis.GetShardIteratorInput{StreamName: &f.stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon}
	if last, ok := f.at[shard]; ok {
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &last
	}
	at, err := c.GetShardIterator(ctx, in)
	if err != nil {
		return
	}
	for it := at.ShardIterator; ; {
		got, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(500)})
		if err != nil {
			return
		}
		for _, r := range got.Records {
			record, _, _ := strings.Cut(string(r.Data), " ")
			f.records = append(f.records, record)
			f.at[shard] = *r.SequenceNumber
		}
		if it = got.NextShardIterator; it == nil {
			f.ended[shard] = true
			return
		}
		if len(got.Records) == 0 {
			return
		}
	}
}

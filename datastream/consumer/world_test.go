package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

// stream is a Source in memory, and the judge of what is handled: each record
// of a shard after the one before it, each shard after its parents.
type stream struct {
	t        *testing.T
	mu       sync.Mutex
	shards   map[string]*fakeShard
	sequence int
	page     int // most records of a page
	expireAt int // reads after which an iterator is expired; 0 = never
	reads    int
	doubles  int
	handled  int
	busy     map[string]string // shard to the worker that is in Handle
}

type fakeShard struct {
	Shard
	records []Record
	closed  bool
	gone    bool
	done    int    // records handled
	ended   bool   // the end was handled
	by      string // worker that handled last
}

func newStream(t *testing.T, shards int) *stream {
	s := &stream{t: t, shards: map[string]*fakeShard{}, page: 10, busy: map[string]string{}, sequence: 1000}
	for _, r := range datastream.SplitEvenly(shards) {
		s.add(r)
	}
	return s
}

func (s *stream) add(r datastream.HashRange, parents ...string) string {
	id := fmt.Sprintf("shardId-%012d", len(s.shards))
	s.shards[id] = &fakeShard{Shard: Shard{ID: id, Parents: parents, Range: r}}
	return id
}

// put writes n records with random keys.
func (s *stream) put(rng *rand.Rand, n int) {
	for range n {
		key := strconv.FormatUint(rng.Uint64(), 36)
		s.putData(key, []byte(key))
	}
}

func (s *stream) putData(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.shards {
		if !sh.closed && sh.Range.Has(datastream.HashOf(key)) {
			s.sequence++
			sh.records = append(sh.records, Record{Sequence: strconv.Itoa(s.sequence), PartitionKey: key, Data: data, Arrived: time.Now()})
			return
		}
	}
	s.t.Errorf("no shard for %s", key)
}

func (s *stream) open() (list []*fakeShard) {
	for _, sh := range s.shards {
		if !sh.closed {
			list = append(list, sh)
		}
	}
	slices.SortFunc(list, func(a, b *fakeShard) int { return a.Range.Start.Compare(b.Range.Start) })
	return list
}

func (s *stream) split(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.open()
	sh := open[n%len(open)]
	mid := sh.Range.Start.Add(0)
	mid.Hi += (sh.Range.End.Hi - sh.Range.Start.Hi) / 2
	sh.closed = true
	s.add(datastream.HashRange{Start: sh.Range.Start, End: mid.Sub(1)}, sh.ID)
	s.add(datastream.HashRange{Start: mid, End: sh.Range.End}, sh.ID)
}

func (s *stream) merge(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.open()
	if len(open) < 2 {
		return
	}
	n %= len(open) - 1
	a, b := open[n], open[n+1]
	a.closed, b.closed = true, true
	s.add(datastream.HashRange{Start: a.Range.Start, End: b.Range.End}, a.ID, b.ID)
}

func (s *stream) Shards(context.Context) ([]Shard, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Shard
	for _, sh := range s.shards {
		if !sh.gone {
			list = append(list, sh.Shard)
		}
	}
	return list, nil
}

func (s *stream) Iterator(_ context.Context, shard string, at datastream.Start) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shards[shard]
	if sh == nil || sh.gone {
		return "", datastream.ErrNotFound
	}
	if at.From == datastream.AtTimestamp && at.Time.After(time.Now()) {
		return "", datastream.ErrInvalid
	}
	i := 0
	want, _ := strconv.Atoi(at.Sequence)
	for ; i < len(sh.records); i++ {
		have, _ := strconv.Atoi(sh.records[i].Sequence)
		if at.From == datastream.TrimHorizon || at.From == datastream.AtTimestamp && !sh.records[i].Arrived.Before(at.Time) ||
			at.From == datastream.AtSequence && have >= want || at.From == datastream.AfterSequence && have > want {
			break
		}
	}
	s.reads++
	return fmt.Sprintf("%s/%d/%d", shard, i, s.reads), nil
}

func (s *stream) Records(_ context.Context, iterator string, limit int) (Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(iterator, "/")
	sh := s.shards[parts[0]]
	i, _ := strconv.Atoi(parts[1])
	made, _ := strconv.Atoi(parts[2])
	switch s.reads++; {
	case sh.gone:
		return Page{}, datastream.ErrNotFound
	case s.expireAt > 0 && s.reads > made+s.expireAt:
		return Page{}, fmt.Errorf("too old: %w", datastream.ErrExpired)
	}
	n := min(len(sh.records)-i, limit, s.page)
	p := Page{Records: slices.Clone(sh.records[i : i+n]), Next: fmt.Sprintf("%s/%d/%d", sh.ID, i+n, made)}
	if i+n < len(sh.records) {
		p.Behind = time.Since(sh.records[i+n].Arrived) + 1
	} else if sh.closed {
		p.Next = ""
	}
	return p, nil
}

// judge notes that a worker handled a record.
func (s *stream) judge(worker string, b Batch, r Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shards[b.Shard]
	for _, p := range sh.Parents {
		if parent := s.shards[p]; !parent.gone && (!parent.ended || parent.done < len(parent.records)) {
			s.t.Errorf("%s handles %s of %s before its parent %s", worker, r.Sequence, b.Shard, p)
		}
	}
	i := slices.IndexFunc(sh.records, func(o Record) bool { return o.Sequence == r.Sequence })
	switch {
	case i == sh.done:
		sh.done++
		s.handled++
	case i < sh.done:
		s.doubles++
	default:
		s.t.Errorf("%s handles record %d of %s after only %d", worker, i, b.Shard, sh.done)
		sh.done = i + 1
	}
	sh.by = worker
}

func (s *stream) judgeEnd(worker string, b Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shards[b.Shard]
	if !sh.closed || sh.done < len(sh.records) {
		s.t.Errorf("%s is told that %s ends after %d of %d", worker, b.Shard, sh.done, len(sh.records))
	}
	sh.ended = true
}

// left is how many records are to be handled.
func (s *stream) left() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.shards {
		n += len(sh.records) - sh.done
	}
	return n
}

// actor is a worker of the test. Its store and its source can be cut off, and
// it can be killed.
type actor struct {
	name    string
	stream  *stream
	cancel  context.CancelFunc
	done    chan struct{}
	dead    atomic.Bool
	cut     atomic.Bool          // its store does not answer
	flaky   func() error         // of source and store calls
	takes   func() time.Duration // for a record; nil = none
	handles func(ctx context.Context, b Batch) error
	lost    atomic.Int32 // batches whose context ended
}

var errFlaky = errors.New("no luck")

// start runs a worker until the test ends.
func (s *stream) start(name string, leases Leases, change func(*actor, *Options)) *actor {
	a := &actor{name: name, stream: s, done: make(chan struct{})}
	o := Options{App: "app", Worker: name, Source: gatedSource{a}, Leases: gatedLeases{a, leases}, Handle: a.handle}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	}
	if change != nil {
		change(a, &o)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	a.cancel = cancel
	s.t.Cleanup(a.stop)
	go func() {
		defer close(a.done)
		if err := Run(ctx, o); err != nil {
			s.t.Error(err)
		}
	}()
	return a
}

// stop ends a worker in good order.
func (a *actor) stop() {
	a.cancel()
	<-a.done
}

// kill ends it without: from now on it neither handles nor writes anything.
func (a *actor) kill() {
	a.dead.Store(true)
	a.cancel()
}

func (a *actor) handle(ctx context.Context, b Batch) error {
	a.stream.mu.Lock()
	if other := a.stream.busy[b.Shard]; other != "" {
		a.stream.t.Errorf("%s handles %s while %s does", a.name, b.Shard, other)
	}
	a.stream.busy[b.Shard] = a.name
	a.stream.mu.Unlock()
	defer a.free(b.Shard)
	if a.handles != nil {
		return a.handles(ctx, b)
	}
	for _, r := range b.Records {
		if a.takes != nil {
			select {
			case <-time.After(a.takes()):
			case <-ctx.Done():
				a.lost.Add(1)
				return context.Cause(ctx)
			}
		}
		if a.dead.Load() {
			a.free(b.Shard)
			<-ctx.Done() // nobody hears of it any more
			return ctx.Err()
		}
		a.stream.judge(a.name, b, r)
	}
	if b.End {
		a.stream.judgeEnd(a.name, b)
	}
	return nil
}

func (a *actor) free(shard string) {
	a.stream.mu.Lock()
	defer a.stream.mu.Unlock()
	if a.stream.busy[shard] == a.name {
		delete(a.stream.busy, shard)
	}
}

// gate holds up or fails a call.
func (a *actor) gate(ctx context.Context, store bool) error {
	time.Sleep(time.Millisecond)
	if a.dead.Load() || store && a.cut.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if a.flaky != nil {
		return a.flaky()
	}
	return nil
}

type gatedSource struct{ *actor }

func (g gatedSource) Shards(ctx context.Context) ([]Shard, error) {
	if err := g.gate(ctx, false); err != nil {
		return nil, err
	}
	return g.stream.Shards(ctx)
}

func (g gatedSource) Iterator(ctx context.Context, shard string, at datastream.Start) (string, error) {
	if err := g.gate(ctx, false); err != nil {
		return "", err
	}
	return g.stream.Iterator(ctx, shard, at)
}

func (g gatedSource) Records(ctx context.Context, iterator string, limit int) (Page, error) {
	if err := g.gate(ctx, false); err != nil {
		return Page{}, err
	}
	return g.stream.Records(ctx, iterator, limit)
}

type gatedLeases struct {
	*actor
	leases Leases
}

func (g gatedLeases) List(ctx context.Context, app string) ([]Item, error) {
	if err := g.gate(ctx, true); err != nil {
		return nil, err
	}
	return g.leases.List(ctx, app)
}

func (g gatedLeases) Get(ctx context.Context, app, key string) (Item, error) {
	if err := g.gate(ctx, true); err != nil {
		return Item{}, err
	}
	return g.leases.Get(ctx, app, key)
}

// Put loses an answer now and then when the actor is flaky.
func (g gatedLeases) Put(ctx context.Context, app, key string, value []byte, expect uint64) (uint64, error) {
	if err := g.gate(ctx, true); err != nil {
		return 0, err
	}
	revision, err := g.leases.Put(ctx, app, key, value, expect)
	if err == nil && g.flaky != nil {
		err = g.flaky()
	}
	return revision, err
}

func (g gatedLeases) Delete(ctx context.Context, app, key string, expect uint64) error {
	if err := g.gate(ctx, true); err != nil {
		return err
	}
	return g.leases.Delete(ctx, app, key, expect)
}

// leasesOf reads the leases by shard.
func leasesOf(t *testing.T, leases Leases) map[string]Lease {
	t.Helper()
	w := &worker{o: Options{App: "app", Leases: leases}}
	entries, _, err := w.list(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]Lease{}
	for key, e := range entries {
		m[key] = e.Lease
	}
	return m
}

// owners counts the leases of each worker, by its name.
func owners(t *testing.T, leases Leases) map[string]int {
	n := map[string]int{}
	for _, l := range leasesOf(t, leases) {
		if l.Checkpoint.From != ShardEnd {
			name, _, _ := strings.Cut(l.Owner, ".")
			n[name]++
		}
	}
	return n
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// benchViewer is one viewer. join returns at the first picture; watch goes on
// until ctx ends.
type benchViewer interface {
	join(ctx context.Context) error
	watch(ctx context.Context)
	leave()
}

// tally is what one viewer has received.
type tally struct {
	mu     sync.Mutex // guards the fields below
	bytes  int64
	delays []time.Duration
	first  time.Duration // from the begin of join
	errs   []error
}

// maxDelays bounds the delays that a viewer keeps.
const maxDelays = 4096

func (t *tally) got(bytes int, delay time.Duration, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += int64(bytes)
	if known && len(t.delays) < maxDelays {
		t.delays = append(t.delays, delay)
	}
}

func (t *tally) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.errs) < 10 {
		t.errs = append(t.errs, err)
	}
}

// reset forgets what came while others joined.
func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes, t.delays = 0, t.delays[:0]
}

// crowd is many viewers of one stream.
type crowd struct {
	b       *viewerBench
	viewers []benchViewer
	tallies []*tally
	cancel  context.CancelFunc
	all     sync.WaitGroup
}

func newCrowd(b *viewerBench, protocol string, n int) *crowd {
	c := &crowd{b: b, cancel: func() {}}
	for range n {
		t := &tally{}
		c.tallies = append(c.tallies, t)
		switch protocol {
		case "whep":
			c.viewers = append(c.viewers, &whepViewer{b: b, t: t})
		case "llhls":
			c.viewers = append(c.viewers, &lowLatencyViewer{b: b, t: t})
		default:
			c.viewers = append(c.viewers, &archiveViewer{b: b, t: t})
		}
	}
	return c
}

// join has all come, a few at a time, and watch.
func (c *crowd) join(ctx context.Context) error {
	ctx, c.cancel = context.WithCancel(ctx)
	const together = 8
	places := make(chan struct{}, together)
	errs := make(chan error, len(c.viewers))
	for i, v := range c.viewers {
		places <- struct{}{}
		c.all.Go(func() {
			begun := time.Now()
			coming, cancel := context.WithTimeout(ctx, 30*time.Second)
			err := v.join(coming)
			cancel()
			c.tallies[i].first = time.Since(begun)
			<-places
			errs <- err
			if err == nil {
				v.watch(ctx)
			}
			v.leave()
		})
	}
	var all []error
	for range c.viewers {
		if err := <-errs; err != nil && len(all) < 3 {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

func (c *crowd) leave() {
	c.cancel()
	c.all.Wait()
}

func (c *crowd) firsts() (list []time.Duration) {
	for _, t := range c.tallies {
		list = append(list, t.first)
	}
	return list
}

// result is what one way of watching costs.
type result struct {
	protocol string
	viewers  int
	cpu      float64 // ms per viewer and second
	p50, p99 time.Duration
	kbits    float64 // per viewer
	memory   float64 // KiB per viewer
	heap     float64 // bytes per viewer and second
	errs     int
}

func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "%-6s %8d %12.3f %10.0f %10s %10s %10.0f %12.0f %12.0f\n",
		r.protocol, r.viewers, r.cpu, 1000/r.cpu, r.p50, r.p99, r.kbits, r.memory, r.heap)
	if r.errs > 0 {
		fmt.Fprintf(w, "       %d mistakes of viewers\n", r.errs)
	}
}

// measure has a crowd watch for a while. What the server does for the camera
// itself is measured before, and taken off.
func (b *viewerBench) measure(ctx context.Context, protocol string) (*result, error) {
	if protocol == "hls" { // there must be something to watch
		if err := pause(ctx, 3*time.Second); err != nil {
			return nil, err
		}
	}
	idle, err := b.usage(ctx)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return nil, err
	}
	base := before.since(idle)
	c := newCrowd(b, protocol, b.viewers)
	defer c.leave()
	if err := c.join(ctx); err != nil {
		return nil, err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	for _, t := range c.tallies {
		t.reset()
	}
	begin, err := b.usage(ctx)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, b.duration); err != nil {
		return nil, err
	}
	end, err := b.usage(ctx)
	if err != nil {
		return nil, err
	}
	return c.result(protocol, end.since(begin), base, end.memory-before.memory), nil
}

func (c *crowd) result(protocol string, u, base usage, memory float64) *result {
	n := float64(len(c.viewers))
	r := &result{
		protocol: protocol, viewers: len(c.viewers), memory: max(0, memory) / n / 1024,
		cpu:  max(0.0001, u.cpu-base.cpu) / n * 1000,
		heap: max(0, u.heap-base.heap) / n,
	}
	var delays []time.Duration
	for _, t := range c.tallies {
		t.mu.Lock()
		r.kbits += float64(t.bytes) * 8 / 1000 / u.seconds / n
		delays = append(delays, t.delays...)
		r.errs += len(t.errs)
		t.mu.Unlock()
	}
	slices.Sort(delays)
	r.p50, r.p99 = percentile(delays, 50), percentile(delays, 99)
	return r
}

// usage is what a server has used; since makes it rates.
type usage struct {
	at                         time.Time
	cpu, heap, memory, seconds float64
}

func (u usage) since(o usage) usage {
	s := u.at.Sub(o.at).Seconds()
	return usage{seconds: s, cpu: (u.cpu - o.cpu) / s, heap: (u.heap - o.heap) / s}
}

// usage asks the server for its figures.
func (b *viewerBench) usage(ctx context.Context) (usage, error) {
	body, err := b.fetch(ctx, "/metrics")
	if err != nil {
		return usage{}, err
	}
	u := usage{at: time.Now()}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		to := map[string]*float64{"process_cpu_seconds_total": &u.cpu, "go_heap_allocated_bytes_total": &u.heap, "process_resident_memory_bytes": &u.memory}[name]
		if to == nil {
			continue
		}
		if *to, err = strconv.ParseFloat(value, 64); err != nil {
			return usage{}, fmt.Errorf("/metrics: %w", err)
		}
	}
	if u.cpu == 0 {
		return usage{}, errors.New("/metrics does not tell the time on a processor")
	}
	return u, nil
}

// fetch returns the body of a successful GET.
func (b *viewerBench) fetch(ctx context.Context, path string) ([]byte, error) {
	res, err := b.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", path, res.Status, body)
	}
	return body, err
}

// status returns that of a GET, 0 when nobody answers.
func (b *viewerBench) status(ctx context.Context, path string) int {
	res, err := b.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// benchClient keeps a connection for each viewer.
var benchClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 10_000, DisableCompression: true}}

func (b *viewerBench) do(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	b.prove(r.Header)
	return benchClient.Do(r)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

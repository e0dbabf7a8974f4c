package metrics

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Calls counts the calls of a service by operation and outcome.
type Calls struct {
	mu  sync.Mutex
	all map[call]*outcome // as many as there are operations and codes
}

type call struct{ operation, code string }

type outcome struct {
	count uint64
	took  time.Duration
}

// NewCalls returns a counter.
func NewCalls() *Calls { return &Calls{all: map[call]*outcome{}} }

// Observe counts a call: the operation, "" for an unknown one, the code of the
// error, "" for none, and how long it took.
func (c *Calls) Observe(operation, code string, took time.Duration) {
	k := call{cmp.Or(operation, "unknown"), cmp.Or(code, "none")}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.all[k]
	if o == nil {
		o = &outcome{}
		c.all[k] = o
	}
	o.count++
	o.took += took
}

// Write writes the figures.
func (c *Calls) Write(w *Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]call, 0, len(c.all))
	for k := range c.all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b call) int {
		return cmp.Or(cmp.Compare(a.operation, b.operation), cmp.Compare(a.code, b.code))
	})
	w.Family("kineweir_kinesis_calls_total", Counter, "Calls of the Kinesis API by operation and error code.")
	for _, k := range keys {
		w.Sample(float64(c.all[k].count), Label{"operation", k.operation}, Label{"code", k.code})
	}
	w.Family("kineweir_kinesis_call_seconds_total", Counter, "Seconds in calls of the Kinesis API.")
	for _, k := range keys {
		w.Sample(c.all[k].took.Seconds(), Label{"operation", k.operation}, Label{"code", k.code})
	}
}

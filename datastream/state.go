package datastream

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// record is what Meta holds of a stream beside its shards, as JSON under
// "stream/<name>". Maps and slices in it are never modified: a change clones.
type record struct {
	ID             uint64
	Status         Status
	Mode           Mode
	Created        int64 // unix ms
	RetentionHours int
	Floor          int64 `json:",omitempty"` // unix ms; what arrived before stays hidden when the retention is raised
	MaxRecordKiB   int
	Auto           bool `json:",omitempty"`
	WarmMiBps      int  `json:",omitempty"`
	Cipher         cipherState
	Monitored      []string          `json:",omitempty"`
	Tags           map[string]string `json:",omitempty"`
	Policy         string            `json:",omitempty"`
	NextShard      uint32
	Plan           *plan  `json:",omitempty"` // a change of the shards under way
	Scaled         recent `json:",omitempty"` // SetShardCount
	Switched       recent `json:",omitempty"` // SetMode
}

// picture is a stream at one moment. It is never modified.
type picture struct {
	record record
	shards *shardMap
	gate   *gate
	// changed is closed when another picture takes this one's place.
	changed chan struct{}
	// broken: it is not known what Meta holds; only reads go on.
	broken bool
}

// horizon is the moment, in unix ms, before which records are hidden.
func (p *picture) horizon(now time.Time) int64 {
	return max(unixMs(now.Add(-time.Duration(p.record.RetentionHours)*time.Hour)), p.record.Floor)
}

// stream is one stream. What it is now stands in its picture, which puts and
// reads load without a lock.
type stream struct {
	name    string
	id      uint64
	picture atomic.Pointer[picture]
	turn    atomic.Uint64 // of automatic distribution
	figures streamCounters
	ciphers ciphers

	order   sync.Mutex // stamps and appends go together, so that stamps order as positions do
	arrived int64      // unix ms, the latest stamp; under order

	ctl    sync.Mutex        // held by whoever changes the stream
	rev    uint64            // of its record in Meta; under ctl
	chunks map[uint32]uint64 // revisions of its shards in Meta; under ctl
	gone   bool              // deleted; under ctl

	mu        sync.Mutex
	consumers map[string]*consumer // under mu
}

func (s *stream) now() *picture { return s.picture.Load() }

// publish lets everyone see the next picture. Called under ctl.
func (s *stream) publish(next picture) {
	next.changed = make(chan struct{})
	if old := s.picture.Swap(&next); old != nil {
		close(old.changed)
	}
}

// clock is now in unix ms, and never before what has arrived; no later arrival
// will be stamped before it.
func (s *stream) clock() int64 {
	s.order.Lock()
	defer s.order.Unlock()
	s.arrived = max(s.arrived, unixMs(time.Now()))
	return s.arrived
}

// view is what callers see.
func (s *stream) view() Stream {
	p := s.now()
	r := &p.record
	s.mu.Lock()
	consumers := len(s.consumers)
	s.mu.Unlock()
	return Stream{
		Name: s.name, ID: s.id, Status: r.Status, Mode: r.Mode, Created: atMs(r.Created),
		RetentionHours: r.RetentionHours, MaxRecordKiB: r.MaxRecordKiB, AutoDistribution: r.Auto, WarmMiBps: r.WarmMiBps,
		OpenShards: len(p.shards.open), Consumers: consumers, KeyID: r.Cipher.KeyID, Monitored: slices.Clone(r.Monitored),
	}
}

// Stream returns a picture of a stream.
func (e *Engine) Stream(name string) (Stream, error) {
	s, err := e.find(name)
	if err != nil {
		return Stream{}, err
	}
	return s.view(), nil
}

// Streams returns up to limit streams in the order of their names, beginning
// behind the name after; more says whether others follow.
func (e *Engine) Streams(after string, limit int) (list []Stream, more bool) {
	var found []*stream
	for s := range e.all {
		if s.name > after {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *stream) int { return compareNames(a.name, b.name) })
	for _, s := range found {
		if len(list) == limit {
			return list, true
		}
		list = append(list, s.view())
	}
	return list, false
}

func compareNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Counts says how many streams there are, how many shards of provisioned
// streams are open, and how many streams are on demand.
func (e *Engine) Counts() (streams, openShards, onDemand int) {
	for s := range e.all {
		streams++
		if p := s.now(); p.record.Mode == OnDemand {
			onDemand++
		} else {
			openShards += len(p.shards.open)
		}
	}
	return streams, openShards, onDemand
}

func cloneTags(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}

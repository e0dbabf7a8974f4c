package datastream

import (
	"cmp"
	"slices"
	"time"
)

// shard is one shard in one picture. It is never modified; its meter is the
// same in all pictures.
type shard struct {
	index    uint32
	parent   uint32 // NoShard for none
	adjacent uint32 // NoShard for none
	rng      HashRange
	made     int64 // unix ms
	closed   int64 // unix ms; 0 = open
	// epoch is the moment, in unix seconds, that its sequence numbers begin
	// with: that it was made, or just after its parents' epoch, so that numbers
	// grow from parent to child even if both were made in the same second.
	epoch   int64
	closing bool // takes no new puts: a change is under way
	meter   *meter
}

// shardMap is the shards of a stream in one picture. It is never modified.
type shardMap struct {
	all    []*shard  // by index
	open   []*shard  // by range: they tile the circle
	starts []HashKey // of open
}

func newShardMap(all []*shard) *shardMap {
	m := &shardMap{all: all}
	for _, sh := range all {
		if sh.closed == 0 {
			m.open = append(m.open, sh)
		}
	}
	slices.SortFunc(m.open, func(a, b *shard) int { return a.rng.Start.Compare(b.rng.Start) })
	m.starts = make([]HashKey, len(m.open))
	for i, sh := range m.open {
		m.starts[i] = sh.rng.Start
	}
	return m
}

// route returns the open shard on whose range the point falls.
func (m *shardMap) route(h HashKey) *shard {
	low, high := 0, len(m.starts) // the shard is in [low, high)
	for high-low > 1 {
		if mid := int(uint(low+high) / 2); m.starts[mid].Compare(h) <= 0 {
			low = mid
		} else {
			high = mid
		}
	}
	return m.open[low]
}

// find returns the shard with the index, or nil.
func (m *shardMap) find(index uint32) *shard {
	i, ok := slices.BinarySearchFunc(m.all, index, func(sh *shard, index uint32) int { return cmp.Compare(sh.index, index) })
	if !ok {
		return nil
	}
	return m.all[i]
}

// with returns the map with the shards in it, new or in the place of those
// with the same index.
func (m *shardMap) with(changed map[uint32]*shard) *shardMap {
	all := make([]*shard, 0, len(m.all)+len(changed))
	taken := 0
	for _, sh := range m.all {
		if c := changed[sh.index]; c != nil {
			sh = c
			taken++
		}
		all = append(all, sh)
	}
	if taken < len(changed) {
		for _, c := range changed {
			if m.find(c.index) == nil {
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(a, b *shard) int { return cmp.Compare(a.index, b.index) })
	}
	return newShardMap(all)
}

// children returns the shards that took over the range of a closed one.
func (m *shardMap) children(index uint32) (list []Shard) {
	from, _ := slices.BinarySearchFunc(m.all, index, func(sh *shard, index uint32) int { return cmp.Compare(sh.index, index) })
	for _, sh := range m.all[from:] { // children come after their parents
		if sh.parent == index || sh.adjacent == index {
			list = append(list, sh.view())
		}
	}
	return list
}

// expired reports whether everything in the shard is hidden for good.
func (sh *shard) expired(horizon int64) bool { return sh.closed != 0 && sh.closed < horizon }

func (sh *shard) view() Shard {
	v := Shard{
		Index: sh.index, Range: sh.rng, Parent: sh.parent, AdjacentParent: sh.adjacent,
		Made: atMs(sh.made), Closed: atMs(sh.closed), First: sh.number(0, sh.made),
	}
	if sh.closed != 0 {
		v.Last = sh.number(EndIndex, sh.closed)
	}
	return v
}

func (sh *shard) number(index uint64, arrived int64) SequenceNumber {
	return SequenceNumber{ShardMade: sh.epoch, Shard: sh.index, Index: index, Arrived: arrived / 1000}
}

// ShardFilter says which shards to list, as the service names it.
type ShardFilter struct {
	Kind  string    // "" or one of the Shards constants
	After uint32    // list what follows this index; NoShard = from the first
	Time  time.Time // of ShardsAtTimestamp and ShardsFromTimestamp
}

// The kinds of ShardFilter, as the service names them.
const (
	ShardsAfterID         = "AFTER_SHARD_ID"
	ShardsAtTrimHorizon   = "AT_TRIM_HORIZON"
	ShardsFromTrimHorizon = "FROM_TRIM_HORIZON"
	ShardsAtLatest        = "AT_LATEST"
	ShardsAtTimestamp     = "AT_TIMESTAMP"
	ShardsFromTimestamp   = "FROM_TIMESTAMP"
)

// Shards lists the shards of a stream by index, less those whose records have
// all passed the retention.
func (e *Engine) Shards(name string, f ShardFilter) ([]Shard, error) {
	s, err := e.find(name)
	if err != nil {
		return nil, err
	}
	p := s.now()
	horizon := p.horizon(time.Now())
	keep, err := f.keep(name, p, horizon)
	if err != nil {
		return nil, err
	}
	list := make([]Shard, 0, len(p.shards.all))
	for _, sh := range p.shards.all {
		if !sh.expired(horizon) && (f.After == NoShard || sh.index > f.After) && keep(sh) {
			list = append(list, sh.view())
		}
	}
	return list, nil
}

func (f ShardFilter) keep(name string, p *picture, horizon int64) (func(*shard) bool, error) {
	openAt := func(ms int64) func(*shard) bool {
		return func(sh *shard) bool { return sh.made <= ms && (sh.closed == 0 || sh.closed >= ms) }
	}
	// Nothing is older than the stream: its first shards were there then.
	horizon = max(horizon, p.record.Created)
	switch f.Kind {
	case "", ShardsAfterID, ShardsFromTrimHorizon:
		return func(*shard) bool { return true }, nil
	case ShardsAtTrimHorizon:
		return openAt(horizon), nil
	case ShardsAtLatest:
		return func(sh *shard) bool { return sh.closed == 0 }, nil
	case ShardsAtTimestamp:
		return openAt(max(unixMs(f.Time), horizon)), nil
	case ShardsFromTimestamp:
		from := max(unixMs(f.Time), horizon)
		return func(sh *shard) bool { return sh.closed == 0 || sh.closed >= from }, nil
	}
	return nil, refuse(ErrInvalid, name, "shard filter %q is unknown", f.Kind)
}

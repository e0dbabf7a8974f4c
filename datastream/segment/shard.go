package segment

import (
	"cmp"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/kineweir/kineweir/datastream/journal"
)

func (k Key) compare(o Key) int {
	if c := cmp.Compare(k.Stream, o.Stream); c != 0 {
		return c
	}
	return cmp.Compare(k.Shard, o.Shard)
}

// shard is what the store knows of a shard: its extents in files, then its runs
// in memory. Every record at or after a position is in exactly one of them at
// any moment that mu is held, so that a reader who takes one step at a time
// never meets a record twice or misses one while a table becomes a file.
type shard struct {
	key     Key
	laneKey string // of its entries in the lane

	stamped int64        // the last arrival given out; under Store.order
	pending atomic.Int32 // records on their way; raised under shards.mu

	mu      sync.Mutex
	extents []extent // oldest first
	runs    []run    // oldest first
	usual   int      // records of the last run that was sealed, which the next are made for
	end     journal.Position
	arrived int64         // of the last record
	wake    chan struct{} // nil while nobody waits
	gone    bool          // let go
}

// maxUsual bounds the records that a run is made for, as the shard may have
// become a quiet one.
const maxUsual = 1 << 10

// run is the part of a shard that lies in a table. Records are only added, so a
// reader may keep the slice.
type run struct {
	table     *table
	records   []Record
	stretches []stretch
}

// stretch is records of a run that lie in the lane as entries of one frame, one
// behind the other: from the first of them on until the next stretch begins.
type stretch struct {
	first  int    // index in the run
	offset uint32 // of its first entry in the body of the frame
}

// table is the records in memory that will be sealed together.
type table struct {
	shards []*shard // those with a run in it; the publisher's until the table waits

	// How its records lie in the lane; likewise.
	scattered bool  // not in long stretches, or it is not known how: they have to be sorted
	stretches int   // of all runs
	most      int   // of these, before they are too short for sure
	laneBytes int64 // of all entries

	// Under Store.mu.
	bytes   int64
	records int
	end     journal.Position // just after the last record
}

// unknown is the offset of an entry whose place in its frame is not known.
const unknown = -1

// laneEnd follows where the entries lie that come out of the lane.
type laneEnd struct {
	next   journal.Position
	offset int64 // of the entry there, in the body of its frame
}

// place is the offset, in the body of its frame, of the next entry, which has a
// record with a body of this size; unknown if others were missed before it.
func (l *laneEnd) place(p journal.Position, body int) int64 {
	at := l.offset
	switch {
	case p.Index == 0:
		at = 0
	case p != l.next:
		at = unknown
	}
	l.next, l.offset = p.Next(), unknown
	if at != unknown {
		l.offset = at + int64(entrySize(body))
	}
	return at
}

// lies counts where a record lies that is added to the last run of its shard.
func (t *table) lies(into *run, p journal.Position, at int64, body int) {
	if t.scattered {
		return
	}
	t.laneBytes += int64(entrySize(body))
	if n := len(into.records); n > 0 {
		before := into.records[n-1].Position
		if before.Frame == p.Frame && before.Index+1 == p.Index {
			return
		}
	}
	t.stretches++
	if at == unknown || t.stretches > t.most {
		t.scattered = true
		return
	}
	into.stretches = append(into.stretches, stretch{len(into.records), uint32(at)})
}

// add makes a record visible, whose entry lies at an offset in the body of its
// frame or unknown. Only one goroutine adds.
func (t *table) add(sh *shard, r Record, at int64) {
	sh.mu.Lock()
	n := len(sh.runs)
	if n == 0 || sh.runs[n-1].table != t {
		sh.runs = append(sh.runs, run{table: t, records: make([]Record, 0, min(sh.usual, maxUsual))})
		t.shards = append(t.shards, sh)
		n++
	}
	last := &sh.runs[n-1]
	if n := len(last.records); n == cap(last.records) && n > 0 {
		last.records = slices.Grow(last.records, n) // twice as many: append's own quarter copies each record four times
	}
	t.lies(last, r.Position, at, len(r.Body))
	last.records = append(last.records, r)
	sh.end, sh.arrived = r.Position.Next(), r.Arrived
	if sh.wake != nil {
		close(sh.wake)
		sh.wake = nil
	}
	sh.mu.Unlock()
}

// grow counts what was added. The caller holds Store.mu.
func (t *table) grow(records int, bytes int64, end journal.Position) {
	t.records += records
	t.bytes += bytes
	t.end = end
}

// at finds the first record at or after from that arrived at since or later: an
// extent that may hold it, or records in memory that begin with it. When there
// is none, it answers the end of the shard.
func (sh *shard) at(from journal.Position, since int64) (extent, []Record, journal.Position) {
	p := pack(from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sort.Search(len(sh.extents), func(i int) bool {
		return sh.extents[i].last >= p && sh.extents[i].lastArrived >= since
	})
	if i < len(sh.extents) {
		return sh.extents[i], nil, sh.end
	}
	for _, r := range sh.runs {
		j := sort.Search(len(r.records), func(j int) bool {
			return !r.records[j].Position.Less(from) && r.records[j].Arrived >= since
		})
		if j < len(r.records) {
			return extent{}, r.records[j:], sh.end
		}
	}
	return extent{}, nil, sh.end
}

// install puts an extent, or nothing if it is empty, in the place of the
// shard's run in a table.
func (sh *shard) install(t *table, x extent) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.runs) > 0 && sh.runs[0].table == t {
		sh.usual = len(sh.runs[0].records)
		sh.runs = slices.Delete(sh.runs, 0, 1)
	}
	if x.file != nil {
		sh.extents = append(sh.extents, x)
	}
}

// found takes an extent while the store is opened.
func (sh *shard) found(x extent) {
	sh.extents = append(sh.extents, x)
	sh.end, sh.arrived = unpack(x.last).Next(), x.lastArrived
	sh.stamped = x.lastArrived
}

// forget removes the extents of dropped files.
func (sh *shard) forget() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.extents = slices.DeleteFunc(sh.extents, func(x extent) bool { return x.file.dropped.Load() })
}

// shards are all that the store knows.
type shards struct {
	mu    sync.RWMutex
	byKey map[Key]*shard
}

func (s *shards) len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byKey)
}

// find returns nil for an unknown shard.
func (s *shards) find(k Key) *shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byKey[k]
}

// get makes the shard if it is unknown.
func (s *shards) get(k Key) *shard {
	if sh := s.find(k); sh != nil {
		return sh
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.getLocked(k)
}

func (s *shards) getLocked(k Key) *shard {
	sh := s.byKey[k]
	if sh == nil {
		sh = &shard{key: k, laneKey: laneKey(k)}
		s.byKey[k] = sh
	}
	return sh
}

// hold finds the shards of the items, and keeps each from being let go until it
// is released.
func (s *shards) hold(entries []entry, items []Item) {
	s.mu.RLock()
	known := 0
	for ; known < len(items); known++ {
		sh := s.byKey[items[known].Key]
		if sh == nil {
			break
		}
		sh.pending.Add(1)
		entries[known].shard = sh
	}
	s.mu.RUnlock()
	if known == len(items) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := known; i < len(items); i++ {
		sh := s.getLocked(items[i].Key)
		sh.pending.Add(1)
		entries[i].shard = sh
	}
}

func release(entries []entry) {
	for i := range entries {
		entries[i].shard.pending.Add(-1)
	}
}

// all lists the shards.
func (s *shards) all() []*shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*shard, 0, len(s.byKey))
	for _, sh := range s.byKey {
		list = append(list, sh)
	}
	return list
}

// letGo removes the shards, of streams that are gone, of which nothing is left.
func (s *shards) letGo(gone func(stream uint64) bool) {
	streams := make(map[uint64]bool) // asked without a lock: gone may wait for those who append
	for _, sh := range s.all() {
		if sh.empty() && gone(sh.key.Stream) {
			streams[sh.key.Stream] = true
		}
	}
	if len(streams) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, sh := range s.byKey {
		if streams[k.Stream] && sh.empty() && sh.pending.Load() == 0 {
			delete(s.byKey, k)
			sh.leave()
		}
	}
}

// empty reports whether there is no record of the shard.
func (sh *shard) empty() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.extents) == 0 && len(sh.runs) == 0
}

// leave tells who waits that the shard is no longer the one to wait for.
func (sh *shard) leave() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.gone = true
	if sh.wake != nil {
		close(sh.wake)
		sh.wake = nil
	}
}

// wakeAll ends all waiting.
func (s *shards) wakeAll() {
	for _, sh := range s.all() {
		sh.mu.Lock()
		if sh.wake != nil {
			close(sh.wake)
			sh.wake = nil
		}
		sh.mu.Unlock()
	}
}

// An entry in the lane has the shard as its key, stream and shard number
// big-endian, and as its payload the arrival in unix ms, little-endian, and the
// body. The lane's kind byte says that it is a record.
const (
	entryHead   = 8 // before the body
	laneKeySize = 12
	laneRecord  = journal.Kind(1)
)

func laneKey(k Key) string {
	b := be.AppendUint64(make([]byte, 0, laneKeySize), k.Stream)
	return string(be.AppendUint32(b, k.Shard))
}

// isRecord reports whether an entry of the lane can be a record.
func isRecord(kind journal.Kind, payload []byte) bool {
	return kind == laneRecord && len(payload) >= entryHead
}

// entrySize is the length of the entry of a record with a body of this size.
func entrySize(body int) int { return journal.EntrySize(laneKeySize, entryHead+body) }

func parseLaneKey(s string) (Key, bool) {
	if len(s) != laneKeySize {
		return Key{}, false
	}
	return Key{Stream: be.Uint64([]byte(s[:8])), Shard: be.Uint32([]byte(s[8:]))}, true
}

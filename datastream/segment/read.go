package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"sort"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Read appends to into the durable records of a shard at or after from, in
// order: at most max of them (at least 1), and of no more than maxBytes bytes of
// bodies together, but at least one if there is one. Records older than their
// stream is kept are left out. next is where to go on.
//
// Records that are damaged, or whose file is not there since the store was opened,
// are gone for who reads: it would not help anybody to be stopped by them for as
// long as they are kept. Reading goes on behind them, which is said in the log,
// once of each gap, and counted in Stats().Gaps each time; nothing is left out
// without that. An error is one that another attempt may not meet: of the device,
// or, as a *journal.CorruptError, a file that was there when the store was opened
// and is missing now. next is then where to try again.
func (s *Store) Read(k Key, from journal.Position, max, maxBytes int, into []Record) ([]Record, journal.Position, error) {
	q := query{key: k, from: from, since: s.horizon(k.Stream), left: max, bytes: maxBytes, into: into}
	if s.closed.Load() {
		return into, from, journal.ErrClosed
	}
	sh := s.shards.find(k)
	if sh == nil || q.since == math.MaxInt64 {
		return into, from, nil
	}
	for {
		x, records, end := sh.at(q.from, q.since)
		var err error
		switch {
		case x.file != nil:
			err = s.readExtent(&q, &x)
		case records != nil:
			q.records(records)
		default:
			if q.from.Less(end) { // all that was there has expired
				q.from = end
			}
			return q.into, q.from, nil
		}
		switch {
		case err != nil && q.taken == 0:
			return q.into, q.from, err
		case err != nil || q.full: // the error is met again by the call that goes on here
			return q.into, q.from, nil
		}
	}
}

// query is one Read.
type query struct {
	key   Key
	from  journal.Position // at or after which comes the next record
	since int64            // records that arrived before are hidden
	left  int              // records wanted
	bytes int              // bytes wanted
	taken int
	into  []Record
	full  bool
}

// take adds a record, unless there is no room for it.
func (q *query) take(r Record) bool {
	if q.taken > 0 && (q.left <= 0 || len(r.Body) > q.bytes) {
		q.full = true
		return false
	}
	q.into = append(q.into, r)
	q.taken++
	q.left--
	q.bytes -= len(r.Body)
	q.from = r.Position.Next()
	return true
}

func (q *query) records(records []Record) {
	for i := range records {
		if !q.take(records[i]) {
			return
		}
	}
}

// readExtent reads from a sealed file. If the file was dropped since it was
// found, it does nothing: the next step finds what there is instead.
func (s *Store) readExtent(q *query, x *extent) error {
	raw, index, err := s.indexed(q.key, x)
	if raw != nil {
		defer raw.Close()
	}
	if index == nil || err != nil {
		return err
	}
	for i := index.find(pack(q.from), q.since); i < index.count() && !q.full; i++ {
		e := index.at(i)
		if q.left <= 0 && q.taken > 0 {
			q.full = true
			break
		}
		switch err := s.readBlock(q, x.file, raw, &e); err {
		case nil:
		case errDropped:
			return nil
		default:
			return err
		}
	}
	if !q.full {
		q.from = unpack(x.last).Next()
	}
	return nil
}

// readBlock takes what is wanted of a block, or passes over it if it is missing
// or damaged. It is errDropped if the file was dropped meanwhile.
func (s *Store) readBlock(q *query, f *file, raw io.ReaderAt, e *block) error {
	if !e.missing() {
		err := q.block(f, raw, e)
		if err == nil {
			return nil
		}
		if err = s.unread(f, e, err); !isDamage(err) || errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.tellGap(f, q.key, e)
	if behind := unpack(e.last).Next(); q.from.Less(behind) {
		q.from = behind
	}
	return nil
}

// unread says why a block can not be read: errDropped if its file was dropped,
// as what was read may be of another by then.
func (s *Store) unread(f *file, e *block, err error) error {
	switch {
	case f.dropped.Load():
		return errDropped
	case errors.Is(err, fs.ErrNotExist): // a piece that was there when the store was opened
		return errors.Join(s.met(f, f.damage(e.offset, errMissing)), err)
	}
	return s.met(f, err)
}

// indexed opens a file and finds a shard's part of its index. raw is nil when there
// is nothing to open, index when the file was dropped since it was found.
func (s *Store) indexed(k Key, x *extent) (raw *source, index blocks, err error) {
	f := x.file
	m := f.mended.Load()
	if m != nil && (f.absent || f.inPlace()) {
		if f.dropped.Load() {
			return nil, nil, nil
		}
		return &source{file: f}, m.index[k], nil
	}
	if raw, err = s.open(f); raw == nil {
		return nil, nil, err
	}
	if m == nil {
		index, err = f.index(raw, x)
		if err == nil || !isDamage(err) {
			return raw, index, err
		}
		s.met(f, err)
		if m, err = s.mendIndex(f); err != nil {
			return raw, nil, err
		}
	}
	return raw, m.index[k], nil
}

func isDamage(err error) bool {
	var damage *journal.CorruptError
	return errors.As(err, &damage)
}

// find is the first block that may hold a record at or after p that arrived at
// since or later.
func (x blocks) find(p uint64, since int64) int {
	return sort.Search(x.count(), func(i int) bool {
		e := x.at(i)
		return e.last >= p && e.lastArrived >= since
	})
}

// block takes what is wanted of a block.
func (q *query) block(f *file, raw io.ReaderAt, e *block) error {
	c, err := f.block(raw, q.key, e)
	if err != nil {
		return err
	}
	for c.left > 0 {
		r, err := c.next()
		if err != nil {
			return f.damage(e.offset, err)
		}
		if r.Position.Less(q.from) || r.Arrived < q.since {
			continue
		}
		if !q.take(r) {
			return nil
		}
	}
	return nil
}

var errMissing = errors.New("the file is missing")

// open opens a file that was found in a shard; nil without an error says that
// it was dropped since.
func (s *Store) open(f *file) (*source, error) {
	raw, err := f.open(s.fs)
	if err == nil {
		return raw, nil
	}
	if f.dropped.Load() {
		return nil, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.met(f, f.damage(0, errMissing))
	}
	return nil, fmt.Errorf("read segment: %w", err)
}

// SeekTime finds the first record of a shard that arrived at a time (unix ms) or
// later and is not older than its stream is kept. When there is none, it
// answers the position after the last record. Where records are missing or
// damaged it answers where they begin. Errors are those of Read.
func (s *Store) SeekTime(k Key, unixMs int64) (journal.Position, error) {
	if s.closed.Load() {
		return journal.Position{}, journal.ErrClosed
	}
	sh := s.shards.find(k)
	if sh == nil {
		return journal.Position{}, nil
	}
	return s.seek(sh, max(unixMs, s.horizon(k.Stream)))
}

func (s *Store) seek(sh *shard, since int64) (journal.Position, error) {
	for {
		x, records, end := sh.at(journal.Position{}, since)
		switch {
		case records != nil:
			return records[0].Position, nil
		case x.file == nil:
			return end, nil
		case x.firstArrived >= since:
			return unpack(x.first), nil
		}
		p, found, err := s.seekExtent(sh.key, &x, since)
		if found || err != nil {
			return p, err
		}
	}
}

// seekExtent finds the first record that arrived at since or later in an extent
// that has one. It finds nothing if the file was dropped.
func (s *Store) seekExtent(k Key, x *extent, since int64) (p journal.Position, found bool, err error) {
	raw, index, err := s.indexed(k, x)
	if raw != nil {
		defer raw.Close()
	}
	if index == nil || err != nil {
		return p, false, err
	}
	i := index.find(0, since)
	if i == index.count() { // the directory says otherwise
		return unpack(x.first), true, nil
	}
	e := index.at(i)
	if e.firstArrived >= since || e.missing() {
		return unpack(e.first), true, nil
	}
	c, err := x.file.block(raw, k, &e)
	for err == nil && c.left > 0 {
		var r Record
		if r, err = c.next(); err == nil && r.Arrived >= since {
			return r.Position, true, nil
		}
	}
	if err == nil || errors.Is(err, errRecords) { // the index says otherwise
		err = x.file.damage(e.offset, errRecords)
	}
	switch err = s.unread(x.file, &e, err); {
	case err == errDropped:
		return p, false, nil
	case !isDamage(err) || errors.Is(err, fs.ErrNotExist):
		return p, false, err
	}
	return unpack(e.first), true, nil
}

// Bounds are the position of the first record that is kept, the position just
// after the last one, and when that arrived (unix ms); first is end when there
// are none. All are zero for a shard of which nothing is known: one that never
// had a record, or none since the store was opened and none that is kept.
func (s *Store) Bounds(k Key) (first, end journal.Position, lastArrived int64) {
	sh := s.shards.find(k)
	if sh == nil {
		return
	}
	sh.mu.Lock()
	end, lastArrived = sh.end, sh.arrived
	sh.mu.Unlock()
	since := s.horizon(k.Stream)
	first, err := s.seek(sh, since)
	if err != nil { // damage: the first record that may be kept is near enough
		x, _, _ := sh.at(journal.Position{}, since)
		first = unpack(x.first)
	}
	if end.Less(first) { // records came meanwhile
		first = end
	}
	return first, end, lastArrived
}

// Wake is closed when the next record of a shard becomes visible, and when the
// store closes. To wait for a record without missing it: Wake, then Read, then
// wait.
func (s *Store) Wake(k Key) <-chan struct{} {
	for {
		sh := s.shards.get(k)
		sh.mu.Lock()
		switch {
		case s.closed.Load():
			sh.mu.Unlock()
			return s.life.Done()
		case sh.gone:
			sh.mu.Unlock()
			continue
		}
		if sh.wake == nil {
			sh.wake = make(chan struct{})
		}
		wake := sh.wake
		sh.mu.Unlock()
		return wake
	}
}

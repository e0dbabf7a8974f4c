package segment

import (
	"fmt"
	"io"
	"maps"

	"github.com/kineweir/kineweir/datastream/journal"
)

// mended is an index made anew, of the blocks that were found in a file. Where
// records are missing stands an entry without a block: its length is 0.
type mended struct {
	index map[Key]blocks
	gaps  []gap
	lost  uint64 // records of known shards that are missing
}

func (e *block) missing() bool { return e.length == 0 }

// mend makes an index of blocks that were found, for the shards that are expected;
// nil if that is not known, when no more is missing than shows between blocks of
// one shard. The places it returns count the records that are there.
func mend(expected []place, found []salvaged) ([]place, *mended) {
	known := expected != nil
	if !known {
		expected = derive(found)
	}
	m := &mended{index: make(map[Key]blocks, len(expected))}
	places := make([]place, 0, len(expected))
	for _, p := range expected {
		for len(found) > 0 && found[0].key.compare(p.key) < 0 {
			found = found[1:] // of a shard that was never in the file
		}
		n := 0
		for n < len(found) && found[n].key == p.key {
			n++
		}
		places = append(places, m.shard(p, found[:n], known))
		found = found[n:]
	}
	return places, m
}

// derive says of which shards blocks were found.
func derive(found []salvaged) []place {
	var places []place
	for i := range found {
		x := &found[i]
		if n := len(places); n > 0 && places[n-1].key == x.key {
			p := &places[n-1]
			p.last, p.lastArrived = x.last, x.lastArrived
			p.records += x.records
			continue
		}
		places = append(places, place{key: x.key, span: x.span, records: x.records})
	}
	return places
}

// shard adds the index of a shard. Where it is known how many records it has, and
// they are all there, nothing can be missing between them.
func (m *mended) shard(p place, found []salvaged, known bool) place {
	all := uint32(0)
	for i := range found {
		all += found[i].records
	}
	whole := known && all == p.records
	var index blocks
	gapTo := func(first, last uint64, firstArrived, lastArrived int64) {
		g := gap{p.key, span{first, last, firstArrived, lastArrived}}
		if !g.sound() {
			return // nothing can lie between
		}
		m.gaps = append(m.gaps, g)
		index = (&block{span: g.span}).appendTo(index)
	}
	records, hole := uint32(0), false
	next, arrived := p.first, p.firstArrived
	for i := range found {
		x := &found[i]
		if x.first < next || x.last > p.last || x.firstArrived < arrived || x.lastArrived > p.lastArrived {
			hole = true // not as the shard is known
			continue
		}
		if x.first > next && (i == 0 || hole || x.hole && !whole) {
			gapTo(next, x.first-1, arrived, x.firstArrived)
		}
		index = x.block.appendTo(index)
		records += x.records
		next, arrived, hole = x.last+1, x.lastArrived, false
	}
	if next <= p.last {
		gapTo(next, p.last, arrived, p.lastArrived)
	}
	m.index[p.key] = index
	m.lost += uint64(p.records - min(p.records, records))
	p.records, p.blocks, p.firstBlock, p.indexCRC = records, uint32(index.count()), 0, 0
	return p
}

// mendIndex makes the index of a file anew that turned out to be damaged since the
// store was opened. The directory says what is to be found.
func (s *Store) mendIndex(f *file) (*mended, error) {
	f.mending.Lock()
	defer f.mending.Unlock()
	if m := f.mended.Load(); m != nil {
		return m, nil
	}
	raw, err := s.open(f)
	if raw == nil {
		return &mended{}, err
	}
	defer raw.Close()
	again := f.again(f.size)
	expected, err := again.load(raw)
	if err != nil {
		return nil, err
	}
	own, bad, err := again.indexes(raw, expected)
	if err != nil {
		return nil, err
	}
	m := &mended{index: own}
	if len(bad) > 0 {
		found, err := again.find(raw, boundsOf(expected))
		if err != nil && !lasting(err) {
			return nil, fmt.Errorf("read segment: %w", err)
		}
		_, m = mend(bad, found)
		maps.Copy(m.index, own)
	}
	f.lost.Store(m.lost)
	f.mended.Store(m)
	if m.lost == 0 {
		s.log.Error("the index of a sealed file is damaged; it was made anew of its records, which are all there: put a copy of the file in its place", "file", f.name)
	} else {
		s.log.Error("records of a sealed file can not be read", "file", f.name, "lost", m.lost, "missing", describe(m.gaps), "hint", repairHint)
	}
	return m, nil
}

// indexes reads the parts of the index that are whole, and says of which shards
// they are not.
func (f *file) indexes(raw io.ReaderAt, places []place) (whole map[Key]blocks, bad []place, err error) {
	whole = make(map[Key]blocks, len(places))
	for i := range places {
		x := f.extent(&places[i])
		switch index, err := f.index(raw, &x); {
		case err == nil:
			whole[places[i].key] = index
		case isDamage(err):
			bad = append(bad, places[i])
		default:
			return nil, nil, err
		}
	}
	return whole, bad, nil
}

// boundsOf is what a directory says of all records together.
func boundsOf(places []place) bounds {
	b := bounds{first: pack(journal.Position{Frame: maxFrame + 1})}
	for i := range places {
		p := &places[i]
		b.first, b.last = min(b.first, p.first), max(b.last, p.last)
		b.arrived = max(b.arrived, p.lastArrived)
		b.records += uint64(p.records)
	}
	return b
}

// tellGap counts that a reader goes on behind missing records. The log is told
// once of each gap.
func (s *Store) tellGap(f *file, k Key, e *block) {
	s.count.gaps.Add(1)
	g := gap{k, e.span}
	if _, told := f.told.LoadOrStore(g, true); !told {
		name, _, _ := f.where(e.offset)
		s.log.Error("a reader goes on behind records that can not be read", "missing", g, "file", name, "hint", repairHint)
	}
}

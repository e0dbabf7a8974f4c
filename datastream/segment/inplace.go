package segment

import (
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Sealing in place: where the lane has the records of a table in long stretches,
// they stay there. The sealed file is no more than the index of them, and the
// lane keeps its pieces for as long as a file refers to them. Records that lie
// scattered are sorted into a file of their own instead, as an entry of the index
// for every few of them would cost more than it spares.

// placing is a block in a piece, to which entries are added one by one.
type placing struct {
	block
	records uint32
	head    []byte // scratch
}

// add adds the entry of a record, which lies at an offset, and returns where it
// ends. It is false when the entry does not belong to the block: it is not the
// one behind its last, or too much for it.
func (b *placing) add(laneKey string, r *Record, offset uint64) (end uint64, ok bool) {
	at, size := pack(r.Position), uint32(entrySize(len(r.Body)))
	switch {
	case b.records == 0:
		b.block = block{span: span{first: at, firstArrived: r.Arrived}, offset: offset}
	case at != b.last+1 || at>>16 != b.last>>16 || offset != b.offset+uint64(b.length) || b.length+size > blockBytes || r.Arrived < b.lastArrived:
		return 0, false
	}
	b.head = journal.AppendEntryHead(b.head[:0], laneRecord, laneKey, entryHead+len(r.Body))
	b.head = le.AppendUint64(b.head, uint64(r.Arrived))
	b.crc = crc32.Update(crc32.Update(b.crc, castagnoli, b.head), castagnoli, r.Body)
	b.last, b.lastArrived = at, r.Arrived
	b.length += size
	b.records++
	return offset + uint64(size), true
}

// places finds where the stretches of all parts lie: their offsets, in the order
// of the parts, and the pieces that these refer to. It reports false where the
// lane does not know.
func (s *Store) places(parts []part) (offsets []uint64, list []usedPiece, ok bool) {
	numbers := make(map[uint64]uint64)
	for i := range parts {
		p := &parts[i]
		for j := range p.stretches {
			st := &p.stretches[j]
			at, ok := s.pieces.lane.Locate(p.records[st.first].Position.Frame)
			if !ok {
				return nil, nil, false
			}
			n, known := numbers[at.Piece]
			if !known {
				n = uint64(len(list)) + 1
				numbers[at.Piece] = n
				list = append(list, usedPiece{first: at.Piece})
			}
			offsets = append(offsets, n<<pieceShift|uint64(at.Offset)+uint64(st.offset))
		}
	}
	return offsets, list, len(list) <= maxPieces
}

// placed indexes the records of the parts where they lie, if that is worth it and
// the pieces can be kept: the lane then keeps them for the file that it returns,
// which is not yet written. Without it the table has to be sorted.
func (s *Store) placed(t *table, sorted *[classes][]part) (*sealed, *writer, error) {
	class := slices.IndexFunc(sorted[:], func(parts []part) bool { return len(parts) > 0 })
	if class < 0 || len(sorted[class]) < len(t.shards) { // others, of another class or gone, lie between
		return nil, nil, nil
	}
	if t.scattered || t.laneBytes < int64(t.stretches)*s.opts.leastStretch {
		return nil, nil, nil
	}
	offsets, list, ok := s.places(sorted[class])
	if !ok {
		return nil, nil, nil
	}
	m := &sealed{class: class, parts: sorted[class]}
	m.file = s.newFile(s.catalog.next().Next)
	for _, p := range list {
		m.file.uses = append(m.file.uses, p.first)
	}
	if err := s.pieces.hold(m.file.uses); err != nil {
		return m, nil, err
	}
	w := newWriter(nil, m.file.id, placedFormat, class)
	for i := range m.parts {
		p := &m.parts[i]
		if err := w.place(p, offsets[:len(p.stretches)], list); err != nil {
			return m, nil, err
		}
		offsets = offsets[len(p.stretches):]
	}
	m.file.held = w.held
	w.buf = appendPieces(w.buf, list)
	return m, w, nil
}

// place indexes the records of a shard where they lie: each stretch at its offset.
func (w *writer) place(p *part, offsets []uint64, list []usedPiece) error {
	if len(p.records) > math.MaxUint32 {
		return fmt.Errorf("%d records of one shard exceed what a file can hold", len(p.records))
	}
	index := len(w.index)
	var b placing
	done := func() {
		w.index = b.appendTo(w.index)
		used := &list[b.offset>>pieceShift-1]
		used.end = max(used.end, int64(b.offset&(1<<pieceShift-1))+int64(b.length))
		w.held += int64(b.length)
		b.records = 0
	}
	var at uint64
	stretches := p.stretches
	for i := range p.records {
		if len(stretches) > 0 && stretches[0].first == i {
			at, offsets, stretches = offsets[0], offsets[1:], stretches[1:]
		}
		end, ok := b.add(p.shard.laneKey, &p.records[i], at)
		if !ok {
			done()
			end, _ = b.add(p.shard.laneKey, &p.records[i], at)
		}
		at = end
	}
	done()
	w.close(p.shard.key, p.records, index)
	return nil
}

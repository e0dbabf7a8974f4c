package segment

import (
	"slices"

	"github.com/kineweir/kineweir/datastream/journal"
)

// piecePart is what of a shard was found last in pieces.
type piecePart struct {
	placing
	key   Key
	hole  bool
	holes int // how many were met before it
}

// pieceScan finds the records of a file in pieces of the lane.
type pieceScan struct {
	limits bounds
	shards map[Key]*piecePart
	found  []salvaged
	holes  int
	frame  uint64 // the last that was seen
	last   Key    // of the entry before
	laneID string // its key in the lane
}

// scanPieces makes blocks of the entries of the lane between the bounds, which are
// all of one file: a table is sealed in place only as a whole. They are as they
// were when the file was sealed, but where entries are missing.
func (f *file) scanPieces(limits bounds) ([]salvaged, error) {
	s := pieceScan{limits: limits, shards: make(map[Key]*piecePart)}
	for i, piece := range f.uses {
		if i > 0 && s.frame+1 != piece {
			s.holes++
		}
		if err := s.piece(f.pieces.lane, piece, uint64(i+1)<<pieceShift); err != nil {
			if !lasting(err) {
				return nil, err
			}
			s.holes++
		}
	}
	for _, x := range s.shards {
		s.done(x)
	}
	slices.SortFunc(s.found, func(a, b salvaged) int {
		if c := a.key.compare(b.key); c != 0 {
			return c
		}
		return unpack(a.first).Compare(unpack(b.first))
	})
	return s.found, nil
}

func (s *pieceScan) piece(lane journal.Keeper, piece, base uint64) error {
	p, err := lane.OpenPiece(piece)
	if err != nil {
		return err
	}
	defer p.Close()
	for e, err := range p.Entries() {
		if err != nil {
			if !lasting(err) {
				return err
			}
			s.holes++
			continue
		}
		s.frame = e.Frame
		if at := pack(e.Position); at < s.limits.first || at > s.limits.last {
			continue
		}
		if !s.entry(&e, base+uint64(e.Offset)) {
			s.holes++
		}
	}
	return nil
}

// entry takes an entry, and reports false if it is none of a record.
func (s *pieceScan) entry(e *journal.PlacedEntry, offset uint64) bool {
	if e.Key != s.laneID {
		k, ok := parseLaneKey(e.Key)
		if !ok {
			return false
		}
		s.last, s.laneID = k, e.Key
	}
	if !isRecord(e.Kind, e.Payload) {
		return false
	}
	r := Record{Position: e.Position, Arrived: int64(le.Uint64(e.Payload)), Body: e.Payload[entryHead:]}
	x := s.shards[s.last]
	if x == nil {
		x = &piecePart{key: s.last}
		s.shards[s.last] = x
	}
	if _, ok := x.add(s.laneID, &r, offset); !ok {
		s.done(x)
		x.add(s.laneID, &r, offset)
	}
	if x.records == 1 {
		x.hole, x.holes = x.holes != s.holes, s.holes
	}
	return true
}

func (s *pieceScan) done(x *piecePart) {
	if x.records > 0 {
		s.found = append(s.found, salvaged{key: x.key, block: x.block, records: x.records, hole: x.hole})
	}
	x.records = 0
}

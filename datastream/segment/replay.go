package segment

import (
	"context"
	"fmt"

	"github.com/kineweir/kineweir/datastream/journal"
)

// arenaBytes is the size of the pieces of memory that replayed bodies share.
const arenaBytes = 256 << 10

// arena gives out copies of bodies. Bodies that came together are sealed
// together, so that a piece is not held for one of them for long.
type arena struct{ free []byte }

func (a *arena) copy(b []byte) []byte {
	if len(b) > arenaBytes/4 {
		return append([]byte(nil), b...)
	}
	if len(b) > len(a.free) {
		a.free = make([]byte, arenaBytes)
	}
	n := copy(a.free, b)
	body := a.free[:n:n]
	a.free = a.free[n:]
	return body
}

// replay puts what the lane holds and no file does into memory. Full tables are
// sealed meanwhile.
func (s *Store) replay(ctx context.Context) error {
	var bodies arena
	var last *shard
	sealed := s.catalog.next().Sealed
	for e, err := range s.lane.Read(journal.Position{Frame: sealed.Frame}) { // for where the first lies
		if err != nil {
			return err
		}
		at := s.laneEnd.place(e.Position, max(0, len(e.Payload)-entryHead))
		if e.Less(sealed) {
			continue
		}
		k, ok := parseLaneKey(e.Key)
		if !ok || !isRecord(e.Kind, e.Payload) {
			return &journal.CorruptError{File: s.opts.Dir, Frame: e.Frame, Reason: fmt.Sprintf("entry %s of the lane is not a record", e.Position)}
		}
		if last == nil || last.key != k {
			last = s.shards.get(k)
		}
		r := Record{Position: e.Position, Arrived: int64(le.Uint64(e.Payload)), Body: bodies.copy(e.Payload[entryHead:])}
		if r.Arrived < last.stamped {
			return &journal.CorruptError{File: s.opts.Dir, Frame: e.Frame, Reason: fmt.Sprintf("entry %s of the lane arrived before the one before it", e.Position)}
		}
		last.stamped = r.Arrived
		if err := s.replayed(ctx, last, r, at); err != nil {
			return err
		}
	}
	return nil
}

// replayed takes a record, and waits while as many tables as may are waiting to
// be sealed; not for want of room, as that would keep everything from being
// read.
func (s *Store) replayed(ctx context.Context, sh *shard, r Record, at int64) error {
	s.active.add(sh, r, at)
	s.count.replayed.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active.grow(1, int64(len(r.Body))+recordCost, r.Position.Next())
	s.rotate()
	for s.active.bytes >= s.opts.MemBytes && !s.noRoom {
		if s.failure != nil {
			return s.failure
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		s.room.Wait()
		s.rotate()
	}
	return nil
}

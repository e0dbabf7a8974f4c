package datastream

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
)

// What the engine keeps in Meta:
//
//	stream/<name>                     record, JSON
//	shards/<stream ID, hex>/<chunk>   chunkShards shards that follow each other, binary: a split rewrites two or three of them
//	consumer/<stream ID, hex>/<name>  consumer, JSON
//	engine/ids                        stream IDs below this decimal number may be in use
const (
	streamPrefix = "stream/"
	idsKey       = "engine/ids"
	chunkShards  = 64
)

func streamKey(name string) string { return streamPrefix + name }

func chunkPrefix(id uint64) string { return fmt.Sprintf("shards/%016x/", id) }

func chunkKey(id uint64, chunk uint32) string { return fmt.Sprintf("%s%08x", chunkPrefix(id), chunk) }

func consumerPrefix(id uint64) string { return fmt.Sprintf("consumer/%016x/", id) }

// A chunk is a version byte and then each shard:
//
//	+-------+------------+------------+--------------+--------------+-------------+--------+--------+-------+
//	| index | range start: 16 | range end: 16 | parent + 1 | adjacent + 1 | made, ms | closed, ms | epoch, s |
//	+-------+------------+------------+--------------+--------------+-------------+--------+--------+-------+
//
// with uvarints where no length is given.
const chunkVersion = 1

func encodeChunk(shards []*shard) []byte {
	b := make([]byte, 0, 1+len(shards)*80)
	b = append(b, chunkVersion)
	for _, sh := range shards {
		b = binary.AppendUvarint(b, uint64(sh.index))
		for _, h := range [2]HashKey{sh.rng.Start, sh.rng.End} {
			b = binary.BigEndian.AppendUint64(b, h.Hi)
			b = binary.BigEndian.AppendUint64(b, h.Lo)
		}
		b = binary.AppendUvarint(b, uint64(sh.parent+1)) // NoShard + 1 is 0
		b = binary.AppendUvarint(b, uint64(sh.adjacent+1))
		b = binary.AppendUvarint(b, uint64(sh.made))
		b = binary.AppendUvarint(b, uint64(sh.closed))
		b = binary.AppendUvarint(b, uint64(sh.epoch))
	}
	return b
}

var errChunk = errors.New("the shards do not fit their chunk")

func decodeChunk(b []byte) (shards []*shard, err error) {
	if len(b) == 0 || b[0] != chunkVersion {
		return nil, errChunk
	}
	b = b[1:]
	ok := true
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	for len(b) > 0 {
		index := number()
		if len(b) < 32 {
			return nil, errChunk
		}
		u := binary.BigEndian.Uint64
		sh := &shard{index: uint32(index), rng: HashRange{HashKey{u(b), u(b[8:])}, HashKey{u(b[16:]), u(b[24:])}}}
		b = b[32:]
		sh.parent, sh.adjacent = uint32(number())-1, uint32(number())-1
		sh.made, sh.closed, sh.epoch = int64(number()), int64(number()), int64(number())
		if !ok {
			return nil, errChunk
		}
		shards = append(shards, sh)
	}
	return shards, nil
}

// save makes the next picture durable and then visible. Called under ctl. An
// error of the store that leaves it open what is kept breaks the stream: it
// takes no puts until the server has read its decisions anew.
func (e *Engine) save(s *stream, next picture) error {
	changes, chunks := s.chunkChanges(next.shards)
	value, err := json.Marshal(&next.record)
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.name, err)
	}
	changes = append(changes, journal.Change{Key: streamKey(s.name), Value: value, Expect: s.rev})
	rev, err := e.meta.Txn(context.Background(), changes...)
	if err != nil {
		return e.unsaved(s, err)
	}
	s.rev = rev
	if s.chunks == nil {
		s.chunks = map[uint32]uint64{}
	}
	for chunk, kept := range chunks {
		if kept {
			s.chunks[chunk] = rev
		} else {
			delete(s.chunks, chunk)
		}
	}
	s.publish(next)
	return nil
}

func (e *Engine) unsaved(s *stream, err error) error {
	if !errors.Is(err, journal.ErrFull) && !errors.Is(err, journal.ErrTooLarge) {
		if p := s.now(); p != nil {
			broken := *p
			broken.broken = true
			s.publish(broken)
		}
	}
	e.logger.Error("could not keep a decision", "stream", s.name, "error", err)
	return unkept(s.name, "the change could not be kept", err)
}

// chunkChanges compares the shards with those in the present picture.
func (s *stream) chunkChanges(next *shardMap) (changes []journal.Change, chunks map[uint32]bool) {
	var old []*shard
	if p := s.now(); p != nil {
		if p.shards == next {
			return nil, nil
		}
		old = p.shards.all
	}
	chunks = map[uint32]bool{}
	was, is := byChunk(old), byChunk(next.all)
	for chunk, shards := range is {
		if !slices.EqualFunc(was[chunk], shards, sameShard) {
			chunks[chunk] = true
			changes = append(changes, journal.Change{Key: chunkKey(s.id, chunk), Value: encodeChunk(shards), Expect: s.chunks[chunk]})
		}
	}
	for chunk := range was {
		if is[chunk] == nil {
			chunks[chunk] = false
			changes = append(changes, journal.Change{Key: chunkKey(s.id, chunk), Expect: s.chunks[chunk], Delete: true})
		}
	}
	return changes, chunks
}

func byChunk(all []*shard) map[uint32][]*shard {
	m := make(map[uint32][]*shard, len(all)/chunkShards+1)
	for len(all) > 0 {
		chunk, n := all[0].index/chunkShards, 1
		for n < len(all) && all[n].index/chunkShards == chunk {
			n++
		}
		m[chunk], all = all[:n], all[n:]
	}
	return m
}

// sameShard reports whether two shards are kept as the same bytes.
func sameShard(a, b *shard) bool { return a == b || a.index == b.index && a.closed == b.closed }

// load reads everything from Meta and finishes what was cut.
func (e *Engine) load(ctx context.Context) error {
	for it := range e.meta.List(streamPrefix) {
		s := &stream{name: strings.TrimPrefix(it.Key, streamPrefix), rev: it.Revision}
		var r record
		if err := json.Unmarshal(it.Value, &r); err != nil {
			return fmt.Errorf("stream %s: %w", s.name, err)
		}
		s.id = r.ID
		if err := e.loadShards(s, r); err != nil {
			return fmt.Errorf("stream %s: %w", s.name, err)
		}
		if err := e.loadConsumers(s); err != nil {
			return fmt.Errorf("stream %s: %w", s.name, err)
		}
		e.byName.Store(s.name, s)
		e.byID.Store(s.id, s)
	}
	for s := range e.all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r := s.now().record; r.Status == Active && r.Plan == nil {
			continue
		}
		if err := e.finish(s); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) loadShards(s *stream, r record) error {
	s.chunks = map[uint32]uint64{}
	var all []*shard
	prefix := chunkPrefix(s.id)
	for it := range e.meta.List(prefix) {
		chunk, err := strconv.ParseUint(it.Key[len(prefix):], 16, 32)
		if err != nil {
			return err
		}
		shards, err := decodeChunk(it.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", it.Key, err)
		}
		s.chunks[uint32(chunk)] = it.Revision
		all = append(all, shards...)
	}
	for _, sh := range all {
		sh.meter = newMeter()
		_, _, arrived := e.log.Bounds(s.segmentKey(sh.index))
		s.arrived = max(s.arrived, arrived, sh.made, sh.closed)
	}
	m := newShardMap(all)
	if len(m.open) == 0 {
		return errors.New("has no open shards")
	}
	s.publish(picture{record: r, shards: m, gate: newGate()})
	return nil
}

// idBlock gives out stream IDs; each is given out once, whatever happens.
type idBlock struct {
	mu          sync.Mutex
	next, limit uint64
}

const idsAtOnce = 64

func (e *Engine) newID(ctx context.Context) (uint64, error) {
	b := &e.ids
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == b.limit {
		value, rev, err := e.meta.Get(idsKey)
		first := uint64(1)
		if err == nil {
			first, err = strconv.ParseUint(string(value), 10, 64)
		} else if errors.Is(err, journal.ErrAbsent) {
			err = nil
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", idsKey, err)
		}
		if _, err := e.meta.Put(ctx, idsKey, strconv.AppendUint(nil, first+idsAtOnce, 10), rev); err != nil {
			return 0, fmt.Errorf("%s: %w", idsKey, err)
		}
		b.next, b.limit = first, first+idsAtOnce
	}
	b.next++
	return b.next - 1, nil
}

package archive

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// An hour block holds all entries of a stream whose objects lie in one hour:
//
//	"kwhour" │ version, 1 byte │ CRC-32C of the rest, 4 bytes
//	head │ varint hour │ uvarint n × ( object │ uvarint m × entry )
//
// (head, object and entry: see codec.go.) Objects and their entries are in the
// order of their numbers. A block is written once its hour takes no more
// objects and all of them are in the bucket; it is never changed.
const blockMagic = "kwhour"

// block is an hour block, decoded.
type block struct {
	name    fragments.StreamName
	created time.Time
	hour    hour
	objects []blockObject
	entries []*Entry // of all objects, by number
	tracks  []trackRef
}

type blockObject struct {
	id      *objectID
	entries []*Entry
}

// encodeBlock encodes the objects of an hour. It sorts them and their entries
// by number.
func encodeBlock(name fragments.StreamName, created time.Time, h hour, objects []blockObject) []byte {
	slices.SortFunc(objects, func(a, b blockObject) int { return a.id.first.Compare(b.id.first) })
	var tracks []trackRef
	for _, o := range objects {
		for _, t := range o.id.tracks {
			if indexOfTrack(tracks, t.hash) < 0 {
				tracks = append(tracks, t)
			}
		}
	}
	b := append([]byte(blockMagic), make([]byte, checkedHeader)...)
	b = appendHead(b, name, created, tracks)
	b = binary.AppendVarint(b, int64(h))
	b = binary.AppendUvarint(b, uint64(len(objects)))
	for _, o := range objects {
		b = appendObject(b, o.id, tracks)
		entries := slices.Clone(o.entries)
		sortEntries(entries)
		b = appendEntries(b, o.id, entries)
	}
	check(b[len(blockMagic):])
	return b
}

func sortEntries(entries []*Entry) {
	slices.SortFunc(entries, func(a, b *Entry) int { return a.Number.Compare(b.Number) })
}

func decodeBlock(b []byte) (*block, error) {
	if len(b) < len(blockMagic) || string(b[:len(blockMagic)]) != blockMagic {
		return nil, fmt.Errorf("hour block: %w", errVersion)
	}
	payload, err := checked(b[len(blockMagic):])
	if err != nil {
		return nil, fmt.Errorf("hour block: %w", err)
	}
	d := decoder{b: payload}
	h := d.head()
	blk := &block{name: h.name, created: h.created, tracks: h.tracks, hour: hour(d.varint())}
	for range d.count(maxEntries) {
		o := blockObject{id: d.object(h)}
		if d.err == nil {
			o.entries = d.entries(o.id)
		}
		if d.err != nil {
			break
		}
		blk.objects = append(blk.objects, o)
		blk.entries = append(blk.entries, o.entries...)
	}
	if err := d.done(); err != nil {
		return nil, fmt.Errorf("hour block: %w", err)
	}
	if !slices.IsSortedFunc(blk.entries, byNumber) {
		sortEntries(blk.entries)
	}
	return blk, nil
}

func byNumber(a, b *Entry) int { return a.Number.Compare(b.Number) }

// cost is about what the block takes in memory, bytes.
func (b *block) cost() int64 {
	n := int64(256)
	for _, e := range b.entries {
		n += 136 + 112*int64(len(e.Runs))
	}
	return n
}

// find returns the entry of the number in entries, which are in the order of
// their numbers.
func find(entries []*Entry, n fragments.Number) *Entry {
	i, ok := slices.BinarySearchFunc(entries, n, func(e *Entry, n fragments.Number) int { return e.Number.Compare(n) })
	if !ok {
		return nil
	}
	return entries[i]
}

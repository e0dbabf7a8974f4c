package wal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kineweir/kineweir/datastream/journal"
)

// kindChange is the only kind of entry in a store's lane: a Txn, whole.
//
//	+------------------+---------------+
//	| uvarint revision | uvarint edits |  then each edit:
//	+------------------+---------------+
//	+-----------------+---------------------------+-----+-------+
//	| uvarint key len | uvarint value len + 1     | key | value |   0: the key is deleted
//	+-----------------+---------------------------+-----+-------+
const kindChange journal.Kind = 1

// edit is what one part of a change does to its key. A nil value deletes it.
type edit struct {
	key   string
	value []byte
}

var errChange = errors.New("the change does not fit its entry")

// checkChanges refuses what could never be stored.
func checkChanges(changes []journal.Change) error {
	if len(changes) == 0 {
		return errors.New("journal: a transaction without changes")
	}
	total := 0
	for i := range changes {
		c := &changes[i]
		total += 2*binary.MaxVarintLen32 + len(c.Key) + len(c.Value)
		if len(c.Key) > journal.MaxKey || total > maxValue+journal.MaxKey {
			return fmt.Errorf("change %.64q: %w", c.Key, journal.ErrTooLarge)
		}
		for j := range changes[:i] {
			if changes[j].Key == c.Key {
				return fmt.Errorf("journal: two changes of %q in a transaction", c.Key)
			}
		}
	}
	return nil
}

// encodeChanges returns the entry's payload, and the edits it describes, whose
// values lie in the payload.
func encodeChanges(changes []journal.Change, revision uint64) ([]byte, []edit) {
	size := 2 * binary.MaxVarintLen64
	for i := range changes {
		size += 2*binary.MaxVarintLen32 + len(changes[i].Key) + len(changes[i].Value)
	}
	b := make([]byte, 0, size) // large enough: values must not move
	b = binary.AppendUvarint(b, revision)
	b = binary.AppendUvarint(b, uint64(len(changes)))
	edits := make([]edit, len(changes))
	for i := range changes {
		c := &changes[i]
		edits[i].key = c.Key
		b = binary.AppendUvarint(b, uint64(len(c.Key)))
		if c.Delete {
			b = binary.AppendUvarint(b, 0)
			b = append(b, c.Key...)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(c.Value))+1)
		b = append(b, c.Key...)
		at := len(b)
		b = append(b, c.Value...)
		edits[i].value = b[at:len(b):len(b)]
	}
	return b, edits
}

// decodeChanges is the reverse; the edits own their memory.
func decodeChanges(b []byte) (revision uint64, edits []edit, err error) {
	revision, n := binary.Uvarint(b)
	if n <= 0 || revision == 0 {
		return 0, nil, errChange
	}
	b = b[n:]
	count, n := binary.Uvarint(b)
	if n <= 0 || count == 0 || count > uint64(len(b)) {
		return 0, nil, errChange
	}
	b = b[n:]
	for range count {
		keyLen, n := binary.Uvarint(b)
		if n <= 0 || keyLen > journal.MaxKey {
			return 0, nil, errChange
		}
		b = b[n:]
		valueLen, n := binary.Uvarint(b)
		if n <= 0 || valueLen > journal.MaxPayload {
			return 0, nil, errChange
		}
		b = b[n:]
		e := edit{}
		if uint64(len(b)) < keyLen {
			return 0, nil, errChange
		}
		e.key, b = string(b[:keyLen]), b[keyLen:]
		if valueLen > 0 {
			if uint64(len(b)) < valueLen-1 {
				return 0, nil, errChange
			}
			e.value, b = append([]byte{}, b[:valueLen-1]...), b[valueLen-1:]
		}
		edits = append(edits, e)
	}
	if len(b) > 0 {
		return 0, nil, errChange
	}
	return revision, edits, nil
}

// take makes a durable change part of the state.
func (s *state) take(edits []edit, revision uint64, at journal.Position, r ranks) {
	for _, e := range edits {
		if e.value == nil {
			s.tree = s.tree.remove(e.key)
			s.forgetting(e.key, revision)
		} else {
			s.tree = s.tree.put(item{key: e.key, value: e.value, revision: revision}, r)
		}
	}
	s.next, s.revision = at.Next(), revision
}

// replay takes an entry read back from the lane.
func (s *state) replay(e journal.Entry, r ranks) error {
	if e.Kind != kindChange {
		return fmt.Errorf("unknown kind %d", e.Kind)
	}
	revision, edits, err := decodeChanges(e.Payload)
	if err != nil {
		return err
	}
	if revision <= s.revision {
		return fmt.Errorf("revision %d after %d", revision, s.revision)
	}
	s.take(edits, revision, e.Position, r)
	return nil
}

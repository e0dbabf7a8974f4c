package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// A snapshot is a store's whole content at a position of its lane. It lies
// beside the lane's files and is named after the frame of that position:
//
//	00000000000000004711.snap
//
//	 0          8         16       18     20     24        32
//	+----------+---------+--------+------+------+----------+
//	|"KWsnap01"| frame   | index  | 0    | CRC  | keys     |   position: entries before it are in
//	+----------+---------+--------+------+------+----------+   CRC-32C of the body
//	32         40                48                60     64
//	+----------+-----------------+-----------------+------+
//	| revision | body length     | 0               |CRC-32C   revision: the last one given out
//	+----------+-----------------+-----------------+------+
//	64  body: keys in byte order, each
//
//	+------------------+-----------------+-------------------+-----+-------+
//	| uvarint revision | uvarint key len | uvarint value len | key | value |
//	+------------------+-----------------+-------------------+-----+-------+
//
// It is written under another name, synced, read back and compared, renamed,
// and only then may anything it replaces go.
const (
	snapHeaderSize = 64
	snapSuffix     = ".snap"
)

var snapMagic = [8]byte{'K', 'W', 's', 'n', 'a', 'p', '0', '1'}

// state is what a store holds at a position. It is never modified.
type state struct {
	tree     tree
	next     journal.Position // entries before it are in the tree
	revision uint64           // the last one given out

	// Not in snapshots.
	step      uint64     // counts the pictures of this opening
	deleted   []deletion // the last ones, oldest first
	forgotten uint64     // deletions up to this revision are not all among them
}

// snapHeader is a snapshot's header, decoded.
type snapHeader struct {
	next     journal.Position
	keys     uint64
	revision uint64
	length   uint64
	bodyCRC  uint32
}

func (h *snapHeader) encode() []byte {
	b := make([]byte, snapHeaderSize)
	copy(b, snapMagic[:])
	binary.LittleEndian.PutUint64(b[8:], h.next.Frame)
	binary.LittleEndian.PutUint16(b[16:], h.next.Index)
	binary.LittleEndian.PutUint32(b[20:], h.bodyCRC)
	binary.LittleEndian.PutUint64(b[24:], h.keys)
	binary.LittleEndian.PutUint64(b[32:], h.revision)
	binary.LittleEndian.PutUint64(b[40:], h.length)
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	return b
}

// parseSnapHeader decodes the header of a snapshot that is size bytes long.
func parseSnapHeader(b []byte, size int64) (snapHeader, error) {
	if len(b) < snapHeaderSize {
		return snapHeader{}, errors.New("the file ends inside its header")
	}
	if checksum(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return snapHeader{}, errors.New("snapshot header checksum does not match")
	}
	if [8]byte(b) != snapMagic {
		return snapHeader{}, errors.New("not a snapshot, or of an unknown format")
	}
	h := snapHeader{
		next:     journal.Position{Frame: binary.LittleEndian.Uint64(b[8:]), Index: binary.LittleEndian.Uint16(b[16:])},
		bodyCRC:  binary.LittleEndian.Uint32(b[20:]),
		keys:     binary.LittleEndian.Uint64(b[24:]),
		revision: binary.LittleEndian.Uint64(b[32:]),
		length:   binary.LittleEndian.Uint64(b[40:]),
	}
	if h.length != uint64(size-snapHeaderSize) {
		return snapHeader{}, fmt.Errorf("the header says %d bytes follow, %d do", h.length, size-snapHeaderSize)
	}
	return h, nil
}

func snapName(dir string, frame uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", frame, snapSuffix))
}

// snapshots picks the frames of snapshots out of a listing, oldest first, and
// the names of unfinished ones.
func snapshots(names []string) (frames []uint64, unfinished []string) {
	for _, name := range names {
		if strings.HasSuffix(name, snapSuffix+tempSuffix) {
			unfinished = append(unfinished, name)
			continue
		}
		digits, ok := strings.CutSuffix(name, snapSuffix)
		if !ok || len(digits) != 20 {
			continue
		}
		if frame, err := strconv.ParseUint(digits, 10, 64); err == nil {
			frames = append(frames, frame)
		}
	}
	return frames, unfinished
}

// snapChunk is how much of a snapshot is written, and read back, at a time.
const snapChunk = 1 << 20

// writeSnapshot makes a durable, verified snapshot of s and returns its size.
func writeSnapshot(fsys vfs.FS, dir string, s *state) (int64, error) {
	name := snapName(dir, s.next.Frame)
	f, err := fsys.Create(name + tempSuffix)
	if err != nil {
		return 0, err
	}
	h, err := writeItems(f, s)
	if err == nil {
		_, err = f.WriteAt(h.encode(), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = verifySnapshot(f, name, h)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Rename(name+tempSuffix, name)
	}
	if err != nil {
		return 0, errors.Join(err, fsys.Remove(name+tempSuffix))
	}
	return snapHeaderSize + int64(h.length), fsys.SyncDir(dir)
}

// writeItems writes the body and returns the header that describes it.
func writeItems(f vfs.File, s *state) (snapHeader, error) {
	h := snapHeader{next: s.next, keys: uint64(s.tree.size), revision: s.revision}
	buf := make([]byte, 0, snapChunk)
	var err error
	flush := func() {
		h.bodyCRC = crc32.Update(h.bodyCRC, castagnoli, buf)
		_, err = f.WriteAt(buf, snapHeaderSize+int64(h.length))
		h.length += uint64(len(buf))
		buf = buf[:0]
	}
	s.tree.from("", func(it *item) bool {
		buf = appendItem(buf, it)
		if len(buf) >= snapChunk {
			flush()
		}
		return err == nil
	})
	if err == nil {
		flush()
	}
	return h, err
}

// verifySnapshot reads a snapshot back and compares it with what was meant.
func verifySnapshot(f vfs.File, name string, want snapHeader) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(snapChunk, max(size, snapHeaderSize)))
	if _, err := f.ReadAt(b[:snapHeaderSize], 0); err != nil {
		return err
	}
	h, err := parseSnapHeader(b[:snapHeaderSize], size)
	if err == nil && h != want {
		err = errors.New("the header reads otherwise than it was written")
	}
	if err != nil {
		return &journal.CorruptError{File: name, Frame: want.next.Frame, Reason: err.Error()}
	}
	var crc uint32
	for off := int64(snapHeaderSize); off < size; {
		n, err := f.ReadAt(b[:min(int64(len(b)), size-off)], off)
		if n == 0 && err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, b[:n])
		off += int64(n)
	}
	if crc != h.bodyCRC {
		return &journal.CorruptError{
			File: name, Offset: snapHeaderSize, Frame: h.next.Frame,
			Reason: "the body reads otherwise than it was written",
		}
	}
	return nil
}

// readSnapshot loads a snapshot. Damage is a *journal.CorruptError.
func readSnapshot(fsys vfs.FS, name string, r ranks) (*state, int64, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, 0, err
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	s, off, err := parseSnapshot(b, r)
	if err == nil && name != snapName(filepath.Dir(name), s.next.Frame) {
		off, err = 0, fmt.Errorf("a snapshot of frame %d under another's name", s.next.Frame)
	}
	if err != nil {
		return nil, 0, &journal.CorruptError{File: name, Offset: off, Reason: err.Error()}
	}
	return s, size, nil
}

// parseSnapshot decodes a whole snapshot. With an error comes the offset of
// what is wrong.
func parseSnapshot(b []byte, r ranks) (*state, int64, error) {
	h, err := parseSnapHeader(b, int64(len(b)))
	if err != nil {
		return nil, 0, err
	}
	body := b[snapHeaderSize:]
	if checksum(body) != h.bodyCRC {
		return nil, snapHeaderSize, errors.New("snapshot body checksum does not match")
	}
	s := &state{next: h.next, revision: h.revision, forgotten: h.revision}
	built := builder{ranks: r}
	before := ""
	for i := range h.keys {
		off := int64(len(b) - len(body))
		it, rest, err := cutItem(body)
		switch {
		case err != nil:
			return nil, off, err
		case i > 0 && it.key <= before:
			return nil, off, fmt.Errorf("key %q after %q", it.key, before)
		case it.revision == 0 || it.revision > h.revision:
			return nil, off, fmt.Errorf("key %q has revision %d of %d", it.key, it.revision, h.revision)
		}
		built.add(it)
		body, before = rest, it.key
	}
	if len(body) > 0 {
		return nil, int64(len(b) - len(body)), errors.New("more follows than the header says")
	}
	s.tree = built.tree()
	return s, 0, nil
}

func appendItem(b []byte, it *item) []byte {
	b = binary.AppendUvarint(b, it.revision)
	b = binary.AppendUvarint(b, uint64(len(it.key)))
	b = binary.AppendUvarint(b, uint64(len(it.value)))
	b = append(b, it.key...)
	return append(b, it.value...)
}

// cutItem decodes the item at the start of body, copies it out, and returns
// what follows it.
func cutItem(body []byte) (it item, rest []byte, err error) {
	var fields [3]uint64
	rest = body
	for i := range fields {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			return item{}, nil, errItem
		}
		fields[i], rest = v, rest[n:]
	}
	keyLen, valueLen := fields[1], fields[2]
	if keyLen > journal.MaxKey || valueLen > maxValue || uint64(len(rest)) < keyLen+valueLen {
		return item{}, nil, errItem
	}
	it = item{key: string(rest[:keyLen]), revision: fields[0]}
	it.value = append([]byte{}, rest[keyLen:keyLen+valueLen]...)
	return it, rest[keyLen+valueLen:], nil
}

var errItem = errors.New("a key does not fit where it stands")

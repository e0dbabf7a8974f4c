package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// A lane is a directory of files, each named after its first frame in twenty
// decimal digits, so that names sort as frames do, with spares, and files that
// were trimmed off and are kept, beside them:
//
//	00000000000000000812.wal  00000000000000004711.wal  LOCK
//	00000000000000000001.wal.spare  00000000000000000307.wal.kept
//
// A file is a header and then frames:
//
//	 0          8        16               24               32
//	+----------+--------+----------------+----------------+
//	|"KWlane01"| salt   | first frame    | epoch          |
//	+----------+--------+----------------+----------------+
//	32       36                                 60       64
//	+--------+----------------------------------+--------+
//	| chain  | 0                                | CRC-32C|
//	+--------+----------------------------------+--------+
//
// salt is random and stands in every frame of the file, so that bytes left by
// another file, or by a former life of this one, never pass for its frames.
// chain is the header CRC of the last frame of the file before (0 for the very
// first): files are linked as frames are, and a file that follows another says
// exactly where that one ends.
//
// A file made new is frames until its end. One made of a spare says so by
// "KWlane02": behind its last frame lie bytes of a former life, which mean
// nothing.
//
// A file gets its name by a rename after a sync: a header is never torn.
const (
	fileHeaderSize = 64
	fileSuffix     = ".wal"
	tempSuffix     = ".tmp"
	lockName       = "LOCK"
)

var (
	fileMagic   = [8]byte{'K', 'W', 'l', 'a', 'n', 'e', '0', '1'}
	reusedMagic = [8]byte{'K', 'W', 'l', 'a', 'n', 'e', '0', '2'}
)

// fileHeader is the header of a file, decoded.
type fileHeader struct {
	salt   uint64
	first  uint64
	epoch  uint64
	chain  uint32
	reused bool // made of a spare
}

func (h *fileHeader) encode() []byte {
	b := make([]byte, fileHeaderSize)
	copy(b, fileMagic[:])
	if h.reused {
		copy(b, reusedMagic[:])
	}
	binary.LittleEndian.PutUint64(b[8:], h.salt)
	binary.LittleEndian.PutUint64(b[16:], h.first)
	binary.LittleEndian.PutUint64(b[24:], h.epoch)
	binary.LittleEndian.PutUint32(b[32:], h.chain)
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	return b
}

func parseFileHeader(b []byte) (fileHeader, error) {
	if len(b) < fileHeaderSize {
		return fileHeader{}, errors.New("the file ends inside its header")
	}
	if checksum(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return fileHeader{}, errors.New("file header checksum does not match")
	}
	magic := [8]byte(b)
	if magic != fileMagic && magic != reusedMagic {
		return fileHeader{}, errors.New("not a lane file, or of an unknown format")
	}
	return fileHeader{
		salt:   binary.LittleEndian.Uint64(b[8:]),
		first:  binary.LittleEndian.Uint64(b[16:]),
		epoch:  binary.LittleEndian.Uint64(b[24:]),
		chain:  binary.LittleEndian.Uint32(b[32:]),
		reused: magic == reusedMagic,
	}, nil
}

// file is a file of the lane. The header never changes; the rest grows with
// the commits and is guarded by the lane's mutex.
type file struct {
	fileHeader
	name   string
	size   int64   // durable end of the frames, where the next begins
	extent int64   // the file's own length, what is left of a former life included
	last   uint64  // last durable frame, first-1 if there is none
	starts []int64 // where each frame begins
}

// newFile is a file without frames.
func newFile(name string, h fileHeader, extent int64) *file {
	return &file{fileHeader: h, name: name, size: fileHeaderSize, extent: extent, last: h.first - 1}
}

// note counts a durable frame in.
func (f *file) note(h *header) {
	f.starts = append(f.starts, f.size)
	f.size += h.span()
	f.extent = max(f.extent, f.size)
	f.last = h.number
}

func fileName(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", first, fileSuffix))
}

// laneFiles picks the first frames of the lane's files out of a listing, and
// the names of unfinished ones and of spares.
func laneFiles(names []string) (firsts []uint64, unfinished, spares []string) {
	for _, name := range names {
		if strings.HasSuffix(name, fileSuffix+tempSuffix) {
			unfinished = append(unfinished, name)
			continue
		}
		if strings.HasSuffix(name, fileSuffix+spareSuffix) {
			spares = append(spares, name)
			continue
		}
		if first, ok := firstOf(name, fileSuffix); ok {
			firsts = append(firsts, first)
		}
	}
	return firsts, unfinished, spares
}

// firstOf reads the first frame of a file out of its name.
func firstOf(name, suffix string) (first uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil
}

func newSalt() (uint64, error) {
	var salt [8]byte
	_, err := rand.Read(salt[:])
	return binary.LittleEndian.Uint64(salt[:]), err
}

// createFile makes a new file that begins with the given frame. The caller syncs
// the directory.
func createFile(fsys vfs.FS, dir string, h fileHeader) (*file, vfs.File, error) {
	var err error
	if h.salt, err = newSalt(); err != nil {
		return nil, nil, err
	}
	name := fileName(dir, h.first)
	f, err := fsys.Create(name + tempSuffix)
	if err != nil {
		return nil, nil, err
	}
	if err := publish(fsys, f, h.encode(), name); err != nil {
		f.Close()
		return nil, nil, err
	}
	return newFile(name, h, fileHeaderSize), f, nil
}

// publish writes content to the new file f, syncs it, and only then gives it
// its name. Without success the unfinished file is removed.
func publish(fsys vfs.FS, f vfs.File, content []byte, name string) error {
	_, err := f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.Rename(name+tempSuffix, name)
	}
	if err != nil {
		return errors.Join(err, fsys.Remove(name+tempSuffix))
	}
	return nil
}

// damage is a CorruptError of this file.
func (f *file) damage(offset int64, frame uint64, reason string) error {
	return &journal.CorruptError{File: f.name, Offset: offset, Frame: frame, Reason: reason}
}

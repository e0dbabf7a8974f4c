package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// Names in the folder: a file is its number and suffix, and has tempSuffix
// behind that until it is complete.
const (
	fileSuffix = ".seg"
	tempSuffix = ".tmp"
)

func fileName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, fileSuffix))
}

// file is a sealed file. It is opened for each use: the kernel keeps what was
// removed for those who have it open.
type file struct {
	name     string
	id       identity
	revision uint64 // of its key in Meta
	size     int64
	records  uint64
	footer   footer
	streams  []lastOf

	// Of one whose blocks lie in pieces of the lane.
	uses   []uint64 // these, by their first frames
	ends   []int64  // of the blocks in each
	held   int64    // bytes of the blocks
	pieces *pieces

	dropped atomic.Bool // no longer part of the store
	accused atomic.Bool // damage of it was logged

	// Of a file that is not what it was.
	absent      bool                   // it was not there when the store was opened
	unknown     bool                   // others than streams had records in it
	lastArrived int64                  // of all its records, when unknown
	lost        atomic.Uint64          // records of it that can not be read
	mended      atomic.Pointer[mended] // in the place of its own index
	mending     sync.Mutex
	told        sync.Map // of gap: those that the log was told of
}

// lastOf is when the last record of a stream in a file arrived.
type lastOf struct {
	stream  uint64
	arrived int64
}

// extent is the part of a shard that lies in a file.
type extent struct {
	file *file
	span
	firstBlock uint32
	blocks     uint32
	indexCRC   uint32
}

func (f *file) extent(p *place) extent {
	return extent{file: f, span: p.span, firstBlock: p.firstBlock, blocks: p.blocks, indexCRC: p.indexCRC}
}

// damage is an error about the file's bytes.
func (f *file) damage(offset uint64, reason error) error {
	name, piece, at := f.where(offset)
	return &journal.CorruptError{File: name, Offset: int64(at), Frame: piece, Reason: reason.Error()}
}

// readFull reads len(b) bytes at an offset; a file that ends before that is
// damaged.
func (f *file) readFull(raw io.ReaderAt, b []byte, offset uint64) error {
	n, err := raw.ReadAt(b, int64(offset))
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return f.damage(offset+uint64(n), errors.New("the file ends here"))
	}
	name, _, _ := f.where(offset)
	return fmt.Errorf("read %s: %w", name, err)
}

// newFile is a file of the store of which only the name is known.
func (s *Store) newFile(number uint64) *file {
	return &file{name: fileName(s.opts.Dir, number), id: identity{s.catalog.next().Store, number}, pieces: &s.pieces}
}

// read reads what a file says of itself.
func (f *file) read(fsys vfs.FS) ([]place, error) {
	raw, err := fsys.Open(f.name)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	defer raw.Close()
	if f.size, err = raw.Size(); err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	return f.load(raw)
}

// loadPieces checks what a file says of the pieces it refers to.
func (f *file) loadPieces(raw io.ReaderAt) error {
	b := make([]byte, f.footer.index-headerSize)
	if err := f.readFull(raw, b, headerSize); err != nil {
		return err
	}
	list, err := checkPieces(b, f.uses)
	if err != nil {
		return f.damage(headerSize, err)
	}
	f.ends = f.ends[:0]
	for _, p := range list {
		f.ends = append(f.ends, p.end)
	}
	return nil
}

// load checks header and footer and returns the directory.
func (f *file) load(raw io.ReaderAt) ([]place, error) {
	if f.size < headerSize+footerSize {
		return nil, f.damage(uint64(f.size), errors.New("the file ends here"))
	}
	var b [footerSize]byte
	if err := f.readFull(raw, b[:headerSize], 0); err != nil {
		return nil, err
	}
	if err := checkHeader(b[:headerSize], f.id, f.format()); err != nil {
		return nil, f.damage(0, err)
	}
	end := uint64(f.size) - footerSize
	if err := f.readFull(raw, b[:], end); err != nil {
		return nil, err
	}
	var err error
	if f.footer, err = parseFooter(b[:], f.id, f.size); err != nil {
		return nil, f.damage(end, err)
	}
	if f.inPlace() {
		if err := f.loadPieces(raw); err != nil {
			return nil, err
		}
	}
	directory := make([]byte, end-f.footer.directory)
	if err := f.readFull(raw, directory, f.footer.directory); err != nil {
		return nil, err
	}
	if checksum(directory) != f.footer.dirCRC {
		return nil, f.damage(f.footer.directory, errChecksum)
	}
	places, err := parseDirectory(directory, f.footer)
	if err != nil {
		return nil, f.damage(f.footer.directory, err)
	}
	f.note(places)
	return places, nil
}

// note remembers what dropping the file depends on.
func (f *file) note(places []place) {
	for i := range places {
		p := &places[i]
		if n := len(f.streams); n > 0 && f.streams[n-1].stream == p.key.Stream {
			f.streams[n-1].arrived = max(f.streams[n-1].arrived, p.lastArrived)
		} else {
			f.streams = append(f.streams, lastOf{p.key.Stream, p.lastArrived})
		}
		f.records += uint64(p.records)
	}
}

// index reads a shard's part of the block index.
func (f *file) index(raw io.ReaderAt, x *extent) (blocks, error) {
	offset := f.footer.index + uint64(x.firstBlock)*indexSize
	b := make(blocks, uint64(x.blocks)*indexSize)
	if err := f.readFull(raw, b, offset); err != nil {
		return nil, err
	}
	if checksum(b) != x.indexCRC {
		return nil, f.damage(offset, errChecksum)
	}
	if err := b.check(&x.span, layout{f.footer.index, len(f.uses)}); err != nil {
		return nil, f.damage(offset, err)
	}
	return b, nil
}

// block reads a block into memory of its own, which its records share.
func (f *file) block(raw io.ReaderAt, k Key, e *block) (cursor, error) {
	b := make([]byte, e.length)
	if err := f.readFull(raw, b, e.offset); err != nil {
		return cursor{}, err
	}
	c, err := openBlock(b, k, e)
	if err != nil {
		return cursor{}, f.damage(e.offset, err)
	}
	return c, nil
}

// verify reads the whole file and checks all of it. After each piece it tells
// pace how many bytes that was; an error of pace ends it.
func (f *file) verify(ctx context.Context, fsys vfs.FS, pace func(ctx context.Context, n int) error) error {
	raw, err := f.open(fsys)
	if err != nil {
		return fmt.Errorf("verify segment: %w", err)
	}
	defer raw.Close()
	size, err := raw.own.Size()
	if err != nil {
		return fmt.Errorf("verify segment: %w", err)
	}
	again := f.again(size)
	places, err := again.load(raw)
	if err != nil {
		return err
	}
	head := headerSize
	if f.inPlace() {
		head = int(again.footer.index)
	}
	if err := pace(ctx, head+footerSize+len(places)*dirSize); err != nil {
		return err
	}
	next := uint64(headerSize)
	for i := range places {
		if next, err = again.verifyShard(ctx, raw, &places[i], next, pace); err != nil {
			return err
		}
	}
	if !f.inPlace() && next != again.footer.index {
		return again.damage(next, errLayout)
	}
	return nil
}

// again is the same file, of which nothing was read yet.
func (f *file) again(size int64) *file {
	return &file{name: f.name, id: f.id, size: size, uses: f.uses, pieces: f.pieces}
}

// verifyShard checks the blocks of a shard, the first of which lies at next,
// and returns where the last one ends.
func (f *file) verifyShard(ctx context.Context, raw io.ReaderAt, p *place, next uint64, pace func(context.Context, int) error) (uint64, error) {
	x := f.extent(p)
	index, err := f.index(raw, &x)
	if err != nil {
		return 0, err
	}
	records := uint32(0)
	for i := range index.count() {
		e := index.at(i)
		if e.offset != next && !f.inPlace() {
			return 0, f.damage(next, errLayout)
		}
		c, err := f.block(raw, p.key, &e)
		if errors.Is(err, fs.ErrNotExist) {
			err = f.damage(e.offset, errMissing)
		}
		if err != nil {
			return 0, err
		}
		records += c.left
		if err := c.verify(&e); err != nil {
			return 0, f.damage(e.offset, err)
		}
		next += uint64(e.length)
		if err := pace(ctx, int(e.length)+indexSize); err != nil {
			return 0, err
		}
	}
	if records != p.records {
		return 0, f.damage(next, errRecords)
	}
	return next, nil
}

// verify walks the rest of a block and wants its records in order, and the last
// one to be what the index says.
func (c *cursor) verify(e *block) error {
	for first := true; c.left > 0; first = false {
		position, arrived := c.position, c.arrived
		if _, err := c.next(); err != nil {
			return err
		}
		if c.position < position || c.arrived < arrived || first != (c.position == position) {
			return errOrder
		}
	}
	if len(c.rest) != 0 || c.position != e.last || c.arrived != e.lastArrived {
		return errRecords
	}
	return nil
}

package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sort"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// keptSuffix follows the suffix of a file that was trimmed off the lane and that
// somebody refers to. It stays as it is until it is released; opening the lane
// does not look into it.
const keptSuffix = ".kept"

var _ journal.Keeper = (*Lane)(nil)

func keptName(dir string, first uint64) string { return fileName(dir, first) + keptSuffix }

// keptFiles picks the first frames of kept files out of a listing.
func keptFiles(names []string) (firsts []uint64) {
	for _, name := range names {
		if first, ok := firstOf(name, fileSuffix+keptSuffix); ok {
			firsts = append(firsts, first)
		}
	}
	return firsts
}

// findKept takes up what earlier openings have kept.
func (l *Lane) findKept(names []string) error {
	l.keep, l.kept = make(map[uint64]bool), make(map[uint64]int64)
	for _, first := range keptFiles(names) {
		f, err := l.opts.FS.Open(keptName(l.dir, first))
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		l.kept[first] = size
	}
	return nil
}

// fileOf is the file of the lane that holds a frame or, with none in it, begins
// with it; nil if there is none. The caller holds mu.
func (l *Lane) fileOf(frame uint64) *file {
	i := sort.Search(len(l.files), func(i int) bool { return l.files[i].first > frame })
	if i == 0 {
		return nil
	}
	return l.files[i-1]
}

// fileFrom is the file of the lane that begins with a frame; nil if there is none.
// The caller holds mu.
func (l *Lane) fileFrom(first uint64) *file {
	if f := l.fileOf(first); f != nil && f.first == first {
		return f
	}
	return nil
}

// Locate looks the frame up in memory.
func (l *Lane) Locate(frame uint64) (journal.Place, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fileOf(frame)
	if f == nil || frame > f.last {
		return journal.Place{}, false
	}
	return journal.Place{Piece: f.first, Offset: f.starts[frame-f.first] + headerSize}, true
}

// changeable is the error of who would change what is kept. The caller holds mu.
func (l *Lane) changeable() error {
	if l.closing {
		return journal.ErrClosed
	}
	return l.failure
}

func noPiece(piece uint64) error {
	return fmt.Errorf("piece %d of the journal: %w", piece, fs.ErrNotExist)
}

// Keep makes Trim keep a file.
func (l *Lane) Keep(piece uint64) error {
	l.trimming.Lock() // a file that is being trimmed is neither here nor there
	defer l.trimming.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return err
	}
	if l.fileFrom(piece) != nil {
		l.keep[piece] = true
		return nil
	}
	if _, ok := l.kept[piece]; !ok {
		return noPiece(piece)
	}
	return nil
}

// mustKeep reports whether a file that was trimmed off is to be kept.
func (l *Lane) mustKeep(f *file) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keep[f.first]
}

// setAside takes a file out of the lane, durably, without a change to it.
func (l *Lane) setAside(f *file) error {
	if err := l.opts.FS.Rename(f.name, keptName(l.dir, f.first)); err != nil {
		return fmt.Errorf("trim journal: %w", err)
	}
	if err := l.opts.FS.SyncDir(l.dir); err != nil {
		return l.failed(fmt.Errorf("trim: %w", err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keep, f.first)
	l.kept[f.first] = f.extent
	return nil
}

// Release lets a file go.
func (l *Lane) Release(piece uint64) error {
	l.trimming.Lock()
	defer l.trimming.Unlock()
	l.mu.Lock()
	err := l.changeable()
	inLane := l.fileFrom(piece) != nil
	size, kept := l.kept[piece]
	if err == nil && inLane {
		delete(l.keep, piece)
	}
	l.mu.Unlock()
	switch {
	case err != nil || inLane:
		return err
	case !kept:
		return noPiece(piece)
	}
	if err := l.vacate(piece, keptName(l.dir, piece), size); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.kept, piece)
	return nil
}

// Pieces lists kept files and those of the lane.
func (l *Lane) Pieces() []journal.Piece {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]journal.Piece, 0, len(l.kept)+len(l.files))
	for _, first := range slices.Sorted(maps.Keys(l.kept)) {
		list = append(list, journal.Piece{First: first, Name: keptName(l.dir, first), Bytes: l.kept[first], Kept: true})
	}
	for _, f := range l.files {
		list = append(list, journal.Piece{First: f.first, Name: f.name, Bytes: f.size})
	}
	return list
}

// OpenPiece opens a file under the name that it has now.
func (l *Lane) OpenPiece(piece uint64) (journal.PieceReader, error) {
	l.mu.Lock()
	closing, limit := l.closing, int64(-1)
	if f := l.fileFrom(piece); f != nil {
		limit = f.size
	}
	l.mu.Unlock()
	if closing {
		return nil, journal.ErrClosed
	}
	p := &pieceReader{first: piece, name: fileName(l.dir, piece)}
	var err error
	p.File, err = l.opts.FS.Open(p.name)
	if errors.Is(err, fs.ErrNotExist) { // it may have moved just now, and never moves back
		p.name = keptName(l.dir, piece)
		p.File, err = l.opts.FS.Open(p.name)
	}
	if err != nil {
		return nil, fmt.Errorf("open a piece of the journal: %w", err)
	}
	if p.limit = limit; limit < 0 {
		if p.limit, err = p.Size(); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// pieceReader is an open file of which nothing was verified.
type pieceReader struct {
	vfs.File
	name  string
	first uint64
	limit int64 // of its frames, as far as that is known
	keys  keys
}

// Name is the path of the file.
func (p *pieceReader) Name() string { return p.name }

// Entries reads the file from its beginning.
func (p *pieceReader) Entries() iter.Seq2[journal.PlacedEntry, error] {
	return func(yield func(journal.PlacedEntry, error) bool) {
		var w window
		w.reset(p.File, p.limit)
		salt, err := p.salt(&w)
		if err != nil {
			yield(journal.PlacedEntry{}, err)
			return
		}
		for off, next := int64(fileHeaderSize), p.first; off < p.limit; next++ {
			h, body, err := w.frameAt(off, salt)
			if err == nil && h.number != next {
				err = errNoMagic
			}
			switch {
			case err == nil:
				if !p.entries(&h, body, off+headerSize, yield) {
					return
				}
				off += h.span()
			case !aboutBytes(err):
				yield(journal.PlacedEntry{}, fmt.Errorf("read %s: %w", p.name, err))
				return
			default:
				damage := &journal.CorruptError{File: p.name, Offset: off, Frame: next, Reason: err.Error()}
				if off = nextFrame(&w, off, salt, next); !yield(journal.PlacedEntry{}, damage) || off == 0 {
					return
				}
			}
		}
	}
}

// salt is what stands in all frames of the file, by its header or, if that is
// damaged, by its first frame.
func (p *pieceReader) salt(w *window) (uint64, error) {
	b, err := w.at(0, fileHeaderSize)
	var h fileHeader
	if err == nil {
		h, err = parseFileHeader(b)
	} else if !aboutBytes(err) {
		return 0, fmt.Errorf("read %s: %w", p.name, err)
	}
	if err == nil && h.first == p.first {
		return h.salt, nil
	}
	if err == nil {
		err = fmt.Errorf("the header says that the first frame is %d", h.first)
	} else if b, atErr := w.at(fileHeaderSize, headerSize); atErr == nil {
		if first, frameErr := parseHeader(b); frameErr == nil && first.number == p.first {
			return first.salt, nil
		}
	}
	return 0, &journal.CorruptError{File: p.name, Frame: p.first, Reason: err.Error()}
}

// nextFrame is where the frame after a bad one begins, if it begins where the bad
// one says that it ends, or 0. Frames are never looked for byte by byte.
func nextFrame(w *window, off int64, salt, bad uint64) int64 {
	b, err := w.at(off, headerSize)
	if err != nil {
		return 0
	}
	length, padding := binary.LittleEndian.Uint32(b[8:]), uint32(0)
	if b[4] == paddedFormat {
		padding = binary.LittleEndian.Uint32(b[48:])
	}
	if length > maxBody || padding >= pageSize {
		return 0
	}
	off += headerSize + int64(length) + int64(padding)
	if b, err = w.at(off, headerSize); err != nil {
		return 0
	}
	if h, err := parseHeader(b); err != nil || h.salt != salt || h.number != bad+1 {
		return 0
	}
	return off
}

// entries yields the entries of a frame whose body lies at an offset, and reports
// whether more are wanted.
func (p *pieceReader) entries(h *header, body []byte, off int64, yield func(journal.PlacedEntry, error) bool) bool {
	for i := range h.count {
		raw, rest, _ := journal.CutEntry(body)
		size := len(body) - len(rest)
		e := journal.PlacedEntry{Offset: off, Size: size, Entry: journal.Entry{
			Position: journal.Position{Frame: h.number, Index: i}, Kind: raw.Kind, Key: p.keys.intern(raw.Key), Payload: raw.Payload,
		}}
		if !yield(e, nil) {
			return false
		}
		off, body = off+int64(size), rest
	}
	return true
}

package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// pieces counts which pieces of the lane are in use by how many sealed files, and
// keeps those that are.
type pieces struct {
	lane journal.Keeper // nil if the lane keeps nothing: all tables are sorted

	mu   sync.Mutex
	uses map[uint64]int

	sizes map[uint64]int64 // while the store is opened
}

// look finds out how long all pieces are.
func (p *pieces) look() {
	if p.lane == nil {
		return
	}
	p.sizes = make(map[uint64]int64)
	for _, piece := range p.lane.Pieces() {
		p.sizes[piece.First] = piece.Bytes
	}
}

// reach wants the pieces of a file to be as long as it says. Those that are not
// there were told by hold.
func (p *pieces) reach(f *file) error {
	for i, end := range f.ends {
		if size, ok := p.sizes[f.uses[i]]; ok && size < end {
			return f.damage(uint64(i+1)<<pieceShift|uint64(size), errors.New("the file ends here"))
		}
	}
	return nil
}

// hold counts one more use of each piece, whatever it answers, and wants the lane
// to keep it. To count and to keep is one step: a file that is dropped meanwhile
// must not release what another is about to refer to.
func (p *pieces) hold(list []uint64) error {
	if len(list) > 0 && p.lane == nil {
		return errors.New("sealed files refer to pieces of the lane, and this lane keeps none")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, piece := range list {
		p.uses[piece]++
		if err := p.lane.Keep(piece); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// letGo takes the uses back and releases what is not used any more.
func (p *pieces) letGo(list []uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, piece := range list {
		if p.uses[piece]--; p.uses[piece] > 0 {
			continue
		}
		delete(p.uses, piece)
		if err := p.lane.Release(piece); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err) // swept away at the next opening
		}
	}
	return errors.Join(errs...)
}

// sweep releases what the lane has kept and nobody uses, and returns how much
// that was.
func (p *pieces) sweep() (swept int, err error) {
	if p.lane == nil {
		return 0, nil
	}
	for _, piece := range p.lane.Pieces() {
		if !piece.Kept || p.uses[piece.First] > 0 {
			continue
		}
		if err := p.lane.Release(piece.First); err != nil {
			return swept, err
		}
		swept++
	}
	return swept, nil
}

// name is where a piece lies, for people.
func (p *pieces) name(first uint64) string {
	if p != nil && p.lane != nil {
		list := p.lane.Pieces()
		if i := slices.IndexFunc(list, func(o journal.Piece) bool { return o.First == first }); i >= 0 {
			return list[i].Name
		}
	}
	return fmt.Sprintf("piece %d of the lane", first)
}

// inPlace reports whether the records of a file lie in pieces of the lane.
func (f *file) inPlace() bool { return len(f.uses) > 0 }

func (f *file) format() byte {
	if f.inPlace() {
		return placedFormat
	}
	return sortedFormat
}

// where says for people in which file an offset lies, and where there.
func (f *file) where(offset uint64) (name string, piece, at uint64) {
	n := offset >> pieceShift
	if n == 0 || n > uint64(len(f.uses)) {
		return f.name, 0, offset
	}
	piece = f.uses[n-1]
	return f.pieces.name(piece), piece, offset & (1<<pieceShift - 1)
}

// source is a sealed file that is open for reading and, once they were read, the
// pieces that its blocks lie in. Its offsets are those of a block index.
type source struct {
	file   *file
	own    vfs.File // nil if only pieces are wanted
	pieces []journal.PieceReader
}

// open opens the file itself.
func (f *file) open(fsys vfs.FS) (*source, error) {
	own, err := fsys.Open(f.name)
	if err != nil {
		return nil, err
	}
	return &source{file: f, own: own}, nil
}

// ReadAt reads from the file or, by the upper bits of the offset, from a piece.
func (s *source) ReadAt(b []byte, offset int64) (int, error) {
	n := int(offset >> pieceShift)
	if n == 0 {
		return s.own.ReadAt(b, offset)
	}
	if s.pieces == nil {
		s.pieces = make([]journal.PieceReader, len(s.file.uses))
	}
	if s.pieces[n-1] == nil {
		p, err := s.file.pieces.lane.OpenPiece(s.file.uses[n-1])
		if err != nil {
			return 0, err
		}
		s.pieces[n-1] = p
	}
	return s.pieces[n-1].ReadAt(b, offset&(1<<pieceShift-1))
}

// Close closes all that is open.
func (s *source) Close() error {
	var errs []error
	if s.own != nil {
		errs = append(errs, s.own.Close())
	}
	for _, p := range s.pieces {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

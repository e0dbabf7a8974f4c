package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/kineweir/kineweir/datastream/journal"
)

// repairHint says what a person can do about a file.
const repairHint = "stop the server, put a copy of the file in its place, start again; until then reading goes on behind the missing records"

// lasting reports whether an error says that the bytes of a file are not there
// or not what they were, rather than that they could not be looked at now.
func lasting(err error) bool {
	var damage *journal.CorruptError
	return errors.As(err, &damage) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EIO)
}

// openListed opens a file of the list. Of one that can not be read as it was
// written it keeps what can: no damage of one file keeps the others from being
// served.
func (s *Store) openListed(l *listed) (*file, []place, error) {
	f := s.newFile(l.Number)
	f.uses, f.held = l.Pieces, l.Held
	err := s.pieces.hold(f.uses)
	if err != nil && !lasting(err) {
		return nil, nil, err
	}
	places, loadErr := f.read(s.fs)
	if loadErr == nil && err == nil {
		loadErr = s.pieces.reach(f)
	}
	switch err = errors.Join(err, loadErr); {
	case err != nil:
	case f.size != l.Bytes || f.records != l.Records:
		err = f.damage(0, fmt.Errorf("the file has %d bytes and %d records, it was sealed with %d and %d",
			f.size, f.records, l.Bytes, l.Records))
	default:
		if err = s.inOrder(places); err != nil {
			err = f.damage(f.footer.directory, err)
		}
	}
	if err != nil && lasting(err) {
		return s.salvage(l, err)
	}
	return f, places, err
}

// inOrder wants records to lie behind those of the same shard in older files.
func (s *Store) inOrder(places []place) error {
	for i := range places {
		p := &places[i]
		sh := s.shards.find(p.key)
		if sh != nil && (pack(sh.end) > p.first || p.firstArrived < sh.arrived) {
			return fmt.Errorf("records of shard %d of stream %d: %w", p.key.Shard, p.key.Stream, errOrder)
		}
	}
	return nil
}

// salvage keeps what can be read of a file: the blocks that are whole, and of the
// others which records are missing.
func (s *Store) salvage(l *listed, why error) (*file, []place, error) {
	f := s.newFile(l.Number)
	f.lastArrived, f.uses, f.held = l.LastArrived, l.Pieces, l.Held
	f.accused.Store(true) // said below, with all that follows from it
	expected, err := decodePlaces(l.Shards)
	if err != nil {
		s.log.Warn("what a sealed file holds of each shard is not known", "file", f.name, "error", err)
	}
	found, err := s.scan(f, l)
	if err != nil {
		return nil, nil, err
	}
	places, m := mend(expected, found)
	if err := s.inOrder(places); err != nil { // of another file: it can not be what was listed
		places, m = nil, &mended{}
		why = errors.Join(why, err)
	}
	f.note(places)
	f.lost.Store(l.Records - min(l.Records, f.records))
	f.unknown = f.lost.Load() > m.lost
	f.mended.Store(m)
	s.count.damaged.Add(1)
	s.tellSalvaged(f, l, m, why)
	return f, places, nil
}

// tellSalvaged says which file, what is wrong, who lost what, and what to do.
func (s *Store) tellSalvaged(f *file, l *listed, m *mended, why error) {
	attrs := []any{"file", f.name, "error", why}
	if f.lost.Load() == 0 {
		s.log.Error("a sealed file is damaged; all records were found in it, and its index made anew: put a copy of it in its place", attrs...)
		return
	}
	attrs = append(attrs, "lost", f.lost.Load(), "records", l.Records, "first", l.First, "last", l.Last)
	if f.unknown {
		attrs = append(attrs, "unknown", "it is not known which other shards had records in it")
	}
	attrs = append(attrs, "missing", describe(m.gaps), "hint", repairHint)
	s.log.Error("records of a sealed file can not be read", attrs...)
}

// describeAtMost is how many gaps are written out.
const describeAtMost = 16

// gap is a range of a shard in which records are missing.
type gap struct {
	key Key
	span
}

// LogValue writes a gap for people.
func (g gap) LogValue() slog.Value { return slog.StringValue(g.String()) }

func (g gap) String() string {
	return fmt.Sprintf("stream %d shard %d from %v to %v", g.key.Stream, g.key.Shard, unpack(g.first), unpack(g.last))
}

func describe(gaps []gap) []string {
	var list []string
	for i, g := range gaps {
		if i == describeAtMost {
			return append(list, fmt.Sprintf("and %d more", len(gaps)-i))
		}
		list = append(list, g.String())
	}
	return list
}

// salvaged is a block that is whole.
type salvaged struct {
	key Key
	block
	records uint32
	hole    bool // between it and the one before is something that is not
}

// scan finds the blocks of a file that are whole, in order. The file's own word
// on what it is counts if it can be read; what is not as it was listed is not
// taken.
func (s *Store) scan(f *file, l *listed) ([]salvaged, error) {
	b := bounds{first: pack(l.First), last: pack(l.Last), arrived: l.LastArrived, records: l.Records}
	if f.inPlace() {
		found, err := f.scanPieces(b)
		return found, ignoreLasting(err)
	}
	raw, err := s.fs.Open(f.name)
	if err != nil {
		f.absent = true
		return nil, ignoreLasting(err)
	}
	defer raw.Close()
	if f.size, err = raw.Size(); err != nil {
		return nil, ignoreLasting(err)
	}
	if other, err := f.foreign(raw); other || err != nil {
		return nil, ignoreLasting(err)
	}
	found, err := f.scan(raw, b)
	return found, ignoreLasting(err)
}

func ignoreLasting(err error) error {
	if err == nil || lasting(err) {
		return nil
	}
	return fmt.Errorf("open segment: %w", err)
}

// foreign reports whether a header or footer with a right checksum says that the
// file is another.
func (f *file) foreign(raw io.ReaderAt) (bool, error) {
	if f.size < headerSize {
		return false, nil
	}
	var b [footerSize]byte
	if err := f.readFull(raw, b[:headerSize], 0); err != nil {
		return false, err
	}
	if err := checkHeader(b[:headerSize], f.id, sortedFormat); err == errOther || err == errFormat {
		return true, nil
	}
	if f.size < headerSize+footerSize {
		return false, nil
	}
	if err := f.readFull(raw, b[:], uint64(f.size)-footerSize); err != nil {
		return false, err
	}
	_, err := parseFooter(b[:], f.id, f.size)
	return err == errOther, nil
}

// bounds are what is known of a file's records without looking at it.
type bounds struct {
	first, last uint64
	arrived     int64
	records     uint64
}

// find finds the blocks of a file that are whole, wherever they lie.
func (f *file) find(raw io.ReaderAt, limits bounds) ([]salvaged, error) {
	if f.inPlace() {
		return f.scanPieces(limits)
	}
	return f.scan(raw, limits)
}

// scan walks from block to block. From one that is not whole it goes on where
// that says that it ends, if its length can be right: blocks are never looked
// for byte by byte, where a record could pretend to be one.
func (f *file) scan(raw io.ReaderAt, limits bounds) (found []salvaged, err error) {
	var total uint64
	var head [blockHead]byte
	var buf []byte
	hole := false
	for at := uint64(headerSize); at+blockHead <= uint64(f.size) && total < limits.records; {
		if err := f.readFull(raw, head[:], at); err != nil {
			return found, err
		}
		length := uint64(le.Uint32(head[4:]))
		if length < blockHead || length > maxBlock || at+length > uint64(f.size) {
			return found, nil
		}
		if uint64(cap(buf)) < length {
			buf = make([]byte, length)
		}
		buf = buf[:length]
		if err := f.readFull(raw, buf, at); err != nil {
			return found, err
		}
		x, ok := parseBlock(buf)
		if ok = ok && limits.admit(&x, found); ok {
			x.offset, x.hole, hole = at, hole, false
			found = append(found, x)
			total += uint64(x.records)
		} else {
			hole = true
		}
		at += length
	}
	return found, nil
}

// admit wants a block to be one of the file's, behind those found before.
func (b *bounds) admit(x *salvaged, found []salvaged) bool {
	if x.first < b.first || x.last > b.last || x.lastArrived > b.arrived {
		return false
	}
	if len(found) == 0 {
		return true
	}
	before := &found[len(found)-1]
	switch c := before.key.compare(x.key); {
	case c > 0:
		return false
	case c == 0:
		return x.first > before.last && x.firstArrived >= before.lastArrived
	}
	return true
}

// parseBlock reads a block of which nothing is known.
func parseBlock(b []byte) (x salvaged, ok bool) {
	crc := le.Uint32(b)
	if checksum(b[4:]) != crc || le.Uint32(b[8:]) != kindRecords || le.Uint32(b[12:]) == 0 {
		return x, false
	}
	x.key = Key{Stream: le.Uint64(b[16:]), Shard: le.Uint32(b[24:])}
	x.records = le.Uint32(b[12:])
	x.length, x.crc = uint32(len(b)), crc
	x.first, x.firstArrived = le.Uint64(b[32:]), int64(le.Uint64(b[40:]))
	c := cursor{rest: b[blockHead:], left: x.records, position: x.first, arrived: x.firstArrived}
	for first := true; c.left > 0; first = false {
		position, arrived := c.position, c.arrived
		if _, err := c.next(); err != nil || c.position < position || c.arrived < arrived || first != (c.position == position) {
			return x, false
		}
	}
	x.last, x.lastArrived = c.position, c.arrived
	return x, len(c.rest) == 0 && x.sound()
}

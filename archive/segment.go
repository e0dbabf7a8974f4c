package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// A segment object, and a spool file, which is one that is still growing:
//
//	┌──────┬──────┬─────────────┐
//	│ ftyp │ moov │ uuid header │   all tracks, and what the fragments share
//	├──────┴────────┬──────┬────┴────────┬─────────────┬───┐
//	│ uuid fragment │ prft │ moof mdat … │ moof mdat … │ … │   per fragment: its entry, its time, each track's parts
//	├───────────────┴──────┴─────────────┴─────────────┴───┘
//	│ uuid index │   everything again in one place, found from the end of the object
//	└────────────┘
//
//	header    version, 1 byte │ CRC-32C of the rest, 4 bytes │ head │ object
//	fragment  version, 1 byte │ CRC-32C of the rest, 4 bytes │ entry
//	index     version, 1 byte │ head │ object │ uvarint n × entry │ tail
//	tail      bytes of the whole box, 4 │ CRC-32C of the box before the checksum, 4 │ "kineweir"
//
// (head, object and entry: see codec.go.) The entry's checksum covers prft and
// parts. So a file is good up to the first fragment that its entry or checksum
// does not bear out. Torn-tail rule: what follows the last good fragment of a
// spool file was never acknowledged if no good fragment and no index frame of
// the journal lies in it; only then it is cut.
var (
	headerUUID   = [16]byte{0xb4, 0x46, 0x13, 0xc5, 0x23, 0xe3, 0x4d, 0x0c, 0x99, 0xbe, 0x53, 0xb2, 0x03, 0x0f, 0xb4, 0x9c}
	fragmentUUID = [16]byte{0x4d, 0xa6, 0xfb, 0x7d, 0x00, 0x42, 0x4c, 0x9e, 0xbf, 0x4a, 0xe1, 0x0e, 0xd7, 0x75, 0xc1, 0x4c}
	indexUUID    = [16]byte{0x94, 0x74, 0x82, 0x1f, 0x81, 0xd6, 0x43, 0xcc, 0x8e, 0x02, 0x26, 0x71, 0xfa, 0x7a, 0x84, 0x4f}
)

const (
	uuidBoxHeader = 24 // size, "uuid", the UUID
	checkedHeader = 5  // version and checksum
	tailSize      = 16
	tailMagic     = "kineweir"
	maxMetaBox    = 64 << 20 // bytes of a header or index box
)

// appendSegmentHeader appends what comes before the first fragment.
func appendSegmentHeader(b []byte, name fragments.StreamName, o *objectID) ([]byte, error) {
	tracks := make([]*fragments.Track, len(o.tracks))
	for i, t := range o.tracks {
		tracks[i] = t.Track
	}
	init, err := cmaf.InitSegment(tracks...)
	if err != nil {
		return nil, fmt.Errorf("initialisation segment: %w", err)
	}
	b = append(b, init...)
	payload := appendHead(make([]byte, checkedHeader), name, o.created, o.tracks)
	payload = appendObject(payload, o, o.tracks)
	return cmaf.AppendUUIDBox(b, headerUUID, check(payload)), nil
}

// check fills in the version and the checksum in front of a payload.
func check(payload []byte) []byte {
	payload[0] = codecVersion
	binary.BigEndian.PutUint32(payload[1:], checksum(payload[checkedHeader:]))
	return payload
}

// checked takes version and checksum off a payload.
func checked(payload []byte) ([]byte, error) {
	switch {
	case len(payload) < checkedHeader:
		return nil, errShort
	case payload[0] != codecVersion:
		return nil, errVersion
	case binary.BigEndian.Uint32(payload[1:]) != checksum(payload[checkedHeader:]):
		return nil, errChecked
	}
	return payload[checkedHeader:], nil
}

// roomBefore is a bound for the size of the fragment box of n runs.
func roomBefore(n int) int { return 128 + 64*n }

// encode writes f as it will stand in the object o at offset at, into the buffer
// that is kept between fragments. It fills in the offsets, sizes and checksums
// of e, which otherwise describes f.
func (w *writing) encode(o *objectID, e *Entry, f *fragments.Fragment, at int64) ([]byte, error) {
	room := roomBefore(len(f.Runs))
	b := slices.Grow(w.buf[:0], room+cmaf.PrftSize+f.Bytes())[:room]
	if cap(b) <= maxKeptBuffer {
		w.buf = b
	}
	lead := &e.Runs[0]
	b = cmaf.AppendPrft(b, lead.Track, f.Producer.Time(), uint64(lead.DecodeTime-Ticks(o.base, lead.TimeScale)))
	for i := range f.Runs {
		start, r := len(b), &e.Runs[i]
		for _, part := range f.Runs[i].Parts {
			b = append(b, part.Data...)
		}
		if err := cmaf.Rebase(b[start:], -Ticks(o.base, r.TimeScale)); err != nil {
			return nil, fmt.Errorf("track %d: %w", r.Track, err)
		}
		r.Offset, r.Size, r.CRC = int64(start-room), int64(len(b)-start), checksum(b[start:])
	}
	e.Offset, e.Size, e.CRC = 0, int64(len(b)-room), checksum(b[room:])

	// The entry says where it lies by what follows its box, so that its length
	// does not depend on where that is.
	w.predict.predict(o, 0)
	payload := append(w.scratch[:0], make([]byte, checkedHeader)...)
	payload = check(appendEntry(payload, o, &w.predict, e))
	w.scratch = payload
	start := room - uuidBoxHeader - len(payload)
	cmaf.AppendUUIDBox(b[:start], fragmentUUID, payload)
	shift := at + int64(room-start)
	e.Offset += shift
	for i := range e.Runs {
		e.Runs[i].Offset += shift
	}
	return b[start:], nil
}

// appendIndex appends the index box of an object.
func appendIndex(b []byte, name fragments.StreamName, o *objectID, entries []*Entry) []byte {
	payload := appendHead([]byte{codecVersion}, name, o.created, o.tracks)
	payload = appendObject(payload, o, o.tracks)
	payload = appendEntries(payload, o, entries)
	start := len(b)
	payload = binary.BigEndian.AppendUint32(payload, uint32(uuidBoxHeader+len(payload)+tailSize))
	payload = append(payload, 0, 0, 0, 0)
	b = cmaf.AppendUUIDBox(b, indexUUID, append(payload, tailMagic...))
	at := len(b) - len(tailMagic) - 4
	binary.BigEndian.PutUint32(b[at:], checksum(b[start:at]))
	return b
}

// appendEntries appends the number of entries and each after the other.
func appendEntries(b []byte, o *objectID, entries []*Entry) []byte {
	b = binary.AppendUvarint(b, uint64(len(entries)))
	var p prediction
	p.predict(o, 0)
	for _, e := range entries {
		b = appendEntry(b, o, &p, e)
	}
	return b
}

func (d *decoder) entries(o *objectID) []*Entry {
	n := d.count(maxEntries)
	if d.err != nil {
		return nil
	}
	var p prediction
	p.predict(o, 0)
	// One allocation each for all of them, as far as the bytes bear them out.
	likely := min(n, len(d.b)/12)
	list := make([]*Entry, 0, likely)
	d.entrySlab = make([]Entry, likely)
	d.runSlab = make([]EntryRun, min(likely*len(o.tracks), len(d.b)/9))
	for range n {
		e := d.entry(o, &p)
		if d.err != nil {
			return nil
		}
		list = append(list, e)
	}
	return list
}

// segment is what a segment object or a spool file says of itself.
type segment struct {
	name    fragments.StreamName
	id      *objectID
	entries []*Entry // in the order of the file
}

// DamagedError says that bytes of the archive are not what they were when they
// were written, and where.
type DamagedError struct {
	Object string // key in the bucket, or path in the spool
	Offset int64  // where in it
	Err    error  // what is wrong
}

// Error names the place and what is wrong with it.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %v", e.Object, e.Offset, e.Err)
}

// Unwrap returns what is wrong.
func (e *DamagedError) Unwrap() error { return e.Err }

// tailGuess is how much is read from the end of an object to find its index
// box: more than nearly all of them have.
const tailGuess = 64 << 10

// readIndex reads the index box of an object of size bytes, from its end.
func readIndex(r io.ReaderAt, size int64) (*segment, error) {
	box, err := readEnd(r, size, min(size, tailGuess))
	if err != nil {
		return nil, err
	}
	n, err := indexSize(box, size)
	if err != nil {
		return nil, &DamagedError{Offset: size, Err: err}
	}
	if n > int64(len(box)) {
		if box, err = readEnd(r, size, n); err != nil {
			return nil, err
		}
	}
	s, err := decodeIndex(box[int64(len(box))-n:])
	if err != nil {
		return nil, &DamagedError{Offset: size - n, Err: err}
	}
	return s, nil
}

func readEnd(r io.ReaderAt, size, n int64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := r.ReadAt(b, size-n); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read index box: %w", err)
	}
	return b, nil
}

var errNoIndex = errors.New("no index box at the end")

// indexSize reads from the tail how long the index box is.
func indexSize(end []byte, size int64) (int64, error) {
	if len(end) < tailSize || string(end[len(end)-len(tailMagic):]) != tailMagic {
		return 0, errNoIndex
	}
	n := int64(binary.BigEndian.Uint32(end[len(end)-tailSize:]))
	if n < uuidBoxHeader+tailSize || n > size || n > maxMetaBox {
		return 0, errNoIndex
	}
	return n, nil
}

// decodeIndex decodes a whole index box.
func decodeIndex(box []byte) (*segment, error) {
	if n, err := indexSize(box, int64(len(box))); err != nil || n != int64(len(box)) {
		return nil, errNoIndex
	}
	if binary.BigEndian.Uint32(box) != uint32(len(box)) || string(box[4:8]) != "uuid" || [16]byte(box[8:24]) != indexUUID {
		return nil, errNoIndex
	}
	at := len(box) - len(tailMagic) - 4
	if binary.BigEndian.Uint32(box[at:]) != checksum(box[:at]) {
		return nil, errChecked
	}
	d := decoder{b: box[uuidBoxHeader : len(box)-tailSize]}
	if d.u8() != codecVersion {
		return nil, errVersion
	}
	h := d.head()
	s := &segment{name: h.name, id: d.object(h)}
	if d.err == nil {
		s.entries = d.entries(s.id)
	}
	if err := d.done(); err != nil {
		return nil, err
	}
	return s, nil
}

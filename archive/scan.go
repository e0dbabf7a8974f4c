package archive

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/kineweir/kineweir/fragments/cmaf"
)

// scan is what a walk over an object or a spool file from its front has found.
type scan struct {
	segment
	body   int64    // where the first fragment begins
	end    int64    // after the last good fragment, where the index box is or will be
	closed *segment // what the index box at the end of the file says; nil when there is none
	// fault is why the walk stopped at end before the end of the file; nil when
	// it did not.
	fault error
}

// scanSegment walks a file of size bytes and checks every byte of it. An error
// means that the file could not be read, or that not even its header is good
// (a *DamagedError); what is wrong further on is in scan.fault.
func scanSegment(r io.ReaderAt, size int64) (*scan, error) {
	r = knownReader{r}
	s, err := scanHeader(r, size)
	if err != nil {
		return nil, err
	}
	return s.walk(r, size)
}

// walk goes on from end.
func (s *scan) walk(r io.ReaderAt, size int64) (*scan, error) {
	var p prediction
	for s.fault = nil; s.end < size; {
		box, err := cmaf.ReadBoxHeader(r, s.end, size)
		if err != nil {
			return s.stop(err)
		}
		switch {
		case box.Type == "uuid" && box.UUID == fragmentUUID:
			e, err := scanFragment(r, s.id, &p, box, size)
			if err != nil {
				return s.stop(err)
			}
			s.entries = append(s.entries, e)
			s.end = e.Offset + e.Size
		case box.Type == "uuid" && box.UUID == indexUUID && box.End() == size:
			return s.close(r, box)
		case box.Type == "free":
			// Where a damaged fragment was carved out.
			s.end = box.End()
		default:
			return s.stop(fmt.Errorf("box %q is none of a segment", box.Type))
		}
	}
	return s, nil
}

// stop ends the walk where a good fragment should begin. An error of the
// device is not damage.
func (s *scan) stop(err error) (*scan, error) {
	var read *readError
	if errors.As(err, &read) {
		return nil, err
	}
	s.fault = err
	return s, nil
}

// readError is a failure of the device or the store, not of the bytes.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// knownReader marks the failures of a reader as such.
type knownReader struct{ r io.ReaderAt }

func (k knownReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := k.r.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &readError{err}
	}
	return n, err
}

func (s *scan) close(r io.ReaderAt, box cmaf.BoxHeader) (*scan, error) {
	b, err := readBox(r, box)
	if err != nil {
		return s.stop(err)
	}
	closed, err := decodeIndex(b)
	if err != nil {
		return s.stop(err)
	}
	s.closed = closed
	return s, nil
}

// scanHeader reads up to the first fragment.
func scanHeader(r io.ReaderAt, size int64) (*scan, error) {
	for box, err := range cmaf.Boxes(r, 0, size) {
		if err != nil {
			return damagedHeader(box.Offset, err)
		}
		switch {
		case box.Type == "ftyp" || box.Type == "moov":
			continue
		case box.Type != "uuid" || box.UUID != headerUUID:
			return damagedHeader(box.Offset, fmt.Errorf("box %q instead of the header", box.Type))
		}
		b, err := readBox(r, box)
		if err != nil {
			return damagedHeader(box.Offset, err)
		}
		s, err := decodeHeader(b[box.Header:])
		if err != nil {
			return damagedHeader(box.Offset, err)
		}
		s.body, s.end = box.End(), box.End()
		return s, nil
	}
	return damagedHeader(size, fmt.Errorf("header: %w", errShort))
}

func damagedHeader(at int64, err error) (*scan, error) {
	var read *readError
	if errors.As(err, &read) {
		return nil, err
	}
	return nil, &DamagedError{Offset: at, Err: err}
}

func decodeHeader(payload []byte) (*scan, error) {
	payload, err := checked(payload)
	if err != nil {
		return nil, err
	}
	d := decoder{b: payload}
	h := d.head()
	s := &scan{segment: segment{name: h.name, id: d.object(h)}}
	if err := d.done(); err != nil {
		return nil, err
	}
	return s, nil
}

// readBox reads a whole box of ours; its length has been checked against the
// file.
func readBox(r io.ReaderAt, box cmaf.BoxHeader) ([]byte, error) {
	if box.Size > maxMetaBox {
		return nil, errTooMany
	}
	b := make([]byte, box.Size)
	if n, err := r.ReadAt(b, box.Offset); n < len(b) {
		return nil, fmt.Errorf("read box at byte %d: %w", box.Offset, err)
	}
	return b, nil
}

// scanFragment reads the fragment whose box is given and checks its bytes.
func scanFragment(r io.ReaderAt, o *objectID, p *prediction, box cmaf.BoxHeader, size int64) (*Entry, error) {
	b, err := readBox(r, box)
	if err != nil {
		return nil, err
	}
	payload, err := checked(b[box.Header:])
	if err != nil {
		return nil, err
	}
	p.predict(o, box.End())
	d := decoder{b: payload}
	e := d.entry(o, p)
	if err := d.done(); err != nil {
		return nil, err
	}
	if e.Offset != box.End() || e.Size > size-e.Offset {
		return nil, fmt.Errorf("fragment %s: %w", e.Number, errShort)
	}
	return e, checkFragment(r, e)
}

// checkFragment reads the bytes of e and compares their checksums.
func checkFragment(r io.ReaderAt, e *Entry) error {
	var buf [32 << 10]byte
	whole, at := uint32(0), e.Offset
	sum := func(to int64) (part uint32, err error) {
		for at < to {
			b := buf[:min(int64(len(buf)), to-at)]
			if n, err := r.ReadAt(b, at); n < len(b) {
				return 0, fmt.Errorf("read fragment at byte %d: %w", at, err)
			}
			part, whole = crc32.Update(part, castagnoli, b), crc32.Update(whole, castagnoli, b)
			at += int64(len(b))
		}
		return part, nil
	}
	for i := range e.Runs {
		run := &e.Runs[i]
		if _, err := sum(run.Offset); err != nil {
			return err
		}
		got, err := sum(run.Offset + run.Size)
		if err != nil {
			return err
		}
		if got != run.CRC {
			return fmt.Errorf("fragment %s, track %d: %w", e.Number, run.Track, errChecked)
		}
	}
	if _, err := sum(e.Offset + e.Size); err != nil {
		return err
	}
	if whole != e.CRC {
		return fmt.Errorf("fragment %s: %w", e.Number, errChecked)
	}
	return nil
}

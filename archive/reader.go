package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
)

// ReadRun reads one run of a fragment, the moof and mdat boxes of a track, as
// they are stored: their tfdt counts from Entry.Base. The bytes have been
// checked: a difference is a *DamagedError. What retention has deleted is
// ErrNoFragment.
func (a *Archive) ReadRun(ctx context.Context, name fragments.StreamName, e *Entry, run int) ([]byte, error) {
	return a.ReadRunInto(ctx, name, e, run, nil)
}

// ReadRunInto is ReadRun into buf, which is replaced when it is too small.
func (a *Archive) ReadRunInto(ctx context.Context, name fragments.StreamName, e *Entry, run int, buf []byte) ([]byte, error) {
	if run < 0 || run >= len(e.Runs) {
		return nil, fmt.Errorf("stream %s, fragment %s: no run %d", name, e.Number, run)
	}
	r := &e.Runs[run]
	body, err := a.OpenRange(ctx, name, e, r.Offset, r.Size)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data := slices.Grow(buf[:0], int(r.Size))[:r.Size]
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, err
	}
	if checksum(data) != r.CRC {
		a.counters.damaged.Add(1)
		return nil, fmt.Errorf("stream %s, fragment %s: %w", name, e.Number, &DamagedError{Object: e.Object, Offset: r.Offset, Err: errChecked})
	}
	return data, nil
}

// OpenRange opens length bytes of the fragment's object from offset; offsets are
// those of Entry and EntryRun. The bytes are not checked. The reader gives
// exactly those bytes or an error, which is ErrNoFragment once the fragment is
// deleted; it must be closed, and lives no longer than ctx. A reader that is
// open when its object is deleted reads on where the bucket lets it.
func (a *Archive) OpenRange(ctx context.Context, name fragments.StreamName, e *Entry, offset, length int64) (io.ReadCloser, error) {
	s, err := a.stream(name)
	if err != nil {
		return nil, err
	}
	path, kept := s.locate(e)
	if !kept {
		return nil, s.wrap(e.Number, ErrNoFragment)
	}
	if path != "" {
		r, err := openSpoolRange(path, offset, length)
		if !isAbsent(err) {
			if err != nil {
				return nil, s.wrap(e.Number, err)
			}
			return r, nil
		}
		// It went to the bucket just now.
	}
	r, err := a.bucket.Get(ctx, e.Object, offset, length)
	if err != nil {
		return nil, s.wrap(e.Number, s.ended(e, err))
	}
	return &rangeReader{ReadCloser: r, s: s, e: e}, nil
}

// locate says whether the fragment is kept, and the path of its spool file if
// its object is not in the bucket.
func (s *stream) locate(e *Entry) (path string, kept bool) {
	k := parseKey(e.Object)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.deleted || e.Number.Less(s.floor) || k.dir != s.dir {
		return "", false
	}
	if o := s.objects[k.first]; o != nil && o.state != stored {
		path = o.path
	}
	return path, true
}

// ended gives an error of reading e its meaning: that of a deleted fragment is
// ErrNoFragment.
func (s *stream) ended(e *Entry, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.deleted || e.Number.Less(s.floor) {
		return errors.Join(ErrNoFragment, err)
	}
	if errors.Is(err, bucket.ErrAbsent) {
		return &DamagedError{Object: e.Object, Err: err}
	}
	return err
}

// rangeReader tells the end of a reader whose fragment was deleted from a
// failure. It passes WriteTo on, so that a file reaches a socket uncopied.
type rangeReader struct {
	io.ReadCloser
	s *stream
	e *Entry
}

func (r *rangeReader) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	return n, r.s.ended(r.e, err)
}

func (r *rangeReader) WriteTo(w io.Writer) (int64, error) {
	if wt, ok := r.ReadCloser.(io.WriterTo); ok {
		return wt.WriteTo(w)
	}
	return io.Copy(w, struct{ io.Reader }{r})
}

// spoolRange reads a range of a spool file. The file stays readable for as long
// as it is open, whatever becomes of its name.
type spoolRange struct {
	io.LimitedReader
	f *os.File
}

func openSpoolRange(path string, offset, length int64) (*spoolRange, error) {
	if offset < 0 || length < 0 {
		return nil, fmt.Errorf("%d bytes at %d of %s: not a range", length, offset, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < offset+length {
		err = &DamagedError{Object: path, Offset: info.Size(), Err: errShort}
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &spoolRange{LimitedReader: io.LimitedReader{R: f, N: length}, f: f}, nil
}

// WriteTo lets the file reach a socket uncopied.
func (r *spoolRange) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, &r.LimitedReader) }

// Close closes the file.
func (r *spoolRange) Close() error { return r.f.Close() }

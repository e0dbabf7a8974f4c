package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// window is a view of a file through one buffer, for reading forwards.
type window struct {
	f     io.ReaderAt
	limit int64 // nothing is read beyond
	start int64 // offset of buf in the file
	buf   []byte
}

// windowSize is how much is read at a time: pread of 1 MiB was measured faster
// than mmap, and than smaller reads.
const windowSize = 1 << 20

// reset turns the window to another file, of which size bytes may be read.
func (w *window) reset(f io.ReaderAt, size int64) {
	w.f, w.limit, w.start, w.buf = f, size, 0, w.buf[:0]
}

// at returns n bytes at off, or errCutShort if the limit comes first. The bytes
// are good until the next call. n is bounded by the caller.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.start || off+int64(n) > w.start+int64(len(w.buf)) {
		if off+int64(n) > w.limit {
			return nil, errCutShort
		}
		if err := w.fill(off, n); err != nil {
			return nil, err
		}
	}
	i := off - w.start
	return w.buf[i : i+int64(n)], nil
}

// fill makes the buffer hold at least n bytes at off. What it has of them it
// keeps: a large frame's beginning was read with its header.
func (w *window) fill(off int64, n int) error {
	want := int(min(int64(max(n, windowSize)), w.limit-off))
	var have []byte
	if off >= w.start && off < w.start+int64(len(w.buf)) {
		have = w.buf[off-w.start:]
	}
	buf := w.buf
	if cap(buf) < want {
		buf = make([]byte, want, want+want/8) // the next large frame may be a little larger
	}
	kept := copy(buf[:want], have)
	got, err := w.f.ReadAt(buf[kept:want], off+int64(kept))
	got += kept
	w.start, w.buf = off, buf[:got]
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = errCutShort
		}
		w.buf = w.buf[:0]
		return err
	}
	return nil
}

// frameAt returns the frame at off. Of the errors, those declared beside
// parseHeader are about the bytes; all others are about reading them. The body
// is good until the next call.
func (w *window) frameAt(off int64, salt uint64) (header, []byte, error) {
	b, err := w.at(off, headerSize)
	if err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(b)
	if err != nil {
		return header{}, nil, err
	}
	if h.salt != salt {
		return header{}, nil, errSalt
	}
	b, err = w.at(off, int(h.size()))
	if err != nil {
		return h, nil, err
	}
	body := b[headerSize:]
	if checksum(body) != h.bodyCRC {
		return h, nil, errBodyCRC
	}
	return h, body, checkEntries(body, h.count)
}

// aboutBytes reports whether a window's error means that the bytes are wrong,
// as opposed to not having been read.
func aboutBytes(err error) bool {
	for _, reason := range [...]error{
		errNoMagic, errFormat, errHeaderCRC, errBodyCRC, errLength, errCutShort, errSalt, errEntries,
	} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// link is the state of the chain: what the next frame has to fit.
type link struct {
	number uint64 // of the last frame
	chain  uint32 // its header CRC
	epoch  uint64
}

// fits says why a frame with a right checksum does not belong after l, or "".
func (l link) fits(h *header) string {
	switch {
	case h.number != l.number+1:
		return fmt.Sprintf("frame %d stands where frame %d belongs", h.number, l.number+1)
	case h.chain != l.chain:
		return "the chain does not match the frame before"
	case h.epoch < l.epoch:
		return fmt.Sprintf("epoch %d after epoch %d", h.epoch, l.epoch)
	case h.committed >= h.number:
		return fmt.Sprintf("claims that frame %d was durable before it", h.committed)
	}
	return ""
}

// scanned is what scanFile found in a file.
type scanned struct {
	link        link
	end         int64  // just after the last good frame
	bad         error  // why what follows is not a frame; nil at the file's end
	lastEntries uint64 // last frame with entries, 0 for none
	lastCount   uint16 // of it
}

// scanFile reads all frames of f through w from its start, counting each into
// f, and stops where they end: where a successor follows, which begins with the
// frame next, a reused file ends before that, whatever lies behind. Damage that
// no torn write explains is an error.
func scanFile(f *file, w *window, from link, next uint64) (scanned, error) {
	s := scanned{link: from}
	for f.size < w.limit && !(f.reused && s.link.number+1 == next) {
		h, _, err := w.frameAt(f.size, f.salt)
		if err != nil && !aboutBytes(err) {
			return s, fmt.Errorf("read %s: %w", f.name, err)
		}
		if err == nil && h.number > s.link.number {
			if reason := s.link.fits(&h); reason != "" {
				return s, f.damage(f.size, s.link.number+1, reason)
			}
		} else if err == nil {
			err = errNoMagic // a leftover that reappeared: older than what is here
		}
		if err != nil {
			s.bad = err
			break
		}
		f.note(&h)
		s.link = link{number: h.number, chain: h.crc, epoch: h.epoch}
		if h.count > 0 {
			s.lastEntries, s.lastCount = h.number, h.count
		}
	}
	s.end = f.size
	return s, nil
}

// laterFrame looks, from off to the file's end, for a frame after the numbered
// one, and returns its number and offset. A right header is proof enough: its
// checksum and the file's salt are no accident, and it was written only after
// all before it had been synced.
func laterFrame(w *window, off int64, salt, after uint64) (uint64, int64, error) {
	size := w.limit
	for off+headerSize <= size {
		b, err := w.at(off, int(min(windowSize, size-off)))
		if err != nil {
			return 0, 0, err
		}
		for i := 0; i+headerSize <= len(b); i++ {
			next := bytes.Index(b[i:], frameMagic[:])
			if next < 0 {
				break
			}
			i += next
			if h, err := parseHeader(b[i:]); err == nil && h.salt == salt && h.number > after {
				return h.number, off + int64(i), nil
			}
		}
		off += int64(len(b)) - (headerSize - 1)
	}
	return 0, 0, nil
}

package clip

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

const (
	// window is how much is read at once: the moof of a part of some samples and
	// the head of the mdat behind it.
	window = 1 << 10
	// maxMoof is the largest moof that is believed, bytes.
	maxMoof = 16 << 20
	// worthReading is up to how many bytes are read and thrown away rather than
	// asked for anew, where the archive cannot seek: between what a local disk and
	// what an object store would like.
	worthReading = 64 << 10
)

// heads walks the moof boxes of one run and passes over its media.
type heads struct {
	src  Archive
	ctx  context.Context // of the walk, which ends before its caller does
	name fragments.StreamName
	e    *archive.Entry
	run  *archive.EntryRun

	body io.ReadCloser
	at   int64 // of body, in the object
	buf  []byte
}

// each calls f with the parts of the run, in order.
func (h *heads) each(f func(cmaf.Part) error) error {
	defer h.close()
	for at, end := h.run.Offset, h.run.Offset+h.run.Size; at < end; {
		p, size, err := h.read(at, end)
		if err != nil {
			return fmt.Errorf("fragment %s, part at %d: %w", h.e.Number, at, err)
		}
		if err := f(p); err != nil {
			return err
		}
		at += size
	}
	return nil
}

func (h *heads) close() {
	if h.body != nil {
		h.body.Close() //nolint:errcheck // it was only read
		h.body = nil
	}
}

// read reads the moof at the offset at of the object; size is that of the moof
// and its mdat.
func (h *heads) read(at, end int64) (p cmaf.Part, size int64, err error) {
	if err := h.fill(at, min(window, end-at)); err != nil {
		return p, 0, err
	}
	moof := int64(0)
	if len(h.buf) >= 8 {
		moof = int64(binary.BigEndian.Uint32(h.buf))
	}
	if moof < 8 || moof > min(maxMoof, end-at) {
		return p, 0, &cmaf.FormatError{Offset: at, Box: "moof", Reason: fmt.Sprintf("size %d is not possible", moof)}
	}
	if err := h.more(min(moof+16, end-at)); err != nil {
		return p, 0, err
	}
	if p, err = cmaf.ReadPartHeader(h.buf[:moof]); err != nil {
		return p, 0, err
	}
	mdat, err := cmaf.ReadBoxHeader(bytes.NewReader(h.buf[moof:]), 0, end-at-moof)
	switch {
	case errors.Is(err, io.EOF):
		return p, 0, &cmaf.FormatError{Offset: at + moof, Box: "mdat", Reason: "is missing", Torn: true}
	case err != nil:
		return p, 0, err
	case mdat.Type != "mdat" || int64(p.Size) > moof+mdat.Size:
		return p, 0, &cmaf.FormatError{Offset: at + moof, Box: mdat.Type, Reason: "want an mdat that holds the samples"}
	}
	return p, moof + mdat.Size, nil
}

// fill reads n bytes from the offset at on.
func (h *heads) fill(at, n int64) error {
	h.buf = h.buf[:0]
	if err := h.seek(at); err != nil {
		return err
	}
	return h.more(n)
}

// more makes the buffer n bytes long.
func (h *heads) more(n int64) error {
	have := len(h.buf)
	if int64(have) >= n {
		return nil
	}
	h.buf = append(h.buf, make([]byte, int(n)-have)...)
	k, err := io.ReadFull(h.body, h.buf[have:])
	h.at += int64(k)
	return err
}

// seek makes the next byte that is read that at the offset at.
func (h *heads) seek(at int64) error {
	if h.body != nil {
		if s, ok := h.body.(io.Seeker); ok {
			if _, err := s.Seek(at-h.at, io.SeekCurrent); !errors.Is(err, errors.ErrUnsupported) {
				h.at = at
				return err
			}
		}
		if ahead := at - h.at; ahead >= 0 && ahead <= worthReading {
			_, err := io.CopyN(io.Discard, h.body, ahead)
			h.at = at
			return err
		}
		h.close()
	}
	body, err := h.src.OpenRange(h.ctx, h.name, h.e, at, h.run.Offset+h.run.Size-at)
	if err != nil {
		return err
	}
	h.body, h.at = body, at
	return nil
}

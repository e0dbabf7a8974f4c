package clip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// reader reads a clip. It holds one chunk at a time.
type reader struct {
	ctx    context.Context // of the one request that reads
	clip   *Clip
	at     int64
	loaded int // index of the chunk in data; -1: none
	data   []byte
	entry  *archive.Entry // of the last chunk: the tracks of a fragment follow one another
}

// Seek implements io.Seeker.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.clip.layout.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning of a clip")
	}
	r.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	l := r.clip.layout
	if r.at >= l.size {
		return 0, io.EOF
	}
	if r.at < int64(len(l.head)) {
		n := copy(p, l.head[r.at:])
		r.at += int64(n)
		return n, nil
	}
	i := sort.Search(len(l.chunks), func(i int) bool { return l.chunks[i].at > r.at }) - 1
	if c := &l.chunks[i]; c.fill != nil {
		n := 0
		for done := r.at - c.at; n < len(p) && done < c.length; done = r.at - c.at {
			from := int(done % int64(len(c.fill)))
			k := copy(p[n:], c.fill[from:min(int64(len(c.fill)), int64(from)+c.length-done)])
			n += k
			r.at += int64(k)
		}
		return n, nil
	}
	if i != r.loaded {
		if err := r.load(i); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.data[r.at-l.chunks[i].at:])
	r.at += int64(n)
	return n, nil
}

// load reads the chunk i.
func (r *reader) load(i int) error {
	c := &r.clip.layout.chunks[i]
	r.loaded, r.data = -1, r.data[:0]
	if r.entry == nil || r.entry.Number != c.number {
		e, err := r.clip.src.Entry(r.ctx, r.clip.name, c.number)
		if err != nil {
			return err
		}
		r.entry = e
	}
	run := slices.IndexFunc(r.entry.Runs, func(run archive.EntryRun) bool { return run.Track == c.source })
	if run < 0 {
		return fmt.Errorf("stream %s, fragment %s: track %d has gone", r.clip.name, c.number, c.source)
	}
	stored, err := r.clip.src.ReadRun(r.ctx, r.clip.name, r.entry, run)
	if err != nil {
		return err
	}
	data := slices.Grow(r.data, len(stored))
	for p, err := range cmaf.Parts(stored) {
		if err != nil {
			return fmt.Errorf("stream %s, fragment %s: %w", r.clip.name, c.number, err)
		}
		for k := range p.Samples {
			data = append(data, p.Samples[k].Data...)
		}
	}
	if int64(len(data)) < c.skip+c.length {
		return fmt.Errorf("stream %s, fragment %s: track %d has %d bytes of media, its layout %d", r.clip.name, c.number, c.source, len(data), c.skip+c.length)
	}
	r.loaded, r.data = i, data[c.skip:c.skip+c.length]
	return nil
}

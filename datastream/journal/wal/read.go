package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/kineweir/kineweir/datastream/journal"
)

// view is the durable part of one file at some moment.
type view struct {
	file   *file
	size   int64
	last   uint64
	starts []int64
}

// views returns the durable parts that hold frames at or after from, or
// ErrClosed.
func (l *Lane) views(from uint64) ([]view, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return nil, journal.ErrClosed
	}
	var vs []view
	for _, f := range l.files {
		if f.last >= f.first && f.last >= from {
			// starts only grow at their end: what is there now never changes.
			vs = append(vs, view{f, f.size, f.last, slices.Clip(f.starts)})
		}
	}
	return vs, nil
}

// Read yields what was durable when the iteration began.
func (l *Lane) Read(from journal.Position) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		vs, err := l.views(from.Frame)
		if err != nil {
			yield(journal.Entry{}, err)
			return
		}
		r := reader{from: from, yield: yield}
		for _, v := range vs {
			err := r.file(l, v)
			if r.stopped {
				return
			}
			if err != nil {
				yield(journal.Entry{}, err)
				return
			}
		}
	}
}

// reader is one iteration.
type reader struct {
	from    journal.Position
	yield   func(journal.Entry, error) bool
	stopped bool
	window  window
	keys    keys
}

// file yields a file's entries. A file that was trimmed since the iteration
// began is passed over, or what is left of it: it may be another file by now.
func (r *reader) file(l *Lane, v view) error {
	err := r.frames(l, v)
	if corrupt := (*journal.CorruptError)(nil); errors.As(err, &corrupt) && l.trimmed(v.file) {
		return nil
	}
	return err
}

func (r *reader) frames(l *Lane, v view) error {
	raw, err := l.opts.FS.Open(v.file.name)
	if errors.Is(err, fs.ErrNotExist) && l.trimmed(v.file) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	defer raw.Close()
	r.window.reset(raw, v.size)
	number := max(r.from.Frame, v.file.first)
	off := v.starts[number-v.file.first]
	for off < v.size && !r.stopped {
		h, body, err := r.window.frameAt(off, v.file.salt)
		switch {
		case err != nil && !aboutBytes(err):
			return fmt.Errorf("read %s: %w", v.file.name, err)
		case err != nil:
			return v.file.damage(off, number, err.Error())
		case h.number != number:
			return v.file.damage(off, number, fmt.Sprintf("frame %d stands in its place", h.number))
		}
		r.entries(&h, body)
		off += h.span()
		number++
	}
	return nil
}

// entries yields the entries of a frame whose body has been checked.
func (r *reader) entries(h *header, body []byte) {
	for i := range h.count {
		var raw journal.RawEntry
		raw, body, _ = journal.CutEntry(body)
		p := journal.Position{Frame: h.number, Index: i}
		if p.Less(r.from) {
			continue
		}
		e := journal.Entry{Position: p, Kind: raw.Kind, Key: r.keys.intern(raw.Key), Payload: raw.Payload}
		if !r.yield(e, nil) {
			r.stopped = true
			return
		}
	}
}

// keys remembers the key strings an iteration has met: a lane has many entries
// of few keys, and one string serves them all.
type keys map[string]string

// maxInterned bounds what an iteration remembers.
const maxInterned = 4096

func (k *keys) intern(b []byte) string {
	if s, ok := (*k)[string(b)]; ok {
		return s
	}
	if *k == nil || len(*k) >= maxInterned {
		*k = make(keys)
	}
	s := string(b)
	(*k)[s] = s
	return s
}

// Wait returns when an entry at or after p is durable.
func (l *Lane) Wait(ctx context.Context, p journal.Position) error {
	for {
		l.mu.Lock()
		if p.Less(l.end) {
			l.mu.Unlock()
			return nil
		}
		if l.refusing != nil && l.queued == 0 {
			err := l.refusing
			l.mu.Unlock()
			return err
		}
		if l.advanced == nil {
			l.advanced = make(chan struct{})
		}
		advanced := l.advanced
		l.mu.Unlock()
		select {
		case <-advanced:
		case <-l.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

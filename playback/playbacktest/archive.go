// Package playbacktest gives tests of playback an archive in memory, filled by
// hand or with what ffmpeg encodes.
//
// It keeps fragments as the archive does, in objects whose decode times count
// from a base of their own, but shares no code with it. It is imported by tests
// alone.
package playbacktest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
)

// Archive is an archive in memory. Its methods may be called concurrently.
type Archive struct {
	mu      sync.Mutex // guards the fields below
	streams map[fragments.StreamName]*stream
	changed map[fragments.StreamName]chan struct{}
	opened  int64
	read    int64
}

type stream struct {
	created   time.Time
	recording bool
	entries   []*archive.Entry
	tracks    map[fragments.ConfigHash]*fragments.Track
	objects   map[string][]byte
}

// New returns an archive without streams.
func New() *Archive {
	return &Archive{streams: map[fragments.StreamName]*stream{}, changed: map[fragments.StreamName]chan struct{}{}}
}

// Create makes a stream that is being recorded, or makes it anew.
func (a *Archive) Create(name fragments.StreamName, created time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.streams[name] = &stream{
		created: created, recording: true,
		tracks: map[fragments.ConfigHash]*fragments.Track{}, objects: map[string][]byte{},
	}
	a.change(name)
}

// Recording sets whether the stream is being recorded.
func (a *Archive) Recording(name fragments.StreamName, on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.streams[name].recording = on
}

// Add makes e visible; data is appended to its object. It panics when the
// stream was not created.
func (a *Archive) Add(name fragments.StreamName, e *archive.Entry, data []byte, tracks ...*fragments.Track) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.streams[name]
	for _, t := range tracks {
		s.tracks[t.Hash()] = t
	}
	s.objects[e.Object] = append(s.objects[e.Object], data...)
	s.entries = append(s.entries, e)
	a.change(name)
}

// Delete deletes the n oldest fragments.
func (a *Archive) Delete(name fragments.StreamName, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.streams[name]
	s.entries = slices.Clone(s.entries[n:])
	a.change(name)
}

// Read returns how many ranges were opened, and how many bytes were read of
// them.
func (a *Archive) Read() (opened, read int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.opened, a.read
}

func (a *Archive) change(name fragments.StreamName) {
	if c := a.changed[name]; c != nil {
		close(c)
		delete(a.changed, name)
	}
}

func (a *Archive) stream(name fragments.StreamName) (*stream, error) {
	s := a.streams[name]
	if s == nil {
		return nil, fmt.Errorf("stream %s: %w", name, archive.ErrNoStream)
	}
	return s, nil
}

// Stream is that of archive.Archive.
func (a *Archive) Stream(name fragments.StreamName) (archive.StreamInfo, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := a.stream(name)
	if err != nil {
		return archive.StreamInfo{}, err
	}
	info := archive.StreamInfo{Name: name, Created: s.created, Recording: s.recording, Fragments: int64(len(s.entries))}
	if n := len(s.entries); n > 0 {
		info.First, info.Last = s.entries[0], s.entries[n-1]
	}
	return info, nil
}

// Fragments is that of archive.Archive.
func (a *Archive) Fragments(ctx context.Context, name fragments.StreamName, sel fragments.Selector) iter.Seq2[*archive.Entry, error] {
	return func(yield func(*archive.Entry, error) bool) {
		a.mu.Lock()
		s, err := a.stream(name)
		var entries []*archive.Entry
		if err == nil {
			entries = s.entries
		}
		a.mu.Unlock()
		if err != nil {
			yield(nil, err)
			return
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if overlaps(e, sel) && !yield(e, nil) {
				return
			}
		}
	}
}

func overlaps(e *archive.Entry, s fragments.Selector) bool {
	from := e.Producer.Time()
	if s.Clock == fragments.ByServer {
		from = e.Server.Time()
	}
	return (s.Start.IsZero() || from.Add(e.Duration).After(s.Start)) && (s.End.IsZero() || from.Before(s.End))
}

// Entry is that of archive.Archive.
func (a *Archive) Entry(_ context.Context, name fragments.StreamName, n fragments.Number) (*archive.Entry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := a.stream(name)
	if err != nil {
		return nil, err
	}
	i, ok := slices.BinarySearchFunc(s.entries, n, func(e *archive.Entry, n fragments.Number) int { return e.Number.Compare(n) })
	if !ok {
		return nil, fmt.Errorf("stream %s, fragment %s: %w", name, n, archive.ErrNoFragment)
	}
	return s.entries[i], nil
}

// Track is that of archive.Archive.
func (a *Archive) Track(name fragments.StreamName, h fragments.ConfigHash) (*fragments.Track, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := a.stream(name)
	if err != nil {
		return nil, err
	}
	if t := s.tracks[h]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("stream %s, configuration %s: %w", name, h, archive.ErrNoFragment)
}

// ReadRun is that of archive.Archive.
func (a *Archive) ReadRun(_ context.Context, name fragments.StreamName, e *archive.Entry, run int) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.bytes(name, e, e.Runs[run].Offset, e.Runs[run].Size)
	return bytes.Clone(b), err
}

func (a *Archive) bytes(name fragments.StreamName, e *archive.Entry, offset, length int64) ([]byte, error) {
	s, err := a.stream(name)
	if err != nil {
		return nil, err
	}
	if object := s.objects[e.Object]; offset >= 0 && length >= 0 && offset+length <= int64(len(object)) {
		a.opened++
		return object[offset : offset+length], nil
	}
	return nil, fmt.Errorf("stream %s, object %s: %d bytes at %d are not there", name, e.Object, length, offset)
}

// OpenRange is that of archive.Archive.
func (a *Archive) OpenRange(_ context.Context, name fragments.StreamName, e *archive.Entry, offset, length int64) (io.ReadCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.bytes(name, e, offset, length)
	if err != nil {
		return nil, err
	}
	return &object{a: a, Reader: bytes.NewReader(b)}, nil
}

// object counts what is read of it.
type object struct {
	a *Archive
	*bytes.Reader
}

func (o *object) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	o.a.mu.Lock()
	o.a.read += int64(n)
	o.a.mu.Unlock()
	return n, err
}

func (o *object) Close() error { return nil }

// Changed is that of archive.Archive.
func (a *Archive) Changed(name fragments.StreamName) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed[name] == nil {
		a.changed[name] = make(chan struct{})
	}
	return a.changed[name]
}

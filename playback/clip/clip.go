package clip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

// ErrNothing is returned for a range without a fragment.
var ErrNothing = errors.New("nothing is recorded there")

// NotPlayableError says that no track of a range can stand in an MP4 file.
type NotPlayableError struct {
	Stream  fragments.StreamName
	Reasons []string // one for each track
}

// Error returns the reasons, track by track.
func (e *NotPlayableError) Error() string {
	return fmt.Sprintf("stream %s cannot be made into a clip: %s", e.Stream, strings.Join(e.Reasons, "; "))
}

// Archive is what clips ask of the archive.
type Archive interface {
	playback.Index
	// Entry returns one fragment; the error is archive.ErrNoFragment.
	Entry(ctx context.Context, name fragments.StreamName, n fragments.Number) (*archive.Entry, error)
	// Track returns a configuration that some fragment of the stream has.
	Track(name fragments.StreamName, h fragments.ConfigHash) (*fragments.Track, error)
	// ReadRun returns the bytes of a run as stored.
	ReadRun(ctx context.Context, name fragments.StreamName, e *archive.Entry, run int) ([]byte, error)
	// OpenRange returns bytes of the object that holds e, from an offset in the
	// object on. The result may be an io.Seeker (io.SeekCurrent, or
	// errors.ErrUnsupported): then media is passed over instead of read.
	OpenRange(ctx context.Context, name fragments.StreamName, e *archive.Entry, offset, length int64) (io.ReadCloser, error)
}

// Options of a Maker. The zero value is good.
type Options struct {
	MaxSamples int            // in one clip; default 32 million, about 300 MB of tables
	CacheBytes int64          // of layouts that are kept; default 64 MiB
	Location   *time.Location // of the times in file names; default time.Local
}

// Validate reports the first option that cannot be used.
func (o Options) Validate() error {
	if o.MaxSamples < 0 || o.CacheBytes < 0 {
		return errors.New("clip options must not be negative")
	}
	return nil
}

// Maker makes clips. Its methods may be called concurrently.
type Maker struct {
	src Archive
	o   Options

	mu    sync.Mutex // guards the fields below
	cache map[cacheKey]*cached
	uses  int64
}

// New returns a Maker that reads src.
func New(src Archive, o Options) (*Maker, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.MaxSamples == 0 {
		o.MaxSamples = 32 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	return &Maker{src: src, o: o, cache: map[cacheKey]*cached{}}, nil
}

// Clip is one MP4 file, not yet read.
type Clip struct {
	src    Archive
	name   fragments.StreamName
	layout *layout
	file   string
}

// Clip lays out the clip of a range, which must have an end. The error is
// archive.ErrNoStream, ErrNothing, a *playback.ParamError, a *NotPlayableError
// or one of reading.
func (m *Maker) Clip(ctx context.Context, name fragments.StreamName, r playback.Range) (*Clip, error) {
	if r.Open() {
		return nil, &playback.ParamError{Name: "end", Reason: "missing: write where the clip ends, as for start"}
	}
	l, err := m.layout(ctx, name, r)
	if err != nil {
		return nil, err
	}
	return &Clip{m.src, name, l, fmt.Sprintf("%s %s.mp4", name, l.begins.In(m.o.Location).Format("2006-01-02 15.04.05"))}, nil
}

// Size returns the length of the file in bytes.
func (c *Clip) Size() int64 { return c.layout.size }

// ETag returns a quoted tag that no other clip has.
func (c *Clip) ETag() string { return c.layout.etag }

// FileName returns the name a person would give the file: the stream and when
// it begins.
func (c *Clip) FileName() string { return c.file }

// Type returns the MIME type.
func (c *Clip) Type() string { return c.layout.mime }

// LeftOut says which tracks are not in the clip, and why.
func (c *Clip) LeftOut() []string { return c.layout.leftOut }

// Open returns a reader of the file. It reads the archive as long as ctx lives,
// and is used by one goroutine.
func (c *Clip) Open(ctx context.Context) io.ReadSeeker {
	return &reader{ctx: ctx, clip: c, loaded: -1}
}

type cacheKey struct {
	name  fragments.StreamName
	born  int64
	span  playback.Range
	first fragments.Number // kept of the stream
	last  fragments.Number // newest, where the range is not over
}

// cached is a layout that is being made, or was.
type cached struct {
	used   int64         // guarded by Maker.mu
	done   chan struct{} // closed when the fields below are set
	layout *layout
	err    error
}

// layout returns the layout of a range, made once for all who ask at the same
// time or soon after.
func (m *Maker) layout(ctx context.Context, name fragments.StreamName, r playback.Range) (*layout, error) {
	info, err := m.src.Stream(name)
	if err != nil {
		return nil, err
	}
	if info.Last == nil {
		return nil, fmt.Errorf("stream %s: %w: no fragment has been recorded yet", name, ErrNothing)
	}
	k := cacheKey{name: name, born: info.Created.UnixNano(), span: r, first: info.First.Number}
	if playback.Stamp(info.Last, r.Clock).Before(r.End) {
		k.last = info.Last.Number
	}
	for {
		c, mine := m.claim(k)
		if mine {
			c.layout, c.err = m.lay(ctx, name, info, r)
			m.keep(k, c)
			close(c.done)
			return c.layout, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// Who was making it may have gone away before it was made.
		if !errors.Is(c.err, context.Canceled) && !errors.Is(c.err, context.DeadlineExceeded) {
			return c.layout, c.err
		}
	}
}

// claim returns what is kept for k, or a new one for the caller to make.
func (m *Maker) claim(k cacheKey) (c *cached, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uses++
	if c = m.cache[k]; c == nil {
		c, mine = &cached{done: make(chan struct{})}, true
		m.cache[k] = c
	}
	c.used = m.uses
	return c, mine
}

// keep keeps a layout that was made, in place of those that were not used for
// longest. Errors are not kept.
func (m *Maker) keep(k cacheKey, c *cached) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.err != nil {
		delete(m.cache, k)
		return
	}
	c.used = m.uses
	for {
		var total int64
		var oldest cacheKey
		var found *cached
		for other, o := range m.cache {
			if o != c && o.layout == nil {
				continue // being made
			}
			total += o.layout.bytes()
			if o != c && (found == nil || o.used < found.used) {
				oldest, found = other, o
			}
		}
		if total <= m.o.CacheBytes || found == nil {
			return
		}
		delete(m.cache, oldest)
	}
}

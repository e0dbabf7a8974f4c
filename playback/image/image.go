package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback"
)

// Archive is what pictures ask of the archive.
type Archive interface {
	playback.Index
	// Track returns a configuration that some fragment of the stream has.
	Track(name fragments.StreamName, h fragments.ConfigHash) (*fragments.Track, error)
	// ReadRun returns the bytes of a run as stored.
	ReadRun(ctx context.Context, name fragments.StreamName, e *archive.Entry, run int) ([]byte, error)
}

// Options of a Maker. The zero value is good.
type Options struct {
	// Hub gives the newest picture without the archive, and everything that
	// Watch sees; nil: the archive only.
	Hub *live.Hub
	// Waker starts streams on demand when their newest picture is asked for; nil:
	// there are none.
	Waker Waker
	// FFmpeg is the path or name of the decoder; default "ffmpeg" on PATH. It is
	// looked up at every use, so that installing it needs no restart.
	FFmpeg     string
	Workers    int           // processes for pictures at once; default the number of CPUs
	Queue      int           // pictures that wait for one at most, then *BusyError; default 64
	Timeout    time.Duration // of one process, and of reading what one picture is made of; default 10 s
	MaxMemory  int64         // address space of one process in bytes; default 1 GiB. Linux only
	CacheBytes int64         // of pictures that are kept; default 32 MiB
	Log        *slog.Logger  // default: nothing is logged
}

// Validate reports the first option that cannot be used.
func (o Options) Validate() error {
	if o.Workers < 0 || o.Queue < 0 || o.Timeout < 0 || o.MaxMemory < 0 || o.CacheBytes < 0 {
		return errors.New("image options must not be negative")
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.FFmpeg == "" {
		o.FFmpeg = "ffmpeg"
	}
	if o.Workers == 0 {
		o.Workers = runtime.NumCPU()
	}
	if o.Queue == 0 {
		o.Queue = 64
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = 1 << 30
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Maker makes pictures. Its methods may be called concurrently.
type Maker struct {
	src  Archive
	o    Options
	pool *pool

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	// oldFFmpeg: the decoder is older than version 5.1 and knows -fps_mode by
	// another name.
	oldFFmpeg atomic.Bool
	count     counters

	mu      sync.Mutex // guards the fields below
	closed  bool
	work    sync.WaitGroup // of everything that runs; Add only while not closed
	flights map[key]*flight
	cache   cache
}

// New returns a Maker that reads src. It must be closed.
func New(src Archive, o Options) (*Maker, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if src == nil {
		return nil, errors.New("image: an archive is needed")
	}
	o = o.withDefaults()
	m := &Maker{src: src, o: o, pool: newPool(o.Workers, o.Queue), flights: map[key]*flight{}, cache: newCache(o.CacheBytes)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Close ends all processes and waits for them. Twice is fine.
func (m *Maker) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.work.Wait()
}

// enter keeps Close waiting until leave; the context it returns ends at Close.
func (m *Maker) enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, ErrClosed
	}
	m.work.Add(1)
	inner, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.ctx, cancel)
	return inner, func() { stop(); cancel(); m.work.Done() }, nil
}

// closing replaces an error that came of Close.
func (m *Maker) closing(err error) error {
	if err != nil && m.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// Format is a file format of pictures.
type Format uint8

// The formats of pictures.
const (
	JPEG Format = iota
	PNG
)

// Type returns the MIME type of the format.
func (f Format) Type() string {
	if f == PNG {
		return "image/png"
	}
	return "image/jpeg"
}

// MaxSize is the largest width and height that can be asked for, pixels.
const MaxSize = 4096

// Request says which picture is wanted, and how it should be.
type Request struct {
	Time  time.Time       // zero: the newest
	Clock fragments.Clock // that Time is on
	// Exact asks for the frame that was shown at Time; else it is the key frame
	// at or before it, which is many times cheaper.
	Exact  bool
	Format Format
	// Width and Height in pixels, at most MaxSize. With one of them zero the
	// aspect is kept, with both the size is that of the video.
	Width, Height int
	Quality       int // 1 to 100, of JPEG; 0: 80
	Video         int // ID of the video track; 0: the first
}

func (r *Request) check() error {
	for _, v := range []struct {
		name      string
		value     int
		low, high int
	}{{"width", r.Width, 1, MaxSize}, {"height", r.Height, 1, MaxSize}, {"quality", r.Quality, 1, 100}} {
		if v.value != 0 && (v.value < v.low || v.value > v.high) {
			return &playback.ParamError{Name: v.name, Value: fmt.Sprint(v.value), Reason: fmt.Sprintf("write a number from %d to %d", v.low, v.high)}
		}
	}
	if r.Quality == 0 || r.Format == PNG {
		r.Quality = defaultQuality
	}
	return nil
}

const defaultQuality = 80

// Picture is one picture. It is shared and read-only.
type Picture struct {
	Data          []byte // the file
	Type          string // MIME type
	Asked         time.Time
	Time          time.Time        // when the frame was filmed
	Server        time.Time        // when it, or the fragment it is in, arrived here
	Fragment      fragments.Number // zero when it is not recorded yet
	Key           bool             // it is a key frame
	Width, Height int
	// Settled: something later is recorded, so that the same request will be
	// answered with the same picture as long as that is kept.
	Settled bool
}

// Picture makes one picture. The error is archive.ErrNoStream, a
// *playback.ParamError, a *NothingError, a *NoVideoError, an *AsleepError, a
// *SlowError, a *DecodeError, a *NoDecoderError, a *BusyError, ErrClosed, that of
// ctx, or one of reading. Requests for the same picture at the same time have one
// process made for them.
func (m *Maker) Picture(ctx context.Context, name fragments.StreamName, r Request) (*Picture, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	p, err := m.picture(ctx, name, &r)
	return p, m.closing(err)
}

func (m *Maker) picture(ctx context.Context, name fragments.StreamName, r *Request) (*Picture, error) {
	k := keyOf(name, r)
	var asleep *AsleepError
	if r.Time.IsZero() && m.o.Hub != nil {
		woken, err := m.wake(ctx, name)
		if err != nil && !errors.As(err, &asleep) {
			return nil, err
		}
		s, err := m.newest(ctx, name, r, woken)
		if err != nil {
			return nil, err
		}
		if s != nil {
			k.at = s.time.UnixNano()
			return m.once(ctx, k, fragments.Number{}, func(ctx context.Context) (*Picture, error) { return m.develop(ctx, name, r, s) })
		}
	}
	info, err := m.src.Stream(name)
	if asleep != nil && (err != nil || info.Last == nil) {
		return nil, asleep
	}
	if err != nil {
		return nil, err
	}
	if info.Last == nil {
		return nil, &NothingError{Stream: name, Asked: r.Time}
	}
	k.born = info.Created.UnixNano()
	if r.Time.IsZero() || !r.Time.Before(playback.Stamp(info.Last, r.Clock)) {
		k.last = info.Last.Number // what comes next may change the answer
	}
	return m.once(ctx, k, info.First.Number, func(ctx context.Context) (*Picture, error) {
		s, err := m.findInTime(ctx, name, info, r)
		if err != nil {
			return nil, err
		}
		p, err := m.develop(ctx, name, r, s)
		if err == nil {
			p.Settled = k.last.IsZero()
		}
		return p, err
	})
}

// develop has a shot decoded.
func (m *Maker) develop(ctx context.Context, name fragments.StreamName, r *Request, s *shot) (*Picture, error) {
	var made *Picture
	err := m.decode(ctx, name, r, []*shot{s}, func(_ int, p *Picture) error {
		made = p
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

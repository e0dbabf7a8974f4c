package datastream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/segment"
)

// Log keeps records: what a *segment.Store does for the engine. The order of
// calls of Append is the order of positions, within a shard and over all.
type Log interface {
	Append(items []segment.Item) *segment.Pending
	Read(k segment.Key, from journal.Position, limit, maxBytes int, into []segment.Record) (rs []segment.Record, next journal.Position, err error)
	SeekTime(k segment.Key, unixMs int64) (journal.Position, error)
	Bounds(k segment.Key) (first, end journal.Position, lastArrived int64)
	Wake(k segment.Key) <-chan struct{}
	Fatal() <-chan struct{}
}

// Keys wraps data keys with the master keys of a key ring. Its errors wrap
// ErrKeyNotFound, ErrKeyDisabled or ErrInvalid, a key ID that can be none;
// others mean that the ring can not answer.
type Keys interface {
	Wrap(keyID string) (dataKey, wrapped []byte, err error)
	Unwrap(keyID string, wrapped []byte) (dataKey []byte, err error)
}

// Options are what an Engine stands on and what it allows.
type Options struct {
	Log  Log          // stays the caller's to close, after the engine
	Meta journal.Meta // the same; the engine's keys begin with "stream/", "shards/", "consumer/" and "engine/"
	Keys Keys         // nil: encryption is refused

	Limits     Limits
	StateDelay time.Duration // how long CREATING, UPDATING and DELETING last; 0: calls return when they are over
	Logger     *slog.Logger  // nil: slog.Default
}

// Engine is the streams of one server. All methods may be called concurrently.
type Engine struct {
	log    Log
	meta   journal.Meta
	keys   Keys
	limits Limits
	delay  time.Duration
	logger *slog.Logger
	rates  *rates // nil: any rate

	byName sync.Map // string to *stream
	byID   sync.Map // uint64 to *stream
	ids    idBlock

	scratches  sync.Pool // of *scratch
	workspaces sync.Pool // of *workspace

	closing chan struct{} // closed by Close
	fatal   chan struct{}
	owned   sync.WaitGroup
	once    sync.Once
	goMu    sync.Mutex // guards owned against a Close under way
}

// Open loads the streams and finishes what a stop has cut: a stream left
// CREATING, UPDATING or DELETING is ACTIVE, or gone, when Open returns.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil || o.Meta == nil {
		return nil, errors.New("datastream: options without Log or Meta")
	}
	if o.StateDelay < 0 {
		return nil, fmt.Errorf("datastream: state delay %v is negative", o.StateDelay)
	}
	e := &Engine{
		log: o.Log, meta: o.Meta, keys: o.Keys, limits: o.Limits, delay: o.StateDelay, logger: o.Logger,
		closing: make(chan struct{}), fatal: make(chan struct{}),
	}
	if e.logger == nil {
		e.logger = slog.Default()
	}
	if e.limits.ControlRates {
		e.rates = newRates()
	}
	if err := e.load(ctx); err != nil {
		return nil, fmt.Errorf("open streams: %w", err)
	}
	e.run(e.watch)
	e.run(e.tend)
	return e, nil
}

// Close ends subscriptions and waits, lets changes under way finish as far as
// they are, and returns when nothing of the engine runs any more. Log and Meta
// stay open.
func (e *Engine) Close(ctx context.Context) error {
	e.once.Do(func() {
		e.goMu.Lock()
		close(e.closing)
		e.goMu.Unlock()
	})
	done := make(chan struct{})
	go func() {
		e.owned.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Fatal is closed when records or decisions can no longer be kept: the process
// should end.
func (e *Engine) Fatal() <-chan struct{} { return e.fatal }

func (e *Engine) watch() {
	select {
	case <-e.log.Fatal():
	case <-e.meta.Fatal():
	case <-e.closing:
		return
	}
	close(e.fatal)
}

// run starts a goroutine that Close waits for; false when the engine closes.
func (e *Engine) run(f func()) bool {
	e.goMu.Lock()
	defer e.goMu.Unlock()
	if e.closed() {
		return false
	}
	e.owned.Go(f)
	return true
}

func (e *Engine) closed() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// find returns a stream, whatever its state.
func (e *Engine) find(name string) (*stream, error) {
	if e.closed() {
		return nil, refuse(ErrUnavailable, name, "the server is closing")
	}
	if s, ok := e.byName.Load(name); ok {
		return s.(*stream), nil
	}
	return nil, refuse(ErrNotFound, name, "stream not found")
}

// serving returns a stream that takes and gives records: one that is no longer
// being created, though perhaps being deleted.
func (e *Engine) serving(name string) (*stream, error) {
	s, err := e.find(name)
	if err != nil {
		return nil, err
	}
	if s.now().record.Status == Creating {
		return nil, refuse(ErrNotFound, name, "stream not found: it is being created")
	}
	return s, nil
}

// all yields every stream, in no order.
func (e *Engine) all(yield func(*stream) bool) {
	e.byName.Range(func(_, s any) bool { return yield(s.(*stream)) })
}

// Keep says how long the records of a stream, by its ID, are kept; false when
// the stream is gone.
func (e *Engine) Keep(id uint64) (time.Duration, bool) {
	s, ok := e.byID.Load(id)
	if !ok {
		return 0, false
	}
	return time.Duration(s.(*stream).now().record.RetentionHours) * time.Hour, true
}

func unixMs(t time.Time) int64 { return t.UnixMilli() }

func atMs(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

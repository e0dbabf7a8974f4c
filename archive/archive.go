package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
)

// Archive keeps the fragments of all streams. Its methods may be called
// concurrently.
type Archive struct {
	opts    Options
	log     *slog.Logger
	bucket  bucket.Bucket
	fs      vfs.FS
	journal journal.Journal
	meta    journal.Meta
	own     []func() error // closes what Open opened, in order

	syncs   chan struct{} // a token per sync under way
	uploads *uploader
	cache   *blockCache
	spooled atomic.Int64 // bytes of all streams that are not in the bucket

	counters  counters
	followers followers
	kick      chan struct{} // wakes the chores
	stop      context.CancelFunc
	chores    sync.WaitGroup

	choring sync.Mutex // held for as long as chores are done
	catalog sync.Mutex // held for as long as a stream is being made or deleted; before mu

	mu      sync.RWMutex // guards everything below
	streams map[fragments.StreamName]*stream
	dirs    map[string]*stream // by folder
	gone    map[string]goneRecord
	created chan struct{} // closed when the next stream is made
	closed  bool
	failure error

	fatal chan struct{} // closed when failure is set
}

// Open opens the archive in opts.Dir, or makes one, and recovers what a crash
// left behind: what was acknowledged is there. The context governs Open alone.
func Open(ctx context.Context, opts Options) (*Archive, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Archive{
		opts: opts, log: opts.Logger, bucket: opts.Bucket, fs: opts.FS,
		journal: opts.Journal, meta: opts.Meta,
		syncs:   make(chan struct{}, opts.Syncs),
		cache:   newBlockCache(opts.CacheBytes),
		kick:    make(chan struct{}, 1),
		streams: map[fragments.StreamName]*stream{},
		gone:    map[string]goneRecord{},
		created: make(chan struct{}),
		fatal:   make(chan struct{}),
	}
	a.uploads = newUploader(a)
	if err := a.openStores(); err != nil {
		return nil, errors.Join(err, a.closeStores())
	}
	if err := a.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open archive: %w", err), a.closeStores())
	}
	work, stop := context.WithCancel(context.Background())
	a.stop = stop
	a.uploads.start(work)
	a.chores.Go(func() { a.watch(work) })
	if opts.Tick > 0 {
		a.chores.Go(func() { a.runChores(work) })
	}
	return a, nil
}

// load brings into memory what catalog, index and spool know.
func (a *Archive) load(ctx context.Context) error {
	if err := a.fs.MkdirAll(a.spoolDir()); err != nil {
		return err
	}
	if err := a.loadCatalog(); err != nil {
		return err
	}
	if err := a.replay(); err != nil {
		return err
	}
	return a.recoverSpool(ctx)
}

func (a *Archive) spoolDir() string { return filepath.Join(a.opts.Dir, "spool") }

// openStores opens journal and catalog unless they were given.
func (a *Archive) openStores() error {
	if a.journal == nil {
		l, err := wal.Open(filepath.Join(a.opts.Dir, "journal"), wal.Options{MaxFileBytes: 16 << 20, FS: a.fs, Logger: a.log})
		if err != nil {
			return fmt.Errorf("open archive: %w", err)
		}
		a.journal = l
		a.own = append(a.own, l.Close)
	}
	if a.meta == nil {
		m, err := wal.OpenMeta(filepath.Join(a.opts.Dir, "meta"), wal.Options{FS: a.fs, Logger: a.log})
		if err != nil {
			return fmt.Errorf("open archive: %w", err)
		}
		a.meta = m
		a.own = append(a.own, m.Close)
	}
	return nil
}

func (a *Archive) closeStores() error {
	var errs []error
	for _, c := range a.own {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// Writer returns the way in.
func (a *Archive) Writer() *Writer { return &Writer{a} }

// Fatal is closed when a sync failed, of the spool, the index or the catalog:
// nothing can be known about the state of the device, so nothing is tried
// again. What was acknowledged is safe. The owner should end the process.
func (a *Archive) Fatal() <-chan struct{} { return a.fatal }

// fail ends all recording for good.
func (a *Archive) fail(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure == nil {
		a.failure = err
		close(a.fatal)
		a.log.Error("the archive can make nothing durable any more", "err", err)
	}
	return err
}

// watch passes on the failures of the stores.
func (a *Archive) watch(ctx context.Context) {
	select {
	case <-a.journal.Fatal():
		a.fail(fmt.Errorf("index: %w", a.journal.Stats().Err))
	case <-a.meta.Fatal():
		a.fail(errors.New("catalog: the store has failed"))
	case <-ctx.Done():
	}
}

// usable returns why nothing can be recorded, or nil.
func (a *Archive) usable() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return ErrClosed
	}
	return a.failure
}

func (a *Archive) failed() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.failure
}

// stream finds a stream by name, or ErrNoStream.
func (a *Archive) stream(name fragments.StreamName) (*stream, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s := a.streams[name]
	if s == nil {
		return nil, fmt.Errorf("stream %s: %w", name, ErrNoStream)
	}
	return s, nil
}

// ensureStream finds a stream, or makes it.
func (a *Archive) ensureStream(ctx context.Context, name fragments.StreamName) (*stream, error) {
	if s, err := a.stream(name); err == nil {
		return s, nil
	}
	if _, err := fragments.ParseStreamName(string(name)); err != nil {
		return nil, err
	}
	a.catalog.Lock()
	defer a.catalog.Unlock()
	if s, err := a.stream(name); err == nil {
		return s, nil
	}
	if err := a.usable(); err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	s := newStream(a, name, a.creationTime(name))
	s.record.streamRecord = streamRecord{Version: recordVersion, Created: s.created.UnixMilli()}
	value, err := json.Marshal(s.record.streamRecord)
	if err == nil {
		s.record.revision, err = a.meta.Put(ctx, recordKey(name), value, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("make stream %s: %w", name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.streams[name], a.dirs[s.dir] = s, s
	close(a.created)
	a.created = make(chan struct{})
	return s, nil
}

// creationTime is now, unless a deleted stream of the name has that folder.
func (a *Archive) creationTime(name fragments.StreamName) time.Time {
	a.mu.RLock()
	defer a.mu.RUnlock()
	t := a.opts.Now().UTC().Truncate(time.Millisecond)
	for {
		if _, taken := a.gone[streamDir(name, t)]; !taken {
			return t
		}
		t = t.Add(time.Millisecond)
	}
}

// all returns the streams in the order of their names.
func (a *Archive) all() []*stream {
	a.mu.RLock()
	list := make([]*stream, 0, len(a.streams))
	for _, s := range a.streams {
		list = append(list, s)
	}
	a.mu.RUnlock()
	slices.SortFunc(list, func(x, y *stream) int { return strings.Compare(string(x.name), string(y.name)) })
	return list
}

// Streams describes all streams, in the order of their names.
func (a *Archive) Streams() []StreamInfo {
	var list []StreamInfo
	for _, s := range a.all() {
		list = append(list, s.info())
	}
	return list
}

// Stream describes one stream, or answers ErrNoStream.
func (a *Archive) Stream(name fragments.StreamName) (StreamInfo, error) {
	s, err := a.stream(name)
	if err != nil {
		return StreamInfo{}, err
	}
	return s.info(), nil
}

// Changed returns a channel that is closed when the next fragment of the stream
// becomes visible or the stream is deleted; for a stream that does not exist,
// when the next one is made, whatever its name. Take the channel first, then
// look, then wait.
func (a *Archive) Changed(name fragments.StreamName) <-chan struct{} {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s := a.streams[name]
	if s == nil {
		return a.created
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// Track returns a track configuration of the stream by its hash, also one that
// is no longer in use.
func (a *Archive) Track(name fragments.StreamName, hash fragments.ConfigHash) (*fragments.Track, error) {
	s, err := a.stream(name)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.tracks[hash]
	if t == nil {
		return nil, fmt.Errorf("stream %s: no track configuration %s", name, hash)
	}
	return t, nil
}

// Close ends all recording, seals what is open, tries once to bring what is
// sealed to the bucket, until ctx ends, and lets go of the files. What could
// not be brought to the bucket stays in the spool for the next Open. Readers
// that are open are not waited for.
func (a *Archive) Close(ctx context.Context) error {
	a.mu.Lock()
	again := a.closed
	a.closed = true
	a.mu.Unlock()
	if again {
		return nil
	}
	var errs []error
	for _, s := range a.all() {
		if !s.takeSlot(ctx.Done()) {
			errs = append(errs, s.wrap(fragments.Number{}, context.Cause(ctx)))
			continue
		}
		s.endLease()
		s.giveSlot()
	}
	a.uploads.drain(ctx)
	a.stop()
	a.uploads.wait()
	a.chores.Wait()
	return errors.Join(append(errs, a.closeStores())...)
}

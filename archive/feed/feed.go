package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// Archive is what the feed asks of the archive.
type Archive interface {
	Streams() []archive.StreamInfo
	Stream(name fragments.StreamName) (archive.StreamInfo, error)
	After(ctx context.Context, name fragments.StreamName, n fragments.Number) iter.Seq2[*archive.Entry, error]
	ReadRunInto(ctx context.Context, name fragments.StreamName, e *archive.Entry, run int, buf []byte) ([]byte, error)
	Track(name fragments.StreamName, hash fragments.ConfigHash) (*fragments.Track, error)
	OnChange(f func(fragments.StreamName)) (stop func())
}

// Target is where the records go. Its methods are called concurrently.
type Target interface {
	// Ensure makes the data stream unless it is there, and returns once it takes
	// records.
	Ensure(ctx context.Context, stream string) error
	// Put returns nil once the record is durable. Data is handed over: nobody else
	// changes it.
	Put(ctx context.Context, stream, partitionKey string, data []byte) error
}

// Options say what a Feed reads and where it puts it. Archive, Target, Stream and
// Meta are needed; the zero value of everything else stands for its default.
type Options struct {
	Archive Archive
	Target  Target
	// Stream is the name of the data stream.
	Stream string
	// Meta keeps the cursors, under keys that begin with "feed/".
	Meta journal.Meta
	// Workers is how many streams are fed at once. Default 8.
	Workers int
	// SaveEvery is how often cursors are saved: what a crash has put again.
	// Default 1 s.
	SaveEvery time.Duration
	// RetryMin and RetryMax bound the pause before a stream is tried again.
	// Defaults 100 ms and 10 s. PutTimeout bounds one try. Default 10 s.
	RetryMin, RetryMax time.Duration
	PutTimeout         time.Duration
	// MaxRecord bounds a record with its partition key, in bytes. Default 1 MiB,
	// what every data stream takes.
	MaxRecord int
	// Log hears what somebody should know. Default: nowhere.
	Log *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	o.Workers = cmp.Or(o.Workers, 8)
	o.SaveEvery = cmp.Or(o.SaveEvery, time.Second)
	o.RetryMin = cmp.Or(o.RetryMin, 100*time.Millisecond)
	o.RetryMax = cmp.Or(o.RetryMax, 10*time.Second)
	o.PutTimeout = cmp.Or(o.PutTimeout, 10*time.Second)
	o.MaxRecord = cmp.Or(o.MaxRecord, 1<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Archive == nil || o.Target == nil || o.Meta == nil || o.Stream == "":
		return o, errors.New("feed options: Archive, Target, Stream and Meta are needed")
	case o.Workers < 1 || o.SaveEvery < 0 || o.RetryMin < 0 || o.RetryMax < o.RetryMin || o.PutTimeout < 0 || o.MaxRecord < minRecord:
		return o, errors.New("feed options: a number is out of range")
	}
	return o, nil
}

// minRecord is room for a record without frames.
const minRecord = 16 << 10

// perTurn bounds the fragments that a stream is fed before others have their turn.
const perTurn = 256

// Feed is at work from New to Close.
type Feed struct {
	o       Options
	cursors *cursors
	queue   *queue
	ensured atomic.Bool
	stats   counters

	unfollow func()
	stop     context.CancelFunc // of everything under way
	workers  sync.WaitGroup
	saver    sync.WaitGroup
	closing  chan struct{}
	once     sync.Once
	err      error
}

// New reads the cursors and begins. The context governs New alone.
func New(ctx context.Context, o Options) (*Feed, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	cursors, err := loadCursors(ctx, o.Meta, o.Archive.Streams())
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	f := &Feed{o: o, cursors: cursors, queue: newQueue(), closing: make(chan struct{})}
	f.unfollow = o.Archive.OnChange(f.queue.add)
	for _, s := range o.Archive.Streams() {
		f.queue.add(s.Name)
	}
	work, stop := context.WithCancel(context.Background())
	f.stop = stop
	for range o.Workers {
		f.workers.Go(func() { f.work(work) })
	}
	f.saver.Go(f.saveOften)
	return f, nil
}

// Close feeds what is visible now, as long as that goes well and ctx has not
// ended, saves the cursors and waits for everything. To feed all that was
// recorded, close the archive first: it can still be read.
func (f *Feed) Close(ctx context.Context) error {
	f.once.Do(func() {
		f.unfollow()
		f.queue.drain()
		end := context.AfterFunc(ctx, func() {
			f.queue.close()
			f.stop()
		})
		f.workers.Wait()
		end()
		f.stop()
		close(f.closing)
		f.saver.Wait()
		f.err = f.cursors.save(ctx)
	})
	return f.err
}

// saveOften saves the cursors until the feed closes.
func (f *Feed) saveOften() {
	tick := time.NewTicker(f.o.SaveEvery)
	defer tick.Stop()
	bad := false
	for {
		select {
		case <-f.closing:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), f.o.PutTimeout)
		err := f.cursors.save(ctx)
		cancel()
		if err != nil && !bad {
			f.o.Log.Error("cursors of the feed are not saved, will try again", "err", err)
		}
		bad = err != nil
	}
}

// work serves streams until the queue ends.
func (f *Feed) work(ctx context.Context) {
	d := &describer{archive: f.o.Archive, limit: f.o.MaxRecord}
	for {
		name, ok := f.queue.take()
		if !ok {
			return
		}
		more, err := f.serve(ctx, d, name)
		failed := err != nil
		if failed && ctx.Err() == nil {
			f.stats.fail(err)
			f.o.Log.Warn("stream is not fed, will try again", "stream", name, "to", f.o.Stream, "err", err)
		}
		f.queue.done(name, more, failed, f.pause)
	}
}

// pause is how long to wait after that many failures in a row: longer each time,
// and not all streams at once.
func (f *Feed) pause(failures int) time.Duration {
	d := f.o.RetryMin << min(failures-1, 20)
	if d > f.o.RetryMax || d <= 0 {
		d = f.o.RetryMax
	}
	return d/2 + rand.N(d/2+1)
}

// serve feeds what is new of a stream, up to perTurn; more says that there may be
// more.
func (f *Feed) serve(ctx context.Context, d *describer, name fragments.StreamName) (more bool, err error) {
	info, err := f.o.Archive.Stream(name)
	if errors.Is(err, archive.ErrNoStream) {
		f.cursors.forget(name)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n := f.passOver(info)
	count := 0
	for e, err := range f.o.Archive.After(ctx, name, n) {
		if errors.Is(err, archive.ErrNoStream) {
			return true, nil // deleted just now
		}
		if err != nil {
			return false, err
		}
		f.queue.oldest(name, e.Server.Time().Add(e.Duration))
		if err := f.feed(ctx, d, name, e); err != nil {
			return false, err
		}
		f.cursors.set(name, info.Created, e.Number)
		if count++; count == perTurn {
			return true, nil
		}
	}
	return false, nil
}

// passOver returns where to go on, and counts what was deleted before it was fed.
func (f *Feed) passOver(info archive.StreamInfo) fragments.Number {
	n, gone := f.cursors.get(info.Name, info.Created), belowFloor(info.Floor)
	if !n.Less(gone) {
		return n
	}
	missed := gone.Counter
	if gone.Epoch == n.Epoch {
		missed -= n.Counter
	}
	f.stats.gaps.Add(1)
	f.stats.missed.Add(missed)
	f.o.Log.Warn("fragments were deleted before they were fed", "stream", info.Name, "after", n, "to", gone, "about", missed)
	f.cursors.set(info.Name, info.Created, gone)
	return gone
}

// feed puts the record of one fragment.
func (f *Feed) feed(ctx context.Context, d *describer, name fragments.StreamName, e *archive.Entry) error {
	record, err := d.record(ctx, name, e)
	var damage *damageError
	switch {
	case errors.Is(err, archive.ErrNoFragment), errors.Is(err, archive.ErrNoStream):
		f.stats.missed.Add(1) // deleted just now
		return nil
	case errors.As(err, &damage):
		f.stats.damaged.Add(1)
		f.o.Log.Warn("fragment is fed without its frames", "stream", name, "number", e.Number, "err", err)
	case err != nil:
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.o.PutTimeout)
	defer cancel()
	if !f.ensured.Load() {
		if err := f.o.Target.Ensure(ctx, f.o.Stream); err != nil {
			return fmt.Errorf("data stream %s: %w", f.o.Stream, err)
		}
		f.ensured.Store(true)
	}
	if err := f.o.Target.Put(ctx, f.o.Stream, string(name), record); err != nil {
		f.ensured.Store(false) // perhaps it was deleted
		return fmt.Errorf("data stream %s: %w", f.o.Stream, err)
	}
	f.stats.put(len(record))
	return nil
}

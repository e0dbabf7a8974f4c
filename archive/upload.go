package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// uploader finishes sealed spool files and brings them to the bucket, in the
// order in which they were sealed, for as long as it takes. The queue is bounded
// by what the spool may hold. A failure of the bucket makes all wait; a fault of
// one object makes that one wait.
type uploader struct {
	a       *Archive
	workers sync.WaitGroup

	mu       sync.Mutex
	queue    []*upload
	busy     int
	active   map[*stream]int // uploads under way
	pause    time.Duration   // after the last failure of the bucket
	resume   time.Time       // when it may be tried again
	changed  chan struct{}   // closed when the queue or busy changes
	draining bool
	gaveUp   bool // the bucket failed while draining
}

type upload struct {
	s     *stream
	o     *object
	pause time.Duration
	due   time.Time
	tried bool
}

func newUploader(a *Archive) *uploader {
	return &uploader{a: a, changed: make(chan struct{}), active: map[*stream]int{}}
}

func (u *uploader) start(ctx context.Context) {
	for range u.a.opts.Uploads {
		u.workers.Go(func() { u.work(ctx) })
	}
}

func (u *uploader) wait() { u.workers.Wait() }

// add queues an object that was sealed.
func (u *uploader) add(s *stream, o *object) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queue = append(u.queue, &upload{s: s, o: o})
	u.notify()
}

func (u *uploader) notify() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// busyDir reports whether an object of the folder is on its way.
func (u *uploader) busyDir(dir string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for s := range u.active {
		if s.dir == dir {
			return true
		}
	}
	return false
}

// drain returns when everything queued has been tried once since, the bucket
// has failed, or ctx ends.
func (u *uploader) drain(ctx context.Context) {
	u.mu.Lock()
	u.draining = true
	u.resume = time.Time{}
	for _, up := range u.queue {
		up.tried, up.due = false, time.Time{}
	}
	u.notify()
	for !u.gaveUp && (u.busy > 0 || slices.ContainsFunc(u.queue, func(up *upload) bool { return !up.tried })) {
		changed := u.changed
		u.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		u.mu.Lock()
	}
	u.mu.Unlock()
}

func (u *uploader) work(ctx context.Context) {
	for {
		up := u.next(ctx)
		if up == nil {
			return
		}
		err := u.a.deliver(ctx, up.s, up.o)
		u.done(ctx, up, err)
	}
}

// next waits for an upload that is due; nil when ctx ended.
func (u *uploader) next(ctx context.Context) *upload {
	for {
		u.mu.Lock()
		now := time.Now()
		wait := time.Hour
		for i, up := range u.queue {
			due := up.due
			if u.resume.After(due) {
				due = u.resume
			}
			if !due.After(now) {
				u.queue = slices.Delete(u.queue, i, i+1)
				u.busy++
				u.active[up.s]++
				if u.pause > 0 {
					// The bucket failed last time: others wait for the outcome of this one.
					u.resume = now.Add(u.pause)
				}
				u.mu.Unlock()
				return up
			}
			wait = min(wait, due.Sub(now))
		}
		changed := u.changed
		u.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// done takes note of an outcome.
func (u *uploader) done(ctx context.Context, up *upload, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy--
	if u.active[up.s]--; u.active[up.s] == 0 {
		delete(u.active, up.s)
	}
	defer u.notify()
	if err == nil || errors.Is(err, errDeleted) {
		u.pause, u.resume = 0, time.Time{}
		return
	}
	up.tried = true
	o := &u.a.opts
	var local *localError
	if errors.As(err, &local) || errors.Is(err, bucket.ErrExists) || errors.Is(err, bucket.ErrCorrupt) {
		up.pause = min(max(2*up.pause, o.RetryMin), o.RetryMax)
		up.due = time.Now().Add(up.pause)
	} else {
		u.pause = min(max(2*u.pause, o.RetryMin), o.RetryMax)
		u.resume = time.Now().Add(u.pause)
		u.gaveUp = u.draining
	}
	u.queue = append(u.queue, nil)
	copy(u.queue[1:], u.queue)
	u.queue[0] = up
	if ctx.Err() == nil {
		u.a.counters.uploadFailed.Add(1)
		u.a.log.Warn("sealed object is not in the bucket yet, will try again",
			"object", up.o.id.key, "waiting", len(u.queue), "pause", max(up.pause, u.pause), "err", err)
	}
}

// localError is a fault of one spool file, not of the bucket.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// deliver finishes the spool file of a sealed object, brings it to the bucket,
// says so in the index, and removes it. It may be cut short and begun again at
// any point.
func (a *Archive) deliver(ctx context.Context, s *stream, o *object) error {
	if err := a.failed(); err != nil {
		return &localError{err} // touch nothing more
	}
	if err := a.writeSettings(ctx, s, false); err != nil {
		return err
	}
	size, err := a.finish(s, o)
	if err == nil {
		start := time.Now()
		err = a.store(ctx, o, size)
		a.counters.uploaded(size, time.Since(start), err)
	}
	if err != nil {
		return s.unlessDeleted(err)
	}
	if err := s.unlessDeleted(nil); err != nil {
		return err
	}
	_, err = a.journal.Append(frameStored, s.dir, appendReference(nil, o.id)).Wait(ctx)
	if err != nil {
		return &localError{fmt.Errorf("index: %w", err)}
	}
	s.mu.Lock()
	a.spooled.Add(-o.size)
	o.state = stored
	s.mu.Unlock()
	if err := a.fs.Remove(o.path); err != nil && !isAbsent(err) {
		a.log.Warn("spool file of a stored object is left behind", "path", o.path, "err", err)
	}
	return nil
}

// unlessDeleted returns errDeleted in place of err for a deleted stream.
func (s *stream) unlessDeleted(err error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.deleted {
		return errDeleted
	}
	return err
}

// finish closes a spool file with its index box and returns its size. One that
// is gone, because a bucket on the same disk has taken it, has size -1.
func (a *Archive) finish(s *stream, o *object) (int64, error) {
	f, err := a.fs.Open(o.path)
	if isAbsent(err) {
		return -1, nil
	}
	if err != nil {
		return 0, &localError{fmt.Errorf("spool: %w", err)}
	}
	defer f.Close()
	s.mu.RLock()
	entries, end := o.entries, o.size
	s.mu.RUnlock()
	box := appendIndex(nil, s.name, o.id, entries)
	if err := a.closeSegment(f, box, end); err != nil {
		return 0, err
	}
	return end + int64(len(box)), nil
}

// closeSegment puts the index box at end, as the last thing in the file.
func (a *Archive) closeSegment(f vfs.File, box []byte, end int64) error {
	size, err := f.Size()
	if err == nil && size != end {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.WriteAt(box, end)
	}
	if err != nil {
		return &localError{fmt.Errorf("spool: %w", err)}
	}
	a.syncs <- struct{}{}
	defer func() { <-a.syncs }()
	start := time.Now()
	if err := f.Sync(); err != nil {
		return a.fail(fmt.Errorf("spool: sync: %w", err))
	}
	a.counters.synced(time.Since(start))
	return nil
}

// store brings a finished spool file to the bucket.
func (a *Archive) store(ctx context.Context, o *object, size int64) error {
	if adopter, ok := bucket.AdopterOf(a.bucket); ok {
		path, err := filepath.Abs(o.path)
		if err == nil {
			err = adopter.Adopt(ctx, path, o.id.key)
		}
		return err
	}
	if size < 0 {
		return a.confirm(ctx, o)
	}
	f, err := a.fs.Open(o.path)
	if err != nil {
		return &localError{fmt.Errorf("spool: %w", err)}
	}
	defer f.Close()
	_, err = bucket.Ensure(ctx, a.bucket, o.id.key, f, size, bucket.PutOptions{ContentType: "video/mp4"})
	return err
}

// confirm looks for an object whose spool file is gone.
func (a *Archive) confirm(ctx context.Context, o *object) error {
	_, err := a.bucket.Head(ctx, o.id.key)
	if errors.Is(err, bucket.ErrAbsent) {
		return &localError{fmt.Errorf("object is neither in the spool nor in the bucket: %w", err)}
	}
	return err
}

// readAll reads a whole object of bounded size from the bucket.
func (a *Archive) readAll(ctx context.Context, key string, limit int64) ([]byte, error) {
	r, err := a.bucket.Get(ctx, key, 0, bucket.ToEnd)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooMany
	}
	if err != nil {
		return nil, fmt.Errorf("object %q: %w", key, err)
	}
	return b, nil
}

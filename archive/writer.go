package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Errors that a Writer answers with, wrapped with the stream and the number.
var (
	// ErrLeaseLost: the lease was given back, or somebody else took a newer one.
	ErrLeaseLost = errors.New("lease on recording is lost")
	// ErrNotReserved: the number was not reserved, or is settled already, or was
	// open for so long that it was given up (Options.HoldTimeout).
	ErrNotReserved = errors.New("fragment number is not reserved")
	// ErrSpoolFull: the bucket has been away or slow for so long that the spool
	// has reached Options.MaxSpoolBytes. What was acknowledged is safe.
	ErrSpoolFull = errors.New("spool is full: the bucket does not take the sealed objects")
	// ErrUnfit: the fragment cannot be stored as it is.
	ErrUnfit = errors.New("fragment is not fit to be stored")
	// ErrClosed: the archive was closed.
	ErrClosed = errors.New("archive is closed")
)

var errDeleted = fmt.Errorf("%w: it was deleted", ErrNoStream)

// Writer makes fragments durable. It implements ingest.Sink.
//
// A commit writes the fragment to the stream's spool file, syncs that file and
// appends a frame to the index. Commits of different streams go on side by
// side: their syncs share what the file system and the index's lane can share.
type Writer struct{ a *Archive }

// Open takes the lease on recording a stream, creating the stream if need be.
// It waits for a commit under the earlier lease, which ends.
func (w *Writer) Open(ctx context.Context, name fragments.StreamName) (fragments.Lease, error) {
	for {
		s, err := w.a.ensureStream(ctx, name)
		if err != nil {
			return fragments.Lease{}, err
		}
		l, err := w.take(ctx, s)
		if !errors.Is(err, errDeleted) {
			return l, err
		}
		// Somebody deleted the stream while we waited for it; make it again.
	}
}

// take takes the lease on a stream.
func (w *Writer) take(ctx context.Context, s *stream) (fragments.Lease, error) {
	if !s.takeSlot(ctx.Done()) {
		return fragments.Lease{}, s.wrap(fragments.Number{}, context.Cause(ctx))
	}
	defer s.giveSlot()
	if err := s.unlessDeleted(nil); err != nil {
		return fragments.Lease{}, err
	}
	if err := w.a.usable(); err != nil {
		return fragments.Lease{}, s.wrap(fragments.Number{}, err)
	}
	s.endLease()
	var epoch uint64
	err := s.update(ctx, func(r *streamRecord) {
		r.Epoch++
		epoch = r.Epoch
	})
	if err != nil {
		return fragments.Lease{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch, s.next = epoch, 0
	return fragments.Lease{Stream: s.name, Epoch: epoch, Created: s.created}, nil
}

// Begin reserves the next number. It fails with ErrSpoolFull while there is no
// room for more.
func (w *Writer) Begin(l fragments.Lease) (fragments.Number, error) {
	s, err := w.a.leased(l)
	if err != nil {
		return fragments.Number{}, err
	}
	if err := w.a.usable(); err != nil {
		return fragments.Number{}, s.wrap(fragments.Number{}, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != l.Epoch {
		return fragments.Number{}, s.wrap(fragments.Number{}, ErrLeaseLost)
	}
	if w.a.spooled.Load() >= w.a.opts.MaxSpoolBytes {
		s.stats.refused++
		return fragments.Number{}, s.wrap(fragments.Number{}, ErrSpoolFull)
	}
	s.next++
	s.reserved = append(s.reserved, reservation{counter: s.next})
	return fragments.Number{Epoch: s.epoch, Counter: s.next}, nil
}

// Commit makes f durable; it becomes visible as soon as no open number before
// it holds it back, which is at once unless numbers are committed out of order.
// It heeds ctx only while it waits for its turn. After an error the number is
// still reserved: Commit may be tried again, unless the error is ErrLeaseLost
// or ErrNotReserved.
func (w *Writer) Commit(ctx context.Context, l fragments.Lease, f *fragments.Fragment) error {
	start := time.Now()
	s, err := w.a.leased(l)
	if err != nil {
		return err
	}
	if !s.takeSlot(ctx.Done()) {
		return s.wrap(f.Number, context.Cause(ctx))
	}
	defer s.giveSlot()
	if err := s.enter(l, f.Number); err != nil {
		return s.wrap(f.Number, err)
	}
	e, h, err := s.persist(ctx, f)
	s.leave(f.Number, e, h, err, time.Since(start))
	if err != nil {
		return s.wrap(f.Number, err)
	}
	if s.writing.current.o.size >= w.a.opts.SealBytes {
		s.seal()
	}
	return nil
}

// enter begins the commit of a reserved number.
func (s *stream) enter(l fragments.Lease, n fragments.Number) error {
	if err := s.a.usable(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != l.Epoch {
		return ErrLeaseLost
	}
	r := s.reservation(n.Counter)
	if n.Epoch != l.Epoch || r == nil || r.state != reserved {
		return ErrNotReserved
	}
	r.state = committing
	return nil
}

// leave ends it: the entry is durable, or the number is still open.
func (s *stream) leave(n fragments.Number, e *Entry, h hour, err error, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reservation(n.Counter)
	if err != nil {
		r.state = reserved
		s.stats.failed++
		return
	}
	*r = reservation{counter: n.Counter, state: durable, entry: e, hour: h, since: s.a.opts.Now()}
	s.stats.commit(e, took)
	s.settle()
}

// Abort gives a reserved number up.
func (w *Writer) Abort(l fragments.Lease, n fragments.Number) {
	s, err := w.a.leased(l)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.reservation(n.Counter); s.epoch == l.Epoch && n.Epoch == l.Epoch && r != nil && r.state == reserved {
		r.state = given
		s.settle()
	}
}

// Close gives the lease back and seals what is open. It does nothing when the
// lease is lost already.
func (w *Writer) Close(ctx context.Context, l fragments.Lease) error {
	s, err := w.a.leased(l)
	if err != nil {
		return nil
	}
	if !s.takeSlot(ctx.Done()) {
		return s.wrap(fragments.Number{}, context.Cause(ctx))
	}
	defer s.giveSlot()
	s.mu.RLock()
	mine := s.epoch == l.Epoch
	s.mu.RUnlock()
	if mine {
		s.endLease()
	}
	return nil
}

// endLease ends the lease that is held, if one is: what is open is given up,
// what is durable becomes visible, the segment is sealed. The caller holds the
// slot, so that no commit is under way.
func (s *stream) endLease() {
	s.mu.Lock()
	for i := range s.reserved {
		if s.reserved[i].state == reserved {
			s.reserved[i].state = given
		}
	}
	s.settle()
	s.epoch = 0
	s.mu.Unlock()
	s.seal()
}

// leased finds the stream of a lease.
func (a *Archive) leased(l fragments.Lease) (*stream, error) {
	s, err := a.stream(l.Stream)
	if err == nil && !s.created.Equal(l.Created) {
		err = s.wrap(fragments.Number{}, ErrLeaseLost)
	}
	return s, err
}

package wal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

// leases are those that the store has a key of. What a key holds decides, and
// nothing else: a lease is made, prolonged or ended here when the change of its
// key is durable, whoever made it, and when the store is opened.
type leases struct {
	clock journal.Clock

	mu   sync.Mutex
	over bool              // the store closes
	held map[string]*lease // by key in the store
}

// lease is a lease, from its grant, or from the opening of the store, to its end.
type lease struct {
	store  *Store
	key    string // in the store
	holder string
	epoch  uint64
	ttl    time.Duration
	lost   chan struct{}
	turn   chan struct{} // holds something while Renew or Release is under way

	// Under leases.mu.
	revision uint64
	until    time.Time
	ended    bool        // lost is closed
	stop     func() bool // of the timer
}

var _ journal.Lease = (*lease)(nil)

// Grant decides by the revision of the lease's key.
func (s *Store) Grant(ctx context.Context, key, holder string, ttl time.Duration) (journal.Lease, error) {
	switch {
	case ttl < journal.MinLeaseTTL || ttl > journal.MaxLeaseTTL:
		return nil, fmt.Errorf("journal: a lease of %v: it has to last %v to %v", ttl, journal.MinLeaseTTL, journal.MaxLeaseTTL)
	case len(holder) > journal.MaxHolder || len(key) > journal.MaxKey-len(journal.LeasePrefix):
		return nil, fmt.Errorf("lease %.64q of %.64q: %w", key, holder, journal.ErrTooLarge)
	}
	full := journal.LeasePrefix + key
	for {
		h := journal.Holding{Holder: holder, TTL: ttl, Until: s.leases.clock.Now().Add(ttl)}
		expect, err := s.vacant(full, holder)
		if err != nil {
			return nil, err
		}
		revision, err := s.Put(ctx, full, h.Encode(), expect)
		switch {
		case errors.Is(err, journal.ErrConflict):
			continue // somebody was faster: is it held now?
		case err != nil:
			return nil, fmt.Errorf("lease %q: %w", key, err)
		}
		if l := s.leases.find(full, revision); l != nil {
			return l, nil
		}
		return nil, fmt.Errorf("lease %q: %w", key, journal.ErrLost) // as soon as it was granted
	}
}

// vacant returns the revision at which the holder may take a lease. It looks at
// the revision first: whoever is granted the lease from then on raises it, and
// whoever was before is in held.
func (s *Store) vacant(full, holder string) (expect uint64, err error) {
	if _, expect, err = s.Get(full); err != nil && !errors.Is(err, journal.ErrAbsent) {
		return 0, err
	}
	ls := &s.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := ls.clock.Now()
	if l := ls.held[full]; l != nil && l.holder != holder && !l.outdated(now) {
		return 0, fmt.Errorf("lease %q is %q's for %v more: %w", strings.TrimPrefix(full, journal.LeasePrefix),
			l.holder, l.until.Sub(now).Round(time.Millisecond), journal.ErrHeld)
	}
	return expect, nil
}

// outdated reports whether others may have the lease. The caller holds mu.
func (l *lease) outdated(now time.Time) bool { return l.ended || !now.Before(l.until) }

// find returns the lease with this epoch if it is not over.
func (s *leases) find(full string, epoch uint64) *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.held[full]; l != nil && l.epoch == epoch && !l.ended {
		return l
	}
	return nil
}

func (s *Store) seeLeases(c *change) {
	for i := range c.edits {
		s.seeLease(c.edits[i].key, c.edits[i].value, c.revision)
	}
}

// seeLease takes note of a durable change of a key, if it is that of a lease,
// before the change can be seen. A nil value says that the key is gone.
func (s *Store) seeLease(full string, value []byte, revision uint64) {
	if !strings.HasPrefix(full, journal.LeasePrefix) {
		return
	}
	ls := &s.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	old := ls.held[full]
	var h journal.Holding
	err := errors.New("gone")
	if value != nil {
		h, err = journal.ParseHolding(journal.Item{Key: full, Value: value, Revision: revision})
	}
	if ls.over {
		return
	}
	if err != nil { // deleted, or no lease any more
		old.end()
		delete(ls.held, full)
		return
	}
	// The clock may be set while the lease is held, and over a restart: what is
	// left of it is never more than its ttl, and runs by the monotonic clock.
	now := ls.clock.Now()
	until := now.Add(min(h.Until.Sub(now.Round(0)), h.TTL))
	if old != nil && old.epoch == h.Epoch && !old.ended {
		old.revision, old.until = revision, until
		return
	}
	old.end()
	l := &lease{
		store: s, key: full, holder: h.Holder, epoch: h.Epoch, ttl: h.TTL, revision: revision, until: until,
		lost: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	ls.held[full] = l
	l.stop = ls.clock.AfterFunc(until.Sub(now), l.due)
}

// end ends a lease, if there is one. The caller holds mu.
func (l *lease) end() {
	if l == nil || l.ended {
		return
	}
	l.ended = true
	close(l.lost)
	if l.stop != nil {
		l.stop()
	}
}

// due is called when the time of the lease may be over, or its key could not be
// deleted.
func (l *lease) due() {
	ls := &l.store.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := ls.clock.Now()
	switch {
	case ls.over || ls.held[l.key] != l:
		return
	case !l.ended && now.Before(l.until): // it was renewed
		l.stop = ls.clock.AfterFunc(l.until.Sub(now), l.due)
		return
	}
	l.end()
	revision := l.revision
	l.store.owned.Go(func() { l.vacate(revision) }) // the store waits for it after over
}

// vacate deletes the key of a lease whose time is over, so that watchers hear of
// it. Without room for that it is tried again; others may take it all the same.
func (l *lease) vacate(revision uint64) {
	err := l.store.Delete(context.Background(), l.key, revision) // ends with the store
	if !errors.Is(err, journal.ErrFull) {
		return
	}
	ls := &l.store.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !ls.over && ls.held[l.key] == l {
		l.stop = ls.clock.AfterFunc(max(l.ttl, time.Second), l.due)
	}
}

// loadLeases takes up the leases that the store holds when it is opened.
func (s *Store) loadLeases() {
	for it := range s.List(journal.LeasePrefix) {
		s.seeLease(it.Key, it.Value, it.Revision)
	}
}

// close tells all holders that their leases are out of reach.
func (s *leases) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, l := range s.held {
		l.end()
	}
}

func (l *lease) Epoch() uint64         { return l.epoch }
func (l *lease) Lost() <-chan struct{} { return l.lost }

// take waits for the turn of a call.
func (l *lease) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// now returns the revision of the lease's key and the time, or ErrLost.
func (l *lease) now() (revision uint64, now time.Time, err error) {
	ls := &l.store.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now = ls.clock.Now()
	if l.outdated(now) {
		return 0, now, l.gone()
	}
	return l.revision, now, nil
}

func (l *lease) gone() error {
	return fmt.Errorf("lease %q, epoch %d: %w", strings.TrimPrefix(l.key, journal.LeasePrefix), l.epoch, journal.ErrLost)
}

// Renew puts a later end into the key.
func (l *lease) Renew(ctx context.Context) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	defer func() { <-l.turn }()
	for {
		revision, now, err := l.now()
		if err != nil {
			return err
		}
		h := journal.Holding{Holder: l.holder, Epoch: l.epoch, TTL: l.ttl, Until: now.Add(l.ttl)}
		renewed, err := l.store.Put(ctx, l.key, h.Encode(), revision)
		switch {
		case errors.Is(err, journal.ErrConflict):
			continue // by one of ours whose outcome was not waited for; or it is over
		case err != nil:
			return fmt.Errorf("renew lease: %w", err)
		}
		if _, _, err := l.now(); err != nil { // its time ran out meanwhile
			l.store.Delete(context.WithoutCancel(ctx), l.key, renewed)
			return err
		}
		return nil
	}
}

// Release deletes the key.
func (l *lease) Release(ctx context.Context) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	defer func() { <-l.turn }()
	for {
		revision, _, err := l.now()
		if err != nil {
			return err
		}
		switch err := l.store.Delete(ctx, l.key, revision); {
		case errors.Is(err, journal.ErrConflict):
			continue
		case err != nil:
			return fmt.Errorf("release lease: %w", err)
		}
		return nil
	}
}

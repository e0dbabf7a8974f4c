package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

// Run reads the stream as one worker of the application until ctx ends. Then
// it lets the batches under way finish, for as long as HandOver, gives its
// shards back and returns nil. The error is about the options: whatever fails
// later is logged and tried again.
func Run(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	w := &worker{
		o: o, id: newID(o.Worker), base: context.WithoutCancel(ctx), nudge: make(chan struct{}, 1),
		claims: map[string]*claim{}, stale: true,
	}
	for ctx.Err() == nil {
		if err := w.tick(ctx); err != nil && ctx.Err() == nil {
			o.Logger.Warn("could not look after leases", "app", o.App, "worker", w.id, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-w.nudge:
		case <-time.After(w.pause()):
		}
	}
	for _, c := range w.held() {
		c.giveAway()
	}
	w.wg.Wait()
	w.withdraw()
	return nil
}

// withdraw takes back what this worker asked others for, so that nothing is
// handed to it any more, and lets go what was.
func (w *worker) withdraw() {
	ctx, cancel := context.WithTimeout(w.base, w.o.Failover)
	defer cancel()
	for again := true; again; {
		leases, _, err := w.list(ctx)
		if err != nil {
			return // others see it by the failover time
		}
		again = false
		for _, e := range leases {
			if e.Owner != w.id && e.Wanted != w.id {
				continue
			}
			e.Wanted = ""
			if e.Owner == w.id {
				e.Owner = ""
			}
			_, err := w.put(ctx, e)
			again = again || errors.Is(err, ErrConflict)
		}
	}
}

// worker is one Run.
type worker struct {
	o     Options
	id    string
	base  context.Context // never ends
	nudge chan struct{}   // asks for a tick now
	wg    sync.WaitGroup  // of claims

	// Only the loop of Run uses these.
	seen    map[string]sighting // by key
	ends    map[string]bool     // shards whose ends were seen
	stale   bool                // there may be shards without leases
	synced  time.Time
	waiting bool // for leases that were asked for

	mu     sync.Mutex
	claims map[string]*claim // by key
}

// sighting is when a lease was first seen in the state in which it is.
type sighting struct {
	owner         string
	term, counter uint64
	at            time.Time
}

// resyncEvery is how often the shards are listed when none has ended.
const resyncEvery = time.Minute

// pause is the time between ticks: short while a hand-over is awaited.
func (w *worker) pause() time.Duration {
	if w.waiting {
		return w.o.Failover / 12
	}
	return w.o.Failover / 3
}

func (w *worker) held() []*claim {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*claim, 0, len(w.claims))
	for _, c := range w.claims {
		list = append(list, c)
	}
	return list
}

// ended forgets a claim that has ended.
func (w *worker) ended(c *claim) {
	w.mu.Lock()
	delete(w.claims, c.key)
	w.mu.Unlock()
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

// entry is a lease as it was listed.
type entry struct {
	Item
	Lease
}

// tick looks at all leases, takes and asks for some.
func (w *worker) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.o.Failover)
	defer cancel()
	leases, start, err := w.list(ctx)
	if err != nil {
		return err
	}
	if w.stale || time.Since(w.synced) >= resyncEvery {
		w.stale = true // until it has succeeded
		if err := w.sync(ctx, leases, start); err != nil {
			return err
		}
		w.stale, w.synced = false, time.Now()
		if leases, _, err = w.list(ctx); err != nil {
			return err
		}
	}
	return w.act(ctx, leases)
}

// list returns the leases by key, and where the application starts when that
// is settled.
func (w *worker) list(ctx context.Context) (map[string]entry, *Checkpoint, error) {
	items, err := w.o.Leases.List(ctx, w.o.App)
	if err != nil {
		return nil, nil, fmt.Errorf("list leases: %w", err)
	}
	now := time.Now()
	leases := make(map[string]entry, len(items))
	seen, ends := make(map[string]sighting, len(items)), map[string]bool{}
	var start *Checkpoint
	for _, item := range items {
		if item.Key == startKey {
			if start, err = parseStart(item.Value); err != nil {
				return nil, nil, err
			}
			continue
		}
		e := entry{Item: item}
		if err := json.Unmarshal(item.Value, &e.Lease); err != nil {
			return nil, nil, fmt.Errorf("lease %s: %w", item.Key, err)
		}
		leases[item.Key] = e
		if e.Checkpoint.From == ShardEnd {
			ends[item.Key] = true
			w.stale = w.stale || !w.ends[item.Key] // whoever came there: it has children
		}
		s := sighting{e.Owner, e.Term, e.Counter, now}
		if old, ok := w.seen[item.Key]; ok && old.owner == s.owner && old.term == s.term && old.counter == s.counter {
			s.at = old.at
		}
		seen[item.Key] = s
	}
	w.seen, w.ends = seen, ends
	return leases, start, nil
}

// free reports whether nobody holds a lease, as far as can be seen.
func (w *worker) free(e entry) bool {
	return e.Owner == "" || time.Since(w.seen[e.Key].at) >= w.o.Failover
}

// ready reports whether the shard can be read: it is not at its end, and its
// parents are. A parent without a lease has expired, as leases are made for
// parents first and removed after the end.
func ready(e entry, leases map[string]entry) bool {
	if e.Checkpoint.From == ShardEnd {
		return false
	}
	return !slices.ContainsFunc(e.Parents, func(p string) bool {
		parent, known := leases[p]
		return known && parent.Checkpoint.From != ShardEnd
	})
}

// act takes and asks for leases.
func (w *worker) act(ctx context.Context, leases map[string]entry) error {
	var views []view
	var given []string
	w.mu.Lock()
	w.waiting = false
	for key, e := range leases {
		if !ready(e, leases) {
			continue
		}
		v := view{key: key, owner: e.Owner, wanted: e.Wanted}
		switch {
		case e.Owner == w.id && w.claims[key] == nil:
			given = append(given, key) // by who was asked for it
		case e.Owner == w.id:
		case w.free(e) && w.claims[key] != nil:
			v.owner, v.wanted = w.id, "" // lost, and its Handle has not returned yet
		case w.free(e):
			v.owner, v.wanted = "", ""
		case e.Wanted == w.id:
			w.waiting = true
		}
		views = append(views, v)
	}
	w.mu.Unlock()
	take, ask := balance(views, w.id)
	for _, key := range append(given, take...) {
		if err := w.take(ctx, leases[key]); err != nil && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("take lease %s: %w", key, err)
		}
	}
	for _, key := range ask {
		e := leases[key]
		e.Wanted = w.id
		if _, err := w.put(ctx, e); err != nil && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("ask for lease %s: %w", key, err)
		}
		w.waiting = true
	}
	return nil
}

func (w *worker) put(ctx context.Context, e entry) (revision uint64, err error) {
	value, err := json.Marshal(e.Lease)
	if err != nil {
		return 0, err
	}
	return w.o.Leases.Put(ctx, w.o.App, e.Key, value, e.Revision)
}

// take makes a lease this worker's, and begins to read the shard.
func (w *worker) take(ctx context.Context, e entry) error {
	e.Owner, e.Wanted = w.id, ""
	e.Term++
	e.Counter++
	sent := time.Now()
	revision, err := w.put(ctx, e)
	if err != nil {
		return err
	}
	c := &claim{
		w: w, key: e.Key, term: e.Term, stop: make(chan struct{}), turn: make(chan struct{}, 1),
		lease: e.Lease, revision: revision, renewed: sent,
	}
	c.ctx, c.cancel = context.WithCancelCause(w.base)
	w.mu.Lock()
	w.claims[e.Key] = c
	w.mu.Unlock()
	w.o.Logger.Info("took a shard", "app", w.o.App, "worker", w.id, "shard", e.Key, "term", e.Term)
	w.wg.Go(c.run)
	return nil
}

// gone reports whether the source no longer has a shard. A stream that is
// missing altogether may come back, and is another matter.
func (w *worker) gone(ctx context.Context, shard string) bool {
	shards, err := w.o.Source.Shards(ctx)
	return err == nil && !slices.ContainsFunc(shards, func(s Shard) bool { return s.ID == shard })
}

// startKey is the key of where the application starts.
const startKey = "_start"

// sync makes leases for shards that have none, and removes those of shards that
// are read to the end and gone. All start where the application does: a shard
// that was made later has nothing from before.
func (w *worker) sync(ctx context.Context, leases map[string]entry, start *Checkpoint) error {
	shards, err := w.o.Source.Shards(ctx)
	if err != nil {
		return fmt.Errorf("list shards: %w", err)
	}
	if start == nil {
		if start, err = w.settleStart(ctx); err != nil {
			return fmt.Errorf("settle the start: %w", err)
		}
	}
	listed := make(map[string]Shard, len(shards))
	for _, s := range shards {
		listed[s.ID] = s
	}
	made := map[string]bool{}
	for _, s := range shards {
		if err := w.makeLease(ctx, s, *start, leases, listed, made); err != nil {
			return fmt.Errorf("make lease %s: %w", s.ID, err)
		}
	}
	for key, e := range leases {
		if _, there := listed[key]; there || e.Checkpoint.From != ShardEnd {
			continue
		}
		if err := w.o.Leases.Delete(ctx, w.o.App, key, e.Revision); err != nil && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("remove lease %s: %w", key, err)
		}
	}
	return nil
}

// makeLease makes the lease of a shard, after those of its parents, so that
// nobody ever sees a child without them. made holds what was visited.
func (w *worker) makeLease(ctx context.Context, s Shard, start Checkpoint, leases map[string]entry, listed map[string]Shard, made map[string]bool) error {
	if _, known := leases[s.ID]; known || made[s.ID] {
		return nil
	}
	made[s.ID] = true
	for _, p := range s.Parents {
		if parent, there := listed[p]; there {
			if err := w.makeLease(ctx, parent, start, leases, listed, made); err != nil {
				return err
			}
		}
	}
	e := entry{Item{Key: s.ID}, Lease{
		Checkpoint: start, Parents: s.Parents,
		First: s.Range.Start.String(), Last: s.Range.End.String(),
	}}
	if _, err := w.put(ctx, e); err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}

// settleStart writes down where the application starts, unless another worker
// does it first. Latest becomes a moment: what arrives later is read, however
// often workers crash before they have read anything.
func (w *worker) settleStart(ctx context.Context) (*Checkpoint, error) {
	cp := Checkpoint{From: w.o.Start.From}
	switch cp.From {
	case datastream.Latest:
		cp.Time = time.Now().UTC()
	case datastream.AtTimestamp:
		cp.Time = w.o.Start.Time.UTC()
	}
	value, err := json.Marshal(cp)
	if err != nil {
		return nil, err
	}
	_, err = w.o.Leases.Put(ctx, w.o.App, startKey, value, 0)
	if errors.Is(err, ErrConflict) {
		item, err := w.o.Leases.Get(ctx, w.o.App, startKey)
		if err != nil {
			return nil, err
		}
		return parseStart(item.Value)
	}
	return &cp, err
}

func parseStart(value []byte) (*Checkpoint, error) {
	var cp Checkpoint
	if err := json.Unmarshal(value, &cp); err != nil {
		return nil, fmt.Errorf("start of the application: %w", err)
	}
	return &cp, nil
}

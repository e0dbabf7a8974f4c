package datastream

import (
	"context"
	"errors"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

// CreateOptions are what a new stream begins with.
type CreateOptions struct {
	Name             string
	Shards           int  // provisioned: 1 to MaxShards, needed; on demand: 0
	Mode             Mode // "" = Provisioned
	Tags             map[string]string
	MaxRecordKiB     int // 0 = MinRecordKiB
	WarmMiBps        int // on demand: ready for this much at once; 0 = not asked
	AutoDistribution bool
}

func (o *CreateOptions) check() error {
	if err := checkName(o.Name, "stream name"); err != nil {
		return err
	}
	if o.Mode == "" {
		o.Mode = Provisioned
	}
	if o.MaxRecordKiB == 0 {
		o.MaxRecordKiB = MinRecordKiB
	}
	switch {
	case o.Mode != Provisioned && o.Mode != OnDemand:
		return refuse(ErrInvalid, o.Name, "mode %q is unknown", o.Mode)
	case o.Mode == Provisioned && (o.Shards < 1 || o.Shards > MaxShards):
		return refuse(ErrInvalid, o.Name, "a provisioned stream has 1 to %d shards, not %d", MaxShards, o.Shards)
	case o.Mode == OnDemand && o.Shards != 0:
		return refuse(ErrMode, o.Name, "a stream on demand is created without a number of shards")
	case o.Mode == Provisioned && o.WarmMiBps != 0:
		return refuse(ErrMode, o.Name, "only a stream on demand has a warm throughput")
	case o.Mode == Provisioned && o.AutoDistribution:
		return refuse(ErrInvalid, o.Name, "only a stream on demand distributes records by itself")
	case o.WarmMiBps < 0 || o.WarmMiBps > maxWarmMiBps:
		return refuse(ErrInvalid, o.Name, "a warm throughput is at most %d MiB/s", maxWarmMiBps)
	case o.MaxRecordKiB < MinRecordKiB || o.MaxRecordKiB > MaxRecordKiB:
		return refuse(ErrInvalid, o.Name, "records are limited to %d to %d KiB, not to %d", MinRecordKiB, MaxRecordKiB, o.MaxRecordKiB)
	}
	if o.Mode == OnDemand {
		o.Shards = warmShards(o.WarmMiBps)
	}
	return checkTags(o.Name, o.Tags)
}

// checkName holds a name to [a-zA-Z0-9_.-]{1,128}.
func checkName(name, what string) error {
	if len(name) < 1 || len(name) > 128 {
		return refuse(ErrInvalid, "", "a %s has 1 to 128 characters", what)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return refuse(ErrInvalid, "", "%s %q: only letters, digits, _ . and - are allowed", what, name)
		}
	}
	return nil
}

// Create makes a stream.
func (e *Engine) Create(ctx context.Context, o CreateOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if e.closed() {
		return refuse(ErrUnavailable, o.Name, "the server is closing")
	}
	if err := e.rates.allow(callCreate, o.Name); err != nil {
		return err
	}
	if err := e.roomFor(&o); err != nil {
		return err
	}
	id, err := e.newID(ctx)
	if err != nil {
		return unkept(o.Name, "the stream could not be numbered", err)
	}
	s := &stream{name: o.Name, id: id, consumers: map[string]*consumer{}}
	p := s.first(&o)
	s.ctl.Lock()
	defer s.ctl.Unlock()
	s.picture.Store(&picture{record: p.record, shards: &shardMap{}, changed: make(chan struct{})}) // CREATING: nobody puts or reads
	if _, exists := e.byName.LoadOrStore(o.Name, s); exists {
		return refuse(ErrInUse, o.Name, "Stream %s already exists.", o.Name)
	}
	e.byID.Store(id, s)
	if e.delay == 0 {
		p.record.Status = Active
	}
	if err := e.save(s, p); err != nil {
		e.byName.Delete(o.Name)
		e.byID.Delete(id)
		s.gone = true
		return err
	}
	if e.delay > 0 {
		e.later(s)
	}
	return nil
}

// first is how a stream begins.
func (s *stream) first(o *CreateOptions) picture {
	now := s.clock()
	var all []*shard
	for i, r := range SplitEvenly(o.Shards) {
		all = append(all, &shard{
			index: uint32(i), parent: NoShard, adjacent: NoShard, rng: r, made: now, epoch: now / 1000, meter: newMeter(),
		})
	}
	return picture{
		shards: newShardMap(all), gate: newGate(),
		record: record{
			ID: s.id, Status: Creating, Mode: o.Mode, Created: now, RetentionHours: MinRetentionHours, MaxRecordKiB: o.MaxRecordKiB,
			Auto: o.AutoDistribution, WarmMiBps: o.WarmMiBps, Tags: cloneTags(o.Tags), NextShard: uint32(o.Shards),
		},
	}
}

func (e *Engine) roomFor(o *CreateOptions) error {
	creating := 0
	for s := range e.all {
		if s.now().record.Status == Creating {
			creating++
		}
	}
	if e.limits.ControlRates && creating >= creatingAtOnce {
		return refuse(ErrLimit, o.Name, "%d streams are being created already.", creating)
	}
	if o.Mode == OnDemand {
		return e.roomOnDemand(o.Name)
	}
	return e.roomForShards(o.Name, o.Shards)
}

func (e *Engine) roomOnDemand(name string) error {
	if most := e.limits.OnDemandStreams; most > 0 {
		if _, _, have := e.Counts(); have >= most {
			return refuse(ErrLimit, name, "There are %d on-demand streams, and %d are allowed.", have, most)
		}
	}
	return nil
}

// roomForShards refuses more open shards than the account may have.
func (e *Engine) roomForShards(name string, more int) error {
	if most := e.limits.ShardLimit; most > 0 {
		if _, have, _ := e.Counts(); have+more > most {
			return refuse(ErrLimit, name, "There are %d open shards, and %d are allowed: no room for %d more.", have, most, more)
		}
	}
	return nil
}

// Delete removes a stream with its shards and records. One with consumers is
// ErrInUse unless they are to go too, one that is being deleted is so in any
// case; it need not be ready yet.
func (e *Engine) Delete(_ context.Context, name string, withConsumers bool) error {
	s, err := e.find(name)
	if err != nil {
		return err
	}
	if err := e.rates.allow(callDelete, name); err != nil {
		return err
	}
	s.ctl.Lock()
	defer s.ctl.Unlock()
	p := *s.now()
	if s.gone {
		return refuse(ErrNotFound, name, "stream not found")
	}
	if p.record.Status == Deleting {
		return notActive(name, p.record.Status)
	}
	s.mu.Lock()
	consumers := len(s.consumers)
	s.mu.Unlock()
	if consumers > 0 && !withConsumers {
		return refuse(ErrInUse, name, "Stream has %d registered consumers.", consumers)
	}
	p.record.Status, p.record.Plan = Deleting, nil
	if err := e.save(s, p); err != nil {
		return err
	}
	if e.delay > 0 {
		e.later(s)
		return nil
	}
	return e.remove(s)
}

func notActive(name string, is Status) error {
	return refuse(ErrInUse, name, "not ACTIVE, instead in state %s", is)
}

// remove takes a stream out of Meta, its own key last, so that a cut removal
// is found and finished. Called under ctl.
func (e *Engine) remove(s *stream) error {
	var changes []journal.Change
	for _, prefix := range []string{consumerPrefix(s.id), chunkPrefix(s.id)} {
		for it := range e.meta.List(prefix) {
			changes = append(changes, journal.Change{Key: it.Key, Expect: it.Revision, Delete: true})
		}
	}
	changes = append(changes, journal.Change{Key: streamKey(s.name), Expect: s.rev, Delete: true})
	for len(changes) > 0 {
		n := min(len(changes), 256)
		if _, err := e.meta.Txn(context.Background(), changes[:n]...); err != nil {
			return e.unsaved(s, err)
		}
		changes = changes[n:]
	}
	s.gone = true
	e.byName.CompareAndDelete(s.name, s)
	e.byID.Delete(s.id)
	s.endConsumers()
	s.publish(*s.now()) // wakes who waits, to find the stream gone
	return nil
}

// later finishes a change of state when the delay has passed.
func (e *Engine) later(s *stream) {
	e.run(func() {
		wait := e.delay
		for {
			select {
			case <-time.After(wait):
			case <-e.closing:
				return // Open finishes it
			}
			s.ctl.Lock()
			err := e.finish(s)
			s.ctl.Unlock()
			if err == nil || !errors.Is(err, journal.ErrFull) {
				return
			}
			wait = max(e.delay, time.Second)
		}
	})
}

// finish ends the state that a stream is in. Called under ctl, or alone.
func (e *Engine) finish(s *stream) error {
	if s.gone {
		return nil
	}
	switch p := s.now(); {
	case p.record.Status == Deleting:
		return e.remove(s)
	case p.record.Plan != nil:
		return e.reshard(s)
	case p.record.Status != Active:
		next := *p
		next.record.Status = Active
		return e.save(s, next)
	}
	return nil
}

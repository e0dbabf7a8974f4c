package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// claim is a lease that this worker holds, or held.
type claim struct {
	w    *worker
	key  string
	term uint64

	// ctx is Handle's. It ends when the lease is lost, or grace is over.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// stop is closed when the shard is to be given away.
	stop     chan struct{}
	stopOnce sync.Once

	// turn holds something while the lease is being changed, which takes a call
	// to the store: a mutex that can be waited for with others.
	turn     chan struct{}
	over     bool // lost or given away: nothing may be changed any more
	lease    Lease
	revision uint64
	renewed  time.Time // when the last change that succeeded was sent
}

var errHandOver = errors.New("the shard has to be given away now")

// giveAway asks the claim to end after the batch it is at. When that takes
// longer than allowed, the batch is told.
func (c *claim) giveAway() {
	c.stopOnce.Do(func() {
		close(c.stop)
		c.w.wg.Go(func() {
			select {
			case <-time.After(c.w.o.HandOver):
				c.cancel(errHandOver)
			case <-c.ctx.Done():
			}
		})
	})
}

func (c *claim) stopping() bool {
	select {
	case <-c.stop:
		return true
	case <-c.ctx.Done():
		return true
	default:
		return false
	}
}

// sleep waits, but not when the claim is to end; it reports whether it goes on.
func (c *claim) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return !c.stopping()
	case <-c.stop:
	case <-c.ctx.Done():
	}
	return false
}

// update changes the lease, if it is still held, and thereby renews it. Others
// change no more of a held lease than Wanted, so that the change is simply made
// again on top of theirs.
func (c *claim) update(ctx context.Context, change func(*Lease)) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer c.leave()
	ctx, cancel := context.WithDeadline(ctx, c.renewed.Add(c.w.o.Failover))
	defer cancel()
	for {
		if c.over {
			return ErrLost
		}
		next := c.lease
		next.Counter++
		change(&next)
		value, err := json.Marshal(next)
		if err != nil {
			return err
		}
		sent := time.Now()
		revision, err := c.w.o.Leases.Put(ctx, c.w.o.App, c.key, value, c.revision)
		if err == nil {
			c.lease, c.revision, c.renewed = next, revision, sent
			c.over = next.Owner != c.w.id
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return c.failed(err)
		}
		if err := c.refresh(ctx); err != nil {
			return c.failed(err)
		}
	}
}

func (c *claim) leave() { <-c.turn }

// isOver reports whether the lease is lost or given away.
func (c *claim) isOver() bool {
	c.turn <- struct{}{}
	defer c.leave()
	return c.over
}

// refresh reads the lease anew after a conflict, in its turn.
func (c *claim) refresh(ctx context.Context) error {
	item, err := c.w.o.Leases.Get(ctx, c.w.o.App, c.key)
	if errors.Is(err, ErrAbsent) {
		c.lose()
		return ErrLost
	}
	if err != nil {
		return err
	}
	var now Lease
	if err := json.Unmarshal(item.Value, &now); err != nil {
		return fmt.Errorf("lease %s: %w", c.key, err)
	}
	if now.Term == c.term && now.Checkpoint.From == ShardEnd {
		c.lease, c.over = now, true // by a change of ours whose answer was lost
		return ErrLost
	}
	if now.Owner != c.w.id || now.Term != c.term {
		c.lose()
		return ErrLost
	}
	c.lease, c.revision = now, item.Revision
	if now.Wanted != "" {
		c.giveAway()
	}
	return nil
}

// failed gives the lease up when it was not renewed in time, in its turn.
func (c *claim) failed(err error) error {
	if time.Since(c.renewed) >= c.w.o.Failover {
		c.lose()
	}
	return err
}

// lose ends what is being done, in its turn.
func (c *claim) lose() {
	if !c.over {
		c.w.o.Logger.Warn("lost a shard", "app", c.w.o.App, "worker", c.w.id, "shard", c.key)
	}
	c.over = true
	c.cancel(ErrLost)
}

// renew keeps the lease until done is closed or it is lost.
func (c *claim) renew(done <-chan struct{}) {
	pause := c.w.o.Failover / 3
	for {
		select {
		case <-time.After(pause):
		case <-done:
			return
		case <-c.ctx.Done():
			if errors.Is(context.Cause(c.ctx), ErrLost) {
				return
			}
			// Told to end and not yet ended: until then it is held.
			select {
			case <-time.After(pause):
			case <-done:
				return
			}
		}
		err := c.update(c.w.base, func(*Lease) {})
		switch {
		case errors.Is(err, ErrLost):
			return
		case err != nil:
			c.w.o.Logger.Warn("could not renew a lease", "app", c.w.o.App, "shard", c.key, "error", err)
			pause = c.w.o.Failover / 12
		default:
			pause = c.w.o.Failover / 3
		}
	}
}

// release gives the lease to who asked for it, or to nobody.
func (c *claim) release() {
	for {
		err := c.update(c.w.base, func(l *Lease) {
			if l.Owner = l.Wanted; l.Owner != "" {
				l.Term++
			}
			l.Wanted = ""
		})
		if err == nil || c.isOver() {
			return
		}
		time.Sleep(c.w.o.Failover / 12)
	}
}

// run reads the shard until it is lost, given away or at its end.
func (c *claim) run() {
	done := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() { c.renew(done) })
	c.read()
	close(done)
	renewing.Wait()
	c.release()
	c.cancel(nil)
	c.w.ended(c)
}

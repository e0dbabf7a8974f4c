package consumer

import (
	"errors"
	"slices"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

const (
	minPause = 100 * time.Millisecond
	// nearTip is the pause after an empty answer short of the tip: the service
	// allows five reads per second.
	nearTip = 200 * time.Millisecond
)

// reader is the reading of one shard, from where it was left.
type reader struct {
	*claim
	within   *datastream.HashRange // of user records; nil = all
	from     Checkpoint            // how far it is handled
	iterator string                // "" = to be had
	pause    time.Duration         // after the next failure
}

// read hands records over until the claim is to end.
func (c *claim) read() {
	c.turn <- struct{}{}
	r := reader{claim: c, from: c.lease.Checkpoint, pause: minPause}
	if c.w.o.DropForeign {
		r.within = c.lease.within()
	}
	c.leave()
	for !c.stopping() {
		fresh := r.iterator == ""
		page, err := r.next()
		switch {
		case err == nil:
			r.pause = minPause
		case errors.Is(err, datastream.ErrExpired):
			r.iterator = ""
			if fresh && !r.failed("a new iterator had expired", err) {
				return
			}
			continue
		case errors.Is(err, datastream.ErrNotFound) && c.w.gone(c.ctx, c.key):
			c.w.o.Logger.Error("a shard expired before it was read", "app", c.w.o.App, "shard", c.key)
			page = Page{} // its end
		default:
			if !r.failed("could not read a shard", err) {
				return
			}
			continue
		}
		if !r.take(page) || page.Next == "" {
			return
		}
		if page.Behind == 0 && !c.sleep(c.w.o.Poll) || len(page.Records) == 0 && page.Behind > 0 && !c.sleep(min(nearTip, c.w.o.Poll)) {
			return
		}
	}
}

// next reads a page.
func (r *reader) next() (Page, error) {
	if r.iterator == "" {
		it, err := r.w.o.Source.Iterator(r.ctx, r.key, r.from.start())
		if err != nil {
			return Page{}, err
		}
		r.iterator = it
	}
	return r.w.o.Source.Records(r.ctx, r.iterator, r.w.o.Limit)
}

// failed waits after a failure, longer each time; false when the claim ends.
func (r *reader) failed(what string, err error) bool {
	if r.stopping() {
		return false
	}
	level := r.w.o.Logger.Warn
	if errors.Is(err, datastream.ErrExpired) || errors.Is(err, datastream.ErrThrottled) {
		level = r.w.o.Logger.Debug
	}
	level(what, "app", r.w.o.App, "shard", r.key, "error", err, "again_in", r.pause)
	d := r.pause
	r.pause = min(2*r.pause, r.w.o.Failover)
	return r.sleep(d)
}

// take handles a page and notes that; false when the claim ends before.
func (r *reader) take(page Page) bool {
	end := page.Next == ""
	b := Batch{Shard: r.key, Records: r.userRecords(page.Records), Behind: page.Behind, End: end, claim: r.claim}
	if (len(b.Records) > 0 || end) && !r.handle(b) {
		return false
	}
	cp := r.from
	switch {
	case end:
		cp = Checkpoint{From: ShardEnd}
	case len(page.Records) > 0:
		cp = Checkpoint{From: datastream.AfterSequence, Sequence: page.Records[len(page.Records)-1].Sequence}
	}
	if end || len(page.Records) > 0 {
		if !r.checkpoint(cp) {
			return false
		}
	}
	r.from, r.iterator = cp, page.Next
	return true
}

// userRecords opens what is aggregated, and leaves out what was handled before
// the shard was left in the middle of a record.
func (r *reader) userRecords(raw []Record) []Record {
	if r.w.o.Raw {
		return raw
	}
	list := make([]Record, 0, len(raw))
	for _, rec := range raw {
		n := len(list)
		list = Deaggregate(rec, r.within, list)
		if r.from.Sub != nil && rec.Sequence == r.from.Sequence {
			handled := func(u Record) bool { return u.Sub <= *r.from.Sub }
			list = append(list[:n], slices.DeleteFunc(list[n:], handled)...)
		}
	}
	return list
}

// handle calls Handle until it succeeds; false when the claim ends before.
func (r *reader) handle(b Batch) bool {
	pause := minPause
	for {
		err := r.w.o.Handle(r.ctx, b)
		if err == nil {
			return true
		}
		if r.stopping() {
			return false
		}
		r.w.o.Logger.Error("a batch was not handled", "app", r.w.o.App, "shard", r.key, "error", err, "again_in", pause)
		if !r.sleep(pause) {
			return false
		}
		pause = min(2*pause, r.w.o.Failover)
	}
}

// checkpoint notes how far the shard is handled; false when it is lost. It is
// done even when the claim is to end: what was handled should not be again. At
// the shard's end nobody needs it any more.
func (r *reader) checkpoint(cp Checkpoint) bool {
	for {
		err := r.update(r.w.base, func(l *Lease) {
			if l.Checkpoint = cp; cp.From == ShardEnd {
				l.Owner, l.Wanted = "", ""
			}
		})
		if err == nil {
			return true
		}
		if r.isOver() {
			return false
		}
		r.w.o.Logger.Warn("could not write a checkpoint", "app", r.w.o.App, "shard", r.key, "error", err)
		time.Sleep(r.w.o.Failover / 12)
	}
}

// within is the hash range of the shard; nil when it cannot be read.
func (l *Lease) within() *datastream.HashRange {
	first, err := datastream.ParseHashKey(l.First)
	last, err2 := datastream.ParseHashKey(l.Last)
	if err != nil || err2 != nil {
		return nil
	}
	return &datastream.HashRange{Start: first, End: last}
}

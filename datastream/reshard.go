package datastream

import (
	"errors"
	"slices"

	"github.com/kineweir/kineweir/datastream/journal"
)

// How the shards of a stream change. Meta decides, at two moments:
//
//	record with Plan, UPDATING ──▶ parents take no new puts; those under way are waited for
//	                           ──▶ one transaction: parents closed, children open, Plan gone
//	                           ──▶ ACTIVE
//
// A crash before the second moment leaves the parents open and the plan to be
// carried out by the next Open; nothing has been put into a child. Puts that
// fall on a closing parent wait, and go to the child.

// plan is a change of the shards, as Meta keeps it while it is under way.
type plan struct {
	Steps []step
}

// step is a reshard in the order in which a plan is carried out: I counts the
// open ranges in hash order as the steps before have left them.
type step struct {
	Split bool    `json:",omitempty"` // range I at At; else merge ranges I and I+1
	I     int     //
	At    HashKey `json:",omitzero"`
	Swap  bool    `json:",omitempty"` // the parent is I+1 and the adjacent parent I
}

func stepsOf(list []reshard) []step {
	steps := make([]step, len(list))
	for i, r := range list {
		steps[i] = step{Split: r.split, I: r.i, At: r.at}
	}
	return steps
}

var errPlan = errors.New("the plan does not fit the shards")

// apply carries out steps on a map: it returns the map after them, in which
// the shards of indexes from next on are new.
func (m *shardMap) apply(steps []step, next uint32, now int64) (*shardMap, uint32, error) {
	open := slices.Clone(m.open)
	changed := map[uint32]*shard{}
	shut := func(sh *shard) *shard {
		c := *sh
		c.closed, c.closing = now, false
		changed[c.index] = &c
		return &c
	}
	grow := func(parent, adjacent *shard, r HashRange) *shard {
		sh := &shard{index: next, parent: parent.index, adjacent: NoShard, rng: r, made: now, epoch: max(now/1000, parent.epoch+1), meter: newMeter()}
		if adjacent != nil {
			sh.adjacent, sh.epoch = adjacent.index, max(sh.epoch, adjacent.epoch+1)
		}
		next++
		changed[sh.index] = sh
		return sh
	}
	for _, st := range steps {
		switch {
		case st.I < 0 || st.I >= len(open):
			return nil, 0, errPlan
		case st.Split:
			p := shut(open[st.I])
			if st.At.Compare(p.rng.Start) <= 0 || st.At.Compare(p.rng.End) > 0 {
				return nil, 0, errPlan
			}
			low := grow(p, nil, HashRange{p.rng.Start, st.At.Sub(1)})
			high := grow(p, nil, HashRange{st.At, p.rng.End})
			open[st.I] = low
			open = slices.Insert(open, st.I+1, high)
		case st.I+1 >= len(open):
			return nil, 0, errPlan
		default:
			a, b := shut(open[st.I]), shut(open[st.I+1])
			r := HashRange{a.rng.Start, b.rng.End}
			if st.Swap {
				a, b = b, a
			}
			open[st.I] = grow(a, b, r)
			open = slices.Delete(open, st.I+1, st.I+2)
		}
	}
	return m.with(changed), next, nil
}

// begin records a plan and carries it out, at once or when the delay is over.
// Called under ctl with the stream ACTIVE; set changes more of the record.
func (e *Engine) begin(s *stream, steps []step, set func(*record)) error {
	p := *s.now()
	if set != nil {
		set(&p.record)
	}
	if len(steps) > 0 {
		if _, _, err := p.shards.apply(steps, p.record.NextShard, s.clock()); err != nil {
			return refuse(ErrInvalid, s.name, "%v", err)
		}
		p.record.Plan = &plan{Steps: steps}
	}
	if len(steps) > 0 || e.delay > 0 {
		p.record.Status = Updating
	}
	if err := e.save(s, p); err != nil {
		return err
	}
	switch {
	case p.record.Status == Active:
		return nil
	case e.delay > 0:
		e.later(s)
		return nil
	}
	err := e.finish(s)
	if errors.Is(err, journal.ErrFull) {
		e.later(s) // the plan is decided: it is carried out when there is room
	}
	return err
}

// reshard carries out the plan in the record. Called under ctl. If the outcome
// can not be kept the parents take puts again and the plan stands.
func (e *Engine) reshard(s *stream) error {
	p := *s.now()
	// A trial with any moment shows which shards the plan closes.
	trial, _, err := p.shards.apply(p.record.Plan.Steps, p.record.NextShard, 1)
	if err != nil {
		return err
	}
	before := p
	closing := map[uint32]*shard{}
	for _, sh := range p.shards.open {
		if trial.find(sh.index).closed != 0 {
			c := *sh
			c.closing = true
			closing[c.index] = &c
		}
	}
	held := p
	held.shards, held.gate = p.shards.with(closing), newGate()
	s.publish(held)
	p.gate.close()

	next := held
	// The moment is taken now, after the last put into a parent: what arrives
	// in a child is never stamped before it.
	next.shards, next.record.NextShard, err = held.shards.apply(p.record.Plan.Steps, p.record.NextShard, s.clock())
	if err != nil {
		return err
	}
	next.record.Plan, next.record.Status = nil, Active
	if err := e.save(s, next); err != nil {
		before.gate, before.broken = held.gate, s.now().broken
		s.publish(before)
		return err
	}
	e.logger.Info("shards changed", "stream", s.name, "open", len(next.shards.open), "was", len(before.shards.open))
	return nil
}

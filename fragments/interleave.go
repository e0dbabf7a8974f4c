package fragments

import (
	"slices"
	"time"
)

// interleaver merges the tracks into one sequence in order of decode time, so
// that what falls into a fragment depends on time stamps and not on which
// packet came first. It waits for a late track, but only for a bounded span of
// media time, and not at all for one that has gone silent.
type interleaver struct {
	maxWait int64 // ns of media time
	queues  []queue
	newest  int64 // ns, decode time
}

type queue struct {
	track  int
	units  []placed
	latest int64 // ns, decode time of the newest unit ever queued, or from which the first is awaited
}

func (v *interleaver) put(p placed) {
	i := slices.IndexFunc(v.queues, func(q queue) bool { return q.track == p.au.Track.ID })
	if i < 0 {
		v.queues = append(v.queues, queue{track: p.au.Track.ID, latest: -1})
		i = len(v.queues) - 1
	}
	q := &v.queues[i]
	q.units = append(q.units, p)
	q.latest = max(q.latest, p.at)
	v.newest = max(v.newest, p.at)
}

// expect makes v wait for a track before its first unit.
func (v *interleaver) expect(track int, from int64) {
	v.queues = append(v.queues, queue{track: track, latest: from})
}

// next returns the unit that comes next, if that is already certain or flush
// is set.
func (v *interleaver) next(flush bool) (placed, bool) {
	first := -1
	waiting := false
	for i := range v.queues {
		q := &v.queues[i]
		if len(q.units) > 0 && q.latest-q.units[0].at > 4*v.maxWait {
			// Its times are nowhere near those of the others: never pile up.
			return q.pop(), true
		}
		switch {
		case len(q.units) == 0:
			waiting = waiting || v.newest-q.latest < 4*v.maxWait
		case first < 0 || q.units[0].at < v.queues[first].units[0].at:
			first = i
		}
	}
	if first < 0 {
		return placed{}, false
	}
	q := &v.queues[first]
	if waiting && !flush && v.newest-q.units[0].at < v.maxWait {
		return placed{}, false
	}
	return q.pop(), true
}

func (q *queue) pop() placed {
	p := q.units[0]
	q.units[0] = placed{}
	q.units = q.units[1:]
	if len(q.units) == 0 {
		q.units = nil
	}
	return p
}

// restart forgets how far the tracks have come: the time line may go back.
func (v *interleaver) restart(at int64) {
	v.newest = at
	for i := range v.queues {
		v.queues[i].latest = at
	}
}

const defaultMaxWait = 500 * time.Millisecond

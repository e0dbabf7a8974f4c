package peer

import (
	"slices"
	"time"

	"github.com/pion/rtp"
)

// Bounds of a reorderer.
const (
	// maxWaiting is how many packets wait for a missing one: a second of 5 Mbit/s.
	maxWaiting = 512
	// maxJump is the largest step of sequence numbers that is not taken for a
	// stream that started anew (RFC 3550 section A.1).
	maxJump = 3000
	// askAfter is how long a missing packet may just be late before it is asked
	// for.
	askAfter = 10 * time.Millisecond
	// askAgain is the pause before it is asked for again: a long round trip.
	askAgain = 80 * time.Millisecond
	// maxAsked bounds the packets asked for at once.
	maxAsked = 128
)

// reorderer puts the packets of a stream in order. Nothing waits while nothing is
// missing. What comes after a missing packet waits for it, for a bounded time.
type reorderer struct {
	patience time.Duration

	started bool
	next    uint16    // the sequence number that is due
	waiting []waiting // in order of sequence number, all after next
	asked   time.Time // when the missing ones were asked for last; zero: not yet
}

type waiting struct {
	pkt *rtp.Packet
	at  time.Time
}

// push takes a packet and returns those that are in order now.
func (r *reorderer) push(pkt *rtp.Packet, now time.Time) []*rtp.Packet {
	if !r.started {
		r.started, r.next = true, pkt.SequenceNumber
	}
	switch ahead := int16(pkt.SequenceNumber - r.next); {
	case ahead == 0:
		r.next++
		return r.ready([]*rtp.Packet{pkt})
	case ahead > maxJump || ahead < -maxJump:
		out := r.flush()
		r.next = pkt.SequenceNumber + 1
		return append(out, pkt)
	case ahead < 0:
		return nil // too late, or there twice
	}
	i, found := slices.BinarySearchFunc(r.waiting, pkt.SequenceNumber, func(w waiting, seq uint16) int {
		return int(int16(w.pkt.SequenceNumber - seq))
	})
	if found {
		return nil
	}
	r.waiting = slices.Insert(r.waiting, i, waiting{pkt, now})
	if len(r.waiting) > maxWaiting {
		return r.giveUp()
	}
	return nil
}

// expire returns the packets that have waited long enough.
func (r *reorderer) expire(now time.Time) (out []*rtp.Packet) {
	for len(r.waiting) > 0 && now.Sub(r.oldest()) >= r.patience {
		out = append(out, r.giveUp()...)
	}
	return out
}

// oldest is when the wait for the packet that is due began.
func (r *reorderer) oldest() time.Time {
	at := r.waiting[0].at
	for _, w := range r.waiting {
		if w.at.Before(at) {
			at = w.at
		}
	}
	return at
}

// giveUp goes on without the packets before the first that waits.
func (r *reorderer) giveUp() []*rtp.Packet {
	r.next = r.waiting[0].pkt.SequenceNumber
	return r.ready(nil)
}

// ready appends the packets that are due.
func (r *reorderer) ready(out []*rtp.Packet) []*rtp.Packet {
	n := 0
	for n < len(r.waiting) && r.waiting[n].pkt.SequenceNumber == r.next {
		out = append(out, r.waiting[n].pkt)
		r.next++
		n++
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
	if len(r.waiting) == 0 {
		r.asked = time.Time{}
	}
	return out
}

func (r *reorderer) flush() (out []*rtp.Packet) {
	for len(r.waiting) > 0 {
		out = append(out, r.giveUp()...)
	}
	return out
}

// missing returns the sequence numbers to ask for now, if it is time to.
func (r *reorderer) missing(now time.Time) (seqs []uint16) {
	if len(r.waiting) == 0 || now.Before(r.askAt()) {
		return nil
	}
	r.asked = now
	seq := r.next
	for _, w := range r.waiting {
		for ; seq != w.pkt.SequenceNumber && len(seqs) < maxAsked; seq++ {
			seqs = append(seqs, seq)
		}
		seq = w.pkt.SequenceNumber + 1
	}
	return seqs
}

func (r *reorderer) askAt() time.Time {
	if r.asked.IsZero() {
		return r.oldest().Add(askAfter)
	}
	return r.asked.Add(askAgain)
}

// deadline is when expire or missing have something to do; the zero time: never.
func (r *reorderer) deadline() time.Time {
	if len(r.waiting) == 0 {
		return time.Time{}
	}
	if end, ask := r.oldest().Add(r.patience), r.askAt(); end.Before(ask) {
		return end
	} else {
		return ask
	}
}

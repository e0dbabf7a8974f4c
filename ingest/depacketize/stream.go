package depacketize

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// Stream is one stream of packets: it has sequence numbers and time stamps of its
// own.
type Stream struct {
	r     *Receiver
	track *track
	dep   depacketizer
	clock *ingest.Clock

	started bool
	seq     uint16 // of the latest packet
	rtp     uint32 // its time stamp
	pts     int64  // the same, unwrapped
	marked  bool   // it ended a unit
	damaged bool   // packets are passed over until a unit begins
	jitter  jitter

	heard  time.Time // arrival of the latest packet
	key    time.Time // arrival of the latest key frame
	broken bool      // units were lost since
}

// Packet takes the next packet of the stream. It keeps the payload of pkt.
func (s *Stream) Packet(pkt *rtp.Packet) {
	r := s.r
	now := r.o.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.err != nil {
		return
	}
	defer r.guard()
	s.heard = now
	if len(pkt.Payload) == 0 && s.started && pkt.SequenceNumber == s.seq+1 {
		s.seq++ // padding, as probes of the bandwidth are
		return
	}
	s.sequence(pkt)
	s.pts = s.clock.Packet(pkt.Timestamp, now)
	s.jitter.add(s.clock, s.pts, now)
	s.seq, s.rtp, s.marked, s.started = pkt.SequenceNumber, pkt.Timestamp, pkt.Marker, true
	if s.damaged {
		return
	}
	if len(pkt.Payload) == 0 {
		return
	}
	units, err := push(s.dep, pkt)
	for i := range units {
		s.emit(&units[i], now)
	}
	switch {
	case errors.Is(err, errNotYet):
		r.warn.Add("access unit dropped: "+errNotYet.Error(), 1, nil)
	case err != nil:
		r.warn.Add("access unit dropped: packet cannot be read", 1, err)
		s.broken = true
		if len(units) == 0 {
			s.dep.reset()
			s.damaged = true
		}
	}
}

// push lets nothing that the other side sends make us panic.
func push(d depacketizer, pkt *rtp.Packet) (units []unit, err error) {
	defer func() {
		if p := recover(); p != nil {
			units, err = nil, fmt.Errorf("decoder failed: %v", p)
		}
	}()
	return d.push(pkt)
}

// sequence looks for lost packets and decides whether pkt belongs to a damaged unit.
func (s *Stream) sequence(pkt *rtp.Packet) {
	const maxDropout = 3000 // RFC 3550 section A.1: a larger step is a publisher that started anew
	if !s.started {
		// Joined in the middle of a picture: it would lack slices.
		s.damaged = s.dep.track().Kind() == fragments.KindVideo && !begins(s.dep, pkt)
		return
	}
	sameUnit := !s.marked && pkt.Timestamp == s.rtp
	if gap := pkt.SequenceNumber - s.seq - 1; gap != 0 {
		if gap <= maxDropout {
			s.r.lost(uint64(gap))
		}
		s.broken = true
		if sameUnit || !s.marked {
			s.r.warn.Add("access unit dropped: packets lost", 1, nil)
		}
		s.dep.reset()
		s.damaged = true
		if !sameUnit && begins(s.dep, pkt) {
			s.damaged = false
		}
		return
	}
	if s.damaged && (pkt.Timestamp != s.rtp || s.marked) {
		s.damaged = false // the damaged unit is over
	}
}

func begins(d depacketizer, pkt *rtp.Packet) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return d.begins(pkt)
}

func (r *Receiver) lost(n uint64) {
	if r.session != nil {
		r.session.Lost(n)
	}
	r.warn.Add("packets lost", n, nil)
}

func (s *Stream) emit(u *unit, now time.Time) {
	au := &fragments.AccessUnit{
		Track: u.track, PTS: s.pts + int64(int32(u.rtp-s.rtp)) + u.offset, DTS: fragments.NoDTS,
		Duration: u.duration, Key: u.key, Payload: u.payload, Arrival: fragments.ServerTime(now),
	}
	au.Capture, au.Source = s.clock.Capture(au.PTS)
	if u.key {
		s.key, s.broken = now, false
	}
	if s.r.holding {
		s.r.hold(s, au)
	} else {
		s.write(au, now)
	}
}

// write hands a unit to the session, which it opens before the first one.
func (s *Stream) write(au *fragments.AccessUnit, now time.Time) {
	r := s.r
	if !s.take(au) {
		return
	}
	if r.session != nil && r.pictures(au) {
		r.reopen()
	}
	if r.openLocked() != nil {
		return
	}
	r.last = now
	r.session.Write(au)
	if seconds, ok := s.jitter.due(now); ok {
		r.session.Jitter(s.track.id, seconds)
	}
}

// Report takes a sender report about the stream.
func (s *Stream) Report(sr *rtcp.SenderReport) {
	r := s.r
	now := r.o.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if err := s.clock.Report(sr.NTPTime, sr.RTPTime, now); err != nil {
		r.warn.Add("sender report not used", 1, err)
		return
	}
	if skew, ok := s.clock.Skew(); ok && !r.skewed && skew.Abs() > r.o.MaxSkew {
		r.skewed = true
		r.o.Log.Warn("the clock of the publisher is far from ours; its own time is kept", "ahead", skew.Round(time.Millisecond))
	}
}

// jitter is the interarrival jitter of a track (RFC 3550 section 6.4.1).
type jitter struct {
	started  bool
	pts      int64
	at       time.Time
	ticks    float64
	rate     float64
	reported time.Time
}

func (j *jitter) add(c *ingest.Clock, pts int64, at time.Time) {
	switch {
	case !j.started:
		j.started, j.rate, j.reported = true, float64(c.Rate()), at
	case pts == j.pts:
		return // another packet of the same unit
	default:
		d := at.Sub(j.at).Seconds()*j.rate - float64(pts-j.pts)
		j.ticks += (math.Abs(d) - j.ticks) / 16
	}
	j.pts, j.at = pts, at
}

// due returns the jitter in seconds about once a second.
func (j *jitter) due(now time.Time) (float64, bool) {
	if now.Sub(j.reported) < time.Second {
		return 0, false
	}
	j.reported = now
	return j.ticks / j.rate, true
}

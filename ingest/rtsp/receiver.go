package rtsp

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// receiver makes access units of the packets of one publisher and hands them to
// its session. Packets of several tracks may come from several goroutines.
type receiver struct {
	now     func() time.Time
	warn    *warnings
	open    func(tracks []*fragments.Track) (Session, error) // at the first access unit, or by start
	maxSkew time.Duration

	mu      sync.Mutex // guards the fields below and those of the tracks
	clocks  ingest.Clocks
	tracks  []*receiverTrack
	session Session
	opened  time.Time
	last    time.Time // when the latest access unit was complete; zero: none yet
	err     error     // of open; nothing is received after it
	closed  bool
	skewed  bool // a clock that is far off has been logged
}

// receiverTrack is one track of a receiver.
type receiverTrack struct {
	media  *description.Media
	format format.Format
	id     int
	dep    depacketizer
	clock  *ingest.Clock

	started bool
	seq     uint16 // of the latest packet
	rtp     uint32 // its time stamp
	pts     int64  // the same, unwrapped
	marked  bool   // it ended a unit
	damaged bool   // packets are passed over until a unit begins
	jitter  jitter
}

type receiverOptions struct {
	Description *description.Session
	Body        []byte // the description as it came; may be nil
	Log         *slog.Logger
	Now         func() time.Time
	Open        func(tracks []*fragments.Track) (Session, error)
	MaxSkew     time.Duration
}

// newReceiver chooses the first known format of each track; what is not known is
// refused by name in the log, and all of it in an *UnsupportedError when nothing
// is left.
func newReceiver(o receiverOptions) (*receiver, error) {
	r := &receiver{now: o.Now, warn: newWarnings(o.Log, o.Now), open: o.Open, maxSkew: o.MaxSkew}
	const maxTracks = 16
	var refused []string
	for i, m := range o.Description.Medias {
		if m.IsBackChannel {
			continue
		}
		taken := false
		for _, f := range m.Formats {
			if taken {
				continue
			}
			id := len(r.tracks) + 1
			clock := rtpClock(o.Body, i, f.PayloadType())
			dep, err := newDepacketizer(id, f, clock)
			if err != nil {
				refused = append(refused, fmt.Sprintf("%s (%v)", formatName(f), err))
				continue
			}
			if len(r.tracks) == maxTracks {
				refused = append(refused, formatName(f)+" (too many tracks)")
				continue
			}
			taken = true
			r.tracks = append(r.tracks, &receiverTrack{
				media: m, format: f, id: id, dep: dep, clock: r.clocks.Track(int(dep.track().TimeScale)),
			})
		}
	}
	if len(r.tracks) == 0 {
		return nil, &UnsupportedError{Formats: refused}
	}
	if len(refused) > 0 {
		o.Log.Warn("tracks refused", "formats", refused)
	}
	r.opened = o.Now()
	return r, nil
}

// configurations returns the tracks as they are now.
func (r *receiver) configurations() []*fragments.Track {
	t := make([]*fragments.Track, len(r.tracks))
	for i := range r.tracks {
		t[i] = r.tracks[i].dep.track()
	}
	return t
}

// start opens the session before the first access unit.
func (r *receiver) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.openLocked()
}

func (r *receiver) openLocked() error {
	if r.session != nil || r.err != nil {
		return r.err
	}
	session, err := r.open(r.configurations())
	if err != nil {
		r.err = err
		return err
	}
	r.session = session
	return nil
}

// close ends the session. No access unit is written after it.
func (r *receiver) close(reason error) {
	r.mu.Lock()
	session, done := r.session, r.closed
	r.closed = true
	r.mu.Unlock()
	if done {
		return
	}
	r.warn.flush()
	if session != nil {
		session.Close(reason)
	}
}

// idle returns for how long no access unit has been complete.
func (r *receiver) idle() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.IsZero() {
		return r.now().Sub(r.opened)
	}
	return r.now().Sub(r.last)
}

// live reports whether there has been an access unit, and the error that keeps
// them from being taken.
func (r *receiver) live() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.last.IsZero(), r.err
}

// packet takes an RTP packet of a track.
func (r *receiver) packet(t *receiverTrack, pkt *rtp.Packet) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.err != nil {
		return
	}
	defer r.guard()
	r.sequence(t, pkt)
	t.pts = t.clock.Packet(pkt.Timestamp, now)
	t.jitter.add(t.clock, t.pts, now)
	t.seq, t.rtp, t.marked, t.started = pkt.SequenceNumber, pkt.Timestamp, pkt.Marker, true
	if t.damaged {
		return
	}
	units, err := push(t.dep, pkt)
	for i := range units {
		r.emit(t, &units[i], now)
	}
	switch {
	case errors.Is(err, errNotYet):
		r.warn.add("access unit dropped: "+errNotYet.Error(), 1, nil)
	case err != nil:
		r.warn.add("access unit dropped: packet cannot be read", 1, err)
		if len(units) == 0 {
			t.dep.reset()
			t.damaged = true
		}
	}
}

// guard keeps a mistake of ours, or of the session, in this one stream.
func (r *receiver) guard() {
	if p := recover(); p != nil {
		r.err = fmt.Errorf("receiver failed: %v", p)
		r.warn.log.Error("receiver failed", "panic", p, "stack", string(debug.Stack()))
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
func (r *receiver) sequence(t *receiverTrack, pkt *rtp.Packet) {
	const maxDropout = 3000 // RFC 3550 section A.1: a larger step is a publisher that started anew
	if !t.started {
		// Joined in the middle of a picture: it would lack slices.
		t.damaged = t.dep.track().Kind() == fragments.KindVideo && !begins(t.dep, pkt)
		return
	}
	sameUnit := !t.marked && pkt.Timestamp == t.rtp
	if gap := pkt.SequenceNumber - t.seq - 1; gap != 0 {
		if gap <= maxDropout {
			r.lost(uint64(gap))
		}
		if sameUnit || !t.marked {
			r.warn.add("access unit dropped: packets lost", 1, nil)
		}
		t.dep.reset()
		t.damaged = true
		if !sameUnit && begins(t.dep, pkt) {
			t.damaged = false
		}
		return
	}
	if t.damaged && (pkt.Timestamp != t.rtp || t.marked) {
		t.damaged = false // the damaged unit is over
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

func (r *receiver) lost(n uint64) {
	if r.session != nil {
		r.session.Lost(n)
	}
	r.warn.add("packets lost", n, nil)
}

func (r *receiver) emit(t *receiverTrack, u *unit, now time.Time) {
	if r.openLocked() != nil {
		return
	}
	au := &fragments.AccessUnit{
		Track: u.track, PTS: t.pts + int64(int32(u.rtp-t.rtp)) + u.offset, DTS: fragments.NoDTS,
		Duration: u.duration, Key: u.key, Payload: u.payload, Arrival: fragments.ServerTime(now),
	}
	au.Capture, au.Source = t.clock.Capture(au.PTS)
	r.last = now
	r.session.Write(au)
	if s, ok := t.jitter.due(now); ok {
		r.session.Jitter(t.id, s)
	}
}

// reports takes RTCP packets of a media.
func (r *receiver) reports(m *description.Media, pkt rtcp.Packet) {
	sr, ok := pkt.(*rtcp.SenderReport)
	if !ok {
		return
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.tracks, func(t *receiverTrack) bool { return t.media == m })
	if i < 0 || r.closed {
		return
	}
	// The SSRC is not compared: a media has one track, and cameras are known to
	// report under another SSRC than they send.
	t := r.tracks[i]
	if err := t.clock.Report(sr.NTPTime, sr.RTPTime, now); err != nil {
		r.warn.add("sender report not used", 1, err)
		return
	}
	if skew, ok := t.clock.Skew(); ok && !r.skewed && skew.Abs() > r.maxSkew {
		r.skewed = true
		r.warn.log.Warn("the clock of the publisher is far from ours; its own time is kept", "ahead", skew.Round(time.Millisecond))
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

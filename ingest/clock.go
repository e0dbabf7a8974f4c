package ingest

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Bounds of what a [Clock] believes.
const (
	// ntpEpoch is the Unix epoch in seconds of NTP (RFC 5905 section 6).
	ntpEpoch = 2_208_988_800
	// earliest is the first UTC second a report may name: a camera whose clock was
	// never set counts from 1900 or 1970.
	earliest = 946_684_800 // 2000-01-01
	// restartJump is how far time stamps must leave the arrivals behind before
	// they count as those of a publisher that started anew.
	restartJump = int64(10 * time.Second)
	// reportReach is how far the time stamp of a report may be from that of the
	// packets around it.
	reportReach = int64(time.Minute)
	// stepResidual is the disagreement of a report with those before it that a
	// second report must confirm.
	stepResidual = int64(time.Second)
	// stepAgree is how well the second one must confirm it.
	stepAgree = int64(100 * time.Millisecond)
	// leadLimit is how far ahead of the packets is far (see Clocks.Wary).
	leadLimit = int64(250 * time.Millisecond)
	// rateBaseline is how far apart two reports must be before the speed of the
	// publisher's clock is taken from them; a shorter span would turn the rounding
	// of their time stamps into drift.
	rateBaseline = int64(30 * time.Second)
	// maxRateError is the largest deviation of a publisher's clock that is
	// believed; crystals stay under 200 ppm.
	maxRateError = 1000e-6
	keptReports  = 32
)

// Errors of [Clock.Report], which say why a report was not used.
var (
	ErrReportUnset    = errors.New("sender report carries no wall-clock time")
	ErrReportFarOff   = errors.New("time stamp of the sender report is far from those of the packets")
	ErrReportDisputed = errors.New("sender report contradicts the ones before it")
	ErrReportTicks    = errors.New("time stamp of the sender report does not go with those of the packets")
)

// Clocks are the clocks of the tracks of one publisher. They share what they
// learn of the publisher's wall clock, so that all tracks change from arrival
// times to the publisher's own at the same moment. Not safe for concurrent use.
type Clocks struct {
	// Wary has a first report that is far ahead of the packets, and as early, wait
	// for a second one that agrees. Senders over RTSP begin so in good faith, when
	// their encoder looks ahead; browsers do not, and GStreamer's webrtcbin 1.22 has
	// reports that run away from its packets from the moment on when it started.
	Wary bool

	first  time.Time // arrival of the first packet of any track
	tracks []*Clock
}

// Track adds the clock of a track whose RTP time stamps count rate ticks per
// second.
func (s *Clocks) Track(rate int) *Clock {
	c := &Clock{group: s, rate: int64(max(rate, 1))}
	s.tracks = append(s.tracks, c)
	return c
}

// Clock maps the RTP time stamps of one track to UTC: by the publisher's sender
// reports (RFC 3550 section 6.4.1) as soon as there is one, until then by
// estimating from the arrival of the packets.
//
// The publisher's clock is believed even when it is wrong: producer time is the
// publisher's. [Clock.Skew] tells how far it is from ours.
type Clock struct {
	group *Clocks
	rate  int64

	started bool
	rtp     uint32 // time stamp of the latest packet
	pts     int64  // the same, unwrapped
	at      int64  // its arrival, ns
	arrival arrivalEstimate

	pending   *pendingReport // came before the first packet
	reports   []anchor       // oldest first; empty: none to believe
	lead      int64          // ns: how far the newest report was ahead of the packets
	candidate *anchor        // disagrees with reports; the next one decides
	rateError float64        // of the publisher's clock: UTC seconds per media second, minus 1
}

// anchor says that the tick pts was captured at utc (ns).
type anchor struct{ pts, utc int64 }

type pendingReport struct {
	ntp uint64
	rtp uint32
	at  time.Time
}

// Rate returns how many ticks the time stamps count per second.
func (c *Clock) Rate() int { return int(c.rate) }

// Packet takes the time stamp of a packet that arrived at the given time and
// returns it unwrapped to 64 bits. All tracks of a publisher count from about
// the same moment, the arrival of its first packet.
func (c *Clock) Packet(rtp uint32, at time.Time) int64 {
	now := at.UnixNano()
	if !c.started {
		c.start(rtp, at)
		return c.pts
	}
	pts := c.pts + int64(int32(rtp-c.rtp))
	ns := c.ns(pts)
	if back := c.ns(c.pts) - ns; back > restartJump || c.arrival.ahead(ns, now) > restartJump {
		// A publisher that started anew: its old reports say nothing of the new time stamps.
		c.forget()
		c.arrival = arrivalEstimate{}
	}
	c.rtp, c.pts, c.at = rtp, pts, now
	c.arrival.add(ns, now)
	return pts
}

func (c *Clock) start(rtp uint32, at time.Time) {
	if c.group.first.IsZero() {
		c.group.first = at
	}
	c.started = true
	c.rtp, c.at = rtp, at.UnixNano()
	c.pts = mulDiv(int64(at.Sub(c.group.first)), c.rate, int64(time.Second))
	c.arrival.add(c.ns(c.pts), c.at)
	if p := c.pending; p != nil {
		c.pending = nil
		_ = c.Report(p.ntp, p.rtp, p.at)
	}
}

func (c *Clock) forget() {
	c.reports, c.candidate, c.rateError = nil, nil, 0
}

// Report takes a sender report: its NTP time (32.32 bits), its RTP time stamp
// and when it arrived. The error says why it was not used; nothing is lost then.
// A report that comes before the first packet waits for it.
func (c *Clock) Report(ntp uint64, rtp uint32, at time.Time) error {
	utc, ok := ntpToUTC(ntp, at)
	if !ok {
		return ErrReportUnset
	}
	if !c.started {
		c.pending = &pendingReport{ntp, rtp, at}
		return nil
	}
	a := anchor{pts: c.pts + int64(int32(rtp-c.rtp)), utc: utc}
	expected := c.ns(c.pts) + at.UnixNano() - c.at
	if off := c.ns(a.pts) - expected; off > reportReach || off < -reportReach {
		return fmt.Errorf("%w: by %v", ErrReportFarOff, time.Duration(off).Round(time.Millisecond))
	}
	moved := c.ns(a.pts) - expected - c.lead
	c.lead += moved
	if err := c.weigh(a, moved, at); err != nil {
		return err
	}
	c.candidate = nil
	c.accept(a)
	return nil
}

// weigh says why a report is not to be believed yet; moved is how much further
// ahead of the packets it is than the one before, ns.
func (c *Clock) weigh(a anchor, moved int64, at time.Time) error {
	runsAway := func() error {
		c.group.distrust()
		c.candidate = &a
		return fmt.Errorf("%w: it is %v ahead", ErrReportTicks, time.Duration(c.lead).Round(time.Millisecond))
	}
	if len(c.reports) == 0 {
		if c.candidate != nil && !c.agrees(a) || c.candidate == nil && c.early(at) {
			return runsAway()
		}
		return nil
	}
	r := a.utc - c.byReports(a.pts)
	if r <= stepAgree && r >= -stepAgree {
		return nil
	}
	if max(r+moved, -r-moved) < max(r, -r)/2 {
		// It is not the wall clock that stepped: the time stamps of the reports run
		// away from those of the packets. Which of the reports was right nobody knows.
		return runsAway()
	}
	if r > stepResidual || r < -stepResidual {
		return c.dispute(a, r)
	}
	c.forget() // the clock was set by a little: its speed is not to be read across that
	return nil
}

// early reports whether a first report is as far ahead of the packets as they
// have come until now, and more than an encoder needs to be.
func (c *Clock) early(at time.Time) bool {
	return c.group.Wary && c.lead > leadLimit && c.lead > int64(at.Sub(c.group.first))*9/10
}

// distrust drops the reports of all tracks, for they are made by one program. Of
// each track none is believed then until two agree.
func (s *Clocks) distrust() {
	for _, c := range s.tracks {
		if n := len(c.reports); n > 0 {
			last := c.reports[n-1]
			c.forget()
			c.candidate = &last
		}
	}
}

// dispute holds a report that does not fit until a second one agrees with it:
// then the publisher's clock was set, and the reports before are void.
func (c *Clock) dispute(a anchor, residual int64) error {
	if c.candidate != nil && c.agrees(a) {
		first := *c.candidate
		c.forget()
		c.accept(first)
		return nil
	}
	c.candidate = &a
	return fmt.Errorf("%w: by %v", ErrReportDisputed, time.Duration(residual).Round(time.Millisecond))
}

// agrees reports whether a says the same as the candidate.
func (c *Clock) agrees(a anchor) bool {
	d := a.utc - (c.candidate.utc + c.ns(a.pts-c.candidate.pts))
	return d <= stepAgree && d >= -stepAgree
}

func (c *Clock) accept(a anchor) {
	if n := len(c.reports); n > 0 && a.pts <= c.reports[n-1].pts {
		c.reports = c.reports[:0] // repeated or reordered: the newest alone counts
	}
	if len(c.reports) == keptReports {
		copy(c.reports, c.reports[1:])
		c.reports = c.reports[:keptReports-1]
	}
	c.reports = append(c.reports, a)
	c.rateError = 0
	oldest := c.reports[0]
	if media := c.ns(a.pts - oldest.pts); media >= rateBaseline {
		if e := float64(a.utc-oldest.utc)/float64(media) - 1; math.Abs(e) <= maxRateError {
			c.rateError = e
		}
	}
}

// Capture returns the UTC time of a PTS that Packet returned, or of one near it,
// and how it was found.
func (c *Clock) Capture(pts int64) (fragments.ProducerTimestamp, fragments.ClockSource) {
	if len(c.reports) > 0 {
		return fragments.ProducerTimestamp(c.byReports(pts)), fragments.FromReport
	}
	utc := c.arrival.utc(c.ns(pts))
	if skew, ok := c.group.skew(); ok {
		return fragments.ProducerTimestamp(utc + skew), fragments.FromReport
	}
	return fragments.ProducerTimestamp(utc), fragments.FromArrival
}

// Skew returns how far the publisher's clock is ahead of ours, the delay of the
// network included, and whether it is known.
func (c *Clock) Skew() (time.Duration, bool) {
	if len(c.reports) == 0 || !c.started {
		return 0, false
	}
	return time.Duration(c.byReports(c.pts) - c.arrival.utc(c.ns(c.pts))), true
}

// skew is that of the first track which has a report.
func (s *Clocks) skew() (int64, bool) {
	for _, c := range s.tracks {
		if d, ok := c.Skew(); ok {
			return int64(d), true
		}
	}
	return 0, false
}

// byReports interpolates between the last two reports, and extrapolates after
// them at the speed measured over all that are kept.
func (c *Clock) byReports(pts int64) int64 {
	last := c.reports[len(c.reports)-1]
	if len(c.reports) > 1 && pts < last.pts {
		prev := c.reports[len(c.reports)-2]
		media := c.ns(last.pts - prev.pts)
		if e := float64(last.utc-prev.utc)/float64(media) - 1; math.Abs(e) <= maxRateError {
			return last.utc + stretch(c.ns(pts-last.pts), e)
		}
	}
	return last.utc + stretch(c.ns(pts-last.pts), c.rateError)
}

func stretch(ns int64, rateError float64) int64 {
	return ns + int64(math.Round(float64(ns)*rateError))
}

func (c *Clock) ns(ticks int64) int64 { return mulDiv(ticks, int64(time.Second), c.rate) }

// mulDiv returns v*m/d rounded down; it overflows only where the result does.
func mulDiv(v, m, d int64) int64 {
	q, r := v/d, v%d
	if r < 0 {
		q, r = q-1, r+d
	}
	return q*m + r*m/d
}

// ntpToUTC turns an NTP time into UTC nanoseconds. Its fraction counts 2^-32
// seconds. The 32 bits of seconds wrap on 2036-02-07; small values are taken
// for the era after that only once our own clock has reached it, because before
// they come from cameras whose clock was never set.
func ntpToUTC(ntp uint64, at time.Time) (int64, bool) {
	sec := int64(ntp >> 32)
	if sec < 1<<31 && at.Unix() >= 1<<32-ntpEpoch {
		sec += 1 << 32
	}
	sec -= ntpEpoch
	if ntp == 0 || sec < earliest {
		return 0, false
	}
	frac := (ntp&math.MaxUint32*uint64(time.Second) + 1<<31) >> 32
	return sec*int64(time.Second) + int64(frac), true
}

// NTP returns t as an NTP time of 32.32 bits, rounded to the nearest fraction,
// so that a nanosecond survives the way there and back.
func NTP(t fragments.ProducerTimestamp) uint64 {
	sec, ns := int64(t)/int64(time.Second), int64(t)%int64(time.Second)
	if ns < 0 {
		sec, ns = sec-1, ns+int64(time.Second)
	}
	frac := (uint64(ns)<<32 + uint64(time.Second)/2) / uint64(time.Second)
	return uint64(sec+ntpEpoch)<<32 + frac
}

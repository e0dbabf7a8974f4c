package fragments

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

const (
	// maxReorder bounds how many frames a decoder may hold back (H.264 A.3.1,
	// H.265 A.4.1: a decoded picture buffer holds at most 16).
	maxReorder = 16
	// maxBack is how far PTS may go back from one access unit to the next
	// without being taken for a jump: more than any reordering of B-frames.
	maxBack = 2 * time.Second
	// assumedFrame stands for a duration that nothing tells.
	assumedFrame = 40 * time.Millisecond
	// maxSlew is the fastest correction of the time line, as a fraction: 500 ppm
	// is too slow to be seen or heard and faster than any quartz drifts.
	maxSlew = 2000 // 1/2000
)

// timeline turns the time stamps of one track into decode and presentation
// times counted from the creation of the stream.
type timeline struct {
	scale  int64
	origin *origin // shared by the tracks
	leads  bool    // the leading track: its jumps may go back

	started bool
	wrap    int64 // added to the publisher's time stamps to undo wraps
	lastPTS int64 // unwrapped, of the access unit before
	lastRaw int64 // unwrapped DTS of the access unit before
	off     int64 // from the publisher's ticks to ours
	lastOut int64 // newest decode time given out
	source  ClockSource
	anchor  bool  // take the offset anew at the next access unit
	typical int64 // the last plausible distance between access units, ticks
	lastGap int64 // the newest jump, ticks

	reorder int     // frames held back
	pending []int64 // sorted PTS not yet used as DTS
}

// origin is what decode times are counted from: the creation of the stream, at
// which they already stand at the headroom, so that there is room for the first
// frames of a new stream, which were captured before anybody had heard of it.
// The headroom is the same in every session: what comes later has later decode
// times. Only for a publisher whose clock was never set the bias is larger; it
// moves all tracks alike. Producer time stamps stay as they are.
type origin struct {
	created int64 // ns since 1970
	bias    int64 // ns, headroom at least
	settled bool
}

const (
	// headroom is what decode times have below the creation of the stream: what
	// was captured before it, the reorder delay, and tracks that begin earlier
	// than the first to arrive.
	headroom = int64(2 * time.Second)
	// earliest is the least decode time that a time line may begin at.
	earliest = headroom / 2
)

// settle fixes the bias by au, the first unit of a new time line.
func (o *origin) settle(au *AccessUnit) {
	o.settled, o.bias = true, headroom
	if since := int64(au.Capture) - o.created; since+o.bias < earliest {
		o.bias = headroom - since
	}
}

// placed is an access unit with its place on the time line.
type placed struct {
	au       *AccessUnit
	pts, dts int64 // ticks since the creation of the stream
	at       int64 // dts in ns since the creation of the stream
	duration int64 // ticks, when the publisher tells; else 0
	typical  int64 // ticks, what to assume when nothing tells
	// broken: the time line does not continue that of the unit before.
	broken bool
}

func newTimeline(t *Track, o *origin) *timeline {
	l := &timeline{scale: int64(max(t.TimeScale, 1)), origin: o}
	if t.Kind() == KindVideo && t.Reorder > 0 {
		l.reorder = min(t.Reorder, maxReorder)
	}
	return l
}

// place gives au its place. drift is how far the publisher's clock is from the
// time line: when it is more than what may be slewed, the caller lets all
// tracks step at the next key frame.
func (l *timeline) place(au *AccessUnit, maxGap time.Duration) (p placed, drift time.Duration) {
	pts := l.unwrap(au.PTS, maxGap)
	jumped := l.started && !l.anchor && l.jumps(pts-l.lastPTS, maxGap)
	fresh := !l.started || l.anchor || jumped
	if fresh {
		l.pending = l.pending[:0]
		if l.leads && jumped || !l.origin.settled {
			l.origin.settle(au)
		}
	}
	raw := l.decodeTime(au, pts, fresh)
	target := l.captureTicks(au) - pts
	if fresh {
		l.off = target
	} else {
		l.off += slew(target-l.off, raw-l.lastRaw)
		if d := raw - l.lastRaw; d > 1 {
			l.typical = d
		}
	}
	dts := l.forward(raw+l.off, fresh && (l.leads || !jumped))
	if l.typical == 0 {
		l.typical = max(au.Duration, 0)
	}
	l.started, l.anchor, l.lastPTS, l.lastRaw, l.lastOut, l.source = true, false, pts, raw, dts, au.Source
	return placed{
		au: au, dts: dts, pts: max(pts+l.off, dts), at: int64(l.duration(dts)),
		duration: max(au.Duration, 0), typical: l.assumed(), broken: jumped,
	}, l.duration(target - l.off)
}

// drift returns how far the time line would be from the clock of the publisher
// at au.
func (l *timeline) drift(au *AccessUnit, maxGap time.Duration) time.Duration {
	if !l.started || l.anchor {
		return 0
	}
	return l.duration(l.captureTicks(au) - l.unwrap(au.PTS, maxGap) - l.off)
}

// jumps reports whether a step of PTS is a jump. A camera may be so slow that
// every step looks like one: the second of the same length is its pace.
func (l *timeline) jumps(delta int64, maxGap time.Duration) bool {
	if delta >= -l.ticks(maxBack) && delta <= max(l.ticks(maxGap), 4*l.typical) {
		return false
	}
	if delta > 0 && l.lastGap > 0 && max(delta-l.lastGap, l.lastGap-delta) < delta/4 {
		l.typical = delta
		return false
	}
	l.lastGap = delta
	return true
}

// forward keeps decode times rising and never negative.
func (l *timeline) forward(dts int64, fresh bool) int64 {
	if !fresh && dts <= l.lastOut {
		dts = l.lastOut + 1
	}
	return max(dts, 0)
}

// unwrap undoes the wrap of 32-bit (RTP) and 33-bit (MPEG systems) counters
// that a publisher lets through: a leap that a wrap explains is one.
func (l *timeline) unwrap(pts int64, maxGap time.Duration) int64 {
	pts += l.wrap
	if !l.started {
		return pts
	}
	near := l.ticks(max(maxGap, maxBack))
	if d := pts - l.lastPTS; d > -near && d < near {
		return pts
	}
	for _, turn := range [...]int64{1 << 32, -1 << 32, 1 << 33, -1 << 33} {
		if d := pts + turn - l.lastPTS; d > -near && d < near {
			l.wrap += turn
			return pts + turn
		}
	}
	return pts
}

// decodeTime returns the publisher's DTS if it can be used, and otherwise the
// time stamps in sorted order, late by the reorder delay: the DTS of a unit is
// the PTS of the one that many places before it in order of presentation.
func (l *timeline) decodeTime(au *AccessUnit, pts int64, fresh bool) int64 {
	if au.Track.Kind() != KindVideo {
		return pts
	}
	if au.DTS != NoDTS {
		if dts := au.DTS + l.wrap; dts <= pts && (len(l.pending) == 0 && (fresh || dts > l.lastRaw)) {
			return dts
		}
	}
	i, _ := slices.BinarySearch(l.pending, pts)
	l.pending = slices.Insert(l.pending, i, pts)
	if missing := l.reorder + 1 - len(l.pending); missing > 0 {
		// The first units: count back from the earliest known presentation.
		return l.pending[0] - int64(missing)*l.assumed()
	}
	dts := l.pending[0]
	if !fresh && dts <= l.lastRaw && pts <= l.lastRaw && l.reorder < maxReorder {
		// Presented before what was decoded last: the stream reorders more than it
		// says. From here on decode times stay one more frame behind.
		l.reorder++
		return l.lastRaw + 1
	}
	l.pending = append(l.pending[:0], l.pending[1:]...)
	return dts
}

// captureTicks returns the capture time in ticks since the creation of the
// stream.
func (l *timeline) captureTicks(au *AccessUnit) int64 {
	return scaleTicks(max(int64(au.Capture)-l.origin.created+l.origin.bias, 0), l.scale)
}

func (l *timeline) assumed() int64 {
	if l.typical > 0 {
		return l.typical
	}
	return l.ticks(assumedFrame)
}

func (l *timeline) ticks(d time.Duration) int64 { return scaleTicks(int64(d), l.scale) }

func (l *timeline) duration(ticks int64) time.Duration { return ticksDuration(ticks, l.scale) }

// slew returns the part of the error that may be corrected over elapsed ticks.
func slew(err, elapsed int64) int64 {
	most := max(elapsed, 0) / maxSlew
	return min(max(err, -most), most)
}

// scaleTicks converts nanoseconds to ticks, rounded towards zero, in 128 bits.
// What does not fit is the largest value that does.
func scaleTicks(ns, scale int64) int64 { return mulDiv(ns, scale, int64(time.Second), 0) }

// ticksDuration converts ticks to a duration, rounded to the nearest
// nanosecond, in 128 bits.
func ticksDuration(ticks, scale int64) time.Duration {
	scale = max(scale, 1)
	return time.Duration(mulDiv(ticks, int64(time.Second), scale, uint64(scale/2)))
}

// mulDiv returns (a*b + round) / c for positive b and c, with the sign of a.
func mulDiv(a, b, c int64, round uint64) int64 {
	u := uint64(a)
	if a < 0 {
		u = -u
	}
	hi, lo := bits.Mul64(u, uint64(b))
	lo, carry := bits.Add64(lo, round, 0)
	hi += carry
	q := uint64(math.MaxInt64)
	if hi < uint64(c) {
		q, _ = bits.Div64(hi, lo, uint64(c))
		q = min(q, math.MaxInt64)
	}
	if a < 0 {
		return -int64(q)
	}
	return int64(q)
}

package viewer

import (
	"time"
)

// Rules by which a viewer is put to key frames only, and back.
const (
	// maxLoss is the share of packets lost, of 256, in two windows running, that
	// is more than retransmission can mend.
	maxLoss = 256 / 6
	// A window is so long and has so many packets, unless they take too long to
	// come. Browsers report with each packet that they miss: the share of one such
	// report is of a handful of packets, chosen for their loss.
	lossWindow  = time.Second
	lossPackets = 20
	lossWait    = 5 * time.Second
	// minRate is the share of the stream's bit rate, in percent, that the viewer
	// must find its link to have. An estimate alone is not believed, for those of
	// receivers follow what is sent: some loss or a queue on the way must speak
	// for it.
	minRate  = 75
	someLoss = 256 / 50
	maxQueue = 400 * time.Millisecond
	// thinMin and thinMax bound how long only key frames are sent before all are
	// tried again; each trial that fails doubles it, each that goes well for
	// thinForget begins anew.
	thinMin    = 4 * time.Second
	thinMax    = time.Minute
	thinForget = 20 * time.Second
	// again bounds retransmissions: half of what is sent, and so many at once.
	againBurst = 400
	// rewindMin is the least time between two returns to the key frame.
	rewindMin = time.Second
	// minPace is the slowest that key frames are sent to a viewer of a narrow link,
	// in bits per second.
	minPace = 200_000
)

// link is what is known of the way to one viewer. It belongs to the sending
// goroutine.
type link struct {
	waitKey bool      // skip until decoding can start
	thin    bool      // key frames only
	until   time.Time // then all frames are tried again
	pause   time.Duration
	ended   time.Time     // when the latest thin spell ended
	lossy   int           // reports of much loss running
	narrow  int           // estimates below the stream's rate running
	again   int           // half packets that may be sent again
	repeats [128]repeated // by sequence number
	rewound time.Time
	window  window        // that is being counted
	loss    int           // share lost in the latest window, of 256
	pace    int64         // of key frames, in bits per second; 0: as fast as may be
	carried int64         // bits per second that arrived in the latest window; 0: unknown
	sent    int64         // bytes of video ever
	last    float32       // estimate
	rtt     time.Duration // in the latest report
	least   time.Duration // round trip ever
	rate    int64         // bits per second of video, smoothed
	bits    int64
	second  time.Time
}

// sentPackets earns retransmissions.
func (l *link) sentPackets(n int) { l.again = min(l.again+n, 2*againBurst) }

// repeated is a packet that was sent again.
type repeated struct {
	seq   uint16
	times uint8
	at    time.Time
}

// A packet is sent again so often at most, and not again before the one under
// way can have arrived: some receivers go on asking for what came as a stream of
// retransmissions.
const (
	againTimes = 8
	againPause = 20 * time.Millisecond
)

// repeat reports whether the packet seq may be sent again.
func (l *link) repeat(seq uint16, now time.Time) bool {
	r := &l.repeats[int(seq)%len(l.repeats)]
	switch {
	case r.times == 0 || r.seq != seq:
		if !l.spend() {
			return false
		}
		*r = repeated{seq, 1, now}
		return true
	case r.times >= againTimes || now.Sub(r.at) < max(againPause, l.least/2) || !l.spend():
		return false
	}
	r.times, r.at = r.times+1, now
	return true
}

// spend reports whether a packet may be sent again.
func (l *link) spend() bool {
	if l.again < 2 {
		return false
	}
	l.again -= 2
	return true
}

// measure notes what the stream has, whether it is sent or not.
func (l *link) measure(u *unit, now time.Time) {
	if now.Sub(l.second) >= time.Second {
		if now.Sub(l.second) < 2*time.Second {
			l.rate += (l.bits - l.rate) / 4
		}
		l.second, l.bits = now, 0
	}
	l.bits += int64(u.size) * 8
}

// narrowDown puts the viewer to key frames only; false when it is already.
func (l *link) narrowDown(now time.Time) bool {
	if l.thin {
		return false
	}
	if l.pause == 0 || now.Sub(l.ended) > thinForget {
		l.pause = thinMin
	} else {
		l.pause = min(2*l.pause, thinMax)
	}
	l.thin, l.until = true, now.Add(l.pause)
	l.lossy, l.narrow = 0, 0
	// A key frame that comes at once overruns a narrow link, and each one does.
	l.pace = max(l.carried, minPace)
	return true
}

// window is where counting began.
type window struct {
	from loss
	sent int64
}

// lost takes a receiver report and its round trip, 0 when it tells none. It
// returns whether the viewer must be narrowed down.
func (l *link) lost(r loss, rtt time.Duration) bool {
	l.rtt = rtt
	if rtt > 0 && (l.least == 0 || rtt < l.least) {
		l.least = rtt
	}
	from, sent := l.window.from, l.window.sent
	took, packets := r.at.Sub(from.at), int64(int32(r.highest-from.highest))
	switch {
	case from.at.IsZero() || packets < 0:
		l.window = window{r, l.sent}
		return false
	case took < lossWindow, packets < lossPackets && took < lossWait:
		return false
	}
	l.window = window{r, l.sent}
	missing := int64(int32(r.total-from.total) << 8 >> 8)
	l.loss = int(min(max(missing, 0)*256/max(packets, 1), 256))
	l.carried = (l.sent - sent) * 8 * int64(256-l.loss) / 256 * int64(time.Second) / int64(took)
	l.adapt()
	if l.loss <= maxLoss {
		l.lossy = 0
		return false
	}
	l.lossy++
	return l.lossy >= 2
}

// adapt makes key frames slower while they are lost, and else faster.
func (l *link) adapt() {
	switch {
	case l.pace == 0 || !l.thin:
	case l.loss > someLoss:
		l.pace = max(l.pace*3/4, minPace)
	default:
		l.pace += l.pace / 4
	}
}

// choked reports whether there is room for key frames alone: what belongs to
// frames before them would only delay the next.
func (l *link) choked() bool { return l.thin && l.loss > maxLoss }

// time returns how long the link is busy with a payload, as far as it is known to
// be narrow.
func (l *link) time(size int) time.Duration {
	if l.pace == 0 {
		return 0
	}
	return time.Duration(int64(size) * 8 * int64(time.Second) / l.pace)
}

// estimate takes what the viewer finds its link to carry, in bits per second.
func (l *link) estimate(bits float32) bool {
	believed := l.loss >= someLoss || l.rtt > l.least+maxQueue
	rises := bits > l.last // it is finding out
	l.last = bits
	if !believed || rises || int64(bits) >= l.rate*minRate/100 {
		l.narrow = 0
		return false
	}
	l.narrow++
	return l.narrow >= 3
}

// wants decides about a video unit.
func (c *Connection) wants(u *unit, now time.Time) bool {
	l := &c.link
	l.measure(u, now)
	if !c.catching && now.Sub(u.arrival) > maxLag*2/3 && !u.key {
		c.narrow("packets wait here for too long", now)
		l.waitKey = true
	}
	if u.key {
		if l.thin && now.After(l.until) {
			l.thin, l.ended = false, now
			c.log.Info("viewer gets all frames again")
		}
		if !l.thin && now.Sub(l.ended) > thinForget {
			l.pace = 0
		}
		l.waitKey = false
		return true
	}
	if l.waitKey || l.thin {
		c.count.skipped.Add(1)
		return false
	}
	return true
}

// narrow puts the viewer to key frames only for a while.
func (c *Connection) narrow(reason string, now time.Time) {
	if c.link.narrowDown(now) {
		c.count.thinned.Add(1)
		c.log.Info("viewer gets key frames only", "reason", reason, "for", c.link.pause)
	}
}

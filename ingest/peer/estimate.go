package peer

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// Rules of an estimate: those of the sender in draft-ietf-rmcat-gcc-02 section 6,
// applied here.
const (
	tellEvery = time.Second
	// someLoss is the share lost up to which the way has room; above muchLoss it is
	// too narrow.
	someLoss, muchLoss = 0.02, 0.1
	// growth is how much more is tried each second where there is room.
	growth = 1.08
	// inUse is how much of the estimate must be sent for it to grow: what is not
	// tried proves nothing.
	inUse = 1 / 1.5
	// leastRate is told at least, in bits per second: pictures need some.
	leastRate = 100_000
)

// estimate is the bit rate that the way of a publisher is taken to carry. It is
// told to one that asks for it (REMB, draft-alvestrand-rmcat-remb-03) and that
// does not measure its way itself by our reports of each packet.
type estimate struct {
	rate float64 // bits per second
	at   time.Time
}

// take takes what came and what was lost in a time.
func (e *estimate) take(t tally, took time.Duration) {
	if t.expected == 0 || took <= 0 {
		return // a publisher that pauses
	}
	incoming := float64(t.bytes) * 8 / took.Seconds()
	switch loss := float64(t.lost) / float64(t.expected); {
	case loss > muchLoss:
		// What came is what there is room for; less, so that queues drain.
		e.rate = max(min(e.rate, incoming)*(1-loss/2), leastRate)
	case loss < someLoss && incoming > e.rate*inUse:
		e.rate *= growth
	}
}

// tally counts the packets of a stream.
type tally struct {
	begun          bool
	highest        uint16
	bytes          int
	expected, lost int // packets
}

// add counts a packet. One that comes behind others was lost if it had been asked
// for, for then it was sent again; else it is just late.
func (t *tally) add(seq uint16, size int, asked bool) {
	t.bytes += size
	switch ahead := int(int16(seq - t.highest)); {
	case !t.begun || ahead > maxJump || ahead < -maxJump:
		t.begun, t.highest = true, seq
		t.expected++
	case ahead > 0:
		t.highest = seq
		t.expected += ahead
		t.lost += ahead - 1
	case !asked:
		t.lost = max(0, t.lost-1)
	}
}

// tellRate tells the estimate for all pictures together, when it is due.
func (c *Connection) tellRate(now time.Time) {
	took := now.Sub(c.estimate.at)
	if took < tellEvery {
		return
	}
	var sum tally
	var ssrcs []uint32
	c.mu.Lock()
	for _, src := range c.sources {
		for _, l := range src.layers {
			if src.kind != webrtc.RTPCodecTypeVideo {
				continue
			}
			sum.bytes, sum.expected, sum.lost = sum.bytes+l.tally.bytes, sum.expected+l.tally.expected, sum.lost+l.tally.lost
			l.tally.bytes, l.tally.expected, l.tally.lost = 0, 0, 0
			ssrcs = append(ssrcs, uint32(l.track.SSRC()))
		}
	}
	c.mu.Unlock()
	first := c.estimate.at.IsZero()
	c.estimate.at = now
	if len(ssrcs) == 0 || first {
		return
	}
	c.estimate.take(sum, took)
	c.send(&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: float32(c.estimate.rate), SSRCs: ssrcs})
}

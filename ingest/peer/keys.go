package peer

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// How key frames are asked for.
const (
	// keyPause is the least time between two requests: an encoder needs a round
	// trip and a frame to answer.
	keyPause = 500 * time.Millisecond
	// keyPatience is how many requests go unanswered before they become rare, and
	// the older way of asking is tried as well.
	keyPatience = 6
	// keyGrace is how long a stream that has just begun may take to send its first.
	keyGrace = 200 * time.Millisecond
)

// keyClock decides when a stream is asked for a key frame.
type keyClock struct {
	asked      time.Time     // latest request; zero: none
	key        time.Time     // latest key frame seen
	spacing    time.Duration // between the last two that came by themselves; 0: unknown
	unanswered int
	sequence   uint8 // of full intra requests
}

// seen takes the arrival of the latest key frame.
func (k *keyClock) seen(key time.Time) {
	if key.IsZero() || key.Equal(k.key) {
		return
	}
	k.spacing = 0
	if k.asked.Before(k.key) && !k.key.IsZero() {
		k.spacing = key.Sub(k.key)
	}
	k.key, k.unanswered = key, 0
}

// due reports whether it is time to ask: soon when one is needed, else every
// interval, unless they come by themselves about as often.
func (k *keyClock) due(now time.Time, needed bool, interval time.Duration) bool {
	pause := keyPause
	if k.unanswered > keyPatience {
		pause = max(interval, keyPause)
	}
	if !k.asked.IsZero() && now.Sub(k.asked) < pause {
		return false
	}
	if needed || k.key.IsZero() {
		return true
	}
	wait := interval + interval/10 // one that comes by itself may be a little late
	if k.spacing > 0 && k.spacing <= 2*interval {
		wait = max(interval, k.spacing*3/2)
	}
	return now.Sub(k.key) >= wait
}

// ask returns the request of a key frame.
func (k *keyClock) ask(now time.Time, ssrc uint32) []rtcp.Packet {
	k.asked = now
	k.unanswered++
	pkts := []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}
	if k.unanswered > keyPatience/2 {
		k.sequence++
		pkts = append(pkts, &rtcp.FullIntraRequest{MediaSSRC: ssrc, FIR: []rtcp.FIREntry{{SSRC: ssrc, SequenceNumber: k.sequence}}})
	}
	return pkts
}

// askKeys asks where a key frame is wanted: of what is recorded when it is broken
// or its fragments do not close, of a layer when its size is not known yet.
func (c *Connection) askKeys(now time.Time) {
	var pkts []rtcp.Packet
	c.mu.Lock()
	viewer := c.keyAsked.Swap(false)
	for _, src := range c.sources {
		if src.kind != webrtc.RTPCodecTypeVideo {
			continue
		}
		for _, l := range src.layers {
			if l.stream == nil || now.Sub(l.heard) > pauseAfter {
				continue
			}
			st := l.stream.State()
			l.keys.seen(st.Key)
			wanted := src.wanted == l
			if !wanted && !st.Key.IsZero() {
				continue
			}
			if st.Key.IsZero() && now.Sub(l.since) < keyGrace {
				continue // it is on its way
			}
			if l.keys.due(now, st.Broken || wanted && (viewer || !st.Selected), c.s.o.KeyInterval) {
				pkts = append(pkts, l.keys.ask(now, uint32(l.track.SSRC()))...)
			} else if wanted && viewer {
				c.keyAsked.Store(true) // too soon: at the next look
			}
		}
	}
	c.mu.Unlock()
	if len(pkts) > 0 {
		c.send(pkts...)
	}
}

package viewer

import (
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// unit is an access unit as RTP payloads. It is never changed once it is in the
// log of a feed: all viewers send from it.
type unit struct {
	pos     int64 // in the feed, from 0, without gaps
	kind    fragments.Kind
	key     bool   // a viewer can begin here
	joint   bool   // the time stamps begin anew here: a sender report is due
	ts      uint32 // on the time line of the feed, in ticks of the RTP clock
	capture fragments.ProducerTimestamp
	arrival time.Time // here, at the feed
	packets []packet
	size    int // bytes of all payloads
}

// packet is one RTP payload. The last one of a video unit has the marker bit.
type packet struct {
	payload []byte
	offset  uint32 // ticks after the time stamp of the unit; only audio that is split has any
}

// timeline makes RTP time stamps of one track: they go on evenly where the
// counting of the publisher does not.
type timeline struct {
	clock   int64 // RTP ticks per second
	begun   bool
	renewed bool  // the next unit is the first of another publisher
	origin  int64 // ticks that are time stamp 0
	last    int64 // ticks of the newest unit
	arrival fragments.ServerTimestamp
}

// Steps of the publisher's clock that are taken for a jump: backward more than
// frames are reordered, forward more than the time that has passed and this.
const (
	maxBack    = time.Second
	maxForward = 10 * time.Second
)

// stamp returns the time stamp of au and whether the time line begins anew.
func (t *timeline) stamp(au *fragments.AccessUnit) (ts uint32, joint bool) {
	scale := int64(au.Track.TimeScale)
	now := au.PTS
	if scale != t.clock {
		q, r := now/scale, now%scale
		now = q*t.clock + r*t.clock/scale
	}
	if !t.begun {
		t.begun, t.origin, joint = true, now, true
	} else {
		passed := max(0, t.ticks(time.Duration(au.Arrival-t.arrival)))
		step := now - t.last
		if step < -t.ticks(maxBack) || step > passed+t.ticks(maxForward) {
			t.origin += step - max(passed, 1)
			joint = true
		}
	}
	t.last, t.arrival = now, au.Arrival
	joint = joint || t.renewed
	t.renewed = false
	return uint32(now - t.origin), joint
}

// renew says that the publisher is another: its counting has another origin.
func (t *timeline) renew(au *fragments.AccessUnit) {
	if !t.begun {
		return
	}
	passed := max(1, t.ticks(time.Duration(au.Arrival-t.arrival)))
	was := t.last - t.origin
	t.begun = false
	t.stamp(au)
	t.origin = t.last - was - passed
	t.renewed = true
}

func (t *timeline) ticks(d time.Duration) int64 {
	return int64(d/time.Second)*t.clock + int64(d%time.Second)*t.clock/int64(time.Second)
}

// ntpEpoch is 1970 in seconds since 1900 (RFC 868).
const ntpEpoch = 2208988800

// ntp returns t as an NTP time of 32.32 bits.
func ntp(t fragments.ProducerTimestamp) uint64 {
	u := t.Time()
	return uint64(u.Unix()+ntpEpoch)<<32 + uint64(u.Nanosecond())<<32/uint64(time.Second)
}

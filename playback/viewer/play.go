package viewer

import (
	"errors"
	"io"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

const (
	// burstPackets is how many packets go out before a pause, so that a large
	// frame does not overrun the socket of its receiver (Linux: 208 kB with all
	// that a packet costs there).
	burstPackets = 16
	// burstPause is that pause; catchPause the one between the frames that are
	// caught up with, 38 Mbit/s, which most links can carry for the while.
	burstPause = time.Millisecond
	catchPause = 4 * time.Millisecond
	// maxCatch bounds what is caught up with: of a larger group of pictures only
	// the key frame is sent, and then what comes from the next one on.
	maxCatch = 4 << 20
	// reportEvery is the time between sender reports; the second comes sooner, for
	// a receiver needs two to tell the clocks apart.
	reportEvery  = 2 * time.Second
	secondReport = 500 * time.Millisecond
)

// errHungUp ends a viewer whose connection was closed from the other side.
var errHungUp error = hungUpError{}

type hungUpError struct{}

func (hungUpError) Error() string { return "the viewer has hung up" }

// HungUp tells web/whip that nothing went wrong.
func (hungUpError) HungUp() bool { return true }

// play sends until the feed, the link or the viewer ends.
func (c *Connection) play() error {
	c.begin()
	var buf [32]*unit
	for {
		if err := c.alive(); err != nil {
			return err
		}
		c.answer(c.server.o.Now())
		n, all, lost, err := c.feed.take(c.pos, buf[:])
		switch {
		case err != nil:
			return err
		case lost:
			c.narrow("packets wait here for too long", c.server.o.Now())
			c.skip()
			continue
		case n == 0:
			c.catching = false
			select {
			case <-c.ready:
			case <-c.ctx.Done():
				return c.ctx.Err()
			}
			continue
		}
		if err := c.sendAll(buf[:n]); err != nil {
			return err
		}
		if all {
			c.catching = false
		}
		clear(buf[:n])
	}
}

// sendAll sends units one after the other, unless sending turns elsewhere.
func (c *Connection) sendAll(units []*unit) error {
	for _, u := range units {
		if err := c.send(u); err != nil {
			return err
		}
		if c.pos != u.pos {
			return nil
		}
		c.pos++
	}
	return nil
}

// alive returns why nothing more can be sent. A connection that ICE has given up
// is held for a while, for the viewer may restart it.
func (c *Connection) alive() error {
	var timer <-chan time.Time
	for {
		dtls, ice := c.states()
		switch {
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case dtls == webrtc.DTLSTransportStateFailed, dtls == webrtc.DTLSTransportStateClosed:
			return errHungUp
		case ice == webrtc.ICETransportStateClosed:
			return errHungUp
		case ice != webrtc.ICETransportStateFailed:
			return nil
		}
		if timer == nil {
			t := time.NewTimer(failWait)
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-c.ctx.Done():
		case <-c.ready:
		case <-timer:
			return errors.New("the connection is lost: no candidate pair answers any more")
		}
		if err := c.feed.edge().err; err != nil {
			return err
		}
		if _, ice := c.states(); ice != webrtc.ICETransportStateFailed {
			c.begin()
		}
	}
}

// begin puts the viewer at the newest key frame.
func (c *Connection) begin() {
	e := c.feed.edge()
	c.audioFrom, c.pos, c.link.waitKey = e.head, e.head, true
	if e.key >= 0 && c.leg(fragments.KindVideo) != nil {
		c.pos, c.catching = e.key, true
	}
}

// skip goes on at the newest key frame, or waits for one.
func (c *Connection) skip() {
	e := c.feed.edge()
	if c.link.waitKey = true; e.key > c.pos {
		c.pos = e.key
	} else {
		c.pos = e.head
	}
}

func (c *Connection) leg(k fragments.Kind) *leg {
	for _, l := range c.legs {
		if l.kind == k {
			return l
		}
	}
	return nil
}

// send sends u if the viewer is to have it.
func (c *Connection) send(u *unit) error {
	l := c.leg(u.kind)
	if l == nil {
		return nil
	}
	now := c.server.o.Now()
	if u.kind == fragments.KindAudio {
		if u.pos < c.audioFrom {
			return nil
		}
	} else if !c.wants(u, now) {
		return nil
	}
	b := l.bound.Load()
	if b == nil {
		return nil // not negotiated, or no longer
	}
	return c.transmit(l, b, u, now)
}

// transmit sends the packets of u and, when it is time, a report.
func (c *Connection) transmit(l *leg, b *binding, u *unit, now time.Time) error {
	catching := c.catching && u.kind == fragments.KindVideo
	ts := l.stamp(u, catching, now)
	l.past.add(u, l.head.SequenceNumber, ts)
	l.setSending(now)
	l.sent, l.last, l.lastTS, l.lastAt = true, u, ts, now
	pause := burstPause
	if catching && !u.key {
		pause = catchPause
	} else {
		c.burst = 0
	}
	slow := c.link.pace > 0 && (u.key || catching) && u.kind == fragments.KindVideo
	for i := range u.packets {
		if c.burst++; c.burst > burstPackets {
			c.burst = 1
			time.Sleep(pause)
			l.setSending(c.server.o.Now())
		}
		if err := l.write(b, u, i, ts); errors.Is(err, io.ErrClosedPipe) {
			return errHungUp
		}
		if slow {
			c.rest(c.link.time(len(u.packets[i].payload)))
			l.setSending(c.server.o.Now())
			if err := c.sound(); err != nil {
				return err
			}
		}
	}
	if u.kind == fragments.KindVideo {
		c.link.sent += int64(u.size)
	}
	if e := c.feed.edge(); catching && u.key && e.size > maxCatch {
		c.pos, c.link.waitKey = e.head, true
	}
	c.count.packets.Add(int64(len(u.packets)))
	c.count.bytes.Add(int64(u.size))
	c.link.sentPackets(len(u.packets))
	if !catching {
		c.reportOn(l, b, u, now)
	}
	return nil
}

// rest waits, unless the viewer is ended.
func (c *Connection) rest(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}

// sound sends the sound that has come while a picture is sent slowly.
func (c *Connection) sound() error {
	l := c.leg(fragments.KindAudio)
	if l == nil {
		return nil
	}
	b := l.bound.Load()
	if b == nil {
		return nil
	}
	var buf [32]*unit
	n, _, _, _ := c.feed.take(max(c.audioFrom, c.pos+1), buf[:])
	for _, u := range buf[:n] {
		c.audioFrom = u.pos + 1
		if u.kind != fragments.KindAudio {
			continue
		}
		if err := c.transmit(l, b, u, c.server.o.Now()); err != nil {
			return err
		}
	}
	return nil
}

// reportOn sends a sender report when it is due.
func (c *Connection) reportOn(l *leg, b *binding, u *unit, now time.Time) {
	every := reportEvery
	if l.told == 1 {
		every = secondReport
	}
	if l.told > 0 && !u.joint && now.Sub(l.reports[(l.told-1)%len(l.reports)].at) < every {
		return
	}
	if _, err := l.sender.Transport().WriteRTCP([]rtcp.Packet{l.senderReport(b, now)}); err != nil {
		c.log.Debug("sender report not sent", "error", err)
	}
}

package viewer

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/kineweir/kineweir/fragments"
)

// maxNacks bounds the sequence numbers that wait to be sent again; what is asked
// for beyond is lost, and the viewer asks again.
const maxNacks = 512

// inbox holds what a viewer has said, until its sending goroutine acts on it.
type inbox struct {
	mu     sync.Mutex // guards the fields below
	nacks  []uint16   // of video
	key    bool       // a key frame is asked for
	loss   []loss     // of video
	rates  []float32  // estimates, in bits per second
	filled bool
}

// loss is a reception report of video.
type loss struct {
	total   uint32 // packets lost since the beginning, 24 bits
	highest uint32 // sequence number that has come, with what it has turned over
	of      uint32 // middle of the NTP time of the sender report it follows; 0: none
	since   uint32 // from the arrival of that until this was sent, in 1/65536 s
	at      time.Time
}

// listen reads RTCP about one leg until it is closed.
func (c *Connection) listen(l *leg) {
	buf := make([]byte, 1500)
	for {
		n, _, err := l.sender.Read(buf)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil || l.kind != fragments.KindVideo {
			continue
		}
		if c.inbox.take(packets, l, c.server.o.Now()) {
			c.wake()
		}
	}
}

// take notes what packets say of video and reports whether there is anything to
// do.
func (in *inbox) take(packets []rtcp.Packet, l *leg, now time.Time) bool {
	var ssrc uint32
	if b := l.bound.Load(); b != nil {
		ssrc = b.ssrc
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.TransportLayerNack:
			for _, pair := range p.Nacks {
				pair.Range(func(seq uint16) bool {
					if len(in.nacks) < maxNacks {
						in.nacks = append(in.nacks, seq)
						in.filled = true
					}
					return true
				})
			}
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			in.key, in.filled = true, true
		case *rtcp.ReceiverReport:
			for _, r := range p.Reports {
				if r.SSRC == ssrc && len(in.loss) < 8 {
					in.loss = append(in.loss, loss{r.TotalLost, r.LastSequenceNumber, r.LastSenderReport, r.Delay, now})
					in.filled = true
				}
			}
		case *rtcp.ReceiverEstimatedMaximumBitrate:
			if len(in.rates) < 8 {
				in.rates = append(in.rates, p.Bitrate)
				in.filled = true
			}
		}
	}
	return in.filled
}

// answer acts on what the viewer has said.
func (c *Connection) answer(now time.Time) {
	in := &c.inbox
	in.mu.Lock()
	if !in.filled {
		in.mu.Unlock()
		return
	}
	nacks, key, losses, rates := in.nacks, in.key, in.loss, in.rates
	in.nacks, in.key, in.loss, in.rates, in.filled = nil, false, nil, nil, false
	in.mu.Unlock()
	l := c.leg(fragments.KindVideo)
	if l == nil {
		return
	}
	if b := l.bound.Load(); b != nil {
		for _, seq := range nacks {
			c.repeat(l, b, seq, now)
		}
	}
	for _, r := range losses {
		if c.link.lost(r, l.roundTrip(r)) {
			c.narrow("much is lost on the way", now)
		}
	}
	for _, bits := range rates {
		if c.link.estimate(bits) {
			c.narrow("the link is slower than the stream", now)
		}
	}
	if key {
		c.count.keys.Add(1)
		c.rewind(now)
	}
}

// repeat sends again what was sent as seq: as a stream of its own where that was
// negotiated (RFC 4588 section 4), else as it was.
func (c *Connection) repeat(l *leg, b *binding, seq uint16, now time.Time) {
	r, i := l.past.find(seq)
	if r == nil || !r.unit.key && c.link.choked() || !c.link.repeat(seq, now) {
		return
	}
	p := &r.unit.packets[i]
	h := l.head
	h.SSRC, h.SequenceNumber, h.Timestamp = b.ssrc, seq, r.ts+p.offset
	h.Marker = i == len(r.unit.packets)-1
	h.Extension, h.Extensions = false, nil
	payload := p.payload
	if b.rtx != 0 {
		l.scratch = binary.BigEndian.AppendUint16(l.scratch[:0], seq)
		l.scratch = append(l.scratch, payload...)
		payload = l.scratch
		h.SSRC, h.PayloadType, h.SequenceNumber = b.rtx, l.offered.rtx, l.rtxSeq
		l.rtxSeq++
	}
	if b.sendID != 0 {
		l.setSending(now)
		if err := h.SetExtension(b.sendID, l.sending[:]); err != nil {
			return
		}
	}
	if _, err := b.writer.WriteRTP(&h, payload); err == nil {
		c.count.again.Add(1)
		c.count.packets.Add(1)
		c.count.bytes.Add(int64(len(payload)))
		c.link.sent += int64(len(payload))
		c.rest(c.link.time(len(payload)))
	}
}

// rewind gives a viewer that cannot decode a key frame: the newest there is, and
// what has followed it. The publisher is asked for another where that is too
// much.
func (c *Connection) rewind(now time.Time) {
	if c.catching || now.Sub(c.link.rewound) < rewindMin {
		return
	}
	c.link.rewound = now
	e := c.feed.edge()
	if e.key < 0 || e.size > maxCatch || c.link.thin || e.key >= c.pos {
		c.link.waitKey = true
		c.feed.requestKey()
		return
	}
	c.audioFrom = max(c.audioFrom, c.pos)
	c.pos, c.catching, c.link.waitKey = e.key, true, true
}

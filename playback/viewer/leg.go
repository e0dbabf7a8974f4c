package viewer

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

// leg carries one track to one viewer: it is the webrtc.TrackLocal, and counts
// what is the viewer's own. Packets are sent by the goroutine of the viewer
// alone.
type leg struct {
	kind    fragments.Kind
	codec   fragments.Codec
	clock   int64
	offered *offered
	sender  *webrtc.RTPSender
	bound   atomic.Pointer[binding]

	head    rtp.Header // of the next packet
	base    uint32     // what is added to the time stamps of the feed
	sent    bool       // something was sent
	lastTS  uint32     // of the newest unit sent
	last    *unit
	lastAt  time.Time // when that was
	packets uint32
	octets  uint32
	reports [4]report // the latest sender reports
	told    int       // how many there were
	past    history
	rtxSeq  uint16
	scratch []byte // of retransmissions

	capture [8]byte // content of abs-capture-time
	sending [3]byte // content of abs-send-time
}

// binding is what negotiation gave a leg.
type binding struct {
	writer    webrtc.TrackLocalWriter
	ssrc      uint32
	rtx       uint32 // source of retransmissions; 0: they come in the stream itself
	captureID uint8  // of header extensions; 0: not negotiated
	sendID    uint8
}

func newLeg(t *fragments.Track, o *offered) *leg {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	l := &leg{kind: t.Kind(), codec: t.Codec, clock: clockOf(t), offered: o, base: binary.BigEndian.Uint32(b[:])}
	// Below 2^15, so that no receiver takes the first wrap for loss (RFC 3711
	// section 3.3.1).
	l.head = rtp.Header{Version: 2, PayloadType: o.pt, SequenceNumber: binary.BigEndian.Uint16(b[4:]) & 0x7fff}
	l.rtxSeq = binary.BigEndian.Uint16(b[6:]) & 0x7fff
	return l
}

// ID, RID, StreamID and Kind make leg a webrtc.TrackLocal. All legs are of one
// media stream, so that a browser plays them in step.
func (l *leg) ID() string { return l.kind.String() }

// RID is empty: there is one encoding.
func (l *leg) RID() string { return "" }

// StreamID is the media stream of the legs.
func (l *leg) StreamID() string { return "kineweir" }

// Kind tells video from audio.
func (l *leg) Kind() webrtc.RTPCodecType {
	if l.kind == fragments.KindAudio {
		return webrtc.RTPCodecTypeAudio
	}
	return webrtc.RTPCodecTypeVideo
}

// Bind takes what was negotiated.
func (l *leg) Bind(t webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	for _, c := range t.CodecParameters() {
		if c.PayloadType != webrtc.PayloadType(l.offered.pt) {
			continue
		}
		b := &binding{writer: t.WriteStream(), ssrc: uint32(t.SSRC())}
		if l.offered.rtx != 0 {
			b.rtx = uint32(t.SSRCRetransmission())
		}
		for _, e := range t.HeaderExtensions() {
			switch {
			case e.ID < 1 || e.ID > 14: // no one-byte extension (RFC 8285 section 4.2)
			case e.URI == absCaptureTime:
				b.captureID = uint8(e.ID)
			case e.URI == absSendTime && l.kind == fragments.KindVideo:
				b.sendID = uint8(e.ID)
			}
		}
		l.bound.Store(b)
		return c, nil
	}
	return webrtc.RTPCodecParameters{}, fmt.Errorf("%s with payload type %d was not negotiated: %w", l.codec, l.offered.pt, webrtc.ErrUnsupportedCodec)
}

// Unbind stops sending.
func (l *leg) Unbind(webrtc.TrackLocalContext) error {
	l.bound.Store(nil)
	return nil
}

// stamp returns the time stamp of u for this viewer. What is caught up with
// counts the time that passes while it is sent: a receiver then shows it as fast
// as it comes, and what is live follows evenly.
func (l *leg) stamp(u *unit, catching bool, now time.Time) uint32 {
	if catching && l.sent {
		passed := int64(now.Sub(l.lastAt)) * l.clock / int64(time.Second)
		l.base = l.lastTS + uint32(max(1, passed)) - u.ts
	}
	return u.ts + l.base
}

// write sends one payload of u.
func (l *leg) write(b *binding, u *unit, i int, ts uint32) error {
	p := &u.packets[i]
	l.head.SSRC = b.ssrc
	l.head.Timestamp = ts + p.offset
	l.head.Marker = i == len(u.packets)-1 && u.kind == fragments.KindVideo
	if i <= 1 {
		if err := l.extend(b, u, i); err != nil {
			return err
		}
	}
	_, err := b.writer.WriteRTP(&l.head, p.payload)
	l.head.SequenceNumber++
	l.packets++
	l.octets += uint32(len(p.payload))
	return err
}

// extend sets the header extensions of packet i: the first of a unit tells when
// it was captured, all tell when they are sent.
func (l *leg) extend(b *binding, u *unit, i int) error {
	if b.captureID == 0 && b.sendID == 0 {
		return nil
	}
	l.head.Extension, l.head.Extensions = false, l.head.Extensions[:0]
	if b.sendID != 0 {
		if err := l.head.SetExtension(b.sendID, l.sending[:]); err != nil {
			return err
		}
	}
	if i == 0 && b.captureID != 0 {
		binary.BigEndian.PutUint64(l.capture[:], ntp(u.capture))
		return l.head.SetExtension(b.captureID, l.capture[:])
	}
	return nil
}

// setSending sets the time of sending: 24 bits, 18 of them below the second.
func (l *leg) setSending(now time.Time) {
	v := uint64(now.UnixNano()%int64(64*time.Second)) << 18 / uint64(time.Second)
	l.sending = [3]byte{byte(v >> 16), byte(v >> 8), byte(v)}
}

// senderReport maps the time stamps that are sent to the capture time of the
// newest unit (RFC 3550 section 6.4.1): a receiver plays video and audio in step
// by it, and can tell when a picture was in front of the lens.
func (l *leg) senderReport(b *binding, now time.Time) *rtcp.SenderReport {
	l.reports[l.told%len(l.reports)] = report{uint32(ntp(l.last.capture) >> 16), now}
	l.told++
	return &rtcp.SenderReport{
		SSRC: b.ssrc, NTPTime: ntp(l.last.capture), RTPTime: l.lastTS,
		PacketCount: l.packets, OctetCount: l.octets,
	}
}

// report is a sender report as receivers refer to it.
type report struct {
	of uint32 // middle 32 bits of its NTP time
	at time.Time
}

// roundTrip returns how long a report and its answer were on their way; 0 when
// it cannot be told. The NTP times of our reports are those of pictures, so they
// are looked up (RFC 3550 section 6.4.1 subtracts them).
func (l *leg) roundTrip(r loss) time.Duration {
	for _, sr := range l.reports {
		if r.of != 0 && sr.of == r.of {
			return max(1, r.at.Sub(sr.at)-time.Duration(int64(r.since)*int64(time.Second)>>16))
		}
	}
	return 0
}

package peer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/ingest/depacketize"
)

// How long packets wait for a missing one: two round trips of a bad network for
// pictures; of sound a little is better lost than late.
const (
	videoPatience = 300 * time.Millisecond
	audioPatience = 120 * time.Millisecond
)

// layer is one stream of packets of a source: its only one, or one size of it.
type layer struct {
	c      *Connection
	src    *source
	track  *webrtc.TrackRemote
	rid    string
	order  reorderer
	byType map[uint8]*depacketize.Stream // by payload type; nil where it cannot be read

	// guarded by c.mu
	stream *depacketize.Stream // of the latest packet; nil before the first
	early  *rtcp.SenderReport  // came before the first packet was read
	heard  time.Time           // when the latest packet came
	since  time.Time           // since when they have come without a pause
	keys   keyClock
	tally  tally
}

// onTrack is called when the first packet of a stream has come.
func (c *Connection) onTrack(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	c.mu.Lock()
	src := c.sourceLocked(r)
	l := &layer{c: c, src: src, track: t, rid: t.RID(), byType: map[uint8]*depacketize.Stream{}}
	l.order.patience = videoPatience
	if src.kind == webrtc.RTPCodecTypeAudio {
		l.order.patience = audioPatience
	}
	src.layers = append(src.layers, l)
	c.mu.Unlock()
	c.endMu.Lock()
	defer c.endMu.Unlock()
	if c.done {
		return
	}
	c.tracks.Go(l.read)
	c.tracks.Go(func() { l.readReports(r) })
	c.log.Debug("track", "mime", t.Codec().MimeType, "ssrc", uint32(t.SSRC()), "rid", l.rid)
}

// sourceLocked finds the source of a receiver by the section it belongs to.
func (c *Connection) sourceLocked(r *webrtc.RTPReceiver) *source {
	mid, kind := "", webrtc.RTPCodecTypeVideo
	if t := r.RTPTransceiver(); t != nil {
		mid, kind = t.Mid(), t.Kind()
	}
	i := slices.IndexFunc(c.plan.sections, func(s *section) bool { return mid != "" && s.mid == mid && s.kind == kind })
	if i < 0 {
		// The offer names no SSRC: the first section of the kind without a stream.
		i = slices.IndexFunc(c.plan.sections, func(s *section) bool {
			return s.kind == kind && len(c.sources[slices.Index(c.plan.sections, s)].layers) == 0
		})
	}
	if i >= 0 {
		return c.sources[i]
	}
	src := &source{id: 100 + len(c.sources), kind: kind}
	c.sources = append(c.sources, src)
	return src
}

// read takes packets until the connection ends.
func (l *layer) read() {
	buf := make([]byte, maxPacket)
	deadline := time.Time{}
	for failures := 0; failures < maxFailures; {
		if d := l.order.deadline(); !d.Equal(deadline) {
			deadline = d
			_ = l.track.SetReadDeadline(d)
		}
		n, _, err := l.track.Read(buf)
		now := l.c.s.o.Now()
		switch {
		case err == nil:
			failures = 0
			l.packet(buf[:n], now)
		case isTimeout(err):
			deadline = time.Time{}
			_ = l.track.SetReadDeadline(deadline)
		case over(err) || l.c.ctx.Err() != nil:
			l.forward(l.order.flush())
			return
		default:
			failures++ // a packet that the library cannot read, or of a type not agreed on
			l.c.rx.Unreadable(err)
		}
		l.forward(l.order.expire(now))
		if seqs := l.order.missing(now); len(seqs) > 0 {
			l.c.send(&rtcp.TransportLayerNack{MediaSSRC: uint32(l.track.SSRC()), Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)})
		}
	}
}

const (
	// maxPacket is more than any network carries in one piece.
	maxPacket = 16 << 10
	// maxFailures in a row are the end of a track; packets cause a few at most.
	maxFailures = 10_000
)

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// over reports whether err is how the library says that a stream is closed.
func over(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed)
}

// packet takes the bytes of a packet, which are the reader's own.
func (l *layer) packet(b []byte, now time.Time) {
	pkt := &rtp.Packet{}
	if err := pkt.Unmarshal(slices.Clone(b)); err != nil {
		l.c.rx.Unreadable(err)
		return
	}
	l.c.mu.Lock()
	if now.Sub(l.heard) > pauseAfter {
		l.since = now
	}
	l.heard = now
	l.tally.add(pkt.SequenceNumber, len(b), !l.order.asked.IsZero())
	l.c.mu.Unlock()
	l.forward(l.order.push(pkt, now))
}

// forward hands packets in order to the depacketizer.
func (l *layer) forward(pkts []*rtp.Packet) {
	for _, pkt := range pkts {
		s := l.streamOf(pkt.PayloadType)
		if s == nil {
			continue
		}
		before := s.State()
		s.Packet(pkt)
		if after := s.State(); after.Broken != before.Broken || before.Key.IsZero() && !after.Key.IsZero() {
			l.c.nudge() // something to ask for, or to choose
		}
	}
}

// streamOf returns the stream of a payload type. A publisher may change the codec
// at any packet.
func (l *layer) streamOf(payloadType uint8) *depacketize.Stream {
	s, ok := l.byType[payloadType]
	if !ok {
		var err error
		if s, err = l.addStream(payloadType); err != nil {
			l.c.log.Warn("packets that cannot be read", "payload_type", payloadType, "error", err)
		}
		if len(l.byType) < 128 {
			l.byType[payloadType] = s
		}
	}
	if s == nil {
		return nil
	}
	l.c.mu.Lock()
	changed := l.stream != nil && l.stream != s
	l.stream = s
	early := l.early
	l.early = nil
	selected := changed && l.src.wanted == l
	l.c.mu.Unlock()
	if selected {
		s.Select()
	}
	if early != nil {
		s.Report(early)
	}
	return s
}

func (l *layer) addStream(payloadType uint8) (*depacketize.Stream, error) {
	var c *codec
	for _, s := range l.c.plan.sections {
		for i := range s.codecs {
			if s.kind == l.src.kind && s.codecs[i].payloadType == payloadType && s.codecs[i].name != "RTX" {
				c = &s.codecs[i]
			}
		}
	}
	if c == nil {
		return nil, errors.New("payload type " + strconv.Itoa(int(payloadType)) + " was not agreed on")
	}
	f, err := depacketize.ParseFormat(l.src.kind.String(), c.rtpmap, c.formatParameters())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.rtpmap, err)
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for _, o := range l.src.layers {
		if o.stream != nil {
			return l.c.rx.AddLayer(o.stream, f, 0)
		}
	}
	s, err := l.c.rx.AddTrack(l.src.id, f, 0)
	if err == nil {
		l.stream, l.src.wanted = s, l
	}
	return s, err
}

// readReports takes sender reports until the connection ends.
func (l *layer) readReports(r *webrtc.RTPReceiver) {
	buf := make([]byte, maxPacket)
	for failures := 0; failures < maxFailures; {
		n, err := l.readRTCP(r, buf)
		if err != nil && (over(err) || l.c.ctx.Err() != nil) {
			return
		}
		var pkts []rtcp.Packet
		if err == nil {
			pkts, err = rtcp.Unmarshal(buf[:n])
		}
		if err != nil {
			failures++ // one report that cannot be read is not the last
			continue
		}
		failures = 0
		for _, p := range pkts {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				l.report(sr)
			}
		}
	}
}

func (l *layer) report(sr *rtcp.SenderReport) {
	l.c.mu.Lock()
	s := l.stream
	if s == nil {
		l.early = sr
	}
	l.c.mu.Unlock()
	if s != nil {
		s.Report(sr)
	}
}

func (l *layer) readRTCP(r *webrtc.RTPReceiver, buf []byte) (n int, err error) {
	if l.rid != "" {
		n, _, err = r.ReadSimulcast(buf, l.rid)
	} else {
		n, _, err = r.Read(buf)
	}
	return n, err
}

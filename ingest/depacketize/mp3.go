package depacketize

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg1audio"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

// mp3Clock is the RTP clock of MPEG audio whatever the sample rate (RFC 3551
// section 4.5.13).
const mp3Clock = 90000

// mp3Depacketizer takes MPEG-1 and MPEG-2 audio (RFC 2250 section 3.5). It is our
// own because the library takes the frames of MPEG-2 layer III for twice as long
// as they are.
type mp3Depacketizer struct {
	cur     *fragments.Track
	partial []byte // a frame that came in several packets
	want    int    // its whole length
	out     []unit
}

func newMP3(id int) depacketizer {
	return &mp3Depacketizer{cur: &fragments.Track{ID: id, Codec: fragments.MP3, TimeScale: mp3Clock}}
}

func (d *mp3Depacketizer) track() *fragments.Track { return d.cur }

func (d *mp3Depacketizer) reset() { d.partial = nil }

func (d *mp3Depacketizer) begins(pkt *rtp.Packet) bool {
	return len(pkt.Payload) > 4 && binary.BigEndian.Uint16(pkt.Payload[2:]) == 0
}

func (d *mp3Depacketizer) push(pkt *rtp.Packet) ([]unit, error) {
	if len(pkt.Payload) < 8 {
		return nil, errors.New("packet of MPEG audio is too short")
	}
	offset, data := int(binary.BigEndian.Uint16(pkt.Payload[2:])), pkt.Payload[4:]
	if offset > 0 {
		return d.next(offset, data, pkt.Timestamp)
	}
	d.partial = nil
	d.out = d.out[:0]
	for at := int64(0); len(data) > 0; {
		h, size, err := mp3Header(data)
		if err != nil {
			return nil, err
		}
		if size > len(data) {
			if len(d.out) > 0 {
				return nil, errors.New("packet of MPEG audio ends in the middle of a frame")
			}
			d.partial, d.want = append([]byte(nil), data...), size
			return nil, nil
		}
		at = d.add(h, data[:size:size], pkt.Timestamp, at)
		data = data[size:]
	}
	return d.out, nil
}

// next takes a later packet of a frame.
func (d *mp3Depacketizer) next(offset int, data []byte, ts uint32) ([]unit, error) {
	switch {
	case d.partial == nil:
		return nil, nil // joined in the middle of a frame
	case offset != len(d.partial) || offset+len(data) > d.want:
		return nil, errors.New("pieces of an MPEG audio frame do not fit")
	}
	d.partial = append(d.partial, data...)
	if len(d.partial) < d.want {
		return nil, nil
	}
	frame := d.partial
	d.partial = nil
	h, _, err := mp3Header(frame)
	if err != nil {
		return nil, err
	}
	d.out = d.out[:0]
	d.add(h, frame, ts, 0)
	return d.out, nil
}

// add appends the unit of a frame that begins at the given sample of the packet,
// and returns the sample after it. Counting samples keeps the rounding of ticks
// from adding up.
func (d *mp3Depacketizer) add(h mpeg1audio.FrameHeader, frame []byte, ts uint32, at int64) int64 {
	channels := 2
	if h.ChannelMode == mpeg1audio.ChannelModeMono {
		channels = 1
	}
	if h.SampleRate != d.cur.SampleRate || channels != d.cur.Channels {
		d.cur = withParams(d.cur, func(t *fragments.Track) { t.SampleRate, t.Channels = h.SampleRate, channels })
	}
	rate := int64(h.SampleRate)
	end := at + int64(h.SampleCount())
	from, to := at*mp3Clock/rate, end*mp3Clock/rate
	d.out = append(d.out, unit{
		track: d.cur, rtp: ts, offset: from, duration: to - from, key: true, payload: [][]byte{frame},
	})
	return end
}

// mp3Header reads the header of a frame and its length (ISO/IEC 11172-3 section
// 2.4.3.1, ISO/IEC 13818-3 section 2.4.3.1).
func mp3Header(data []byte) (mpeg1audio.FrameHeader, int, error) {
	var h mpeg1audio.FrameHeader
	if err := h.Unmarshal(data); err != nil {
		return h, 0, fmt.Errorf("broken MPEG audio frame: %w", err)
	}
	size := h.SampleCount() / 8 * h.Bitrate / h.SampleRate
	if h.Padding {
		size++
	}
	if size < 5 {
		return h, 0, errors.New("broken MPEG audio frame")
	}
	return h, size, nil
}

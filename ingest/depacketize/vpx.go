package depacketize

import (
	"errors"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpvp8"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

type vp8Depacketizer struct {
	format *format.VP8
	dec    *rtpvp8.Decoder
	cur    *fragments.Track
	out    [1]unit
}

func newVP8(id int, f *format.VP8) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	return &vp8Depacketizer{
		format: f, dec: dec,
		cur: &fragments.Track{ID: id, Codec: fragments.VP8, TimeScale: 90000},
	}, nil
}

func (d *vp8Depacketizer) track() *fragments.Track { return d.cur }

func (d *vp8Depacketizer) reset() { d.dec, _ = d.format.CreateDecoder() } // succeeded before

// begins reads the S bit and the partition index (RFC 7741 section 4.2).
func (d *vp8Depacketizer) begins(pkt *rtp.Packet) bool {
	return len(pkt.Payload) > 1 && pkt.Payload[0]&0x17 == 0x10
}

func (d *vp8Depacketizer) push(pkt *rtp.Packet) ([]unit, error) {
	frame, err := d.dec.Decode(pkt)
	switch {
	case errors.Is(err, rtpvp8.ErrMorePacketsNeeded), errors.Is(err, rtpvp8.ErrNonStartingPacketAndNoPrevious):
		return nil, nil
	case err != nil:
		return nil, err
	}
	key, err := d.look(frame)
	switch {
	case err != nil:
		return nil, err
	case d.cur.Width == 0:
		return nil, errNotYet
	}
	d.out[0] = unit{track: d.cur, rtp: pkt.Timestamp, key: key, payload: [][]byte{frame}}
	return d.out[:], nil
}

// look reads the frame header (RFC 6386 section 9.1).
func (d *vp8Depacketizer) look(frame []byte) (key bool, err error) {
	if len(frame) == 0 {
		return false, errors.New("empty VP8 frame")
	}
	if frame[0]&1 != 0 {
		return false, nil
	}
	if len(frame) < 10 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return false, errors.New("broken VP8 key frame")
	}
	width := int(frame[6]) | int(frame[7]&0x3f)<<8
	height := int(frame[8]) | int(frame[9]&0x3f)<<8
	if width == 0 || height == 0 {
		return false, errors.New("VP8 key frame without size")
	}
	if width != d.cur.Width || height != d.cur.Height {
		d.cur = withParams(d.cur, func(t *fragments.Track) { t.Width, t.Height = width, height })
	}
	return true, nil
}

package depacketize

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpvp8"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpvp9"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"
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

type vp9Depacketizer struct {
	format *format.VP9
	dec    *rtpvp9.Decoder
	cur    *fragments.Track
	out    [1]unit
}

func newVP9(id int, f *format.VP9) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	return &vp9Depacketizer{
		format: f, dec: dec,
		cur: &fragments.Track{ID: id, Codec: fragments.VP9, TimeScale: 90000},
	}, nil
}

func (d *vp9Depacketizer) track() *fragments.Track { return d.cur }

func (d *vp9Depacketizer) reset() { d.dec, _ = d.format.CreateDecoder() } // succeeded before

// begins reads the B bit (RFC 9628 section 4.2).
func (d *vp9Depacketizer) begins(pkt *rtp.Packet) bool {
	return len(pkt.Payload) > 1 && pkt.Payload[0]&0x08 != 0
}

func (d *vp9Depacketizer) push(pkt *rtp.Packet) ([]unit, error) {
	frame, err := d.dec.Decode(pkt)
	switch {
	case errors.Is(err, rtpvp9.ErrMorePacketsNeeded), errors.Is(err, rtpvp9.ErrNonStartingPacketAndNoPrevious):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var h vp9.Header
	if err := h.Unmarshal(frame); err != nil {
		return nil, fmt.Errorf("broken VP9 frame: %w", err)
	}
	key := !h.ShowExistingFrame && !h.NonKeyFrame
	if key {
		d.renew(&h)
	}
	if d.cur.Params == nil {
		return nil, errNotYet
	}
	d.out[0] = unit{track: d.cur, rtp: pkt.Timestamp, key: key, payload: [][]byte{frame}}
	return d.out[:], nil
}

func (d *vp9Depacketizer) renew(h *vp9.Header) {
	config := vp9Config(h)
	if h.Width() == d.cur.Width && h.Height() == d.cur.Height && bytes.Equal(config, d.cur.Params[0]) {
		return
	}
	d.cur = withParams(d.cur, func(t *fragments.Track) {
		t.Params = [][]byte{config}
		t.Width, t.Height = h.Width(), h.Height()
	})
}

// vp9Config returns the body of the VPCodecConfigurationRecord of a stream (VP
// Codec ISO Media File Format Binding section 2.2): profile, level, bit depth
// with chroma subsampling and range, the three colour codes, no initialisation
// data.
func vp9Config(h *vp9.Header) []byte {
	c := h.ColorConfig
	primaries, transfer, matrix := vp9Colour(c.ColorSpace)
	fullRange := byte(0)
	if c.ColorRange {
		fullRange = 1
	}
	depth := c.BitDepth<<4 | h.ChromaSubsampling()<<1 | fullRange
	return []byte{h.Profile, vp9Level(h.Width() * h.Height()), depth, primaries, transfer, matrix, 0, 0}
}

// vp9Level is the lowest level that allows the picture size at 30 or more frames
// per second; the stream itself does not say (VP9 levels, webmproject.org).
func vp9Level(samples int) byte {
	for _, l := range []struct {
		samples int
		level   byte
	}{{36_864, 10}, {73_728, 11}, {122_880, 20}, {245_760, 21}, {552_960, 30}, {983_040, 31}, {2_228_224, 41}, {8_912_896, 51}} {
		if samples <= l.samples {
			return l.level
		}
	}
	return 61
}

// vp9Colour maps color_space (VP9 bitstream section 7.2.2) to the codes of
// ISO/IEC 23091-2; 2 is "unspecified".
func vp9Colour(space byte) (primaries, transfer, matrix byte) {
	switch space {
	case 1, 3: // BT.601, SMPTE 170
		return 6, 6, 6
	case 2: // BT.709
		return 1, 1, 1
	case 4: // SMPTE 240
		return 7, 7, 7
	case 5: // BT.2020
		return 9, 14, 9
	case 7: // sRGB
		return 1, 13, 0
	}
	return 2, 2, 2
}

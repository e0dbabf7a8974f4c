package depacketize

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpvp9"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/kineweir/kineweir/fragments"
)

// maxVP9Layers is how many frames a superframe holds.
const maxVP9Layers = 8

type vp9Depacketizer struct {
	format *format.VP9
	dec    *rtpvp9.Decoder
	cur    *fragments.Track
	out    [2]unit

	// The frames of the picture in progress, one for each spatial layer.
	layers        [][]byte
	layersTS      uint32
	width, height int // of its largest layer, where the packets tell; else 0
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

func (d *vp9Depacketizer) reset() {
	d.dec, _ = d.format.CreateDecoder() // succeeded before
	d.layers = nil
}

// begins reads the B bit and the spatial layer (RFC 9628 section 4.2).
func (d *vp9Depacketizer) begins(pkt *rtp.Packet) bool {
	var v codecs.VP9Packet
	_, err := v.Unmarshal(pkt.Payload)
	return err == nil && v.B && v.SID == 0
}

// push collects the layers of a picture until the marker (RFC 9628 section 4.1),
// or until the time stamp of the next one where a publisher sets none.
func (d *vp9Depacketizer) push(pkt *rtp.Packet) (units []unit, err error) {
	units = d.out[:0]
	if len(d.layers) > 0 && d.layersTS != pkt.Timestamp {
		if units, err = d.picture(units); err != nil {
			return nil, err
		}
	}
	var v codecs.VP9Packet
	if _, err := v.Unmarshal(pkt.Payload); err == nil {
		for i := range min(len(v.Width), len(v.Height)) {
			d.width, d.height = max(d.width, int(v.Width[i])), max(d.height, int(v.Height[i]))
		}
	}
	frame, err := d.dec.Decode(pkt)
	switch {
	case errors.Is(err, rtpvp9.ErrMorePacketsNeeded), errors.Is(err, rtpvp9.ErrNonStartingPacketAndNoPrevious):
		return units, nil
	case err != nil:
		return units, err
	case len(d.layers) == maxVP9Layers:
		return units, errors.New("more layers than a superframe holds")
	}
	d.layers, d.layersTS = append(d.layers, frame), pkt.Timestamp
	if pkt.Marker {
		return d.picture(units)
	}
	return units, nil
}

// picture appends the unit of the layers collected.
func (d *vp9Depacketizer) picture(units []unit) ([]unit, error) {
	layers, width, height := d.layers, d.width, d.height
	d.layers, d.width, d.height = nil, 0, 0
	var h vp9.Header
	if err := h.Unmarshal(layers[0]); err != nil {
		return nil, fmt.Errorf("broken VP9 frame: %w", err)
	}
	key := !h.ShowExistingFrame && !h.NonKeyFrame
	if key {
		d.renew(&h, max(width, h.Width()), max(height, h.Height()))
	}
	if d.cur.Params == nil {
		return units, errNotYet
	}
	return append(units, unit{track: d.cur, rtp: d.layersTS, key: key, payload: [][]byte{superframe(layers)}}), nil
}

// superframe joins the frames of a picture, with an index behind them (VP9
// bitstream annex B).
func superframe(frames [][]byte) []byte {
	if len(frames) == 1 {
		return frames[0]
	}
	const fourBytes = 3 << 3 // for each size
	marker := byte(0xc0 | fourBytes | len(frames) - 1)
	out := bytes.Join(frames, nil)
	out = append(out, marker)
	for _, f := range frames {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(f)))
	}
	return append(out, marker)
}

func (d *vp9Depacketizer) renew(h *vp9.Header, width, height int) {
	config := vp9Config(h, width, height)
	if width == d.cur.Width && height == d.cur.Height && bytes.Equal(config, d.cur.Params[0]) {
		return
	}
	d.cur = withParams(d.cur, func(t *fragments.Track) {
		t.Params = [][]byte{config}
		t.Width, t.Height = width, height
	})
}

// vp9Config returns the body of the VPCodecConfigurationRecord of a stream (VP
// Codec ISO Media File Format Binding section 2.2): profile, level, bit depth
// with chroma subsampling and range, the three colour codes, no initialisation
// data.
func vp9Config(h *vp9.Header, width, height int) []byte {
	c := h.ColorConfig
	primaries, transfer, matrix := vp9Colour(c.ColorSpace)
	fullRange := byte(0)
	if c.ColorRange {
		fullRange = 1
	}
	depth := c.BitDepth<<4 | h.ChromaSubsampling()<<1 | fullRange
	return []byte{h.Profile, vp9Level(width * height), depth, primaries, transfer, matrix, 0, 0}
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

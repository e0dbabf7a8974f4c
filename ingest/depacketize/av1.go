package depacketize

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpav1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

// Types of OBUs (AV1 specification section 6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuFrame             = 6
	obuTileList          = 8
	obuPadding           = 15
)

type av1Depacketizer struct {
	format *format.AV1
	dec    *rtpav1.Decoder
	cur    *fragments.Track
	out    [1]unit
}

func newAV1(id int, f *format.AV1) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	return &av1Depacketizer{
		format: f, dec: dec,
		cur: &fragments.Track{ID: id, Codec: fragments.AV1, TimeScale: 90000},
	}, nil
}

func (d *av1Depacketizer) track() *fragments.Track { return d.cur }

func (d *av1Depacketizer) reset() { d.dec, _ = d.format.CreateDecoder() } // succeeded before

// begins reads the N bit: the first packet of a coded video sequence (AV1 RTP
// payload format section 4.4). Other packets do not tell.
func (d *av1Depacketizer) begins(pkt *rtp.Packet) bool {
	return len(pkt.Payload) > 1 && pkt.Payload[0]&0x88 == 0x08
}

func (d *av1Depacketizer) push(pkt *rtp.Packet) ([]unit, error) {
	obus, err := d.dec.Decode(pkt)
	switch {
	case errors.Is(err, rtpav1.ErrMorePacketsNeeded), errors.Is(err, rtpav1.ErrNonStartingPacketAndNoPrevious):
		return nil, nil
	case err != nil:
		return nil, err
	}
	payload := make([][]byte, 0, len(obus))
	var sequence []byte
	var frame, key bool
	for _, obu := range obus {
		obu, err = withoutSize(obu)
		if err != nil {
			return nil, err
		}
		switch obuType(obu) {
		case obuTemporalDelimiter, obuTileList, obuPadding:
			continue
		case obuSequenceHeader:
			sequence = obu
		case obuFrameHeader, obuFrame:
			key = key || !frame && isKeyFrame(obu)
			frame = true
		}
		payload = append(payload, obu)
	}
	if sequence != nil {
		if err := d.renew(sequence); err != nil {
			return nil, err
		}
	}
	switch {
	case !frame:
		return nil, nil
	case d.cur.Params == nil:
		return nil, errNotYet
	}
	d.out[0] = unit{track: d.cur, rtp: pkt.Timestamp, key: key && sequence != nil, payload: payload}
	return d.out[:], nil
}

func (d *av1Depacketizer) renew(sequence []byte) error {
	if len(d.cur.Params) == 1 && bytes.Equal(d.cur.Params[0], sequence) {
		return nil
	}
	var h av1.SequenceHeader
	if err := h.Unmarshal(sequence); err != nil {
		return fmt.Errorf("broken sequence header: %w", err)
	}
	d.cur = withParams(d.cur, func(t *fragments.Track) {
		t.Params = [][]byte{bytes.Clone(sequence)}
		t.Width, t.Height = h.Width(), h.Height()
	})
	return nil
}

func obuType(obu []byte) byte { return obu[0] >> 3 & 0xf }

// withoutSize takes the size field out of an OBU. Senders should leave it out
// (AV1 RTP payload format section 5), and not all do.
func withoutSize(obu []byte) ([]byte, error) {
	if len(obu) == 0 {
		return nil, errors.New("empty OBU")
	}
	const extension, hasSize = 0x04, 0x02
	if obu[0]&hasSize == 0 {
		return obu, nil
	}
	header := 1
	if obu[0]&extension != 0 {
		header = 2
	}
	if len(obu) < header {
		return nil, errors.New("OBU ends in its header")
	}
	var size av1.LEB128
	n, err := size.Unmarshal(obu[header:])
	if err != nil {
		return nil, fmt.Errorf("size of OBU: %w", err)
	}
	body := obu[header+n:]
	if uint64(size) > uint64(len(body)) {
		return nil, errors.New("OBU is shorter than its size field says")
	}
	out := make([]byte, 0, header+int(size))
	out = append(out, obu[:header]...)
	out[0] &^= hasSize
	return append(out, body[:size]...), nil
}

// isKeyFrame reads the first bits of a frame header: show_existing_frame (1 bit),
// frame_type (2 bits), 0 being KEY_FRAME (AV1 specification section 5.9.2).
func isKeyFrame(obu []byte) bool {
	header := 1
	if obu[0]&0x04 != 0 {
		header = 2
	}
	return len(obu) > header && obu[header]&0xe0 == 0
}
